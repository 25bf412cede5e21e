"""A memory of computed things, bounded in bytes."""

from __future__ import annotations

from typing import Protocol

MEBIBYTE = 1 << 20
# Environment variable: MiB of features that an upstream keeps (0: none).
FEATURE_CACHE = "HARNESS_FEATURE_CACHE_MB"


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

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.used_bytes = max_bytes, 0
        self._values: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value kept under a key, or None."""
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value if it is new and there is room for it."""
        if key not in self._values and self.used_bytes + value.nbytes <= self.max_bytes:
            self._values[key] = value
            self.used_bytes += value.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.used_bytes = 0
