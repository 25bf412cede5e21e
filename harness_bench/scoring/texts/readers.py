"""Read transcripts as other tools write them: Kaldi text, STM, CTM, JSON lines and trn."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness_bench.scoring.profiles._arabic import looks_buckwalter, to_arabic
from harness_bench.scoring.profiles.kaldi_mgb2 import TAGS
from harness_bench.scoring.texts.alternatives import NULL, has_alternatives, is_marked, parse
from harness_bench.scoring.texts.manifests import id_of, names_hypothesis, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

KINDS = ("text", "stm", "ctm", "jsonl", "trn")
FORMATS = ("auto", *KINDS)
ENCODINGS = ("auto", "utf8", "buckwalter")
IGNORED = "ignore_time_segment_in_scoring"
STM_FIELDS, CTM_FIELDS = 5, 5  # that every line has
CTM_MOST = 8  # ... and confidence, type, speaker
TRN = re.compile(r"^(?P<text>.*?)\s*\((?P<id>[^()\s]+)\)\s*$")
_SHOWN = 60  # characters of a text in a message
CHOICE = ("<ALT_BEGIN>", "<ALT>", "<ALT_END>")  # around and between alternatives of a CTM
_LABELS = re.compile(r"^<[^<>\s]*>$")
_LATIN = "@@LAT"  # marks a word in Latin script within Buckwalter, as in the MGB-3 texts
_BRACES = re.compile(r"(^|\s)\{\s.*\s/\s.*\s\}(\s|$)")  # in Buckwalter a brace is a letter


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
    marked: set[str] = field(default_factory=set)  # ids of texts with sclite's marks
    tag_labels: int = 0  # segments of an STM whose label is a tag such as <UNK>
    choice: list[list[CtmWord]] | None = None  # alternatives of a CTM that are being read
    named: bool | None = None  # whether the first of JSON lines names a hypothesis

    def add(self, key: str, text: str, fields: dict[str, str] | None = None) -> None:
        """Take in an utterance; the first line of an id stands and further ones are noted."""
        if key in self.texts:
            self.repeated.append(key)
        else:
            self.texts[key], self.fields[key] = text, fields or {}

    def mark(self, key: str, *, reference: bool) -> None:
        """Note an utterance of a reference whose text has alternatives or optional words."""
        text = self.texts[key]
        if reference and is_marked(text):
            try:
                parse(text)
            except ValueError as error:
                raise LineError(str(error)) from None
            self.marked.add(key)
        elif has_alternatives(text):
            raise LineError(
                "alternatives `{ a / b }` are only allowed in references; a hypothesis has one"
            )


class LineError(ValueError):
    """What is wrong with a line; the reader adds its file and number."""


def read_transcripts(
    path: Path, kind: str = "text", encoding: str = "auto", role: str = "text"
) -> Transcripts:
    """Read one file of transcripts in a known format; of JSON lines the texts of its role.

    The encoding `buckwalter` turns texts into Arabic script, all but tags such as `<UNK>`; `auto`
    is UTF-8 and refuses what looks like Buckwalter. A role other than `hyp` reads sclite's
    marks: alternatives and optional words. A broken line is a `ValueError` that names its
    number, as is a file without utterances.
    """
    check_choice("format", kind, KINDS)
    check_choice("encoding", encoding, ENCODINGS)
    return parsed(path, filled(path), kind, encoding, role)


def filled(path: Path) -> list[tuple[int, str]]:
    """Read the lines with something in them, with their numbers; none is a `ValueError`."""
    lines = [(number, line.strip()) for number, line in filled_lines(path)]
    if not lines:
        raise ValueError(f"{path} holds no utterance; is it the right file?")
    return lines


def parsed(
    path: Path, lines: Iterable[tuple[int, str]], kind: str, encoding: str, role: str
) -> Transcripts:
    """Read lines as `read_transcripts` does a file's."""
    convert = _from_buckwalter if encoding == "buckwalter" else str
    found = Transcripts(path)
    place = 0
    try:
        for number, line in lines:
            place = number
            _READERS[kind](line, found, convert, role)
        _by_recording(found, reference=role != "hyp")
    except LineError as error:
        raise ValueError(f"{path}:{place} (read as {kind}): {error}") from None
    if encoding == "auto":
        _refuse_buckwalter(found)
    return found


