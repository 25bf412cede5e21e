"""What MGB-2 and QASR share: programmes with transcript XML, and evaluation sets as Kaldi text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_bench.core.log import bar
from harness_bench.corpora.base import Reason, Skipped, Utterance, printable
from harness_bench.corpora.formats import kaldi
from harness_bench.corpora.formats.kaldi import Span
from harness_bench.corpora.formats.transcript_xml import Head, Segment, XmlSpeaker, read_segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from harness_bench.corpora.formats.raw_files import AudioIndex

# The set of segments that counts where a file lists several.
_ALIGNED, _MANUAL = "transcript_align", "transcript_manual"
MAX_WMER = 80.0  # percent; what the challenge and QASR's authors train on
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{0,30})?", re.ASCII)
_LOCAL_SPEAKER = re.compile(r"speaker[_-]?(\d{1,9})", re.ASCII)
_UNKNOWN = frozenset({"", "-", "n/a", "na", "none", "null", "unk", "unknown"})
_GENDERS = {"m": "male", "male": "male", "f": "female", "female": "female"}
_SKIPPED_MARK, _OVERLAP_MARK = "@@@", "###"
_NEAR = (0, -1, 1)  # centiseconds that two files' times may differ by rounding


@dataclass(frozen=True)
class Aligned:
    """How the segments of training programmes are taken.

    Attributes:
        corpus: put before speakers' names that are the same in all programmes.
        root: what places in reports are relative to.
        audio: the programmes' recordings.
        max_wmer: word match error rate in percent above which a segment is left out.
        buckwalter: the text is Buckwalter and is turned into Arabic script.
    """

    corpus: str
    root: Path
    audio: AudioIndex
    max_wmer: float = MAX_WMER
    buckwalter: bool = False

    def utterances(self, files: Iterable[Path], split: str) -> Iterator[Utterance | Skipped]:
        """Yield the segments of programmes, file by file."""
        files = list(files)
        for path in bar(files, title=f"reading {self.corpus} {split}", unit="file"):
            yield from self._programme(path, split)

    def _programme(self, path: Path, split: str) -> Iterator[Utterance | Skipped]:
        head, count = Head(), 0
        sounds: dict[str, tuple[Path, str] | None] = {}  # beginning of ids -> file and its name
        place = printable(path.relative_to(self.root))
        for segment in read_segments(path, head):
            listed = _ALIGNED in head.annotations and segment.annotation
            if not listed or segment.annotation == _ALIGNED:
                count += 1
                key = segment.id.partition("_utt")[0]
                if key not in sounds:
                    audio = self.audio.find(path.stem, _base(head.recording), key)
                    sounds[key] = (audio, audio.stem) if audio else None
                where = f"{place}:{segment.line}"
                yield self._segment(segment, head, sounds[key], split, where)
        if not count:
            detail = f"the file has no segment of {_ALIGNED}"
            yield Skipped(place, Reason.BAD_ROW, detail, where=place)

    def _segment(
        self,
        segment: Segment,
        head: Head,
        sound: tuple[Path, str] | None,
        split: str,
        where: str,
    ) -> Utterance | Skipped:
        name = segment.id or where
        times = kaldi.seconds(segment.start, segment.end)
        if times is None:
            detail = f"{segment.start!r} to {segment.end!r} are no times in seconds"
            return Skipped(name, Reason.BAD_ROW, detail, where=where)
        if segment.wmer and not _NUMBER.fullmatch(segment.wmer):
            detail = f"WMER {segment.wmer!r} is no percentage"
            return Skipped(name, Reason.BAD_ROW, detail, where=where)
        if segment.wmer and float(segment.wmer) > self.max_wmer:
            detail = f"WMER {segment.wmer} > {self.max_wmer:g}"
            return Skipped(name, Reason.BY_RULE, detail, where=where)
        if sound is None:
            return Skipped(name, Reason.MISSING_FILE, self.audio.missing(), where=where)
        audio, recording = sound
        number, speaker, gender = self._speaker(segment, head, recording)
        custom = {"cluster": recording, "wmer": segment.wmer}
        return Utterance(
            id=kaldi.make_id(recording, number, *times),
            audio=audio,
            split=split,
            start=times[0],
            duration=round(times[1] - times[0], 6),
            text=(kaldi.to_arabic(segment.text) if self.buckwalter else segment.text) or None,
            speaker=speaker,
            language="ar",
            gender=gender,
            custom={key: value for key, value in custom.items() if value},
            where=where,
        )

    def _speaker(
        self, segment: Segment, head: Head, recording: str
    ) -> tuple[str, str | None, str | None]:
        """Return the number for the id, the name and the gender; None where unknown."""
        about = head.speakers.get(segment.who, XmlSpeaker())
        match = _LOCAL_SPEAKER.search(segment.who)
        number = match[1] if match else "unknown"
        gender = _GENDERS.get(about.gender.strip().lower())
        if (unique := "_".join(about.unique.split())).lower() not in _UNKNOWN:
            return number, f"{self.corpus}_{unique}", gender
        if match:
            return number, f"{recording}_spk-{int(number):04d}", gender
        if segment.who in head.speakers and segment.who.strip().lower() not in _UNKNOWN:
            return number, f"{recording}_{'_'.join(segment.who.split())}", gender
        return number, None, None


class BySpan[T]:
    """Values found by recording and times, a centisecond more or less."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], T] = {}

    def add(self, span: Span, value: T) -> None:
        """Keep the first value of a span."""
        self._known.setdefault(_key(span), value)

    def find(self, span: Span) -> T | None:
        """Return the value of a span; None where there is none."""
        recording, start, end = _key(span)
        tries = ((recording, start + one, end + two) for one in _NEAR for two in _NEAR)
        return next((self._known[key] for key in tries if key in self._known), None)

    def values(self) -> Iterable[T]:
        """Return all values in the order they came."""
        return self._known.values()


