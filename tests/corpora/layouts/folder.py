"""A tiny tree of audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound

if TYPE_CHECKING:
    from pathlib import Path

UTTERANCES = {"one": "train", "deep_er_two": "train"}


def build(root: Path) -> None:
    """Write files at two depths, and others that are not speech."""
    for name in ("one.wav", "deep/er/two.flac"):
        sound(root / name)
    (root / "notes.txt").write_text("no audio")
    (root / ".hidden.wav").write_bytes(b"no audio")
