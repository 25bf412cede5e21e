"""A tiny LibriSpeech: three parts, two chapters of one speaker, the list of speakers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound

if TYPE_CHECKING:
    from pathlib import Path

PART_OF = {"103": "train-clean-100", "8842": "dev-clean", "367": "test-other"}
TEXTS = {
    "103-1240-0000": "CHAPTER ONE MISSUS RACHEL LYNDE IS SURPRISED",
    "103-1240-0001": "THAT HAD ITS SOURCE AWAY BACK",
    "103-1241-0000": "MATTHEW CUTHBERT",
    "8842-302196-0000": "ONE MUST HAVE",
    "367-130732-0000": "LOBSTERS AND LOBSTERS",
}
UTTERANCES = {uid: PART_OF[uid.split("-")[0]].split("-")[0] for uid in TEXTS}
SPEAKERS = """;ID  |SEX| SUBSET           |MINUTES| NAME
103  | F | train-clean-100  | 25.14 | Karen Savage
8842 | F | dev-clean        | 8.11  | Mary J
367  | M | test-other       | 8.03  | Nobody | with a bar
"""


def build(root: Path) -> None:
    """Write audio, transcripts by chapter and SPEAKERS.TXT below LibriSpeech."""
    top = root / "LibriSpeech"
    for uid, text in TEXTS.items():
        speaker, chapter, _ = uid.split("-")
        folder = top / PART_OF[speaker] / speaker / chapter
        sound(folder / f"{uid}.flac")
        with (folder / f"{speaker}-{chapter}.trans.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{uid} {text}\n")
    (top / "SPEAKERS.TXT").write_text(SPEAKERS, encoding="utf-8")
