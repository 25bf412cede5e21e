"""MGB-2: Al Jazeera, 1,200 hours aligned with captions; dev and test transcribed by hand."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped
from harness_bench.corpora.formats import broadcast, kaldi, raw_files
from harness_bench.corpora.formats.broadcast import MAX_WMER, Aligned, BySpan, Manual, Spoken
from harness_bench.corpora.formats.raw_files import AudioIndex
from harness_bench.corpora.formats.transcript_xml import xml_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.corpora.base import Utterance
    from harness_bench.corpora.formats.kaldi import Span

_PLACES = (".", "DB")
_KINDS = (".all", "", ".non_overlap_speech")  # of Kaldi's files, the most complete first
_PLAIN = ".non_overlap_speech"
_OVERLAP = "overlap"  # what the STM says of a segment of several speakers


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """MGB-2: Al Jazeera, 1,200 h of train aligned with captions; 10 h each of dev and test.

    Expects `train/{wav,xml/utf8}`, `dev/{wav,segments*,text*,xml/utf8}` and `test/{wav,segments*,
    text*,stm_*.stm}` below the folder given (or below DB in it). The challenge scores dev and
    test without overlapping speech; segments of overlap are splits of their own, dev_overlap and
    test_overlap. The field `text_source` says which file a text of dev and test comes from.

    Attributes:
        script: utf8 takes train's raw text, bw its normalised form in Buckwalter, which is
            turned into Arabic script.
        test_text: raw takes dev's text from its XML and test's from stm_orig.stm where they are
            there; kaldi takes the normalised one from the text files; norm and ndnp take test's
            from the STM of that name.
        max_wmer: leave out train segments of a higher word match error rate, in percent.
        train: False leaves train out, for those who only test on this corpus.
    """

    splits: ClassVar = (*USUAL_SPLITS, "dev_overlap", "test_overlap")

    script: Literal["utf8", "bw"] = "utf8"
    test_text: Literal["raw", "kaldi", "norm", "ndnp"] = "raw"
    max_wmer: float = Field(default=MAX_WMER, ge=0)
    train: bool = True

    def utterances(self, root: Path) -> Iterator[Utterance | Skipped]:
        """Yield train, dev and test, as far as they are there."""
        root = _root(root)
        if self.train and (root / "train" / "xml").is_dir():
            yield from self._train(root)
        for split in ("dev", "test"):
            if (root / split).is_dir():
                yield from self._evaluation(root, split)

    def _train(self, root: Path) -> Iterator[Utterance | Skipped]:
        xml = root / "train" / "xml" / self.script
        files = xml_files(xml)
        if not files:
            there = ", ".join(folder.name for folder in raw_files.folders(xml.parent)) or "nothing"
            raise ValueError(
                f"{xml} holds no XML file ({xml.parent} holds {there}). The option script takes "
                "utf8 or bw."
            )
        aligned = Aligned(
            "mgb2",
            root,
            AudioIndex([root / "train" / "wav"]),
            max_wmer=self.max_wmer,
            buckwalter=self.script == "bw",
        )
        return aligned.utterances(files, "train")

    def _evaluation(self, root: Path, split: str) -> Iterator[Utterance | Skipped]:
        folder = root / split
        audio, known = AudioIndex([folder / "wav"]), _Listed(folder)
        yield from known.broken
        better = self._texts(folder, split)
        better.take = better.take or not known.name
        if not known.name and not any(better.rows.values()):
            raise ValueError(
                f"{folder} holds no list of its segments. Expected segments.all, text.all or "
                "stm_orig.stm there; or move the folder away."
            )
        for uid, span in (known.spans if known.name else better.made()).items():
            text, source = better.text(span), better.source
            if text is None:
                text, source = known.text(uid), known.text_name
            where = f"{split}/{known.name or better.source}"
            if text is None:
                detail = f"no text of this segment in {known.text_name or better.source or split}"
                yield Skipped(uid, Reason.MISSING_FIELD, detail, where=where)
                continue
            apart = known.overlaps(uid) or better.overlaps(span) or broadcast.overlapped(text)
            name = f"{split}_overlap" if apart else split
            custom = (("text_source", source),)
            yield Spoken(uid, span, text, name, where, better.gender(span), custom).utterance(audio)

    def _texts(self, folder: Path, split: str) -> _Texts:
        """Return what tells texts by recording and time; it may know nothing."""
        kind = {"raw": "orig"}.get(self.test_text, self.test_text)
        stm = folder / f"stm_{kind}.stm"
        if split == "test" and self.test_text in {"norm", "ndnp"} and not stm.is_file():
            names = ", ".join(sorted(path.name for path in folder.glob("stm_*.stm"))) or "none"
            raise ValueError(
                f"There is no {stm}, which test_text={kind} takes; there are: {names}."
            )
        # Where another text is wanted, an STM still tells what overlaps.
        files = [path for path in (stm, *sorted(folder.glob("stm_*.stm"))) if path.is_file()]
        xml = xml_files(folder / "xml" / "utf8")
        found = _Texts(take=self.test_text != "kaldi" and files[:1] == [stm])
        if files:
            found.read_stm(files[0])
        if xml and files[:1] != [stm]:
            found.manual, found.source = Manual(xml), "xml/utf8"
            found.take = self.test_text != "kaldi"
        return found


class _Listed:
    """The segments that Kaldi's files of a folder list: ids, times, texts, and what overlaps."""

    def __init__(self, folder: Path) -> None:
        segments, texts = _first(folder, "segments"), _first(folder, "text")
        self.text_name = texts.name if texts else ""
        self._texts = kaldi.read_text(texts) if texts else {}
        self.spans: dict[str, Span] = {}
        self.broken: list[Skipped] = []
        self._unplaced: set[str] = set()
        self.name = segments.name if segments else self.text_name
        if segments:
            self._read(segments, folder.name)
        for uid in self._texts:
            if uid not in self.spans:
                self._by_id(uid, f"{folder.name}/{self.text_name}:{self._texts[uid][1]}")
        self._plain = _plain_ids(folder)

    def text(self, uid: str) -> str | None:
        """Return the text of an id; None if there is no line of it."""
        return self._texts[uid][0] if uid in self._texts else None

    def overlaps(self, uid: str) -> bool:
        """Whether an id is missing from the lists without overlapping speech."""
        return self._plain is not None and uid not in self._plain

    def _read(self, segments: Path, split: str) -> None:
        for row in kaldi.read_segments(segments, split):
            if isinstance(row, Skipped):
                self.broken.append(row)
                self._unplaced.add(row.id)
                continue
            uid, span, where = row
            if uid in self.spans:
                skipped = Skipped(uid, Reason.DUPLICATE_ID, "listed before", where=where)
                self.broken.append(skipped)
                continue
            named = kaldi.parse_id(uid)
            self.spans[uid] = span._replace(speaker=named.speaker if named else "")

    def _by_id(self, uid: str, where: str) -> None:
        """Take the times of a line of text that no segment tells of from its id."""
        if uid in self._unplaced:
            return  # its broken line is listed already
        span = kaldi.parse_id(uid)
        if span is None:
            detail = "no segment tells its times, and the id is not like UUID_spk-0001_seg-S:E"
            self.broken.append(Skipped(uid, Reason.BAD_ROW, detail, where=where))
        else:
            self.spans[uid] = span


