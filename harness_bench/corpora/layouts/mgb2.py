"""MGB-2: Al Jazeera, 1,200 hours aligned with captions; dev and test transcribed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped
from harness_bench.corpora.formats import kaldi
from harness_bench.corpora.formats.raw_files import AudioIndex, folders
from harness_bench.corpora.formats.transcript_xml import MAX_WMER, Aligned, manual, xml_files

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

_PLACES = (".", "DB")
_KINDS = (".all", "", ".non_overlap_speech")  # of Kaldi's files, the most complete first
# What the STM and the text say of a segment of several speakers.
_OVERLAP, _OVERLAP_MARK = "overlap", "###"


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """MGB-2: Al Jazeera, 1,200 h of train aligned with captions; 10 h each of dev and test.

    Expects `train/{wav,xml/utf8}`, `dev/{wav,segments*,text*,xml/utf8}` and `test/{wav,segments*,
    text*,stm_*.stm}` below the folder given (or below DB in it). The challenge scores dev and
    test without overlapping speech; segments with overlap are in the splits dev_overlap and
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

    def utterances(self, root: Path) -> Found:
        """Yield train, dev and test, as far as they are there."""
        root = _root(root)
        if self.train and (root / "train" / "xml").is_dir():
            yield from self._train(root)
        for split in ("dev", "test"):
            if (root / split).is_dir():
                yield from self._evaluation(root / split)

    def _train(self, root: Path) -> Found:
        xml = root / "train" / "xml" / self.script
        if not (files := xml_files(xml)):
            there = ", ".join(folder.name for folder in folders(xml.parent)) or "nothing"
            raise ValueError(
                f"{xml} holds no XML file ({xml.parent} holds {there}). The option script takes "
                "utf8 or bw."
            )
        audio, buckwalter = AudioIndex([root / "train" / "wav"]), self.script == "bw"
        return Aligned("mgb2", root, audio, self.max_wmer, buckwalter).utterances(files)

    def _evaluation(self, folder: Path) -> Found:
        listed = _Listed(folder)
        yield from listed.broken
        stm, chosen = self._stm(folder)
        marked = kaldi.BySpan(kaldi.read_stm(stm) if stm else ())
        told, source = marked, stm.name if stm else ""
        if not chosen and (xml := xml_files(folder / "xml" / "utf8")):
            told, source, chosen = manual(xml), "xml/utf8", True
        if not listed.name and not marked.known:
            raise ValueError(
                f"{folder} holds no list of its segments. Expected segments.all, text.all or "
                "stm_orig.stm there; or move the folder away."
            )
        # Kaldi's text is taken where it is asked for, or a better file does not have a segment.
        take = not listed.name or (chosen and self.test_text != "kaldi")
        audio, where = AudioIndex([folder / "wav"]), f"{folder.name}/{listed.name or source}"
        for uid, span in (listed.spans if listed.name else _made(marked)).items():
            found, text, origin = told.find(span), listed.text(uid), listed.text_name
            if found and take:
                text, origin = found.text, source
            if text is None:
                detail = f"no text of this segment in {origin or source or folder.name}"
                yield Skipped(uid, Reason.MISSING_FIELD, detail, where=where)
                continue
            mark = marked.find(span)
            apart = (mark and mark.speaker == _OVERLAP) or listed.overlaps(uid, text)
            split = f"{folder.name}_overlap" if apart else folder.name
            said = span._replace(text=text, gender=(found or span).gender)
            yield kaldi.spoken(uid, said, audio, split=split, where=where, text_source=origin)

    def _stm(self, folder: Path) -> tuple[Path | None, bool]:
        """Return the STM, and whether it is that of the text; any tells what overlaps."""
        kind = {"raw": "orig"}.get(self.test_text, self.test_text)
        stm, others = folder / f"stm_{kind}.stm", sorted(folder.glob("stm_*.stm"))
        if folder.name == "test" and self.test_text in {"norm", "ndnp"} and not stm.is_file():
            names = ", ".join(path.name for path in others) or "none"
            raise ValueError(
                f"There is no {stm}, which test_text={kind} takes; there are: {names}."
            )
        first = next((path for path in (stm, *others) if path.is_file()), None)
        return first, first == stm


class _Listed:
    """The segments that Kaldi's files of a folder list: ids, times, texts, and what overlaps."""

    def __init__(self, folder: Path) -> None:
        segments, texts = _first(folder, "segments"), _first(folder, "text")
        self.text_name = texts.name if texts else ""
        self.name = segments.name if segments else self.text_name
        self._texts = kaldi.read_text(texts) if texts else {}
        self._plain = _plain_ids(folder)
        self.spans: dict[str, kaldi.Span] = {}
        self.broken: list[Skipped] = []
        if segments:
            self._read(segments, folder.name)
        listed = self.spans.keys() | {item.id for item in self.broken}
        for uid, (_, number) in self._texts.items():
            if uid in listed:
                continue
            if span := kaldi.parse_id(uid):  # which tells the times too
                self.spans[uid] = span
                continue
            detail = "no segment tells its times, and the id is not like UUID_spk-0001_seg-S:E"
            where = f"{folder.name}/{self.text_name}:{number}"
            self.broken.append(Skipped(uid, Reason.BAD_ROW, detail, where=where))

    def text(self, uid: str) -> str | None:
        """Return the text of an id; None if there is no line of it."""
        return self._texts[uid][0] if uid in self._texts else None

    def overlaps(self, uid: str, text: str) -> bool:
        """Whether a text is marked, or its id missing from the lists without overlapping speech."""
        return text.startswith(_OVERLAP_MARK) or (
            self._plain is not None and uid not in self._plain
        )

    def _read(self, segments: Path, split: str) -> None:
        for row in kaldi.read_segments(segments, split):
            if isinstance(row, Skipped):
                self.broken.append(row)
            elif row[0] in self.spans:
                again = Skipped(row[0], Reason.DUPLICATE_ID, "listed before", where=row[2])
                self.broken.append(again)
            else:
                named = kaldi.parse_id(row[0])
                self.spans[row[0]] = row[1]._replace(speaker=named.speaker if named else "")


def _made(marked: kaldi.BySpan) -> dict[str, kaldi.Span]:
    """Return ids of our own for the STM's segments, which have none."""
    return {
        kaldi.make_id(row.recording, "unknown", row.start, row.end): row._replace(speaker="")
        for row in marked.known.values()
    }


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
        path = folder / f"{name}{_KINDS[-1]}"
        if path.is_file():
            return {line.split()[0] for _, line in kaldi.filled(path)}
    return None
