"""Read transcripts as other tools write them: Kaldi text, STM, CTM, JSON lines and trn."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness_bench.scoring.profiles._arabic import to_arabic
from harness_bench.scoring.profiles.kaldi_mgb2 import TAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORMATS = ("auto", "text", "stm", "ctm", "jsonl", "trn")
ENCODINGS = ("utf8", "buckwalter")
IGNORED = "ignore_time_segment_in_scoring"
_LOOKED_AT = 200  # lines that decide a file's format
_STM_PLACES, _CTM_PLACES = 5, 5  # fields that every line has
_CTM_MOST = 8  # ... and confidence, type, speaker
_TRN = re.compile(r"^(?P<text>.*?)\s*\((?P<id>[^()\s]+)\)\s*$")
_LABELS = re.compile(r"^<[^<>\s]*>$")
_LATIN = "@@LAT"  # marks a word in Latin script within Buckwalter, as in the MGB-3 texts
_ALTERNATIVES = re.compile(r"(^|\s)\{\s.*\s/\s.*\s\}(\s|$)")


@dataclass(frozen=True)
class StmSegment:
    """A stretch of one channel of a recording, seconds."""

    recording: str
    channel: str
    start: float
    end: float
    ignored: bool = False

    @property
    def id(self) -> str:
        """The utterance id that a segment of an STM gets."""
        return f"{self.recording}_{self.channel}_{self.start:.3f}_{self.end:.3f}"


@dataclass(frozen=True)
class CtmWord:
    """One timed word of a CTM."""

    recording: str
    channel: str
    start: float  # seconds
    duration: float
    text: str


@dataclass
class Transcripts:
    """What one file says of each utterance."""

    path: Path
    texts: dict[str, str] = field(default_factory=dict)  # id -> raw text
    fields: dict[str, dict[str, str]] = field(default_factory=dict)  # id -> name -> value
    repeated: list[str] = field(default_factory=list)  # ids after their first line
    segments: dict[str, StmSegment] = field(default_factory=dict)  # of an STM
    words: list[CtmWord] = field(default_factory=list)  # of a CTM

    def add(self, key: str, text: str, fields: dict[str, str] | None = None) -> None:
        """Take in an utterance; the first line of an id stands and further ones are noted."""
        if key in self.texts:
            self.repeated.append(key)
        else:
            self.texts[key], self.fields[key] = text, fields or {}


class LineError(ValueError):
    """What is wrong with a line; the reader adds its file and number."""


def read_transcripts(
    path: Path, kind: str = "auto", encoding: str = "utf8", role: str = "text"
) -> Transcripts:
    """Read one file of transcripts; of JSON lines the field `role`, or else `text`.

    The kind `auto` looks at the name and then at the lines; the encoding `buckwalter` turns texts
    into Arabic script, all but tags such as `<UNK>`. A broken line is a `ValueError` that names
    its number, as is a file without utterances.
    """
    for what, value, known in (("format", kind, FORMATS), ("encoding", encoding, ENCODINGS)):
        if value not in known:
            raise ValueError(f"Unknown {what} {value!r}; there are: {', '.join(known)}.")
    lines = [(number, line.strip()) for number, line in filled_lines(path)]
    if not lines:
        raise ValueError(f"{path} holds no utterance; is it the right file?")
    convert = _from_buckwalter if encoding == "buckwalter" else str
    found = Transcripts(path)
    chosen = format_of(path, [line for _, line in lines]) if kind == "auto" else kind
    for number, line in lines:
        try:
            _READERS[chosen](line, found, convert, role)
        except LineError as error:
            raise ValueError(f"{path}:{number} (read as {chosen}): {error}") from None
    _by_recording(found)
    return found


def format_of(path: Path, lines: list[str]) -> str:
    """Tell a file's format from its name, or else from its lines."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix in (*FORMATS[2:], "json"):
        return "jsonl" if suffix == "json" else suffix
    looks: dict[str, Callable[[str], Any]] = {
        "jsonl": _is_object,
        "trn": _TRN.match,
        "stm": lambda line: _numbers(line.split()[3:5]) == 2,  # noqa: PLR2004 - start and end
        "ctm": lambda line: (
            _numbers(line.split()[2:4]) == 2 and len(line.split()) <= _CTM_MOST  # noqa: PLR2004
        ),
    }
    sample = [line for line in lines if not line.startswith(";;")][:_LOOKED_AT]
    return next((name for name, test in looks.items() if sample and all(map(test, sample))), "text")


def spread(
    words: list[CtmWord], segments: list[StmSegment]
) -> tuple[dict[str, str], list[CtmWord]]:
    """Give words to the segments that hold their middle -> id -> text, and words of no segment.

    Where segments of one channel overlap, the first that holds the middle takes the word.
    """
    places = defaultdict(list)
    for segment in sorted(segments, key=lambda one: (one.start, one.end)):
        places[segment.recording, segment.channel].append(segment)
    texts: dict[str, list[str]] = {segment.id: [] for segment in segments}
    outside = []
    for word in sorted(words, key=lambda one: (one.recording, one.channel, one.start)):
        middle = word.start + word.duration / 2
        known = places[word.recording, word.channel]
        home = next((one for one in known if one.start <= middle < one.end), None)
        if home is None:
            outside.append(word)
        else:
            texts[home.id].append(word.text)
    return {key: " ".join(found) for key, found in texts.items()}, outside


