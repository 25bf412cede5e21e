"""The checkpoint files of s3prl's runner: which are whole, which is the newest, what they hold.

torch is imported only to read one: the command line checks them before anything heavy is loaded.
"""

import argparse
import zipfile
from pathlib import Path
from typing import Any

from harness_bench.core.log import say

STATES = "states-*.ckpt"  # s3prl's name; the number is the step
PARTIAL = ".partial-*.ckpt"  # what a killed save leaves
_OLD_FORMAT = b"\x80\x02"  # torch before 1.6: a bare pickle, which has no checksum


def states(folder: Path) -> list[Path]:
    """List a run's checkpoints, oldest first."""
    return sorted(folder.glob(STATES), key=lambda path: int(path.stem.rpartition("-")[2]))


def is_whole(path: Path) -> bool:
    """Whether a checkpoint's parts all have the checksums that were written with them."""
    with path.open("rb") as stream:
        if stream.read(2) == _OLD_FORMAT:
            return True
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError):
        return False


def newest_whole(folder: Path) -> Path | None:
    """Return the newest checkpoint that can be read; warn of broken ones."""
    for path in reversed(states(folder)):
        if is_whole(path):
            return path
        say(f"{path} is broken (the run was killed while it was written?); taking the one before.")
    return None


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what killed saves left."""
    for path in (*states(folder)[: -max(keep, 1)], *folder.glob(PARTIAL)):
        path.unlink(missing_ok=True)


def choose(past: Path) -> Path:
    """Return the whole file, or the newest one of a folder, that `-e` means; else ValueError."""
    if past.is_dir():
        if (found := newest_whole(past)) is None:
            raise ValueError(f"-e {past}: this folder has no whole checkpoint ({STATES}).")
        return found
    if not is_whole(past):
        other = newest_whole(past.parent)
        hint = f" {other} is whole: give that." if other else ""
        raise ValueError(f"-e {past} is broken: a part is missing or has a wrong checksum.{hint}")
    return past


def load_states(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, tensors at their first use if `lazily`; no code is run."""
    import torch  # noqa: PLC0415 - heavy

    # Not for this call alone: leaving `safe_globals` would forbid what s3prl reads afterwards.
    torch.serialization.add_safe_globals([argparse.Namespace])  # the parsed arguments
    with path.open("rb") as stream:
        lazily = lazily and stream.read(2) != _OLD_FORMAT
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    return found
