"""The upstreams' names in s3prl: `-u harness_local -k CHECKPOINT`, `-u harness_st`."""

from collections.abc import Callable as _Callable
from typing import Any

from harness_bench.core.log import say as _say
from harness_bench.models.hub import resolve as _resolve

from .expert import UpstreamExpert as _UpstreamExpert


def harness_local(ckpt: str, **kwargs: Any) -> _UpstreamExpert:
    """Open a checkpoint folder (ours, HuBERT, wav2vec 2.0) or a HuBERT file of fairseq."""
    return _UpstreamExpert(ckpt, **kwargs)


def _named(about: str, name: str) -> _Callable[..., _UpstreamExpert]:
    """Make the function of a name, which opens what `-k` names, or what the name stands for."""

    def upstream(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
        if ckpt is None:
            ckpt = str(_resolve(name))
            _say(f"-u {name}: {ckpt}")  # the log must name the weights behind a figure
        return _UpstreamExpert(ckpt, **kwargs)

    upstream.__doc__ = about
    return upstream


harness_l = _named("HArnESS-L, the teacher of the students (iteration 2).", "harness_l")
harness_l_it1 = _named("HArnESS-L of iteration 1, from MFCC labels.", "harness_l_it1")
harness_l_it2 = _named("HArnESS-L of iteration 2: the same model as harness_l.", "harness_l_it2")
harness_mini = _named("A small model of ours on log-mel bins; needs no -k.", "harness_mini")
harness_s = _named("HArnESS-S: 4 blocks of 1024 dimensions.", "harness_s")
harness_st = _named("HArnESS-ST: 4 blocks of 512 dimensions.", "harness_st")
harness_s_mel = _named("harness_s on log-mel bins: ours, not the paper's.", "harness_s_mel")
harness_st_mel = _named("harness_st on log-mel bins: ours, not the paper's.", "harness_st_mel")
harness_st_pca = _named("HArnESS-ST whose labels came through PCA.", "harness_st_pca")