def filled_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines with something in them, with their numbers; only newlines end a line."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file.")
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}:{number} is not UTF-8 ({error.reason}). Convert the file, for example "
                "with `iconv -f windows-1256 -t utf-8`."
            ) from None
        if line.strip():
            yield number, line.strip("\r")


def _from_buckwalter(text: str) -> str:
    """Turn Buckwalter into Arabic script, all words but tags and those marked as Latin."""
    return " ".join(
        word if word.upper() in TAGS or word.startswith(_LATIN) else to_arabic(word)
        for word in text.split()
    )


def _text(line: str, found: Transcripts, convert: Callable[[str], str], _: str) -> None:
    """Read `id words...`; an id alone is an empty text."""
    key, *rest = line.split(maxsplit=1)
    found.add(key, convert("".join(rest)))


def _trn(line: str, found: Transcripts, convert: Callable[[str], str], _: str) -> None:
    """Read `words (id)`."""
    match = _TRN.match(line)
    if match is None:
        raise LineError("expected `words (id)`")
    _refuse_alternatives(match["text"])
    found.add(match["id"], convert(match["text"]))


def _stm(line: str, found: Transcripts, convert: Callable[[str], str], _: str) -> None:
    """Read `recording channel speaker start end [<labels>] words...`."""
    if line.startswith(";;"):
        return
    parts = line.split(maxsplit=_STM_PLACES)
    if len(parts) < _STM_PLACES:
        raise LineError("expected `recording channel speaker start end [<labels>] words`")
    recording, channel, speaker = parts[:3]
    start, end = _seconds(parts[3]), _seconds(parts[4])
    if end <= start:
        raise LineError(f"the segment ends at {end} and starts at {start}")
    label, text = _split_labels(parts[5] if len(parts) > _STM_PLACES else "")
    _refuse_alternatives(text)
    segment = StmSegment(recording, channel, start, end, text.strip().lower() == IGNORED)
    names = label.strip("<>").split(",") if label else []
    labels = {f"label{place}": name for place, name in enumerate(names, start=1)}
    fields = {"recording": recording, "channel": channel, "speaker": speaker}
    found.add(segment.id, convert(text), fields | labels)
    found.segments.setdefault(segment.id, segment)


def _ctm(line: str, found: Transcripts, convert: Callable[[str], str], _: str) -> None:
    """Read `recording channel start duration word [confidence type speaker]`."""
    if line.startswith(";;"):
        return
    parts = line.split()
    if not _CTM_PLACES <= len(parts) <= _CTM_MOST:
        raise LineError("expected `recording channel start duration word [confidence]`")
    (recording, channel), (start, duration) = parts[:2], map(_seconds, parts[2:4])
    found.words.append(CtmWord(recording, channel, start, duration, convert(parts[4])))


def _jsonl(line: str, found: Transcripts, convert: Callable[[str], str], role: str) -> None:
    """Read an object with `id` and `text` (or the file's role, `hyp` or `ref`)."""
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:  # deep nesting recurses
        raise LineError(f"not JSON ({error})") from None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
        raise LineError("expected an object with a string `id`")
    name = role if role in row else "text"
    if not isinstance(row.get(name), str):
        raise LineError(f"id {row['id']!r} has no string `{role}` or `text`")
    values = {**(row["tags"] if isinstance(row.get("tags"), dict) else {}), **row}
    plain = {name: str(one) for name, one in values.items() if isinstance(one, str | int | float)}
    found.add(row["id"], convert(row[name]), plain)


_READERS = {"text": _text, "trn": _trn, "stm": _stm, "ctm": _ctm, "jsonl": _jsonl}


def _by_recording(found: Transcripts) -> None:
    """Make one text of each recording of a CTM, or of each channel where there are several."""
    texts = defaultdict(list)
    for word in sorted(found.words, key=lambda one: (one.recording, one.channel, one.start)):
        texts[word.recording, word.channel].append(word.text)
    channels = Counter(recording for recording, _ in texts)
    for (recording, channel), words in texts.items():
        key = recording if channels[recording] == 1 else f"{recording}_{channel}"
        found.add(key, " ".join(words), {"recording": recording, "channel": channel})


def _split_labels(text: str) -> tuple[str, str]:
    """Part an STM's label such as `<o,f0,male>` from its words."""
    first, *rest = text.split(maxsplit=1) or [""]
    comma = "," in first  # else a tag such as <UNK> may be the first word
    return (first, "".join(rest)) if comma and _LABELS.match(first) else ("", text)


def _refuse_alternatives(text: str) -> None:
    if _ALTERNATIVES.search(text):
        raise LineError("alternatives `{ a / b }` are not read; write one transcript per file")


def _seconds(text: str) -> float:
    if not _numbers([text]) or not 0 <= float(text) < float("inf"):
        raise LineError(f"{text!r} is no time in seconds")
    return float(text)


def _numbers(parts: list[str]) -> int:
    return sum(bool(re.fullmatch(r"-?\d*\.?\d+(?:[eE][+-]?\d+)?|\d+\.", part)) for part in parts)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (json.JSONDecodeError, RecursionError):
        return False
