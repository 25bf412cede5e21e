"""Read what Kaldi and NIST tools call text, segments and STM, for evaluation sets of thousands.

A broken line is given out with its reason, for the caller to list. A file that is not UTF-8 or
cannot be read is a `ValueError` that names it and the line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.corpora.base import Reason, Skipped, Utterance
from harness_bench.corpora.formats import raw_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LONGEST_TIME = 1e6  # seconds; no recording here has 11 days
UNKNOWN = frozenset({"", "-", "n/a", "na", "none", "null", "unk", "unknown"})  # speakers
_TIME = re.compile(r"(?:\d{1,9}(?:\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_ARABIC = re.compile(r"[\u0621-\u064a\u066e-\u06d3]")
_LONGEST_ID = 255  # characters
# <recording>_spk-0001_seg-0001671:0002252, where some files write `_` for `-`.
_ID = re.compile(
    r"(?P<recording>.+?)[_-]spk[-_](?P<speaker>[^_:-]+)[_-]seg[-_](?P<start>\d{1,9}):(?P<end>\d{1,9})",
    re.ASCII,
)
_CENTISECONDS = 100
_NEAR = (0, -1, 1)  # centiseconds that two files' times may differ by rounding
_SEGMENT_FIELDS, _STM_FIELDS = 4, 5
_SKIPPED_MARK = "@@@"
# What stands in Buckwalter text and is none: words marked as Latin, tags of Kaldi.
_NOT_BUCKWALTER = re.compile(r"@@LAT|%|\[[A-Z-]+\]$|<(?:UNK|unk|NOISE|SPOKEN_NOISE)>$")


class Span(NamedTuple):
    """A stretch of a recording in seconds, with what stands beside it."""

    recording: str
    start: float
    end: float
    speaker: str = ""
    text: str = ""
    gender: str | None = None


class BySpan:
    """Spans found by recording and times, a centisecond more or less; the first of equal ones."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.known: dict[tuple[str, int, int], Span] = {}
        for span in spans:
            self.known.setdefault(self._key(span), span)

    def find(self, span: Span) -> Span | None:
        """Return what is known of a span; None where there is none of its times."""
        recording, start, end = self._key(span)
        near = ((recording, start + one, end + two) for one in _NEAR for two in _NEAR)
        return next((self.known[key] for key in near if key in self.known), None)

    @staticmethod
    def _key(span: Span) -> tuple[str, int, int]:
        start, end = round(span.start * _CENTISECONDS), round(span.end * _CENTISECONDS)
        return span.recording.replace("_", "-").lower(), start, end


def spoken(
    uid: str, span: Span, audio: raw_files.AudioIndex, *, split: str, where: str, **custom: str
) -> Utterance | Skipped:
    """Return the utterance of a span, or why it is left out; `custom` is over its cluster."""
    if span.text.startswith(_SKIPPED_MARK):
        detail = f"marked {_SKIPPED_MARK}: not to be transcribed"
        return Skipped(uid, Reason.BY_RULE, detail, where=where)
    path = audio.find(span.recording)
    if path is None:
        return Skipped(uid, Reason.MISSING_FILE, audio.missing(), span.recording, where)
    return Utterance(
        id=uid,
        audio=path,
        split=split,
        start=span.start,
        duration=round(span.end - span.start, 6),
        text=span.text or None,
        speaker=None if span.speaker.lower() in UNKNOWN else f"{path.stem}_spk-{span.speaker}",
        language="ar",
        gender=span.gender,
        custom={"cluster": path.stem, **custom},
        where=where,
    )


def seconds(start: str, end: str) -> tuple[float, float] | None:
    """Read two times in seconds; None unless both are plain numbers and the end comes later."""
    if not (_TIME.fullmatch(start) and _TIME.fullmatch(end)):
        return None
    times = float(start), float(end)
    return times if times[0] < times[1] <= LONGEST_TIME else None


def parse_id(text: str) -> Span | None:
    """Read `<recording>_spk-0001_seg-<start>:<end>` (centiseconds); None for another form.

    >>> parse_id("03BD-11_spk-0001_seg-0001671:0002252")[:4]
    ('03BD-11', 16.71, 22.52, '0001')
    """
    match = _ID.fullmatch(text) if len(text) <= _LONGEST_ID else None
    if match is None or not (start := int(match["start"])) < (end := int(match["end"])):
        return None
    return Span(match["recording"], start / _CENTISECONDS, end / _CENTISECONDS, match["speaker"])


def make_id(recording: str, speaker: str, start: float, end: float) -> str:
    """Write the id that `parse_id` reads; `speaker` is a number or `unknown`."""
    name = f"{int(speaker):04d}" if speaker.isascii() and speaker.isdigit() else speaker
    first, last = round(start * _CENTISECONDS), round(end * _CENTISECONDS)
    return f"{recording}_spk-{name}_seg-{first:07d}:{last:07d}"


def keyed(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield the first word of each filled line, what follows it, and the number of the line."""
    for number, line in filled(path):
        key, *rest = line.split(maxsplit=1)
        yield key, "".join(rest), number


def read_text(path: Path) -> dict[str, tuple[str, int]]:
    """Read `id words...` as id -> words and line number; the first line of an id stands.

    A file without a single Arabic letter is Buckwalter and is turned into Arabic script.
    """
    found: dict[str, tuple[str, int]] = {}
    for key, text, number in keyed(path):
        found.setdefault(key, (text, number))
    if any(_ARABIC.search(text) for text, _ in found.values()):
        return found
    return {key: (to_arabic(text), number) for key, (text, number) in found.items()}


def read_segments(path: Path, place: str) -> Iterator[tuple[str, Span, str] | Skipped]:
    """Yield id, span and place of each line `id recording start end`, or why it cannot be used."""
    for number, line in filled(path):
        parts, where = line.split(), f"{place}/{path.name}:{number}"
        if len(parts) != _SEGMENT_FIELDS:
            detail = f"{len(parts)} fields, expected `id recording start end`"
            yield Skipped(parts[0], Reason.BAD_ROW, detail, where=where)
        elif (times := seconds(*parts[2:])) is None:
            detail = f"{parts[2]} to {parts[3]} are no times in seconds"
            yield Skipped(parts[0], Reason.BAD_ROW, detail, where=where)
        else:
            yield parts[0], Span(parts[1], *times), where


def read_stm(path: Path) -> Iterator[Span]:
    """Yield each line `recording channel speaker start end words...`.

    A broken one is a `ValueError` that names it, for an STM decides what is scored.
    """
    for number, line in filled(path):
        if line.startswith(";;"):
            continue
        parts = line.split(maxsplit=_STM_FIELDS)
        times = seconds(*parts[3:5]) if len(parts) >= _STM_FIELDS else None
        if times is None:
            raise ValueError(
                f"{path}:{number}: expected `recording channel speaker start end words` with times "
                f"in seconds; found {line[:80]!r}. Get this file again."
            )
        yield Span(parts[0], *times, parts[2], "".join(parts[5:]))


def filled(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file that are not empty, with their numbers from 1."""
    for number, raw in raw_files.lines(path):
        if line := raw.strip():
            yield number, line


def to_arabic(text: str) -> str:
    """Turn Buckwalter into Arabic script, all words but tags, marks and words marked as Latin."""
    from lhotse.recipes.mgb2 import from_buck_walter  # noqa: PLC0415 - imports torch

    return " ".join(
        word if _NOT_BUCKWALTER.match(word) else str(from_buck_walter(word))
        for word in text.split()
    )
