"""WAV, in its kinds RIFF, RIFX, RF64 and BW64, and W64."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.audio.containers.about import HARMLESS, OTHERS, STREAMED, About, Bytes, lack

if TYPE_CHECKING:
    from collections.abc import Iterator

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# Codecs that libsndfile decodes and seeks in: both ADPCMs, A-law and mu-law. It is wrong about the
# length of GSM and MP3 in WAV.
_EXACT = {_PCM, _FLOAT, 2, 6, 7, 0x11}
_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # the end of every GUID of W64 but the first
_MOST_CHUNKS = 10_000


class _Format(NamedTuple):
    codec: int
    rate: int
    frame: int  # bytes of one sample of all channels
    per_second: int  # bytes

    @property
    def seconds_bytes(self) -> int:
        """Bytes of one second, whatever a wrong header says of it."""
        if self.codec in (_PCM, _FLOAT, 6, 7):
            return self.rate * max(self.frame, 1)
        return self.per_second


def examine(found: Bytes) -> About:
    """Examine a WAV file."""
    if found.head[8:12] != b"WAVE":
        return OTHERS
    order = ">" if found.head[:4] == b"RIFX" else "<"
    form: _Format | None = None
    long_size: int | None = None
    for name, place, size in _chunks(found, order):
        if name == b"ds64" and (sizes := found.unpack("<QQ", place)):
            long_size = sizes[1]
        elif name == b"fmt ":
            form = _format(found, place, order)
        elif name == b"data":
            if size == 0xFFFFFFFF and long_size is not None:  # noqa: PLR2004 - as the format says
                size = long_size  # noqa: PLW2901 - what the chunk cannot say
            return _judge(found, form, place, size, order) if form else OTHERS
    return OTHERS


def _chunks(found: Bytes, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, and the place and size of its content."""
    place = 12
    for _ in range(_MOST_CHUNKS):
        head = found.at(place, 8)
        if len(head) < 8:  # noqa: PLR2004 - an id and a size
            return
        (size,) = struct.unpack(f"{order}4xI", head)
        yield head[:4], place + 8, size
        place += 8 + size + size % 2


def _format(found: Bytes, place: int, order: str) -> _Format | None:
    numbers = found.unpack(f"{order}HHIIHH", place)
    if numbers is None:
        return None
    codec, channels, rate, per_second, _, bits = numbers
    if codec == _EXTENSIBLE and (inner := found.unpack(f"{order}H", place + 24)):
        codec = inner[0]
    return _Format(codec, rate, channels * ((bits + 7) // 8), per_second)


def _judge(found: Bytes, form: _Format, place: int, size: int, order: str) -> About:
    """Judge a file whose audio begins at `place`, and has `size` bytes by its header."""
    there, exact = found.size - place, form.codec in _EXACT and found.head[:4] != b"BW64"
    if not size and there and not _names_chunk(found, place):
        if there >= STREAMED:
            return OTHERS
        patch = (place - 4, struct.pack(f"{order}I", there))
        return About(exact, patches=(patch,))
    if size == there:
        return About(exact)
    lacking = lack(size, there, form.seconds_bytes) or _uncounted(found, form, place, size)
    return About(exact, lacking)


def _uncounted(found: Bytes, form: _Format, place: int, size: int) -> str | None:
    """Say how much audio lies behind what the header counts: it was never brought up to date."""
    end = place + size + size % 2
    behind = found.size - end
    if behind < HARMLESS * max(form.seconds_bytes, 1) or _names_chunk(found, end):
        return None
    if not found.at(end, 4096).strip(b"\0"):
        return None
    return f"the header counts {size} bytes of audio, and {behind} more lie behind them"


def _names_chunk(found: Bytes, place: int) -> bool:
    """Whether a chunk or a tag begins there, and no audio."""
    name = found.at(place, 4)
    return name[:3] in (b"TAG", b"ID3") or (
        len(name) == 4 and all(32 <= letter < 127 for letter in name)  # noqa: PLR2004 - ASCII
    )


def examine_w64(found: Bytes) -> About:
    """Examine a Sony Wave64 file: its sizes have 64 bits and count their own 24 bytes."""
    place, form = 40, None
    for _ in range(_MOST_CHUNKS):
        head = found.at(place, 24)
        if len(head) < 24 or head[4:16] != _W64:  # noqa: PLR2004 - a GUID and a size
            return OTHERS
        (size,) = struct.unpack("<Q", head[16:])
        if head[:4] == b"fmt ":
            form = _format(found, place + 24, "<")
        elif head[:4] == b"data" and form is not None:
            there = found.size - place - 24
            if size <= 24 and there:  # noqa: PLR2004 - as above
                return OTHERS
            return About(form.codec in _EXACT, lack(size - 24, there, form.seconds_bytes))
        place += max((size + 7) // 8 * 8, 24)
    return OTHERS
