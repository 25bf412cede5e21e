"""The upstream's name in s3prl: `-u harness_local -k CHECKPOINT_FOLDER`."""

from __future__ import annotations

from typing import Any

from harness_bench.upstream.harness.expert import UpstreamExpert as _UpstreamExpert


def harness_local(ckpt: str, **kwargs: Any) -> _UpstreamExpert:
    """Open a checkpoint folder (ours, or any HuBERT folder of transformers)."""
    return _UpstreamExpert(ckpt, **kwargs)