class Manual:
    """The segments of manually transcribed programmes, found by recording and time."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._known: BySpan[tuple[Segment, XmlSpeaker]] = BySpan()
        for path in files:
            head = Head()
            for segment in read_segments(path, head):
                times = kaldi.seconds(segment.start, segment.end)
                listed = _MANUAL in head.annotations
                other = listed and segment.annotation not in {"", _MANUAL}
                if times is not None and not other:
                    speaker = head.speakers.get(segment.who, XmlSpeaker())
                    self._known.add(Span(path.stem, *times), (segment, speaker))

    def text(self, span: Span) -> str | None:
        """Return the text of a segment; None if there is none of these times."""
        found = self._known.find(span)
        return found[0].text if found else None

    def gender(self, span: Span) -> str | None:
        """Return the gender of a segment's speaker; None where unknown."""
        found = self._known.find(span)
        return _GENDERS.get(found[1].gender.strip().lower()) if found else None


@dataclass(frozen=True)
class Spoken:
    """One segment of an evaluation set, as its files describe it."""

    id: str
    span: Span
    text: str | None
    split: str
    where: str
    gender: str | None = None
    custom: tuple[tuple[str, str], ...] = ()

    def utterance(self, audio: AudioIndex) -> Utterance | Skipped:
        """Return the utterance, or why it is left out."""
        if self.text is not None and self.text.startswith(_SKIPPED_MARK):
            detail = f"marked {_SKIPPED_MARK}: not to be transcribed"
            return Skipped(self.id, Reason.BY_RULE, detail, where=self.where)
        path = audio.find(self.span.recording)
        if path is None:
            detail = audio.missing()
            return Skipped(self.id, Reason.MISSING_FILE, detail, self.span.recording, self.where)
        known = self.span.speaker.lower() not in _UNKNOWN
        return Utterance(
            id=self.id,
            audio=path,
            split=self.split,
            start=self.span.start,
            duration=round(self.span.end - self.span.start, 6),
            text=self.text or None,
            speaker=f"{path.stem}_spk-{self.span.speaker}" if known else None,
            language="ar",
            gender=self.gender,
            custom={"cluster": path.stem, **dict(self.custom)},
            where=self.where,
        )


def overlapped(text: str | None) -> bool:
    """Whether a text is marked as speech of several people at once."""
    return text is not None and text.startswith(_OVERLAP_MARK)


def _key(span: Span) -> tuple[str, int, int]:
    return span.recording.replace("_", "-").lower(), round(span.start * 100), round(span.end * 100)


def _base(filename: str) -> str:
    """Return a file's name without folders and suffix; it is only ever looked up."""
    return filename.replace("\\", "/").rpartition("/")[2].partition(".")[0]
