"""The upstream's name in s3prl: `-u fbank_cached`."""

from typing import Any

from .expert import UpstreamExpert as _UpstreamExpert


def fbank_cached(**kwargs: Any) -> _UpstreamExpert:
    """Give exactly what s3prl's `fbank` gives (80 bins, deltas, CMVN), kept in memory."""
    return _UpstreamExpert(**kwargs)
