"""FLAC: how long it is by its last frame."""

from __future__ import annotations

from typing import NamedTuple

from harness_bench.audio.containers.about import HARMLESS, OTHERS, About, Bytes

_TAIL = 65_536  # bytes that are searched for the last frame at first
_BLOCKS = {1: 192, **{code: 576 << (code - 2) for code in range(2, 6)}} | {
    code: 256 << (code - 8) for code in range(8, 16)
}


def _table(polynomial: int, bits: int) -> list[int]:
    values = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> (bits - 1) & 1 else 0)
        values.append(value & ((1 << bits) - 1))
    return values


_CRC8, _CRC16 = _table(0x107, 8), _table(0x18005, 16)


class _Stream(NamedTuple):
    place: int  # of STREAMINFO's content
    block: int  # samples of a frame where all have as many, else 0
    frame: int  # bytes of the longest frame, 0 if unknown
    rate: int
    channels: int
    total: int  # samples, 0 if unknown


class _FlacFrame(NamedTuple):
    place: int
    first: int  # samples before it
    samples: int


def examine(found: Bytes, start: int = 0) -> About:
    """Examine a FLAC file that begins at `start`, behind a tag."""
    stream = _stream_info(found, start + 8)
    if stream is None or not stream.rate:
        return OTHERS
    end = found.size - 128 if found.at(found.size - 128, 3) == b"TAG" else found.size
    tail = 2 * stream.frame + 64 if stream.frame else _TAIL
    last = _last_frame(found, stream, end, tail)
    if last is not None and last.first + last.samples == stream.total:
        return About(exact=True)
    if last is None and tail < end:
        last = _last_frame(found, stream, end, end)
    there, lacking = 0, None
    if last is not None:
        whole = _checked(found.at(last.place, end - last.place))
        there = last.first + (last.samples if whole else 0)
        lacking = None if whole or stream.total else "its last frame is torn"
    if stream.total - there > HARMLESS * stream.rate:
        lacking = f"the header promises {stream.total} samples, and there are {there}"
    if not there:  # a length of 0 means that it is unknown: libsndfile would promise 2**63 samples
        return OTHERS._replace(lacking=lacking)
    return About(exact=True, lacking=lacking, patches=(_patch(found, stream, there),))


def _stream_info(found: Bytes, place: int) -> _Stream | None:
    numbers = found.unpack(">HHBHBHQ", place)
    if numbers is None or found.at(place - 4, 1)[0] & 0x7F:
        return None
    least, most, _, _, high, low, packed = numbers
    return _Stream(
        place,
        most if least == most else 0,
        (high << 16) + low,
        packed >> 44,
        (packed >> 41 & 7) + 1,
        packed & 0xFFFFFFFFF,
    )


def _patch(found: Bytes, stream: _Stream, samples: int) -> tuple[int, bytes]:
    """Return what makes the header promise so many samples."""
    high = found.at(stream.place + 13, 1)[0] & 0xF0 | samples >> 32 & 0xF
    return stream.place + 13, bytes([high]) + (samples & 0xFFFFFFFF).to_bytes(4)


def _last_frame(found: Bytes, stream: _Stream, end: int, tail: int) -> _FlacFrame | None:
    begin = max(end - tail, stream.place + 34)
    data = found.at(begin, end - begin)
    place, sync = len(data), b"\xff\xf8" if stream.block else b"\xff\xf9"
    while place > 0:
        place = data.rfind(sync, 0, place)
        if place >= 0 and (frame := _frame(data[place : place + 16], stream)):
            return frame._replace(place=begin + place)
    return None


def _frame(head: bytes, stream: _Stream) -> _FlacFrame | None:
    """Read a frame's header; None for what only looks like one."""
    if len(head) < 6 or head[3] & 1 or (head[3] >> 1 & 7) in (3, 7):  # noqa: PLR2004 - reserved
        return None
    channels = head[3] >> 4
    if channels > 10 or (channels + 1 if channels < 8 else 2) != stream.channels:  # noqa: PLR2004
        return None
    number, place = _utf8(head, 4)
    code, rate = head[2] >> 4, head[2] & 15
    if number is None or not code or rate == 15:  # noqa: PLR2004 - reserved
        return None
    more = 1 if code == 6 else 2 if code == 7 else 0  # noqa: PLR2004 - as the format says
    samples = int.from_bytes(head[place : place + more]) + 1 if more else _BLOCKS[code]
    place += more + (1 if rate == 12 else 2 if rate in (13, 14) else 0)  # noqa: PLR2004
    if place >= len(head) or head[place] != _crc(head[:place], _CRC8, 8):
        return None
    first = number if head[1] & 1 else number * (stream.block or samples)
    if stream.total and first + samples > stream.total:
        return None
    return _FlacFrame(0, first, samples)


def _utf8(head: bytes, place: int) -> tuple[int | None, int]:
    """Read a number written as UTF-8 writes letters, of up to 36 bits -> it, the place behind."""
    lead = head[place]
    more = 0
    while lead << more & 0x80:
        more += 1
    if more == 0:
        return lead, place + 1
    rest = head[place + 1 : place + more]
    if more in (1, 8) or len(rest) < more - 1 or any(byte >> 6 != 2 for byte in rest):  # noqa: PLR2004
        return None, place
    number = lead & 0xFF >> (more + 1)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, place + more


def _checked(frame: bytes) -> bool:
    """Whether a frame is whole, by its checksum."""
    return len(frame) > 2 and _crc(frame[:-2], _CRC16, 16) == int.from_bytes(frame[-2:])  # noqa: PLR2004


def _crc(data: bytes, table: list[int], bits: int) -> int:
    value, shift, mask = 0, bits - 8, (1 << bits) - 1
    for byte in data:
        value = (value << 8 ^ table[value >> shift ^ byte]) & mask
    return value
