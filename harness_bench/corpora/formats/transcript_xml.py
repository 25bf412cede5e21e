"""Stream the transcript XML of MGB-2 and QASR: segments with times, speakers and error rates.

A file is read in blocks and a segment is given out as soon as it ends, so that a file of any size
takes little memory. Entities and other declarations of a document type are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from xml.parsers import expat

from harness_bench.core.log import bar
from harness_bench.corpora.base import Reason, Skipped, Utterance, printable
from harness_bench.corpora.formats import kaldi, raw_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from harness_bench.corpora.base import Found

LONGEST = 1 << 22  # bytes of one segment; an hour of speech has about one million with its tags
MAX_WMER = 80.0  # percent; what the challenge and QASR's authors train on
_BLOCK = 1 << 16  # bytes
# The set of segments that counts where a file lists several.
_ALIGNED, _MANUAL = "transcript_align", "transcript_manual"
_GENDERS = {"m": "male", "male": "male", "f": "female", "female": "female"}
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{0,30})?", re.ASCII)
_LOCAL_SPEAKER = re.compile(r"speaker[_-]?(\d{1,9})", re.ASCII)


class XmlSpeaker(NamedTuple):
    """One speaker of a programme, as its head lists it."""

    gender: str | None = None
    unique: str = ""  # a name that is the same in all programmes


class Segment(NamedTuple):
    """One segment as the file says it; nothing of it has been checked."""

    id: str
    start: str
    end: str
    who: str
    wmer: str  # word match error rate in percent; empty where the file has none
    text: str
    annotation: str  # id of the set of segments it stands in
    line: int


@dataclass
class Head:
    """What a file says of its programme before the first segment."""

    recording: str = ""
    annotations: set[str] = field(default_factory=set)
    speakers: dict[str, XmlSpeaker] = field(default_factory=dict)


def xml_files(folder: Path) -> list[Path]:
    """List the XML files directly in a folder, by name; [] if there is no such folder."""
    return [path for path in raw_files.entries(folder) if path.suffix == ".xml" and path.is_file()]


@dataclass(frozen=True)
class Aligned:
    """How the segments of training programmes are taken."""

    corpus: str  # put before speakers' names that are the same in all programmes
    root: Path  # what places in reports are relative to
    audio: raw_files.AudioIndex
    max_wmer: float  # word match error rate in percent above which a segment is left out
    buckwalter: bool = False  # turn the text into Arabic script

    def utterances(self, files: Sequence[Path]) -> Found:
        """Yield the segments of programmes as the split train, file by file."""
        for path in bar(files, title=f"reading {self.corpus} train", unit="file"):
            yield from self._programme(path)

    def _programme(self, path: Path) -> Found:
        head, segment = Head(), None
        sounds: dict[str, Path | None] = {}  # beginning of ids -> file
        place = printable(path.relative_to(self.root))
        for segment in _of_set(_ALIGNED, path, head):
            key = segment.id.partition("_utt")[0]
            if key not in sounds:
                base = head.recording.replace("\\", "/").rpartition("/")[2].partition(".")[0]
                sounds[key] = self.audio.find(path.stem, base, key)
            yield self._utterance(segment, head, sounds[key], f"{place}:{segment.line}")
        if segment is None:
            detail = f"the file has no segment of {_ALIGNED}"
            yield Skipped(place, Reason.BAD_ROW, detail, where=place)

    def _utterance(
        self, segment: Segment, head: Head, audio: Path | None, where: str
    ) -> Utterance | Skipped:
        name, wmer = segment.id or where, segment.wmer
        if (times := kaldi.seconds(segment.start, segment.end)) is None:
            detail = f"{segment.start!r} to {segment.end!r} are no times in seconds"
            return Skipped(name, Reason.BAD_ROW, detail, where=where)
        if wmer and not _NUMBER.fullmatch(wmer):
            return Skipped(name, Reason.BAD_ROW, f"WMER {wmer!r} is no percentage", where=where)
        if wmer and float(wmer) > self.max_wmer:
            detail = f"WMER {wmer} > {self.max_wmer:g}"
            return Skipped(name, Reason.BY_RULE, detail, where=where)
        if audio is None:
            return Skipped(name, Reason.MISSING_FILE, self.audio.missing(), where=where)
        number, speaker, gender = self._speaker(segment.who, head, audio.stem)
        return Utterance(
            id=kaldi.make_id(audio.stem, number, *times),
            audio=audio,
            start=times[0],
            duration=round(times[1] - times[0], 6),
            text=(kaldi.to_arabic(segment.text) if self.buckwalter else segment.text) or None,
            speaker=speaker,
            language="ar",
            gender=gender,
            custom={"cluster": audio.stem} | ({"wmer": wmer} if wmer else {}),
            where=where,
        )

    def _speaker(self, who: str, head: Head, recording: str) -> tuple[str, str | None, str | None]:
        """Return the number for the id, the name and the gender; None where unknown."""
        gender, unique = head.speakers.get(who, XmlSpeaker())
        match = _LOCAL_SPEAKER.search(who)
        number, name = match[1] if match else "unknown", None
        if (unique := "_".join(unique.split())).lower() not in kaldi.UNKNOWN:
            name = f"{self.corpus}_{unique}"
        elif match:
            name = f"{recording}_spk-{int(number):04d}"
        elif who in head.speakers and who.strip().lower() not in kaldi.UNKNOWN:
            name = f"{recording}_{'_'.join(who.split())}"
        return number, name, gender if name else None


def manual(files: Iterable[Path]) -> kaldi.BySpan:
    """Return the segments of manually transcribed programmes, with text and gender."""
    found = []
    for path in files:
        head = Head()
        for segment in _of_set(_MANUAL, path, head):
            if times := kaldi.seconds(segment.start, segment.end):
                gender, _ = head.speakers.get(segment.who, XmlSpeaker())
                span = kaldi.Span(path.stem, *times, text=segment.text, gender=gender)
                found.append(span)
    return kaldi.BySpan(found)


def _of_set(name: str, path: Path, head: Head) -> Iterator[Segment]:
    """Yield the segments of a set and those of none; all where the head does not list the set."""
    for segment in read_segments(path, head):
        if name not in head.annotations or segment.annotation in ("", name):
            yield segment


def read_segments(path: Path, head: Head) -> Iterator[Segment]:
    """Yield the segments of a file in its order; `head` is filled before the first one.

    Raises:
        ValueError: not well-formed, cut off, another root element than `transcript`, declared
            entities, or a segment beyond `LONGEST`; names the file and the line.
    """
    state = _State(head)
    with raw_files.opened(path) as stream:
        try:
            while block := stream.read(_BLOCK):
                state.parser.Parse(block)
                state.check_size()
                yield from state.finished()
            state.parser.Parse(b"", True)  # noqa: FBT003 - positional only: this is the end
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise ValueError(
                f"{path}:{error.lineno}: not well-formed XML ({reason}, column {error.offset}). "
                "Was its download or unpacking cut off? Get this file again."
            ) from None
        except _RefusedError as error:
            raise ValueError(
                f"{path}:{state.parser.CurrentLineNumber}: {error}. Expected the transcript XML of "
                "MGB-2 or QASR: transcript/body/segments/segment/element."
            ) from None
        except (LookupError, ValueError) as error:  # an encoding unknown, or not of single bytes
            raise ValueError(f"{path}: unknown encoding ({error}); expected UTF-8.") from None
    yield from state.finished()


class _RefusedError(Exception):
    """The file is not read any further, for this reason."""


class _State:
    def __init__(self, head: Head) -> None:
        self.head = head
        self.done: list[Segment] = []
        self.root = self.annotation = ""
        self.segment: dict[str, str] | None = None
        self.line, self.begin = 0, 0
        self.pieces: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.StartDoctypeDeclHandler = self.doctype

    def finished(self) -> list[Segment]:
        """Return the segments finished since the last call."""
        done, self.done = self.done, []
        return done

    def doctype(self, name: str, _system: str | None, _public: str | None, internal: int) -> None:
        """Refuse declarations within the file: a few lines of them can expand to gigabytes."""
        if internal:
            raise _RefusedError(
                f"the document type {name!r} declares entities or attributes of its own"
            )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.root:
            self.root = tag
            if tag != "transcript":
                raise _RefusedError(f"the root element is {tag!r}, where 'transcript' is expected")
        elif tag == "segment":
            self.segment = attributes
            self.line, self.begin = self.parser.CurrentLineNumber, self.parser.CurrentByteIndex
            # Within a segment only words and ends of elements count; most of the time goes there.
            self.parser.StartElementHandler = None
            self.parser.CharacterDataHandler = self.pieces.append
        elif tag == "segments":
            self.annotation = attributes.get("annotation_id", "")
        elif tag == "speaker" and (key := attributes.get("id")):
            gender = _GENDERS.get(attributes.get("speakerGender", "").strip().lower())
            self.head.speakers[key] = XmlSpeaker(gender, attributes.get("speakerUnique", ""))
        elif tag == "recording":
            self.head.recording = attributes.get("filename", "")
        elif tag == "annotation":
            self.head.annotations.add(attributes.get("id", ""))

    def end(self, tag: str) -> None:
        if self.segment is None:
            return
        if tag != "segment":
            self.pieces.append(" ")  # the next word follows
            return
        self.check_size()
        value = self.segment.get
        ended = Segment(
            id=value("id", ""),
            start=value("starttime", ""),
            end=value("endtime", ""),
            who=value("who", ""),
            wmer=value("WMER", ""),
            text=" ".join("".join(self.pieces).split()),
            annotation=self.annotation,
            line=self.line,
        )
        self.done.append(ended)
        self.segment = None
        self.pieces.clear()
        self.parser.StartElementHandler = self.start
        self.parser.CharacterDataHandler = None

    def check_size(self) -> None:
        """Refuse a segment that does not end: its text would fill the memory."""
        if self.segment is not None and self.parser.CurrentByteIndex - self.begin > LONGEST:
            raise _RefusedError(
                f"the segment that began at line {self.line} has over {LONGEST} bytes"
            )
