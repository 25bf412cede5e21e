"""A part of an open file as a file of its own, with some bytes mended."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, override

if TYPE_CHECKING:
    from collections.abc import Sequence


class SeekableFile(io.FileIO):
    """A file that answers as C does where it cannot seek; PyAV prints what is raised then."""

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; -1 if there is none."""
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError):
            return -1


class PartOfFile(io.RawIOBase):
    """Bytes `begin` to `end` of a file; `patches` stand over its own bytes, each at a place."""

    def __init__(
        self, file: BinaryIO, begin: int, end: int, patches: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self._file, self._begin, self._size = file, begin, end - begin
        self._patches, self._place = patches, 0

    @override
    def readable(self) -> bool:
        """Say yes."""
        return True

    @override
    def seekable(self) -> bool:
        """Say yes."""
        return True

    @override
    def tell(self) -> int:
        """Return the place in this part."""
        return self._place

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in this part; before its beginning: -1, as C says."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            return -1
        self._place = start + offset
        return self._place

    @override
    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, or to the end of this part."""
        left = max(self._size - self._place, 0)
        first = self._begin + self._place
        self._file.seek(first)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        for place, patch in self._patches:
            begin, end = max(place - first, 0), min(place + len(patch) - first, len(data))
            if begin < end:
                skip = max(first - place, 0)
                data = data[:begin] + patch[skip : skip + end - begin] + data[end:]
        self._place += len(data)
        return data

    @override
    def readinto(self, buffer: object) -> int:
        """Read into a buffer, as libsndfile asks."""
        view = memoryview(buffer)  # type: ignore[arg-type] # typeshed wants a Buffer
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
