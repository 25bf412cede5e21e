"""QASR: two thousand hours of Al Jazeera, aligned with captions; evaluation sets of MGB-2.

The paper trains recognisers on 300 h and validates on 6 h whose list is unpublished. The option
`train_hours=300` makes a list of ours instead, by a seeded rule that needs the corpus alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance
from harness_bench.corpora.formats import kaldi
from harness_bench.corpora.formats.raw_files import AudioIndex, folders
from harness_bench.corpora.formats.transcript_xml import MAX_WMER, Aligned, manual, xml_files
from harness_bench.corpora.splits import Item, SplitRule, choose

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

_PLACES = (".", "mgb2.1", "QASR", "alt/arabic-speech-web/mgb2.1")
_TRAIN_AUDIO = ("wav", "alt/arabic-speech-web/mgb2.1/wav")
_TEXT = "text.verbatim.nonoverlap"


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """QASR: Al Jazeera, 2,000 h of train aligned with captions; dev and test transcribed by hand.

    Expects `wav/`, `release/train_20210109/xml/` and `release/{dev,test}/{wav,xml,
    text.verbatim.nonoverlap}` below the folder given (the root is called mgb2.1). Text is
    unchanged UTF-8, punctuation included.

    Attributes:
        max_wmer: leave out train segments of a higher word match error rate, in percent.
        train_hours: 0 takes all of train and the official dev; otherwise train has these hours
            and dev has `dev_hours`, both drawn from train and of different programmes, and the
            official dev is the split dev_official.
        dev_hours: hours of our dev, only with `train_hours`.
        seed: of the drawing.
    """

    max_wmer: float = Field(default=MAX_WMER, ge=0)
    train_hours: float = Field(default=0, ge=0, le=100_000)
    dev_hours: float = Field(default=6, gt=0, le=100_000)
    seed: int = 0

    @property
    def splits(self) -> tuple[str, ...]:
        """The usual three; with a dev of ours the official one beside it."""
        return (*USUAL_SPLITS, "dev_official") if self.train_hours else USUAL_SPLITS

    @property
    def split_rule(self) -> SplitRule | None:
        """How our train and dev are drawn; None where all splits are the official ones."""
        if not self.train_hours:
            return None
        rule = (
            f"Of the train segments with WMER <= {self.max_wmer:g}: programmes by the digest of "
            f"seed and name go to dev until {self.dev_hours:g} h are reached, the last one's "
            f"segments to one segment; of all other programmes' segments {self.train_hours:g} h "
            "are drawn at random to one segment (harness_bench.corpora.splits.choose). Other "
            "splits are official. Ours, not the paper's."
        )
        return SplitRule(f"qasr_{self.train_hours:g}h_dev{self.dev_hours:g}h", rule, self.seed)

    def utterances(self, root: Path) -> Found:
        """Yield train, dev and test, as far as they are there."""
        root = _root(root)
        if files := _train_files(root):
            yield from self._chosen(root, files) if self.train_hours else self._train(root, files)
        elif self.train_hours:
            raise ValueError(f"{root} has no train XML; train_hours={self.train_hours:g} needs it.")
        for split in ("dev", "test"):
            if (root / "release" / split / _TEXT).is_file():
                name = "dev_official" if self.train_hours and split == "dev" else split
                yield from _evaluation(root, split, name)

    def _train(self, root: Path, files: list[Path]) -> Found:
        audio = AudioIndex([*(root / place for place in _TRAIN_AUDIO), files[0].parents[1] / "wav"])
        return Aligned("qasr", root, audio, self.max_wmer).utterances(files)

    def _chosen(self, root: Path, files: list[Path]) -> Found:
        """Yield our train and dev, and what is unusable; the rest of train is not mentioned."""
        items: dict[str, Item] = {}
        for item in self._train(root, files):
            if isinstance(item, Utterance):
                length = round(1000 * (item.duration or 0))
                items.setdefault(item.id, Item(item.id, length, group=item.custom["cluster"]))
        hours = {"train": self.train_hours, "dev": self.dev_hours}
        split_of = choose(items.values(), hours, self.seed)
        for item in self._train(root, files):
            if isinstance(item, Skipped):
                if item.reason != Reason.BY_RULE:
                    yield item
            elif item.id in split_of:
                yield replace(item, split=split_of[item.id])


def _root(root: Path) -> Path:
    for place in _PLACES:
        release = root / place / "release"
        texts = (release / split / _TEXT for split in ("dev", "test"))
        if _train_files(root / place) or any(path.is_file() for path in texts):
            return root / place
    raise ValueError(
        f"{root} holds no QASR. Expected release/train_20210109/xml/*.xml or "
        f"release/dev/{_TEXT} below it; the release's own root is called mgb2.1."
    )


def _train_files(root: Path) -> list[Path]:
    """List the XML files of train, by name; several releases at once are an error."""
    releases = [
        folder / "xml"
        for folder in folders(root / "release")
        if folder.name.startswith("train") and (folder / "xml").is_dir()
    ]
    if len(releases) > 1:
        names = ", ".join(str(folder.parent) for folder in releases)
        raise ValueError(f"There are several releases of train: {names}. Keep one of them there.")
    return [path for xml in releases for path in xml_files(xml)]


def _evaluation(root: Path, split: str, name: str) -> Found:
    """Yield dev or test: the segments without overlap, whose ids tell recording and times."""
    folder = root / "release" / split
    audio = AudioIndex([folder / "wav", *(root / place for place in _TRAIN_AUDIO)])
    heard = manual(xml_files(folder / "xml"))
    for uid, (text, number) in kaldi.read_text(folder / _TEXT).items():
        where = f"release/{split}/{_TEXT}:{number}"
        if (span := kaldi.parse_id(uid)) is None:
            detail = "the id is not like UUID_spk-0001_seg-0001671:0002252"
            yield Skipped(uid, Reason.BAD_ROW, detail, where=where)
        else:
            said = span._replace(text=text, gender=(heard.find(span) or span).gender)
            yield kaldi.spoken(uid, said, audio, split=name, where=where)
