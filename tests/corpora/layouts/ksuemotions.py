"""A tiny KSUEmotions: four speakers, every emotion, both phases, one name in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound

if TYPE_CHECKING:
    from pathlib import Path

SPEAKERS = ("P001", "P002", "P101", "P113")
EMOTIONS = {"1": ("00", "01", "02", "03", "04"), "2": ("00", "01", "02", "03", "05")}
# By the search from 256 starts; changes with the rule alone, which others' results rest on.
SPLIT_OF = {"P001": "train", "P002": "dev", "P101": "train", "P113": "test"}
UTTERANCES = {
    f"P{phase}_D05E{emotion}{speaker}S01T01": SPLIT_OF[speaker]
    for phase, emotions in EMOTIONS.items()
    for emotion in emotions
    for speaker in SPEAKERS
}


def build(root: Path) -> None:
    """Write every recording, and a file of another kind as the official tree has."""
    for uid in UTTERANCES:
        phase, name = uid.split("_")
        path = root / "data" / "SPEECH" / f"Phase_{phase[1]}" / name[3:6] / f"{name}.flac"
        sound(path.with_name(f"{uid}.flac")).rename(path)  # both phases share names, no audio
    (root / "docs").mkdir()
    (root / "docs" / "readme.txt").write_text("no recording")
