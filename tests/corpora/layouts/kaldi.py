"""Tiny data folders of Kaldi: one of whole recordings, two of segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpora.trees import sound, text

if TYPE_CHECKING:
    from pathlib import Path

UTTERANCES = {"a-one": "train", "a-two": "train", "b-1": "dev", "c-1": "test"}


def build(root: Path) -> None:
    """Write the folders and their audio; paths start at the root, so that it may be copied."""
    for uid, split in UTTERANCES.items():
        sound(root / "wavs" / f"{uid}.wav", 0.5 if split == "train" else 1.0)
        folder, speaker = root / split, uid.partition("-")[0]
        folder.mkdir(exist_ok=True)
        files = {
            "wav.scp": f"{uid} wavs/{uid}.wav",
            "text": f"{uid} نَعَم {speaker}",
            "utt2spk": f"{uid} {speaker}",
        }
        if split != "train":
            files["wav.scp"] = f"rec-{files['wav.scp']}"
            files["segments"] = f"{uid} rec-{uid} 0.25 0.75"
            files["spk2gender"] = f"{speaker} f"
        for name, line in files.items():
            path = folder / name
            before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            text(path, [*before, line])
