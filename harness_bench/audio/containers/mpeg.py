"""MP3: whether its Xing/Info header agrees with the file."""

from __future__ import annotations

import struct
from typing import NamedTuple

from harness_bench.audio.containers.about import HARMLESS, OTHERS, About, Bytes

_FRAMES, _BYTES = 1, 2  # flags of a Xing header's fields
_LONGEST = 1441  # bytes of a frame
_RATES = (44_100, 48_000, 32_000)
_KBPS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}


class _LayerFrame(NamedTuple):
    size: int  # bytes
    samples: int
    rate: int
    info: int  # where a Xing header begins in it


def tag_size(found: Bytes, place: int = 0) -> int:
    """Return the bytes of the ID3v2 tags that begin at `place`."""
    begin = place
    while (head := found.at(place, 10))[:3] == b"ID3" and len(head) == 10:  # noqa: PLR2004
        if max(head[6:10]) > 127:  # noqa: PLR2004 - seven bits each
            break
        size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        place += 10 + size + (10 if head[5] & 0x10 else 0)
    return place - begin


def frame(head: bytes) -> _LayerFrame | None:
    """Read the header of a layer III frame; None for anything else."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # noqa: PLR2004 - sync, layer
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or kbps in (0, 15) or rate == 3:  # noqa: PLR2004 - reserved, or free format
        return None
    first = version == 3  # noqa: PLR2004 - MPEG 1
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 1152 if first else 576
    size = samples // 8 * _KBPS[3 if first else 2][kbps] * 1000 // hertz + (head[2] >> 1 & 1)
    mono = head[3] >> 6 == 3  # noqa: PLR2004 - as the format says
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return _LayerFrame(size, samples, hertz, 4 + side)


def examine(found: Bytes, start: int) -> About | None:
    """Examine an MP3 file whose first frame begins at `start`; None if none does."""
    first = frame(found.at(start, 4))
    if first is None or frame(found.at(start + first.size, 4)) is None:
        return None
    info = found.at(start + first.info, 16)
    if info[:4] not in (b"Xing", b"Info") or len(info) < 16:  # noqa: PLR2004 - two counts
        return OTHERS
    flags, frames, promised = struct.unpack(">3I", info[4:])
    if flags & 3 != _FRAMES | _BYTES or not frames:
        return OTHERS
    there, frame_seconds = _audio_end(found) - start, first.samples / first.rate
    if promised > there and promised != found.size - start:  # some count the tag at the end
        lost = (promised - there) * frames * frame_seconds / promised + frame_seconds
        told = f"its Info header promises {promised} bytes of audio, and there are {there}"
        return OTHERS._replace(lacking=told if lost > HARMLESS else None)
    # A frame more is what encoders differ by; more is another file joined to this one.
    return About(exact=there - promised <= max(first.size, _LONGEST), mutters=True)


def _audio_end(found: Bytes) -> int:
    """Return where the audio ends, before tags at the end of the file."""
    end = found.size
    if found.at(end - 128, 3) == b"TAG":
        end -= 128
    footer = found.at(max(end - 32, 0), 32)
    if footer[:8] == b"APETAGEX":
        size, _, flags = struct.unpack("<III", footer[12:24])
        end -= size + (32 if flags >> 31 else 0)
    return end
