"""A tiny manifest folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

UTTERANCES = {"a_one": "train", "a_two": "train", "b_one": "dev", "c_one": "test"}


def build(root: Path) -> None:
    """Write one file per utterance and the manifest."""
    lines = ["path\tduration\tspeaker\tlabel\ttranscript\tsplit\tdialect"]
    rng = np.random.default_rng(0)
    for uid, split in UTTERANCES.items():
        speaker, name = uid.split("_")
        path = root / speaker / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(8000), 16_000)
        lines.append(f"{speaker}/{name}.wav\t0.5\t{speaker}\tyes\tنَعَم {name}\t{split}\tMSA")
    (root / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
