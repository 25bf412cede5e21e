"""MGB-3: Egyptian speech from YouTube, each utterance transcribed by up to four annotators."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import REFERENCE, Reason, Skipped, Utterance
from harness_bench.corpora.formats import kaldi
from harness_bench.corpora.formats.raw_files import AudioIndex, folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.corpora.base import Found

_SPLITS = ("adapt", "dev", "test")
_TEXTS = ("text_noverlap", "text_noverlap.bw")  # raw first
_PROGRAMME = re.compile(r"([A-Za-z]+)[_-]\d+", re.ASCII)
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

    def utterances(self, root: Path) -> Found:
        """Yield adapt, dev and test, as far as they are there, by id."""
        found = {split: _annotators(root, split) for split in _SPLITS}
        if not any(found.values()):
            raise ValueError(
                f"{root} holds no MGB-3. Expected wav/ and {{adapt,dev,test}}/ANNOTATOR/"
                "{segments,text_noverlap} in it."
            )
        names = {path.name for places in found.values() for path in places}
        if self.annotator is not None and self.annotator not in names:
            raise ValueError(
                f"There is no annotator {self.annotator!r}; there are {', '.join(sorted(names))}."
            )
        audio = AudioIndex([root / "wav"])
        for split, places in found.items():
            yield from self._split(split, places, audio)

    def _split(self, split: str, places: list[Path], audio: AudioIndex) -> Found:
        told: dict[str, dict[str, kaldi.Span]] = defaultdict(dict)  # id -> annotator -> what
        for folder in places:
            broken = []
            for item in _annotated(folder, f"{split}/{folder.name}"):
                if isinstance(item, Skipped):
                    broken.append(item)
                else:
                    told[item[0]][folder.name] = item[1]
            yield from sorted(broken, key=lambda item: item.where)
        for uid, spans in sorted(told.items()):
            where = f"{split}/{next(iter(spans))}"
            lacking = [folder.name for folder in places if folder.name not in spans]
            if len({span[:3] for span in spans.values()}) > 1:
                detail = "annotators tell different recordings or times of it"
                yield Skipped(uid, Reason.BAD_ROW, detail, where=where)
            elif lacking and self.ids == "common" and split != "adapt":
                detail = f"not transcribed by {', '.join(lacking)}"
                yield Skipped(uid, Reason.BY_RULE, detail, where=where)
            else:
                yield self._utterance(uid, spans, split, where, audio)

    def _utterance(
        self, uid: str, spans: dict[str, kaldi.Span], split: str, where: str, audio: AudioIndex
    ) -> Utterance | Skipped:
        unsaid = next(iter(spans.values()))._replace(text="")
        found = kaldi.spoken(uid, unsaid, audio, split=split, where=where, dialect="EGY")
        if isinstance(found, Skipped):
            return found
        custom = dict(found.custom)
        if programme := _PROGRAMME.match(found.audio.stem):
            custom |= {"cluster": programme[0], "genre": programme[1].lower()}
        # A line without words is a transcript, too: scored with those of the others.
        custom |= {f"{REFERENCE}{name}": span.text for name, span in spans.items()}
        names = [self.annotator, *sorted(spans)] if self.annotator else sorted(spans)
        written = (spans[name].text for name in names if name in spans and spans[name].text)
        return replace(found, text=next(written, None), custom=custom)


def _annotated(folder: Path, place: str) -> Iterator[tuple[str, kaldi.Span] | Skipped]:
    """Yield ids with times and text, and the lines that do not fit together."""
    spans: dict[str, kaldi.Span] = {}
    unplaced = set()
    for row in kaldi.read_segments(folder / "segments", place):
        if isinstance(row, Skipped):
            unplaced.add(row.id)
            yield row
        else:
            spans.setdefault(row[0], row[1])
    source = next(folder / name for name in _TEXTS if (folder / name).is_file())
    for uid, (text, number) in kaldi.read_text(source).items():
        if uid in spans:  # Segments without a line of text are those of overlapping speech.
            yield uid, spans[uid]._replace(text=text)
        elif uid not in unplaced:
            where = f"{place}/{source.name}:{number}"
            yield Skipped(uid, Reason.BAD_ROW, "no segment of this id", where=where)


def _annotators(root: Path, split: str) -> list[Path]:
    """List the annotators' folders of a split, by name; some releases date the split's folder."""
    places = [
        folder
        for folder in folders(root)
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
        for folder in folders(place)
        if (folder / "segments").is_file() and any((folder / name).is_file() for name in _TEXTS)
    ]
    if odd := [folder.name for folder in found if not _NAME.fullmatch(folder.name)]:
        raise ValueError(f"Annotators' folders must be plain words; see {odd} in {places[0]}.")
    return found
