"""FBANK behind the feature memory."""

from typing import Any

from harness_bench.models.types.fbank import NAME
from harness_bench.probing.s3prl.upstream import FrozenExpert


class UpstreamExpert(FrozenExpert):
    """What s3prl's `fbank` gives, one utterance at a time; there is no checkpoint to open."""

    def __init__(self, ckpt: str | None = None, **kwargs: Any) -> None:
        del ckpt
        super().__init__(NAME, **kwargs)
