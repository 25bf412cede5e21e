"""Stream the transcript XML of MGB-2 and QASR: segments with times, speakers and error rates.

A file is read in blocks and a segment is given out as soon as it ends, so that a file of any size
takes little memory. Entities and other declarations of a document type are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from xml.parsers import expat

from harness_bench.corpora.formats import raw_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 1 << 16  # bytes
LONGEST = 1 << 22  # bytes of one segment; an hour of speech has about one million with its tags


class XmlSpeaker(NamedTuple):
    """One speaker of a programme, as its head lists it; empty where it says nothing."""

    name: str = ""
    gender: str = ""
    unique: str = ""  # the same in all programmes


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


def read_segments(path: Path, head: Head) -> Iterator[Segment]:
    """Yield the segments of a file in its order; `head` is filled before the first one.

    Raises:
        ValueError: not well-formed, cut off, another root element than `transcript`, declared
            entities, or a segment beyond `LONGEST`; names the file and the line.
    """
    state = _State(path, head)
    parser = expat.ParserCreate()
    state.connect(parser)
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                parser.Parse(block)
                state.check_size()
                yield from state.finished()
            parser.Parse(b"", True)  # noqa: FBT003 - positional only: this is the end
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise ValueError(
            f"{path}:{error.lineno}: not well-formed XML ({reason}, column {error.offset}). "
            "Was its download or unpacking cut off? Get this file again."
        ) from None
    except _RefusedError:
        raise
    except (LookupError, ValueError) as error:  # an encoding unknown, or not of single bytes
        raise ValueError(f"{path}: unknown encoding of XML ({error}); expected UTF-8.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from None
    yield from state.finished()


def xml_files(folder: Path) -> list[Path]:
    """List the XML files directly in a folder, by name; [] if there is no such folder."""
    return [path for path in raw_files.entries(folder) if path.suffix == ".xml" and path.is_file()]


class _RefusedError(ValueError):
    """The file is not read any further, for a reason that names it."""


class _State:
    def __init__(self, path: Path, head: Head) -> None:
        self.path, self.head = path, head
        self.done: list[Segment] = []
        self.root = self.annotation = ""
        self.segment: dict[str, str] | None = None
        self.line, self.begin = 0, 0
        self.pieces: list[str] = []

    def connect(self, parser: expat.XMLParserType) -> None:
        """Let a parser call this state."""
        self.parser = parser
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.StartDoctypeDeclHandler = self.doctype

    def finished(self) -> list[Segment]:
        """Return the segments finished since the last call."""
        done, self.done = self.done, []
        return done

    def doctype(self, name: str, _system: str | None, _public: str | None, internal: int) -> None:
        """Refuse declarations within the file: a few lines of them can expand to gigabytes."""
        if internal:
            self.refuse(f"the document type {name!r} declares entities or attributes of its own")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take in the beginning of an element."""
        if not self.root:
            self.root = tag
            if tag != "transcript":
                self.refuse(f"the root element is {tag!r}, where 'transcript' is expected")
        elif tag == "segment":
            self.segment = attributes
            self.line, self.begin = self.parser.CurrentLineNumber, self.parser.CurrentByteIndex
            # Within a segment only words and ends of elements count; most of the time goes there.
            self.parser.StartElementHandler = None
            self.parser.CharacterDataHandler = self.pieces.append
        elif tag == "segments":
            self.annotation = attributes.get("annotation_id", "")
        else:
            self.heading(tag, attributes)

    def heading(self, tag: str, attributes: dict[str, str]) -> None:
        """Take in an element of the head; others are of no use here."""
        if tag == "speaker" and (key := attributes.get("id")):
            names = ("name", "speakerGender", "speakerUnique")
            self.head.speakers[key] = XmlSpeaker(*(attributes.get(name, "") for name in names))
        elif tag == "recording":
            self.head.recording = attributes.get("filename", "")
        elif tag == "annotation":
            self.head.annotations.add(attributes.get("id", ""))

    def end(self, tag: str) -> None:
        """Take in the end of an element."""
        if self.segment is None:
            return
        if tag != "segment":
            self.pieces.append(" ")  # the next word follows
            return
        self.check_size()
        value = self.segment.get
        self.done.append(
            Segment(
                id=value("id", ""),
                start=value("starttime", ""),
                end=value("endtime", ""),
                who=value("who", ""),
                wmer=value("WMER", ""),
                text=" ".join("".join(self.pieces).split()),
                annotation=self.annotation,
                line=self.line,
            )
        )
        self.segment = None
        self.pieces.clear()
        self.parser.StartElementHandler = self.start
        self.parser.CharacterDataHandler = None

    def check_size(self) -> None:
        """Refuse a segment that does not end: its text would fill the memory."""
        if self.segment is not None and self.parser.CurrentByteIndex - self.begin > LONGEST:
            self.refuse(f"the segment that began at line {self.line} has over {LONGEST} bytes")

    def refuse(self, reason: str) -> None:
        """Raise for a file that is not read any further."""
        raise _RefusedError(
            f"{self.path}:{self.parser.CurrentLineNumber}: {reason}. Expected the transcript XML "
            "of MGB-2 or QASR: transcript/body/segments/segment/element."
        )
