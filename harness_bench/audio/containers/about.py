"""What the bytes of a file say of it, and how they are read."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

HARMLESS = 0.1  # seconds of audio that may lack: headers often count a little too much
STREAMED = 0x7FFFF000  # bytes; programs that write into a pipe promise this many or more


class About(NamedTuple):
    """What the bytes of a file say of it."""

    exact: bool  # whether libsndfile reads it exactly
    lacking: str | None = None  # what a file that was cut off lacks
    patches: tuple[tuple[int, bytes], ...] = ()  # (place, bytes) without which libsndfile errs
    preroll: int = 0  # seconds that libsndfile decodes before any place it seeks
    mutters: bool = False  # whether libsndfile's decoder prints what it finds odd
    links: tuple[tuple[int, int], ...] = ()  # (begin, end) of streams that follow one another


OTHERS = About(exact=False)  # FFmpeg knows more of it than its first bytes say


class Bytes:
    """A file's bytes by their place; its first ones are read once."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        file.seek(0)
        self.head = file.read(4096)
        self.size = len(self.head)
        if self.size == 4096:  # noqa: PLR2004 - as above
            self.size = file.seek(0, os.SEEK_END)

    def at(self, place: int, count: int) -> bytes:
        """Return up to `count` bytes that begin at `place`; none where a header errs."""
        count = min(count, self.size - place)
        if place < 0 or count <= 0:
            return b""
        if place + count <= len(self.head):
            return self.head[place : place + count]
        self.file.seek(place)
        return self.file.read(count)

    def unpack(self, layout: str, place: int) -> tuple[int, ...] | None:
        """Return numbers at `place`; None where the file ends before them."""
        size = struct.calcsize(layout)
        found = self.at(place, size)
        return struct.unpack(layout, found) if len(found) == size else None


def lack(promised: int, there: int, per_second: float) -> str | None:
    """Say what lacks of so many bytes of audio, if it is more than harmless."""
    if promised >= STREAMED and promised >> 32 in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        return None
    if (promised - there) / max(per_second, 1) < HARMLESS / 2:  # a block may be torn besides
        return None
    return f"the header promises {promised} bytes of audio, and there are {max(there, 0)}"
