"""s3prl's own names of HuBERT and wav2vec 2.0: `-u xls_r_300m -k FOLDER` opens a local copy.

s3prl's own functions of these names ignore -k and fetch a file of their own. With -k they are our
expert on that checkpoint; without it they stay s3prl's.
"""

import importlib as _importlib
from collections.abc import Callable as _Callable
from typing import Any

from harness_bench.upstream.harness.expert import UpstreamExpert as _UpstreamExpert

from harness_bench.core.log import say as _say
from harness_bench.models.hub import locate as _locate


def _published(about: str, name: str, *shape: int) -> _Callable[..., Any]:
    """Make the function of a name, whose published model has a shape: blocks and dimensions."""

    def upstream(ckpt: str | None = None, **kwargs: Any) -> Any:
        if ckpt is None:
            family = "hubert" if name.startswith("hubert") else "wav2vec2"
            stock = _importlib.import_module(f"s3prl.upstream.{family}.hubconf")
            return getattr(stock, name)(**kwargs)
        if not _locate(ckpt).exists():  # s3prl would ignore it and fetch the published one
            raise ValueError(
                f"-u {name} -k {ckpt}: there is no such folder or file. Give a folder of "
                "transformers, or leave -k out: s3prl then fetches its own copy."
            )
        expert = _UpstreamExpert(ckpt, **kwargs)
        found = (expert.backbone.shape.num_layers, expert.backbone.shape.hidden_size)
        if found != shape:  # its figures would stand under a wrong name
            _say(
                f"-u {name} -k {ckpt}: this model has {found[0]} blocks of {found[1]} dimensions, "
                f"the published {name} has {shape[0]} of {shape[1]}. Use -u harness_local for "
                "other models."
            )
        return expert

    upstream.__doc__ = f"{about}; -k: a local copy."
    return upstream


hubert = _published("HuBERT base", "hubert", 12, 768)
hubert_base = _published("HuBERT base, LibriSpeech 960 h", "hubert_base", 12, 768)
hubert_large_ll60k = _published("HuBERT large, Libri-Light 60k h", "hubert_large_ll60k", 24, 1024)
wav2vec2 = _published("wav2vec 2.0 base", "wav2vec2", 12, 768)
wav2vec2_base_960 = _published("wav2vec 2.0 base, LibriSpeech 960 h", "wav2vec2_base_960", 12, 768)
wav2vec2_large_960 = _published(
    "wav2vec 2.0 large, LibriSpeech 960 h", "wav2vec2_large_960", 24, 1024
)
wav2vec2_large_ll60k = _published(
    "wav2vec 2.0 large, Libri-Light 60k h", "wav2vec2_large_ll60k", 24, 1024
)
wav2vec2_large_lv60_cv_swbd_fsh = _published(
    "wav2vec 2.0 large, four English corpora", "wav2vec2_large_lv60_cv_swbd_fsh", 24, 1024
)
xlsr_53 = _published("XLSR-53, wav2vec 2.0 large of 53 languages", "xlsr_53", 24, 1024)
xls_r_300m = _published("XLS-R 300M, wav2vec 2.0 of 128 languages", "xls_r_300m", 24, 1024)
xls_r_1b = _published("XLS-R 1B", "xls_r_1b", 48, 1280)
xls_r_2b = _published("XLS-R 2B", "xls_r_2b", 48, 1920)
