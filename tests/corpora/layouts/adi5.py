"""A tiny ADI5: train and dev in folders by dialect, test flat with its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound, text

if TYPE_CHECKING:
    from pathlib import Path

DIALECTS = ("EGY", "GLF", "LAV", "MSA", "NOR")
VIDEO = "9f0a{0}c7e".format
DEV = {f"{VIDEO(dialect.lower())}__27.55_36.02": dialect for dialect in DIALECTS}
# The first video of test stands in dev too, as 311 of the official ones do.
TEST = {
    f"{VIDEO('egy')}_F_0000_73.28_91.11": "1",
    f"{VIDEO('two')}_M_0012_1883.03_1888.78": "2",
    f"{VIDEO('three')}_F_0003_0.00_5.88": "3",
    f"{VIDEO('four')}_M_0001_1.23_120.11": "4",
    f"{VIDEO('five')}_F_0001_0.04_7.15": "5",
}
# Which of a dialect's five utterances are not drawn; changes with the rule alone.
REST = {"EGY": 1, "GLF": 2, "LAV": 4, "MSA": 5, "NOR": 5}
UTTERANCES = {
    **{
        f"{dialect}{number:06d}": "train_rest" if number == REST[dialect] else "train"
        for dialect in DIALECTS
        for number in range(1, 6)
    },
    **dict.fromkeys(DEV, "dev"),
    **dict.fromkeys(TEST, "test"),
}


def build(root: Path) -> None:
    """Write every wav and the reference."""
    for uid, split in UTTERANCES.items():
        folder = "test/wav" if split == "test" else f"{split.split('_')[0]}/{DEV.get(uid, uid[:3])}"
        sound(root / folder / f"{uid}.wav")
    text(root / "test" / "reference", map(" ".join, TEST.items()))
