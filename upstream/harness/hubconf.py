"""The upstreams' names in s3prl: `-u harness_local -k CHECKPOINT`, `-u harness_st`."""

from __future__ import annotations

from typing import Any

from harness_bench.core.log import say as _say
from harness_bench.models.hub import resolve as _resolve

from .expert import UpstreamExpert as _UpstreamExpert


def harness_local(ckpt: str, **kwargs: Any) -> _UpstreamExpert:
    """Open a checkpoint folder (ours, HuBERT, wav2vec 2.0) or a HuBERT file of fairseq."""
    return _UpstreamExpert(ckpt, **kwargs)


def harness_l(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """HArnESS-L, the teacher of the students (iteration 2)."""
    return _named("harness_l", ckpt, kwargs)


def harness_l_it1(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """HArnESS-L of iteration 1, from MFCC labels."""
    return _named("harness_l_it1", ckpt, kwargs)


def harness_l_it2(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """HArnESS-L of iteration 2: the same model as harness_l."""
    return _named("harness_l_it2", ckpt, kwargs)


def harness_s(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """HArnESS-S: 4 blocks of 1024 dimensions."""
    return _named("harness_s", ckpt, kwargs)


def harness_st(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """HArnESS-ST: 4 blocks of 512 dimensions."""
    return _named("harness_st", ckpt, kwargs)


def harness_st_pca(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """HArnESS-ST whose labels came through PCA."""
    return _named("harness_st_pca", ckpt, kwargs)


def _named(name: str, ckpt: str | None, kwargs: dict[str, Any]) -> _UpstreamExpert:
    """Open what `-k` names, or what the name stands for."""
    if ckpt is None:
        ckpt = str(_resolve(name))
        _say(f"-u {name}: {ckpt}")  # the log must name the weights behind a figure
    return _UpstreamExpert(ckpt, **kwargs)
