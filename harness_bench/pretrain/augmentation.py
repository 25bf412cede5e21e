"""The table [pretrain.augment] of whatever file names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.augment.config import AugmentConfig
from harness_bench.config import build, read_toml
from harness_bench.iteration import preset_names
from harness_bench.pretrain.family import load_family
from harness_bench.pretrain.stages import read_iteration

if TYPE_CHECKING:
    from pathlib import Path


def read_augment(path: Path) -> AugmentConfig:
    """Read how audio is changed from an iteration, a preset, a family, or a file of that table.

    Raises:
        ValueError: no such file or preset, broken settings, or a family whose iterations change
            audio in different ways.
    """
    if str(path) in preset_names() or not path.is_file():
        return read_iteration(path).pretrain.augment
    values = read_toml(path)
    if "iterations" in values:
        return _of_family(path)
    if "model" in values:
        return read_iteration(path).pretrain.augment
    try:
        table = values["pretrain"]["augment"]
    except (KeyError, TypeError):
        raise ValueError(
            f"{path} has no table [pretrain.augment], and is neither an iteration nor a family."
        ) from None
    return build(AugmentConfig, table, source=f"{path}, [pretrain.augment]")


def _of_family(path: Path) -> AugmentConfig:
    """Return the one way in which the iterations of a family change audio."""
    found = {
        step.name: step.pretrain.augment
        for step in load_family(path).iterations
        if step.pretrain.augment.active
    }
    if len(set(found.values())) > 1:
        raise ValueError(
            f"{path}: {', '.join(found)} change audio in different ways. Put the table "
            "[pretrain.augment] to be seen into a file of its own."
        )
    return next(iter(found.values()), AugmentConfig())
