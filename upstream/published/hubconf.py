"""s3prl's own names of published models: `-u xls_r_300m -k FOLDER` opens a local copy.

s3prl's own functions of these names ignore -k and fetch a file of their own. With -k they are our
expert on that checkpoint; without it they stay s3prl's.
"""

import importlib as _importlib
from collections.abc import Callable as _Callable
from typing import Any

from harness_bench.upstream.harness.expert import UpstreamExpert as _UpstreamExpert

from harness_bench.core.log import say as _say
from harness_bench.models.frozen import config_of as _config_of
from harness_bench.models.hub import locate as _locate
from harness_bench.probing.s3prl.hub import stock_index as _stock_index

_BASE, _LARGE = (12, 768), (24, 1024)  # blocks and dimensions


def _published(about: str, name: str, kind: str, shape: tuple[int, int]) -> _Callable[..., Any]:
    """Make the function of a name, whose published model is of a `model_type` and a shape."""

    def upstream(ckpt: str | None = None, **kwargs: Any) -> Any:
        if ckpt is None:
            return getattr(_importlib.import_module(_stock_index()[name]), name)(**kwargs)
        # What is not there is refused: s3prl would ignore it and fetch the published one.
        leave = "Give a folder of transformers, or leave -k out: s3prl then fetches its own copy."
        path = _locate(ckpt, f"-u {name} -k", leave)
        if (found := _config_of(path).get("model_type", kind)) != kind:
            raise ValueError(
                f"-u {name} -k {ckpt}: this is a model of type {found!r}, and {name} is of type "
                f"{kind!r}. Use -u harness_local, which opens every type."
            )
        expert = _UpstreamExpert(ckpt, **kwargs)
        own = (expert.backbone.shape.num_layers, expert.backbone.shape.hidden_size)
        if own != shape:  # its figures would stand under a wrong name
            _say(
                f"-u {name} -k {ckpt}: this model has {own[0]} blocks of {own[1]} dimensions, "
                f"the published {name} has {shape[0]} of {shape[1]}. Use -u harness_local for "
                "other models."
            )
        return expert

    upstream.__doc__ = f"{about}; -k: a local copy."
    return upstream


hubert = _published("HuBERT base", "hubert", "hubert", _BASE)
hubert_base = _published("HuBERT base, LibriSpeech 960 h", "hubert_base", "hubert", _BASE)
hubert_large_ll60k = _published(
    "HuBERT large, Libri-Light 60k h", "hubert_large_ll60k", "hubert", _LARGE
)
hubert_base_robust_mgr = _published(
    "HuBERT base, trained on with noise", "hubert_base_robust_mgr", "hubert", _BASE
)
mhubert_base_vp_en_es_fr_it3 = _published(
    "mHuBERT base, English, Spanish and French", "mhubert_base_vp_en_es_fr_it3", "hubert", _BASE
)
contentvec = _published("ContentVec base", "contentvec", "hubert", _BASE)
contentvec_km100 = _published("ContentVec, 100 units", "contentvec_km100", "hubert", _BASE)
contentvec_km500 = _published("ContentVec, 500 units", "contentvec_km500", "hubert", _BASE)
wav2vec2 = _published("wav2vec 2.0 base", "wav2vec2", "wav2vec2", _BASE)
wav2vec2_base_960 = _published(
    "wav2vec 2.0 base, LibriSpeech 960 h", "wav2vec2_base_960", "wav2vec2", _BASE
)
wav2vec2_large_960 = _published(
    "wav2vec 2.0 large, LibriSpeech 960 h", "wav2vec2_large_960", "wav2vec2", _LARGE
)
wav2vec2_large_ll60k = _published(
    "wav2vec 2.0 large, Libri-Light 60k h", "wav2vec2_large_ll60k", "wav2vec2", _LARGE
)
wav2vec2_large_lv60_cv_swbd_fsh = _published(
    "wav2vec 2.0 large, four English corpora", "wav2vec2_large_lv60_cv_swbd_fsh", "wav2vec2", _LARGE
)
wav2vec2_large_voxpopuli_100k = _published(
    "wav2vec 2.0 large, VoxPopuli", "wav2vec2_large_voxpopuli_100k", "wav2vec2", _LARGE
)
xlsr_53 = _published("XLSR-53, wav2vec 2.0 large of 53 languages", "xlsr_53", "wav2vec2", _LARGE)
xls_r_300m = _published(
    "XLS-R 300M, wav2vec 2.0 of 128 languages", "xls_r_300m", "wav2vec2", _LARGE
)
xls_r_1b = _published("XLS-R 1B", "xls_r_1b", "wav2vec2", (48, 1280))
xls_r_2b = _published("XLS-R 2B", "xls_r_2b", "wav2vec2", (48, 1920))
wav2vec2_conformer_relpos = _published(
    "wav2vec 2.0 conformer, relative positions",
    "wav2vec2_conformer_relpos",
    "wav2vec2-conformer",
    _LARGE,
)
wav2vec2_conformer_rope = _published(
    "wav2vec 2.0 conformer, rotary positions",
    "wav2vec2_conformer_rope",
    "wav2vec2-conformer",
    _LARGE,
)
wavlm = _published("WavLM base plus", "wavlm", "wavlm", _BASE)
wavlm_base = _published("WavLM base", "wavlm_base", "wavlm", _BASE)
wavlm_base_plus = _published("WavLM base plus, 94k h", "wavlm_base_plus", "wavlm", _BASE)
wavlm_large = _published("WavLM large, 94k h", "wavlm_large", "wavlm", _LARGE)
data2vec = _published("data2vec base", "data2vec", "data2vec-audio", _BASE)
data2vec_base_960 = _published(
    "data2vec base, LibriSpeech 960 h", "data2vec_base_960", "data2vec-audio", _BASE
)
data2vec_large_ll60k = _published(
    "data2vec large, Libri-Light 60k h", "data2vec_large_ll60k", "data2vec-audio", _LARGE
)
unispeech_sat = _published("UniSpeech-SAT base", "unispeech_sat", "unispeech-sat", _BASE)
unispeech_sat_base = _published(
    "UniSpeech-SAT base, 960 h", "unispeech_sat_base", "unispeech-sat", _BASE
)
unispeech_sat_base_plus = _published(
    "UniSpeech-SAT base plus, 94k h", "unispeech_sat_base_plus", "unispeech-sat", _BASE
)
unispeech_sat_large = _published(
    "UniSpeech-SAT large, 94k h", "unispeech_sat_large", "unispeech-sat", _LARGE
)
