"""ADI5, the dialect identification data of MGB-3: train from broadcasts, dev and test from YouTube.

The paper trains on 80 % of the official train; its list is unpublished, so ours is drawn by a
seed. dev and test share source videos: by `overlap` the half not of dev's can be scored alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, printable
from harness_bench.corpora.check import Limits
from harness_bench.corpora.formats.raw_files import audio_files, entries, folders, lines
from harness_bench.corpora.splits import Item, SplitRule, dealt, draw

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

REST = "train_rest"  # what of the official train the drawn one lacks
DIALECTS = {"EGY": "EGY", "GLF": "GLF", "LAV": "LEV", "LEV": "LEV", "MSA": "MSA", "NOR": "NOR"}
NUMBERS = dict(zip("12345", ("EGY", "GLF", "LEV", "MSA", "NOR"), strict=True))
_PARTS = 1000  # a share is drawn in thousandths
_LINE = 2  # a reference's line: name, number
# <video>__27.55_36.02 in dev, <video>_F_0000_73.28_91.11 in test
_NAME = re.compile(
    r"(.{1,200}?)_(?:([A-Z])_(\d{1,9}))?_(\d{1,7}(?:\.\d{1,6})?)_(\d{1,7}(?:\.\d{1,6})?)", re.ASCII
)


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """ADI5 (MGB-3): five Arabic dialects, 53.6 h train, official dev 10 h and test 10 h.

    Expects `train/EGY/*.wav`, `dev/EGY/*.wav` and test either likewise or flat with a file
    `reference` of lines `name N`, 1 to 5 for EGY, GLF, LAV, MSA, NOR (a folder `wav` may be in
    between). Fields: `dialect` (LAV becomes LEV, the paper's name), `cluster` (the source
    video of dev and test), `overlap` (test: `dev` where dev has cuts of the same
    video, else `none`), `video_start` and `video_end` in seconds.

    Attributes:
        train_share: share of the official train to train on, to 0.1 %; 0.8 is the paper's
            (42.9 h); the rest becomes the split train_rest. 1 takes all.
        seed: of that draw.
        test_reference: the reference of a flat test, relative to the folder; empty looks for it.
    """

    splits: ClassVar = ("train", REST, "dev", "test")
    # Official utterances last up to several minutes; a test set must not lose them.
    limits: ClassVar = Limits(max_duration=900)

    train_share: float = Field(default=0.8, ge=1 / _PARTS, le=1)
    seed: int = 0
    test_reference: str = ""

    @property
    def split_rule(self) -> SplitRule:
        """How train is drawn."""
        rule = (
            f"dev and test are official; train is {self.train_share:.1%} of the official train's "
            "time, to one utterance, every dialect in proportion "
            "(harness_bench.corpora.splits.draw). Ours, not the paper's."
        )
        return SplitRule(f"adi5_train_{self.train_share:g}", rule, self.seed)

    def utterances(self, root: Path) -> Found:
        """Yield all splits, train first, each by path."""
        places = {split: root / split for split in USUAL_SPLITS if (root / split).is_dir()}
        found = {split: self._of_split(root, split) for split in places}
        if not any(found.values()):
            raise ValueError(
                f"{root} holds no ADI5. Expected train/EGY/EGY000001.wav, dev/EGY/*.wav and "
                "test/*.wav with test/reference below it."
            )
        yield from self._drawn(found.get("train", []))
        yield from found.get("dev", [])
        # Of a test without dev nobody can tell; its utterances then lack the field.
        dev = (item for item in found.get("dev", []) if isinstance(item, Utterance))
        videos = {item.custom.get("cluster") for item in dev} - {None}
        for item in found.get("test", []):
            if isinstance(item, Utterance) and videos and (video := item.custom.get("cluster")):
                item.custom["overlap"] = "dev" if video in videos else "none"
            yield item

    def _of_split(self, root: Path, split: str) -> list[Utterance | Skipped]:
        folder = root / split / "wav" if (root / split / "wav").is_dir() else root / split
        inner = [path for dialect in folders(folder) for path in audio_files(dialect)]
        flat = audio_files(folder)
        if flat and not inner:
            return list(_flat(self._reference(root, split), folder, flat, split))
        places = ((path, path.parent) for path in inner + flat)
        return [_utterance(path, split, place.name, printable(place)) for path, place in places]

    def _reference(self, root: Path, split: str) -> Path:
        """Find the file that says the dialects of flat audio."""
        if split == "test" and self.test_reference:
            return root / self.test_reference
        for folder in (root / split, root / split / "wav", root):
            files = (path for path in entries(folder) if path.is_file())
            found = [path for path in files if "ref" in path.name.lower()]
            if len(found) == 1:
                return found[0]
            if found:
                raise ValueError(
                    f"{folder} holds several references ({', '.join(p.name for p in found)}); "
                    "choose one with the option test_reference=PATH."
                )
        raise ValueError(
            f"{root / split} holds audio, but neither folders by dialect (EGY, GLF, LAV, MSA, NOR) "
            "nor a reference of lines `name N`. Put it there as `reference`, or name it with the "
            "option test_reference=PATH."
        )

    def _drawn(self, train: list[Utterance | Skipped]) -> Found:
        """Move what is not drawn of train to the rest."""
        taken = round(self.train_share * _PARTS)
        if taken == _PARTS:
            return iter(train)
        shares = {"train": taken, REST: _PARTS - taken}
        return dealt(
            train,
            lambda items: draw(items, shares, self.seed),
            lambda item, length: Item(item.id, length, (item.custom["dialect"],)),
        )


def _flat(reference: Path, folder: Path, flat: list[Path], split: str) -> Found:
    """Yield what a reference names, then the audio that it does not name."""
    files = {path.stem: path for path in reversed(flat)}
    named: set[str] = set()
    for number, line in lines(reference):
        where, parts = f"{printable(reference)}:{number}", line.split()
        if not parts:
            continue
        name = parts[0].removesuffix(".wav")
        if len(parts) != _LINE or "/" in name:
            yield Skipped(name, Reason.BAD_ROW, f"{line[:80]!r} is not `name N`", where=where)
        elif name in named:
            yield Skipped(name, Reason.DUPLICATE_ID, "named before in the reference", where=where)
        else:
            path = files.get(name, folder / f"{name}.wav")
            yield _utterance(path, split, parts[1], where)
        named.add(name)
    for path in flat:
        if path.stem not in named:
            name, detail = printable(path.stem), f"no line of {reference.name} names it"
            yield Skipped(name, Reason.MISSING_FIELD, detail, printable(path), str(folder))


def _utterance(path: Path, split: str, dialect: str, where: str) -> Utterance | Skipped:
    item = Utterance(printable(path.stem), path, split, language="ar", where=where)
    label = DIALECTS.get(dialect.upper()) or NUMBERS.get(dialect)
    if label is None:
        detail = f"dialect {printable(dialect)!r} is none of {', '.join(DIALECTS)}, 1 to 5"
        return item.skipped(Reason.UNKNOWN_LABEL, detail)
    if item.id != path.stem:
        return item.skipped(Reason.BAD_ROW, "the name is not UTF-8")
    custom = {"dialect": label}
    if split != "train" and (match := _NAME.fullmatch(item.id)):
        video, _, speaker, start, end = match.groups()
        custom |= {"cluster": video, "video_start": start, "video_end": end}
        if speaker is not None:
            # Found by a machine, so it is no speaker to rely on; M and F are its guess of gender.
            custom["diarised_speaker"] = f"{match[2]}_{speaker}"
    return replace(item, custom=custom)
