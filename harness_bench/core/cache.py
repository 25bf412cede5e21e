"""Files by key in one folder, bounded in bytes; several processes may use it at once.

There is no lock and no index. A file is written beside its place and renamed into it, the time of
its last use is its modification time, and whoever needs room deletes the files unused longest.
Two processes that delete or write the same file do each other no harm.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from harness_bench.core.files import atomic_path
from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

MEBIBYTE = 1 << 20
# Only files of this pattern are ever deleted, whatever folder a user names.
_ENTRY = re.compile(r"[0-9a-f]{32}\.safetensors")
_LEFTOVER = re.compile(r"\.partial-\w+\.safetensors")
_LEFTOVER_SECONDS = 3600  # a write takes milliseconds; one this old was killed
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# {title} of harness_bench. This folder can be deleted at any time.
"""
# Part of the free room that may be written before the folder is looked at again, so that up to
# eight processes that know nothing of each other together stay within the bound.
_ROOM_SHARE = 8
_KEEP_FREE = 10  # percent of the bound that an eviction frees, so that not each write evicts


class _File(NamedTuple):
    used_ns: int
    size: int
    path: Path


class DiskStore:
    """Keeps bytes under 16-byte keys, the least recently used making room for new ones.

    What this store itself has read or written is never dropped by it: a training walks through
    all utterances again and again, and would otherwise drop each one just before it is needed.
    The folder is made at the first write; messages call it `title`.
    """

    def __init__(self, folder: Path, max_bytes: int, title: str = "Feature cache") -> None:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{title} {folder} is a file; name a folder, new or old.")
        self.folder, self.max_bytes, self.title = folder, max_bytes, title
        self._mine: dict[str, int] = {}  # name -> bytes
        self._my_bytes = 0
        self._total, self._allowance = 0, -1  # bytes at the last look; bytes until the next

    def read(self, key: bytes) -> bytes | None:
        """Return what is kept under a key, or None; counts as a use. Unreadable: an OSError."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        self._touch(path)
        self._claim(path.name, len(data))
        return data

    def write(self, key: bytes, data: bytes) -> bool:
        """Keep bytes; False if this store's own leave no room. A full disk is an OSError."""
        path = self._path(key)
        mine = self._my_bytes - self._mine.get(path.name, 0)
        if mine + len(data) > self.max_bytes or not self._make_room(len(data)):
            return False
        self._tag()
        # Not synced: after a power cut the checksum tells a torn file, which costs less.
        with atomic_path(path, sync=False) as partial:
            partial.write_bytes(data)
        self._touch(path)
        self._claim(path.name, len(data))
        self._total += len(data)
        self._allowance -= len(data)
        return True

    def drop(self, key: bytes) -> None:
        """Forget a key; one that is not there is no error."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        self._my_bytes -= self._mine.pop(path.name, 0)

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _touch(self, path: Path) -> None:
        now = time.time_ns()
        with suppress(OSError):  # evicted by another process, or a folder that is read-only here
            os.utime(path, ns=(now, now))

    def _claim(self, name: str, size: int) -> None:
        self._my_bytes += size - self._mine.get(name, 0)
        self._mine[name] = size

    def _tag(self) -> None:
        tag = self.folder / _TAG
        if not tag.exists():
            with atomic_path(tag, sync=False) as partial:
                partial.write_text(_TAG_TEXT.format(title=self.title), encoding="utf-8")

    def _make_room(self, size: int) -> bool:
        """Look at the folder where it is time to, and evict; False if that does not suffice."""
        if size <= self._allowance:
            return True
        files = sorted(self._files())
        self._total = sum(file.size for file in files)
        if self._total + size > self.max_bytes:
            self._evict(files, self.max_bytes * (100 - _KEEP_FREE) // 100 - size)
        room = self.max_bytes - self._total
        self._allowance = max(size, room // _ROOM_SHARE)
        return size <= room

    def _evict(self, files: list[_File], target: int) -> None:
        """Delete files of others, unused longest first, until `target` bytes are left."""
        for file in files:
            if self._total <= target:
                return
            # A file that is being written counts, and is left to its writer.
            if file.path.name not in self._mine and _ENTRY.fullmatch(file.path.name):
                file.path.unlink(missing_ok=True)
                self._total -= file.size

    def _files(self) -> Iterator[_File]:
        """Yield all entries; delete what killed writers left behind."""
        expired = time.time() - _LEFTOVER_SECONDS
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            left = _LEFTOVER.fullmatch(path.name)
            if not left and not _ENTRY.fullmatch(path.name):
                continue
            with suppress(FileNotFoundError):
                found = path.lstat()
                if left and found.st_mtime < expired:
                    path.unlink()
                else:
                    yield _File(found.st_mtime_ns, found.st_size, path)


class BoundedStore[K, V: Tensor | NDArray[Any]]:
    """Keeps values until their bytes are `max_bytes`, and never drops one for another.

    Training walks through all utterances again and again: whatever is dropped to make room
    would be needed before what took its place, so dropping the oldest would keep nothing useful.
    `when_full` is logged once, when something finds no room any more.
    """

    def __init__(self, max_bytes: int, *, when_full: str | None = None) -> None:
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