@plain_dataclass
class _Texts:
    """Texts of segments by recording and time, from an STM or from XML."""

    take: bool  # whether the texts are wanted; what overlaps is told in any case
    source: str = ""
    manual: Manual | None = None
    rows: BySpan[Span] = field(default_factory=BySpan)

    def read_stm(self, path: Path) -> None:
        """Take in an STM."""
        self.source = path.name
        for row in kaldi.read_stm(path):
            self.rows.add(row, row)

    def made(self) -> dict[str, Span]:
        """Return ids of our own for the STM's segments, which have none."""
        return {
            kaldi.make_id(row.recording, "unknown", row.start, row.end): row._replace(speaker="")
            for row in self.rows.values()
        }

    def text(self, span: Span) -> str | None:
        """Return a segment's text; None where it is not known or not wanted."""
        if not self.take:
            return None
        if self.manual is not None:
            return self.manual.text(span)
        row = self.rows.find(span)
        return row.text if row else None

    def gender(self, span: Span) -> str | None:
        """Return the gender of a segment's speaker; None where unknown."""
        return self.manual.gender(span) if self.manual else None

    def overlaps(self, span: Span) -> bool:
        """Whether the STM marks a segment as overlapping speech."""
        row = self.rows.find(span)
        return row is not None and row.speaker == _OVERLAP


def _root(root: Path) -> Path:
    for place in _PLACES:
        parts = (("train", "xml"), ("dev", "wav"), ("test", "wav"))
        if any((root / place).joinpath(*part).is_dir() for part in parts):
            return root / place
    raise ValueError(
        f"{root} holds no MGB-2. Expected train/xml, dev/wav or test/wav in it or in its DB."
    )


def _first(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{kind}" for kind in _KINDS)
    return next((path for path in paths if path.is_file()), None)


def _plain_ids(folder: Path) -> set[str] | None:
    """Return the ids without overlapping speech; None where no file tells."""
    for name in ("segments", "text"):
        path = folder / f"{name}{_PLAIN}"
        if path.is_file():
            return {line.split()[0] for _, line in kaldi.filled(path)}
    return None
