"""Tell the format of transcripts: by the file's name, by all its lines, and by the other side.

Kaldi text, STM and CTM look alike where the words are numbers. A reading is taken only if it is
the one that makes sense; otherwise the user is asked, with what each would give.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness_bench.scoring.texts.readers import (
    CHOICE,
    CTM_FIELDS,
    CTM_MOST,
    ENCODINGS,
    FORMATS,
    KINDS,
    STM_FIELDS,
    TRN,
    Transcripts,
    check_choice,
    filled,
    numbers,
    parsed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LOOKED_AT = 20  # lines that may show a timed format with a broken line
_SURE = 2  # of what speaks for a format
_SHOWN = 40  # characters of an utterance in a message


@dataclass(frozen=True)
class Source:
    """A file of transcripts, and how to read it."""

    path: Path
    kind: str = "auto"
    encoding: str = "auto"
    role: str = "text"


@dataclass
class _Reading:
    """One way to read a file."""

    source: Source
    kind: str
    lines: list[tuple[int, str]]
    evidence: int = _SURE  # of the lines alone

    @cached_property
    def found(self) -> Transcripts:
        return parsed(
            self.source.path, self.lines, self.kind, self.source.encoding, self.source.role
        )

    @cached_property
    def places(self) -> set[tuple[str, str]]:
        """Recordings and channels of a timed format."""
        segments = {(one.recording, one.channel) for one in self.found.segments.values()}
        return segments | {(one.recording, one.channel) for one in self.found.words}

    def agrees(self, other: _Reading) -> bool:
        """Tell whether two files share an utterance, or a channel where both are timed."""
        if {self.kind, other.kind} == {"stm", "ctm"}:
            return bool(self.places & other.places)
        return bool(self.found.texts.keys() & other.found.texts.keys())

    def crosses(self, other: _Reading) -> bool:
        """Tell whether words and segments of the same channels meet, though laid out otherwise."""
        timed = {self.kind, other.kind} == {"stm", "ctm"}
        return timed and min(self.evidence, other.evidence) > 0 and self.agrees(other)

    def is_read(self) -> bool:
        """Tell whether every line can be read in this way."""
        try:
            return bool(self.found.texts)
        except ValueError:
            return False

    def told(self) -> str:
        """Say what this reading gives."""
        texts = self.found.texts
        key, text = next(iter(texts.items()))
        words = sum(len(text.split()) for text in texts.values())
        return (
            f"as {self.kind} it has {len(texts)} utterances of {words} words, the first of them "
            f"{key}: {text[:_SHOWN]!r}"
        )


@dataclass(frozen=True)
class SourceReadings:
    """A file that was read, and the ways in which its lines can be understood."""

    readings: list[_Reading]


def open_source(source: Source) -> SourceReadings:
    """Read a file for `read_all`, which may take it several times, as several systems' reference.

    Raises:
        ValueError: a file without utterances, or with lines of no format.
    """
    return SourceReadings(_readable(_readings(source)))


def read_all(sources: Sequence[Source | SourceReadings | Transcripts]) -> list[Transcripts]:
    """Read files that belong together, the hypothesis first; what is read already stays.

    Where lines and ids leave two ways to read a file, a `ValueError` names both and asks for
    the format.
    """
    readings = [
        [_known(source)]
        if isinstance(source, Transcripts)
        else (source if isinstance(source, SourceReadings) else open_source(source)).readings
        for source in sources
    ]
    return [
        _decided(own, readings[1:] if place == 0 else readings[:1]).found
        for place, own in enumerate(readings)
    ]


def _known(transcripts: Transcripts) -> _Reading:
    reading = _Reading(Source(transcripts.path), "text", [])
    reading.found = transcripts
    return reading


def _readable(readings: list[_Reading]) -> list[_Reading]:
    """Drop the ways that end in an error, where another does not."""
    if len(readings) == 1:
        return readings
    return [reading for reading in readings if reading.is_read()] or readings


def _readings(source: Source) -> list[_Reading]:
    """List the ways to read one file that its name and lines allow."""
    check_choice("format", source.kind, FORMATS)
    check_choice("encoding", source.encoding, ENCODINGS)
    lines, suffix = filled(source.path), source.path.suffix.lower().removeprefix(".")
    named = "jsonl" if suffix == "json" else suffix
    kind = source.kind if source.kind != "auto" else named
    if kind in KINDS and (source.kind != "auto" or kind != "text"):
        return [_Reading(source, kind, lines)]
    told = [line for _, line in lines if not line.startswith(";;")]
    if not told:
        raise ValueError(f"{source.path} contains only comments; is it the right file?")
    if all(line.startswith("{") for line in told) and _is_object(told[0]):
        return [_Reading(source, "jsonl", lines)]
    found = [_Reading(source, kind, lines, _evidence(kind, told)) for kind in _fitting(told)]
    unique = _share_of_first([line.split(maxsplit=1)[0] for line in told])
    if not found:
        _refuse_odd_lines(source.path, [row for row in lines if not row[1].startswith(";;")])
    if not found or (unique and len(told) == len(lines)):
        found.append(_Reading(source, "text", lines, evidence=0))
    return found


def _fitting(lines: Sequence[str]) -> list[str]:
    """List the formats but Kaldi text that every line has, and that make sense of the file."""
    kinds = []
    if all(map(TRN.match, lines)):
        ids = [match["id"] for match in map(TRN.match, lines) if match]
        if _share_of_first(ids):
            kinds.append("trn")
    return kinds + [kind for kind, fits in _TIMED.items() if all(fits(ln.split()) for ln in lines)]


def _refuse_odd_lines(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    """Refuse a file whose lines are mostly of a timed format, or that has its comments."""
    for kind, fits in _TIMED.items():
        if not any(fits(line.split()) for _, line in lines[:_LOOKED_AT]):
            continue
        good = [line for _, line in lines if fits(line.split())]
        if 2 * len(good) > len(lines) and _evidence(kind, good):
            number = next(number for number, line in lines if not fits(line.split()))
            raise ValueError(
                f"{path}:{number} is no line of {kind}, as {len(good)} of {len(lines)} lines are. "
                "Correct it, or name the format with --format."
            )


def _evidence(kind: str, lines: Sequence[str]) -> int:
    """Tell how little lines that fit a format look like Kaldi text.

    Something speaks for times with decimals, or recordings that go on over lines. All is said if
    moreover most lines have more than numbers. The ids of several lines of trn differ.
    """
    if kind == "trn":
        return _SURE if len(lines) > 1 else 0
    rows = [line.split() for line in lines]
    first = 3 if kind == "stm" else 2
    timed = _most([any("." in time for time in row[first : first + 2]) for row in rows])
    if not timed and _share_of_first([row[0] for row in rows]):
        return 0
    worded = _most([numbers(row[1:]) < len(row) - 1 for row in rows])
    return _SURE if worded and len(rows) > 1 else 1


def _decided(own: Sequence[_Reading], others: Sequence[Sequence[_Reading]]) -> _Reading:
    """Choose the way to read a file by those of the other side; two that remain are an error."""
    if len(own) == 1:
        return own[0]
    rest = [reading for readings in others for reading in readings]
    fitting = [one for one in own if any(map(one.agrees, rest))] or list(own)
    strong = [one for one in fitting if one.evidence == _SURE or any(map(one.crosses, rest))]
    if len(fitting) == 1:
        lone = [one for one in own if one.evidence and one is not fitting[0]]
        if not lone:  # nothing speaks for another reading but its lines
            return fitting[0]
        fitting += lone
    elif len(strong) == 1:
        return strong[0]
    elif not strong and (meant := _beside_ctm(fitting, others)):
        return meant
    told = "; ".join(one.told() for one in fitting)
    raise ValueError(
        f"{own[0].source.path} can be read in {len(fitting)} ways: {told}. Say which with "
        "--format, once for all files or once per file, the hypothesis first."
    )


def _beside_ctm(
    fitting: Sequence[_Reading], others: Sequence[Sequence[_Reading]]
) -> _Reading | None:
    """Return the STM of a CTM's recordings and channels, or else Kaldi text of whole times."""
    timed = [one[0] for one in others if len(one) == 1 and one[0].kind == "ctm"]
    stm = next((one for one in fitting if one.kind == "stm"), None)
    if stm and timed and all(map(stm.agrees, timed)):
        return stm
    plain = {one.kind: one for one in fitting}
    whole = all(not any("." in part for part in line.split()[2:5]) for _, line in fitting[0].lines)
    return plain.get("text") if "trn" not in plain and whole else None


