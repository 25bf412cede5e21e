"""A tiny MGB-3: four annotators, raw text or Buckwalter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound, text

if TYPE_CHECKING:
    from pathlib import Path

ANNOTATORS = ("Alaa", "Ali", "Mohamed", "Omar")
UTTERANCES = {
    "cooking_12_first_12min_0.000_0.500": "adapt",
    "comedy_75_first_12min_0.000_0.500": "dev",
    "comedy_75_first_12min_1.000_1.500": "dev",
    "sports_7_first_12min_0.250_0.750": "test",
}
BUCKWALTER, ARABIC = ">hlA wshlA ok", "أهلا وسهلا ok"


def build(root: Path) -> None:
    """Write audio and every annotator's segments and text."""
    for uid in UTTERANCES:
        sound(root / "wav" / f"{uid.rsplit('_', 2)[0]}.wav", 3.0)
    for split in ("adapt.20170322", "dev", "test"):
        ids = [uid for uid, other in UTTERANCES.items() if other == split.partition(".")[0]]
        for annotator in ANNOTATORS:
            folder = root / split / annotator
            text(folder / "segments", [f"{uid} {' '.join(uid.rsplit('_', 2))}" for uid in ids])
            if annotator == "Ali":  # has Buckwalter alone
                text(folder / "text_noverlap.bw", [f"{uid} >hlA wshlA" for uid in ids])
            else:
                text(folder / "text_noverlap", [f"{uid} {ARABIC} {annotator}" for uid in ids])
                text(folder / "text_noverlap.bw", [f"{uid} {BUCKWALTER}" for uid in ids])
