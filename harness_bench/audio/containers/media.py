"""Films' containers, which also hold audio alone: MP4, Matroska, WebM and ASF."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness_bench.audio.base import AudioFault, Fault
from harness_bench.audio.containers.about import OTHERS, About, Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BOXES = 100_000
_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # of a whole ASF file
_SEGMENT = b"\x18\x53\x80\x67"


class _Box(NamedTuple):
    kind: bytes
    place: int
    end: int


def examine_mp4(found: Bytes) -> About:
    """Examine an MP4, M4A, MOV or 3GP file.

    Raises:
        AudioFault: cut off before its index; nothing of it can be decoded.
    """
    boxes = list(_boxes(found))
    kinds = {box.kind for box in boxes}
    if b"moov" not in kinds:
        raise AudioFault(
            Fault.CUT_OFF,
            "its index (moov) is missing: the recording was never finished, "
            "or the file was cut off",
        )
    last = boxes[-1]
    if last.end > found.size:
        return OTHERS._replace(
            lacking=f"{last.end - found.size} bytes of its last part "
            f"({last.kind.decode('latin-1')}) are missing"
        )
    return OTHERS


def _boxes(found: Bytes) -> Iterator[_Box]:
    place = 0
    for _ in range(_MOST_BOXES):
        head = found.unpack(">I4s", place)
        if head is None:
            return
        size, kind = head
        if size == 1 and (long := found.unpack(">Q", place + 8)):
            size = long[0]
        elif size == 0:
            size = found.size - place
        if size < 8:  # noqa: PLR2004 - of a box's own size and kind
            return
        yield _Box(kind, place, place + size)  # type: ignore[arg-type] # 4s is bytes
        place += size


def examine_matroska(found: Bytes) -> About:
    """Examine a Matroska or WebM file: its segment says how long it is, unless it is a stream."""
    header = _number(found, 4)
    if header is None:
        return OTHERS
    place = 4 + header[1] + header[0]
    segment = _number(found, place + 4) if found.at(place, 4) == _SEGMENT else None
    if segment is None or segment[0] == (1 << 7 * segment[1]) - 1:
        return OTHERS
    end = place + 4 + segment[1] + segment[0]
    if end > found.size:
        return OTHERS._replace(
            lacking=f"the header promises {end} bytes in all, and there are {found.size}"
        )
    return OTHERS


def examine_asf(found: Bytes) -> About:
    """Examine a WMA or ASF file: its header says how long it is, unless it is a stream."""
    place = found.head.find(_PROPERTIES)
    numbers = found.unpack("<Q40xI", place + 40) if place > 0 else None
    if numbers is None or numbers[1] & 1 or numbers[0] <= found.size:
        return OTHERS
    return OTHERS._replace(
        lacking=f"the header promises {numbers[0]} bytes in all, and there are {found.size}"
    )


def _number(found: Bytes, place: int) -> tuple[int, int] | None:
    """Read a number of varying size -> it, and its bytes."""
    data = found.at(place, 8)
    if not data or not data[0]:
        return None
    size = 9 - data[0].bit_length()
    if len(data) < size:
        return None
    return int.from_bytes(data[:size]) & (1 << 7 * size) - 1, size
