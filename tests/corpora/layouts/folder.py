"""A tiny tree of audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

UTTERANCES = {"one": "train", "deep_er_two": "train"}


def build(root: Path) -> None:
    """Write files at two depths, and others that are not speech."""
    rng = np.random.default_rng(0)
    for name in ("one.wav", "deep/er/two.flac"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(8000), 16_000)
    (root / "notes.txt").write_text("no audio")
    (root / ".hidden.wav").write_bytes(b"no audio")
