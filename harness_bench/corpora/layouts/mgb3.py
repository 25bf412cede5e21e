"""MGB-3: Egyptian speech from YouTube, each utterance transcribed by up to four annotators."""

from __future__ import annotations

import re
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import REFERENCE, Reason, Skipped, Utterance
from harness_bench.corpora.formats import kaldi, raw_files
from harness_bench.corpora.formats.raw_files import AudioIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.corpora.formats.kaldi import Span

_SPLITS = ("adapt", "dev", "test")
_TEXTS = ("text_noverlap", "text_noverlap.bw")  # raw first
_PROGRAMME = re.compile(r"([A-Za-z]+)[_-]\d+", re.ASCII)
_GENRE = re.compile(r"[A-Za-z]+", re.ASCII)
_NAME = re.compile(r"[\w-]{1,64}")


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """MGB-3: 16 h of Egyptian Arabic from YouTube in seven genres; adapt, dev and test.

    Expects `wav/` and `{adapt,dev,test}/ANNOTATOR/{segments,text_noverlap}` below the folder
    given (`text_noverlap.bw` is read where the former is absent). The cut's text is that of the
    first annotator by name who wrote any word; every annotator's, also an empty one, is in the
    field `reference_NAME`, and in `references/SPLIT.NAME.txt` beside the cuts. There are no
    speakers; `genre` and the cluster (the programme) come from the file's name.

    Attributes:
        ids: common keeps those utterances of dev and test that all annotators have, as several
            references are scored; any keeps all. adapt always keeps all.
        annotator: whose text is the cut's, where they wrote any word; default the first by name.
    """

    splits: ClassVar = _SPLITS  # adapt is what may be trained on

    ids: Literal["common", "any"] = "common"
    annotator: str | None = None

    def utterances(self, root: Path) -> Iterator[Utterance | Skipped]:
        """Yield adapt, dev and test, as far as they are there, by id."""
        found = {split: _annotators(root, split) for split in _SPLITS}
        if not any(found.values()):
            raise ValueError(
                f"{root} holds no MGB-3. Expected wav/ and {{adapt,dev,test}}/ANNOTATOR/"
                "{segments,text_noverlap} in it."
            )
        names = {path.name for folders in found.values() for path in folders}
        if self.annotator is not None and self.annotator not in names:
            raise ValueError(
                f"There is no annotator {self.annotator!r}; there are {', '.join(sorted(names))}."
            )
        audio = AudioIndex([root / "wav"])
        for split, folders in found.items():
            yield from self._split(split, folders, audio)

    def _split(
        self, split: str, folders: list[Path], audio: AudioIndex
    ) -> Iterator[Utterance | Skipped]:
        everyone = [_Annotator.read(folder, split) for folder in folders]
        for one in everyone:
            yield from one.broken
        for uid in sorted({uid for one in everyone for uid in one.texts}):
            having = [one for one in everyone if uid in one.texts]
            where = f"{split}/{having[0].name}"
            lacking = [one.name for one in everyone if uid not in one.texts]
            spans = {one.spans[uid] for one in having}
            if len(spans) > 1:
                detail = "annotators tell different recordings or times of it"
                yield Skipped(uid, Reason.BAD_ROW, detail, where=where)
            elif lacking and self.ids == "common" and split != "adapt":
                detail = f"not transcribed by {', '.join(lacking)}"
                yield Skipped(uid, Reason.BY_RULE, detail, where=where)
            else:
                texts = {one.name: one.texts[uid] for one in having}
                yield self._utterance(uid, spans.pop(), texts, split, where, audio)

    def _utterance(
        self,
        uid: str,
        span: Span,
        texts: dict[str, str],
        split: str,
        where: str,
        audio: AudioIndex,
    ) -> Utterance | Skipped:
        path = audio.find(span.recording)
        if path is None:
            return Skipped(uid, Reason.MISSING_FILE, audio.missing(), span.recording, where)
        # A line without words is a transcript, too: scored with those of the others.
        names = [self.annotator, *sorted(texts)] if self.annotator else sorted(texts)
        written = (texts[name] for name in names if texts.get(name))
        genre, programme = _GENRE.match(path.stem), _PROGRAMME.match(path.stem)
        custom = {"cluster": programme[0] if programme else path.stem, "dialect": "EGY"}
        if programme and genre:
            custom["genre"] = genre[0].lower()
        return Utterance(
            id=uid,
            audio=path,
            split=split,
            start=span.start,
            duration=round(span.end - span.start, 6),
            text=next(written, None),
            language="ar",
            custom=custom | {f"{REFERENCE}{name}": text for name, text in texts.items()},
            where=where,
        )


@plain_dataclass(frozen=True)
class _Annotator:
    name: str
    spans: dict[str, Span]
    texts: dict[str, str]
    broken: list[Skipped]

    @classmethod
    def read(cls, folder: Path, split: str) -> _Annotator:
        """Read segments and text; lines that do not fit together are listed."""
        spans: dict[str, Span] = {}
        broken: list[Skipped] = []
        place = f"{split}/{folder.name}"
        for row in kaldi.read_segments(folder / "segments", place):
            if isinstance(row, Skipped):
                broken.append(row)
            else:
                spans.setdefault(row[0], row[1])
        source = _text(folder)
        texts = kaldi.read_text(source)
        unplaced = {item.id for item in broken}
        for uid in texts.keys() - spans.keys() - unplaced:
            where = f"{place}/{source.name}:{texts[uid][1]}"
            broken.append(Skipped(uid, Reason.BAD_ROW, "no segment of this id", where=where))
        # Segments without a line of text are those of overlapping speech.
        kept = {uid: text for uid, (text, _) in texts.items() if uid in spans}
        return cls(folder.name, spans, kept, sorted(broken, key=lambda item: item.where))


def _annotators(root: Path, split: str) -> list[Path]:
    """List the annotators' folders of a split, by name; some releases date the split's folder."""
    places = [
        folder
        for folder in raw_files.folders(root)
        if folder.name == split or folder.name.startswith(f"{split}.")
    ]
    if len(places) > 1:
        names = ", ".join(folder.name for folder in places)
        raise ValueError(
            f"{root} has several releases of {split}: {names}. Keep one of them there."
        )
    found = [
        folder
        for place in places
        for folder in raw_files.folders(place)
        if (folder / "segments").is_file() and any((folder / name).is_file() for name in _TEXTS)
    ]
    if odd := [folder.name for folder in found if not _NAME.fullmatch(folder.name)]:
        raise ValueError(f"Annotators' folders must be plain words; see {odd} in {places[0]}.")
    return found


def _text(folder: Path) -> Path:
    return next(folder / name for name in _TEXTS if (folder / name).is_file())
