"""KSUEmotions (LDC2017S12): sentences in Modern Standard Arabic, acted in six emotions.

The paper's split is unpublished. Two of ours take its place: disjoint by speaker, and at random
for comparison (the same speakers everywhere, so its figures are higher).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, printable
from harness_bench.corpora.formats.raw_files import audio_files, folders
from harness_bench.corpora.splits import Item, SplitRule, dealt, disjoint, draw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.corpora.base import Found

EMOTIONS = {
    "00": "neutral",
    "01": "happiness",
    "02": "sadness",
    "03": "surprise",
    "04": "questioning",  # the paper's interrogative
    "05": "anger",
}
GENDERS = {"0": "male", "1": "female"}
SHARES = {"train": 330, "dev": 83, "test": 100}  # the paper's hours x 100
_NAME = re.compile(r"D(\d{1,9})E(\d\d)P([01])(\d{1,9})S(\d{1,9})T(\d{1,9})", re.ASCII)
_PHASE = re.compile(r"phase[_ -]?([0-9A-Za-z]{1,9})", re.ASCII | re.IGNORECASE)
_PLACES = ("data/SPEECH", "SPEECH", ".")
_HOURS = "hours in the proportion 3.30 : 0.83 : 1.00 of the paper"
_RULES = {
    "speaker_disjoint": (
        f"No speaker stands in two splits; {_HOURS}, emotions and genders in proportion, as near "
        "as a search from 256 seeded starts came (harness_bench.corpora.splits.disjoint). Ours, "
        "not the paper's."
    ),
    "random": (
        f"Utterances at random, speakers shared; {_HOURS} to one utterance, every emotion and "
        "gender in proportion (harness_bench.corpora.splits.draw). Ours, for comparison alone."
    ),
}


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """KSUEmotions (LDC2017S12): acted emotions in Modern Standard Arabic, 23 speakers, 5 h.

    Expects `data/SPEECH/Phase_{1,2}/E0x/D05E03P104S01T01.flac` below the folder given. Fields:
    `emotion` (neutral, happiness, sadness, surprise, questioning, anger),
    `gender`, `speaker`, and from the name `phase`, `sentence` and `trial`.

    Attributes:
        split: speaker_disjoint, or random for comparison; the paper's own is unpublished.
        seed: of the split.
    """

    splits: ClassVar = USUAL_SPLITS

    split: Literal["speaker_disjoint", "random"] = "speaker_disjoint"
    seed: int = 0

    @property
    def split_rule(self) -> SplitRule:
        """How the chosen split is made."""
        return SplitRule(f"ksuemotions_{self.split}", _RULES[self.split], self.seed)

    def utterances(self, root: Path) -> Found:
        """Yield every recording, by path, in a split that depends on ids and lengths alone."""
        found = [_utterance(path, phase) for phase, path in _recordings(root)]
        if not any(isinstance(item, Utterance) for item in found):
            raise ValueError(
                f"{root} holds no recording of KSUEmotions. Expected "
                "data/SPEECH/Phase_1/E00/D05E00P001S01T01.flac and so on below it."
            )
        deal = disjoint if self.split == "speaker_disjoint" else draw
        yield from dealt(found, lambda items: deal(items, SHARES, self.seed), _item)


def _item(utterance: Utterance, length: int) -> Item:
    kinds = (utterance.custom["emotion"], str(utterance.gender))
    return Item(utterance.id, length, kinds, str(utterance.speaker))


def _recordings(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield phase and path of each, of the first place that has phases."""
    places = (*(root / place for place in _PLACES), *sorted(root.glob("*/data/SPEECH")))
    found = (
        [(match[1], each) for each in folders(place) if (match := _PHASE.fullmatch(each.name))]
        for place in places
    )
    for phase, top in next(filter(None, found), []):
        for folder in (top, *folders(top)):
            yield from ((phase, path) for path in audio_files(folder))


def _utterance(path: Path, phase: str) -> Utterance | Skipped:
    item = Utterance(printable(path.stem), path, where=printable(path.parent))
    match, folder = _NAME.fullmatch(item.id), path.parent.name
    if match is None:
        return item.skipped(Reason.BAD_ROW, "the name is not like D05E03P104S01T01")
    _, code, gender, number, sentence, trial = match.groups()
    if re.fullmatch(r"E\d\d", folder) and folder != f"E{code}":
        return item.skipped(Reason.BAD_ROW, f"the name says E{code}, the folder {folder}")
    if code not in EMOTIONS:
        return item.skipped(Reason.UNKNOWN_LABEL, f"emotion E{code} is none of E00 to E05")
    return replace(
        item,
        id=f"P{phase}_{item.id}",  # the two phases may repeat a name
        speaker=f"ksuemotions_P{gender}{number}",
        gender=GENDERS[gender],
        language="ar",
        custom={
            "emotion": EMOTIONS[code],
            "dialect": "MSA",
            "phase": phase,
            "sentence": sentence,
            "trial": trial,
        },
    )
