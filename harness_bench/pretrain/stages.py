"""Single stages as the command line calls them: label, train, export."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from harness_bench import config as configs
from harness_bench.cuts import read_cuts
from harness_bench.iteration import IterationConfig, load_preset, preset_names
from harness_bench.pretrain.family import checkpoint_of

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.fabric import Fabric

    from harness_bench.labels.store import LabelStore


def read_iteration(path: Path) -> IterationConfig:
    """Read one iteration from TOML, or a preset of the paper by its name.

    Raises:
        ValueError: neither such a file nor such a preset, or broken settings.
    """
    if str(path) in preset_names():
        return load_preset(str(path))
    if not path.is_file():
        raise ValueError(
            f"{path} is neither a TOML file nor a preset; presets: {', '.join(preset_names())}."
        )
    return configs.load(IterationConfig, path)


def label(
    step: IterationConfig, cuts: Path, out: Path, *, teacher: Path | None, split: str
) -> LabelStore:
    """Label the cuts of one split; see `labels.make.make_labels`."""
    found = read_cuts(cuts, split)  # before the slow imports, so that a mistake shows at once
    import torch  # noqa: PLC0415

    from harness_bench.labels.make import make_labels  # noqa: PLC0415

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return make_labels(found, out, step.labels, teacher=teacher, device=device)


def train(
    step: IterationConfig,
    cuts: Path,
    label_folder: Path,
    out: Path,
    *,
    fabric: Fabric,
    teacher: Path | None = None,
    split: str = "train",
    restart: bool = False,
) -> Path:
    """Train one iteration on ready labels; see `pretrain.loop.pretrain`."""
    from harness_bench.labels.store import LabelStore  # noqa: PLC0415 - torch
    from harness_bench.pretrain.loop import pretrain  # noqa: PLC0415

    found, store = read_cuts(cuts, split), LabelStore(label_folder)
    return pretrain(step, found, store, out, fabric=fabric, teacher=teacher, restart=restart)


def export(run: Path, out: Path, *, random: bool, seed: int) -> None:
    """Copy a run's checkpoint folder after opening it, or write an untrained model of a shape.

    Raises:
        ValueError: `run` holds no finished checkpoint, or names no preset or config.
    """
    from harness_bench.models import checkpoint  # noqa: PLC0415 - torch

    if random:
        checkpoint.save_random(out, read_iteration(run).model, seed=seed)
        return
    found = checkpoint_of(run)
    source = found if found.is_dir() else run
    checkpoint.load_backbone(source)
    partial = out.with_name(f".partial-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