def check_choice(what: str, value: str, known: Iterable[str]) -> None:
    """Refuse a format or encoding that there is not."""
    if value not in known:
        raise ValueError(f"Unknown {what} {value!r}; there are: {', '.join(known)}.")


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


def overlapping(segments: Iterable[StmSegment]) -> int:
    """Count the segments that begin before an earlier one of their channel ends."""
    ends: dict[tuple[str, str], float] = {}
    found = 0
    for one in sorted(segments, key=lambda one: (one.start, one.end)):
        last = ends.get((one.recording, one.channel), 0)
        found += one.start < last
        ends[one.recording, one.channel] = max(last, one.end)
    return found


def filled_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines with something in them, with their numbers; only newlines end a line."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file.")
    content = path.read_bytes()
    if b"\r" in content.strip() and b"\n" not in content:
        raise ValueError(
            f"{path} ends its lines with carriage returns only and would be one line. Convert it, "
            "for example with `tr '\\r' '\\n'`."
        )
    for number, raw in enumerate(content.split(b"\n"), start=1):
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


def _trn(line: str, found: Transcripts, convert: Callable[[str], str], role: str) -> None:
    """Read `words (id)`."""
    match = TRN.match(line)
    if match is None:
        raise LineError("expected `words (id)`")
    found.add(match["id"], _converted(match["text"], convert))
    found.mark(match["id"], reference=role != "hyp")


def _stm(line: str, found: Transcripts, convert: Callable[[str], str], role: str) -> None:
    """Read `recording channel speaker start end [<labels>] words...`."""
    if line.startswith(";;"):
        return
    parts = line.split(maxsplit=STM_FIELDS)
    if len(parts) < STM_FIELDS:
        raise LineError("expected `recording channel speaker start end [<labels>] words`")
    recording, channel, speaker = parts[:3]
    start, end = _seconds(parts[3]), _seconds(parts[4])
    if end <= start:
        raise LineError(f"the segment ends at {end} and starts at {start}")
    label, text = _split_labels(parts[5] if len(parts) > STM_FIELDS else "")
    segment = StmSegment(recording, channel, start, end, text.strip().lower() == IGNORED)
    names = label.strip("<>").split(",") if label else []
    labels = {f"label{place}": name for place, name in enumerate(names, start=1) if name}
    fields = {"recording": recording, "channel": channel, "speaker": speaker}
    found.tag_labels += label.upper() in TAGS
    found.add(segment.id, _converted(text, convert), fields | labels)
    found.mark(segment.id, reference=role != "hyp")
    found.segments.setdefault(segment.id, segment)


def _ctm(line: str, found: Transcripts, convert: Callable[[str], str], _: str) -> None:
    """Read `recording channel start duration word [confidence type speaker]`."""
    if line.startswith(";;"):
        return
    parts = line.split()
    if not CTM_FIELDS <= len(parts) <= CTM_MOST:
        raise LineError("expected `recording channel start duration word [confidence]`")
    if parts[4].upper() in CHOICE:
        _open_or_close(parts[4].upper(), found)
        return
    (recording, channel), (start, duration) = parts[:2], map(_seconds, parts[2:4])
    word = CtmWord(recording, channel, start, duration, convert(parts[4]))
    (found.words if found.choice is None else found.choice[-1]).append(word)


def _open_or_close(tag: str, found: Transcripts) -> None:
    """Follow the alternatives of a CTM; all of them become one word `{ a / b }` at their place."""
    if (tag == CHOICE[0]) == (found.choice is not None):
        raise LineError(f"{tag} where no alternative is open, or within another")
    if tag == CHOICE[0]:
        found.choice = [[]]
    elif tag == CHOICE[1]:
        assert found.choice
        found.choice.append([])
    else:
        ways = found.choice or []
        words = [word for way in ways for word in way]
        if not words:
            raise LineError("no alternative has a word")
        texts = [" ".join(word.text for word in way) or NULL for way in ways]
        start = min(word.start for word in words)
        end = max(word.start + word.duration for word in words)
        text = f"{{ {' / '.join(texts)} }}"
        one = CtmWord(words[0].recording, words[0].channel, start, end - start, text)
        found.words.append(one)
        found.choice = None


