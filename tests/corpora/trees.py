"""Small pieces of corpora on disk that the tests of several layouts share."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from harness_bench.corpora.base import Skipped, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterable

LAYOUTS = Path(__file__).parent / "layouts"


def build(name: str, root: Path) -> dict[str, str]:
    """Write the tiny corpus of a layout below `root`; return its utterances, id -> split."""
    path = LAYOUTS / f"{name}.py"
    assert path.is_file(), f"corpus {name} needs a layout {path} to be tested on"
    layout = runpy.run_path(str(path))
    layout["build"](root)
    expected: dict[str, str] = layout["UTTERANCES"]
    return expected


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000, **options: str) -> Path:
    """Write noise that no other path gets, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * rate)), rate, **options)
    return path


def kept(found: Iterable[Utterance | Skipped]) -> dict[str, Utterance]:
    """Return what can be used, by id."""
    return {item.id: item for item in found if isinstance(item, Utterance)}


def left_out(found: Iterable[Utterance | Skipped]) -> dict[str, str]:
    """Return what cannot be used: id -> reason."""
    return {item.id: str(item.reason) for item in found if isinstance(item, Skipped)}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of everything below a folder."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir()
    }
