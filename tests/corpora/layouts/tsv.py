"""A tiny manifest folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound, text

if TYPE_CHECKING:
    from pathlib import Path

UTTERANCES = {"a_one": "train", "a_two": "train", "b_one": "dev", "c_one": "test"}


def build(root: Path) -> None:
    """Write one file per utterance and the manifest."""
    lines = ["path\tduration\tspeaker\tlabel\ttranscript\tsplit\tdialect"]
    for uid, split in UTTERANCES.items():
        speaker, name = uid.split("_")
        sound(root / speaker / f"{name}.wav")
        lines.append(f"{speaker}/{name}.wav\t0.5\t{speaker}\tyes\tنَعَم {name}\t{split}\tMSA")
    text(root / "manifest.tsv", lines)