def _jsonl(line: str, found: Transcripts, convert: Callable[[str], str], role: str) -> None:
    """Read an object with an id, and the text of its role."""
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:  # deep nesting recurses
        raise LineError(f"not JSON ({error})") from None
    key = id_of(row) if isinstance(row, dict) else None
    if not key:
        raise LineError("expected an object with a string `id`, or with `audio_filepath`")
    text, named = text_of(row, role), names_hypothesis(row)
    found.named = named if found.named is None else found.named
    if role == "hyp" and named is not found.named:  # `text` is the reference there
        raise LineError(
            f"id {key!r} has {'a' if named else 'no'} hypothesis such as `pred_text`, and the "
            f"first line has {'none' if named else 'one'}; give it to every line"
        )
    if text is None:
        raise LineError(f"id {key!r} has no string `{role}` or `text`")
    values = {**(row["tags"] if isinstance(row.get("tags"), dict) else {}), **row}
    plain = {name: str(one) for name, one in values.items() if isinstance(one, str | int | float)}
    found.add(key, convert(text), plain)


_READERS = {"text": _text, "trn": _trn, "stm": _stm, "ctm": _ctm, "jsonl": _jsonl}


def _converted(text: str, convert: Callable[[str], str]) -> str:
    """Turn a text with sclite's marks into Arabic script."""
    if convert is _from_buckwalter and _BRACES.search(text):
        raise LineError("alternatives `{ a / b }` in Buckwalter, whose braces are letters")
    return convert(text)


def _by_recording(found: Transcripts, *, reference: bool) -> None:
    """Make one text of each recording of a CTM, or of each channel where there are several."""
    if found.choice is not None:
        raise LineError(f"{CHOICE[0]} without {CHOICE[2]}")
    texts = defaultdict(list)
    for word in sorted(found.words, key=lambda one: (one.recording, one.channel, one.start)):
        texts[word.recording, word.channel].append(word.text)
    channels = Counter(recording for recording, _ in texts)
    for (recording, channel), words in texts.items():
        key = recording if channels[recording] == 1 else f"{recording}_{channel}"
        found.add(key, " ".join(words), {"recording": recording, "channel": channel})
        found.mark(key, reference=reference)


def _split_labels(text: str) -> tuple[str, str]:
    """Part an STM's label from its words: what begins with `<`, as sclite reads it."""
    first, *rest = text.split(maxsplit=1) or [""]
    if not first.startswith("<"):
        return "", text
    if not _LABELS.match(first):
        raise LineError(
            f"{first!r} is no label; expected `<o,f0,male>`, without spaces. If it is a word, "
            "such as `<yh` in Buckwalter, write the empty label `<>` before it"
        )
    return first, "".join(rest)


def _refuse_buckwalter(found: Transcripts) -> None:
    if looks_buckwalter(found.texts.values()):
        key, text = next((key, text) for key, text in found.texts.items() if text)
        raise ValueError(
            f"{found.path} looks like Buckwalter, Arabic in Latin letters: {key} says "
            f"{text[:_SHOWN]!r}. Read it with `--encoding buckwalter`, or say that it is none with "
            "`--encoding utf8`; both can be given once per file, the hypothesis first."
        )


def _seconds(text: str) -> float:
    if not numbers([text]) or not 0 <= float(text) < float("inf"):
        raise LineError(f"{text!r} is no time in seconds")
    return float(text)


def numbers(parts: Iterable[str]) -> int:
    """Count the parts that are numbers."""
    return sum(bool(re.fullmatch(r"-?\d*\.?\d+(?:[eE][+-]?\d+)?|\d+\.", part)) for part in parts)
