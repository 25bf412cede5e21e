"""A memory of computed things, bounded in bytes, and the keys of audio in it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from harness_bench.progress import say

if TYPE_CHECKING:
    from torch import Tensor

MEBIBYTE = 1 << 20


class Sized(Protocol):
    """A tensor or an array: anything that knows its size in bytes."""

    @property
    def nbytes(self) -> int:
        """Size of the data in bytes."""
        ...


class BoundedStore[K, V: Sized]:
    """Keeps values until its bytes are used up, and never drops one for another.

    Training walks through all utterances again and again: whatever is dropped to make room
    would be needed before what took its place, so dropping the oldest would keep nothing useful.
    """

    def __init__(self, max_bytes: int, *, when_full: str | None = None) -> None:
        """`when_full` is said once, when something finds no room any more."""
        self.max_bytes, self.used_bytes, self.when_full = max_bytes, 0, when_full
        self._values: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value kept under a key, or None."""
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value if it is new and there is room for it."""
        if key in self._values:
            return
        if self.used_bytes + value.nbytes <= self.max_bytes:
            self._values[key] = value
            self.used_bytes += value.nbytes
        elif self.when_full is not None:
            say(self.when_full)
            self.when_full = None

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.used_bytes = 0


def waveform_key(waveform: Tensor) -> bytes:
    """Return a digest of an unpadded waveform (samples,): 0.25 ms for 3 s, equal for equal ones."""
    samples = waveform.detach().cpu().contiguous().numpy()
    return hashlib.blake2b(samples.data, digest_size=16).digest()
