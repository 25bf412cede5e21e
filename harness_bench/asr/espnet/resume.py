"""A training of ESPnet that was killed at any instant goes on from its last whole epoch.

ESPnet's trainer writes `checkpoint.pth` (weights, optimizer, scheduler, scores) and then
`<N>epoch.pth` after every epoch, straight into place. A kill within these seconds leaves a torn
checkpoint, with which nothing starts again, or a checkpoint without its epoch's model, which the
average of the best epochs misses at the very end. Here files appear whole or not at all, and a
missing model is written from the checkpoint.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import atomic_path
from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKPOINT = "checkpoint.pth"


def save_atomically() -> None:
    """Let `torch.save` to a path put the whole file in place at once; repeating it is harmless."""
    import torch  # noqa: PLC0415 - heavy

    plain = torch.save
    if hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def save(obj: object, f: Any, *arguments: Any, **options: Any) -> None:
        if not isinstance(f, str | os.PathLike):
            return plain(obj, f, *arguments, **options)
        with atomic_path(Path(f)) as partial:
            return plain(obj, partial, *arguments, **options)

    torch.save = save


def output_dir(arguments: Sequence[str]) -> Path | None:
    """Return what `--output_dir` of an ESPnet program says, the last one if there are several."""
    found = None
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "--output_dir":
            found = Path(following)
        elif word.startswith("--output_dir="):
            found = Path(word.partition("=")[2])
    return found


def mend(folder: Path) -> None:
    """Write the model of the checkpoint's epoch where a kill came between the two files.

    Args:
        folder: a training's `--output_dir`; one without a checkpoint is left as it is.

    Raises:
        ValueError: the checkpoint cannot be read.
    """
    for torn in folder.glob(".partial-*.pth"):  # what a kill left of files being written
        torn.unlink()
    path = folder / CHECKPOINT
    if not path.is_file():
        return
    import torch  # noqa: PLC0415 - heavy

    try:
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        epoch, model = states["reporter"]["epoch"], states["model"]
    except (RuntimeError, ValueError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no whole checkpoint of ESPnet ({error}). A run was killed while it wrote "
            f"it. Delete the file to train anew; --init_param {folder}/<N>epoch.pth starts from "
            "the last epoch's weights."
        ) from error
    target = folder / f"{epoch}epoch.pth"
    if not target.exists():
        say(f"{target} is missing: the run was killed before it was written. Made from {path}.")
        with atomic_path(target) as partial:
            torch.save(model, partial)
