"""Ogg: its pages, one after the other."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.audio.base import AudioFault, Fault
from harness_bench.audio.containers.about import OTHERS, About, Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = 27  # bytes of a page's header before the sizes of its segments
_FIRST, _LAST = 2, 4  # flags of a stream's first and last page
_NO_POSITION = -1
_VORBIS_RATE = 40  # where the rate stands, counted from the first page's beginning
# libsndfile decodes 80 ms before a place in Opus, as its standard asks; a third of all stretches
# then begin otherwise than in the whole, by up to -43 dB. After 4 s none of 400 did.
_OPUS_REMEMBERS = 5  # seconds
_CODECS = (b"\x01vorbis", b"OpusHead")  # that libsndfile reads
# In the last page of Vorbis, whose end is cut to length, libsndfile seeks up to 192 samples too
# far; decoded from before that page, every place is right.
_LONGEST_PAGE = 60  # seconds
_TAG = 4096  # bytes; some programs write a tag behind the end
_AHEAD = 1 << 16  # bytes that are read at once
_GAP = "a part in its middle (Ogg) is missing or damaged: {}; get it again"


class _Page(NamedTuple):
    place: int
    end: int
    flags: int
    position: int  # samples up to its end
    serial: int
    number: int  # of the pages of its stream
    torn: bool


def examine(found: Bytes) -> About:
    """Examine an Ogg file: whether its last page is there, and whether it is several streams."""
    links: list[int] = []
    codec, serials, last, page = b"", set[int](), None, None
    longest = 0  # samples of a page
    before: _Page | None = None
    for page in _pages(found):
        _refuse_gap(before, page)
        before = page
        if page.flags & _FIRST:
            if links and page.serial in serials and last is None:
                return OTHERS  # pages in disorder
            if not links or last is not None:
                links.append(page.place)
                codec = codec or found.at(page.place + _HEAD + 1, 8)
                serials, last = set(), None
            serials.add(page.serial)
        elif page.position != _NO_POSITION and not page.torn:
            longest = max(longest, page.position - (last.position if last else 0))
            last = page
    if page is None:
        return OTHERS
    if (behind := found.at(page.end, _AHEAD)) and b"OggS" in behind:
        raise AudioFault(Fault.UNREADABLE, _GAP.format(f"behind byte {page.end}"))
    lacking = _lacking(found, page)
    if len(serials) > 1 or not codec.startswith(_CODECS):
        return OTHERS._replace(lacking=lacking)  # video beside audio, or a codec of its own
    ends = (*links[1:], found.size)
    chain = tuple(zip(links, ends, strict=True)) if len(links) > 1 else ()
    preroll = _OPUS_REMEMBERS
    if not codec.startswith(b"OpusHead"):
        (rate,) = found.unpack("<I", links[0] + _VORBIS_RATE) or (0,)
        preroll = min(longest // max(rate, 1) + 1, _LONGEST_PAGE)
    return About(exact=True, lacking=lacking, preroll=preroll, links=chain)


def _refuse_gap(before: _Page | None, page: _Page) -> None:
    """Refuse a stream whose pages do not follow one another: what comes later would move forward.

    A recording of radio has its stream's first pages and begins in its middle: these are no gap.
    Nor are numbers that do not rise, which some programs do not count.
    """
    if before is None or page.serial != before.serial or page.flags & _FIRST:
        return
    if before.position not in (0, _NO_POSITION) and page.number > before.number + 1:
        told = f"page {page.number} follows page {before.number}"
        raise AudioFault(Fault.UNREADABLE, _GAP.format(told))


def _pages(found: Bytes) -> Iterator[_Page]:
    place, begin, ahead = 0, 0, b""
    while True:
        if place + _HEAD + 255 > begin + len(ahead):
            begin, ahead = place, found.at(place, _AHEAD)
        head = ahead[place - begin : place - begin + _HEAD + 255]
        if len(head) < _HEAD or head[:4] != b"OggS":
            return
        flags, position, serial, number, count = struct.unpack("<5xBqII4xB", head[:_HEAD])
        end = place + _HEAD + count + sum(head[_HEAD : _HEAD + count])
        yield _Page(place, end, flags, position, serial, number, torn=end > found.size)
        place = end


def _lacking(found: Bytes, page: _Page) -> str | None:
    """Say what lacks; a stream that was recorded often has no last page, yet whole ones."""
    behind = found.size - page.end
    if page.torn:
        told = "its last page (Ogg) is torn: {} bytes of it are missing, and all that followed"
        return told.format(-behind)
    if behind > (_TAG if page.flags & _LAST else 0):
        return f"{behind} bytes behind its last page (Ogg) are not a page"
    return None
