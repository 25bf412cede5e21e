"""FBANK behind the feature memory."""

from typing import Any

from harness_bench.models.types.fbank import NAME
from harness_bench.probing.s3prl.upstream import FrozenExpert


class UpstreamExpert(FrozenExpert):
    """What s3prl's `fbank` gives, one utterance at a time; there is no checkpoint to open."""

    def __init__(self, **kwargs: Any) -> None:
        if (given := kwargs.pop("ckpt", None)) is not None:  # s3prl's runner names it always
            raise ValueError(f"-u fbank_cached takes no checkpoint; {given} would be ignored.")
        super().__init__(NAME, **kwargs)
