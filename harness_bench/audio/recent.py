"""What is kept of files read before, by path, size and time: safe for threads and forks."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator

type Key = tuple[str, int, int]  # a path, its bytes and the time of its last change


class Waiting(Protocol):
    """A decoder at a place of a file."""

    @property
    def position(self) -> int:
        """The sample that it gives next."""

    def close(self) -> None:
        """Close the file."""


class _Turn:
    """A lock that goes when no thread holds or awaits it."""

    def __init__(self) -> None:
        self.lock = Lock()


class Recent[Item]:
    """The last few things that were put in, by file; safe for threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._items: OrderedDict[Key, Item] = OrderedDict()
        self._making: WeakValueDictionary[Key, _Turn] = WeakValueDictionary()

    @contextmanager
    def turn(self, key: Key | None) -> Iterator[None]:
        """Wait while another thread makes what will be known of the same file."""
        with self._lock:
            mine = _Turn() if key is None else self._making.setdefault(key, _Turn())
        with mine.lock:
            yield

    def get(self, key: Key | None) -> Item | None:
        """Return what is known of a file."""
        with self._lock:
            if key is None or key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key]

    def forked(self) -> None:
        """Begin anew in a forked process, where another thread may have held the lock."""
        self._lock, self._making = Lock(), WeakValueDictionary()

    def put(self, key: Key | None, item: Item) -> None:
        """Keep something, and forget what was longest unused."""
        if key is None:
            return
        with self._lock:
            self._items[key] = item
            if len(self._items) > self._most:
                self._items.popitem(last=False)


class Idle[Decoder: Waiting]:
    """Decoders that wait for the next stretch of their file; safe for threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._waiting: list[tuple[Key, Decoder]] = []

    def forked(self) -> None:
        """Begin anew in a forked process: both would move the place in an open file."""
        self._lock, self._waiting = Lock(), []

    def put(self, key: Key | None, cursor: Decoder) -> None:
        """Keep a decoder open, and close the one that waited longest if there are many."""
        if key is None:
            cursor.close()
            return
        with self._lock:
            self._waiting.append((key, cursor))
            over = self._waiting[: -self._most]
            del self._waiting[: -self._most]
        for _, old in over:
            old.close()

    def take(self, key: Key | None, first: int) -> Decoder | None:
        """Return the decoder of a file that is least before a sample."""
        with self._lock:
            fit = [item for item in self._waiting if item[0] == key and item[1].position <= first]
            if not fit:
                return None
            best = max(fit, key=lambda item: item[1].position)
            self._waiting = [item for item in self._waiting if item is not best]
            return best[1]