def _share_of_first(values: Sequence[str]) -> bool:
    """Tell whether most values occur once."""
    return 2 * sum(count == 1 for count in Counter(values).values()) > len(values)


def _most(values: Sequence[bool]) -> bool:
    return 2 * sum(values) > len(values)


def _is_segment(row: Sequence[str]) -> bool:
    return (
        len(row) >= STM_FIELDS
        and numbers(row[3:5]) == len(row[3:5])
        and 0 <= float(row[3]) < float(row[4])
        and row[1].isascii()  # a channel is A, B, 1 or 2, and no word of Arabic
        and all(map(_is_name, row[1:3]))
    )


def _is_word(row: Sequence[str]) -> bool:
    if not CTM_FIELDS <= len(row) <= CTM_MOST:
        return False
    if not (row[1].isascii() and _is_name(row[1])):
        return False
    if row[4].upper() in CHOICE:
        return True
    more = row[CTM_FIELDS : CTM_FIELDS + 1]
    return numbers(row[2:4]) == len(row[2:4]) and all(numbers([one]) or one == "NA" for one in more)


def _is_name(text: str) -> bool:
    """Tell whether a channel or speaker may be called so: `1`, but not `0.5`."""
    return not (numbers([text]) and "." in text)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (json.JSONDecodeError, RecursionError):
        return False


_TIMED = {"stm": _is_segment, "ctm": _is_word}
