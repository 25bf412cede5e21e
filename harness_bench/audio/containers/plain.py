"""AIFF, AU, CAF and SPHERE: a header before samples."""

from __future__ import annotations

import re
import struct

from harness_bench.audio.base import AudioFault, Fault
from harness_bench.audio.containers.about import OTHERS, STREAMED, About, Bytes, lack

_MOST_CHUNKS = 10_000
_UNKNOWN = 0xFFFFFFFF
# Codecs of AIFF-C, and of AU with the bytes of one of their samples, that libsndfile reads.
_AIFF = {b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"42ni", b"23ni"} | {
    kind for name in (b"fl32", b"fl64", b"ulaw", b"alaw") for kind in (name, name.upper())
}
_AU = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_CAF = {b"lpcm", b"ulaw", b"alaw"}


def examine_aiff(found: Bytes) -> About:
    """Examine an AIFF or AIFF-C file."""
    if found.head[8:12] not in (b"AIFF", b"AIFC"):
        return OTHERS
    place, exact, per_second, frames = 12, True, 0.0, 1
    for _ in range(_MOST_CHUNKS):
        head = found.at(place, 8)
        if len(head) < 8:  # noqa: PLR2004 - an id and a size
            break
        (size,) = struct.unpack(">4xI", head)
        if head[:4] == b"COMM" and (numbers := found.unpack(">hIh", place + 8)):
            channels, frames, bits = numbers
            per_second = _extended(found.at(place + 16, 10)) * channels * ((bits + 7) // 8)
            if found.head[8:12] == b"AIFC":
                exact = found.at(place + 26, 4) in _AIFF
        elif head[:4] == b"SSND":
            there = found.size - place - 8
            if there > 8 and (size <= 8 or not frames):  # noqa: PLR2004 - offset and block size
                return OTHERS
            return About(exact, lack(size - 8, there - 8, per_second))
        place += 8 + size + size % 2
    return OTHERS


def _extended(number: bytes) -> float:
    """Return an 80-bit float."""
    exponent, mantissa = struct.unpack(">HQ", number.ljust(10, b"\0"))
    exponent = (exponent & 0x7FFF) - 16383 - 63
    return float(mantissa) * 2.0**exponent if abs(exponent) < 64 else 0.0  # noqa: PLR2004


def examine_au(found: Bytes) -> About:
    """Examine an AU file, either byte order."""
    order = ">" if found.head[:4] == b".snd" else "<"
    numbers = found.unpack(f"{order}5I", 4)
    if numbers is None:
        return OTHERS
    offset, size, codec, rate, channels = numbers
    if codec not in _AU or (not size and found.size > offset):
        return OTHERS
    if size == _UNKNOWN:
        return About(exact=True)
    return About(True, lack(size, found.size - offset, rate * channels * _AU[codec]))  # noqa: FBT003


def examine_caf(found: Bytes) -> About:
    """Examine a CAF file: chunks with sizes of 64 bits."""
    place, exact, per_second = 8, False, 0.0
    for _ in range(_MOST_CHUNKS):
        head = found.at(place, 12)
        if len(head) < 12:  # noqa: PLR2004 - an id and a size
            break
        (size,) = struct.unpack(">4xq", head)
        if head[:4] == b"desc" and len(desc := found.at(place + 12, 32)) == 32:  # noqa: PLR2004
            rate, packet, frames = struct.unpack(">d8x2I8x", desc)
            exact = desc[8:12] in _CAF
            per_second = rate * packet / frames if frames else 0.0
        elif head[:4] == b"data":
            if size < 0:  # unknown: to the end of the file
                return About(exact)
            # Where packets vary in size, only FFmpeg knows how many seconds lack.
            return About(exact, lack(size, found.size - place - 12, per_second or 2000))
        place += 12 + max(size, 0)
    return OTHERS


def examine_sphere(found: Bytes) -> About:
    """Examine a NIST SPHERE file.

    Raises:
        AudioFault: packed by shorten, which nothing here reads.
    """
    lines = found.head[8:16].split()
    size = int(lines[0]) if lines and lines[0].isdigit() else 1024
    text = found.at(0, min(size, STREAMED)).decode("latin-1")
    fields = dict(re.findall(r"^(\w+) -\w+ (.*?)\s*$", text, re.MULTILINE))
    coding = fields.get("sample_coding", "pcm")
    if "shorten" in coding:
        raise AudioFault(
            Fault.UNREADABLE,
            f"its samples are packed by shorten ({coding}); "
            "unpack it first: sph2pipe -f wav IN.sph OUT.wav",
        )
    if coding not in ("pcm", "ulaw", "alaw", "mu-law"):
        return OTHERS
    counts = [fields.get(name, "") for name in ("sample_count", "sample_n_bytes", "sample_rate")]
    if not all(count.isdigit() for count in counts):
        return About(exact=True)
    channels = fields.get("channel_count", "1")
    frame = int(counts[1]) * (int(channels) if channels.isdigit() else 1)
    promised = int(counts[0]) * frame
    return About(True, lack(promised, found.size - size, int(counts[2]) * frame))  # noqa: FBT003
