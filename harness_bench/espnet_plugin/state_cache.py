"""Hidden states of utterances already seen, kept in memory up to a limit."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from harness_bench.progress import say

if TYPE_CHECKING:
    from torch import Tensor


class StateCache:
    """A bounded store: utterance -> hidden states; full, it keeps what it has and takes no more.

    Nothing is evicted: every epoch visits every utterance once, so replacing the oldest entries
    would lose each of them just before it is wanted again.
    """

    def __init__(self, limit_mb: int) -> None:
        if limit_mb < 1:
            raise ValueError(f"cache_mb = {limit_mb}: expected a size in MB of at least 1.")
        self.limit = limit_mb << 20
        self.size = 0
        self._states: dict[bytes, Tensor] = {}

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: bytes) -> Tensor | None:
        """Return the hidden states (K, F, D) of an utterance, or None; never write into them."""
        return self._states.get(key)

    def put(self, key: bytes, states: Tensor) -> None:
        """Keep the hidden states (K, F, D) of an utterance if there is room."""
        size = states.numel() * states.element_size()
        if key in self._states:
            return
        if self.size + size <= self.limit:
            self._states[key] = states
            self.size += size
        elif self.limit:
            say(
                f"The feature cache is full ({len(self)} utterances, {self.size >> 20} MB); the "
                "others run through the upstream each time. Raise cache_mb to hold all."
            )
            self.limit = 0  # Say it once.


def waveform_key(waveform: Tensor) -> bytes:
    """Return a digest of an unpadded waveform (samples,), the same for equal samples."""
    samples = waveform.detach().cpu().contiguous().numpy()
    return hashlib.blake2b(samples.data, digest_size=16).digest()
