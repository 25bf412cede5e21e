"""Single stages as the command line calls them: label, train, export."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from harness_bench import config as configs
from harness_bench.iteration import IterationConfig, load_preset, preset_names
from harness_bench.pretrain.family import checkpoint_of

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.fabric import Fabric

    from harness_bench.labels.store import Labels


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
    step: IterationConfig,
    cuts: Path,
    out: Path,
    *,
    fabric: Fabric,
    teacher: Path | None = None,
    split: str = "train",
) -> Labels:
    """Label the cuts of one split, or shards; see `labels.make.make_labels`."""
    from harness_bench.data.opening import open_training  # noqa: PLC0415 - torch
    from harness_bench.labels.make import make_labels  # noqa: PLC0415 - torch

    found = open_training(cuts, split, allow_test_data=step.pretrain.allow_test_data)
    return make_labels(found, out, step.labels, teacher=teacher, device=fabric.device)


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
    from harness_bench.data.opening import open_training  # noqa: PLC0415 - torch
    from harness_bench.labels.make import REPORT_FILE  # noqa: PLC0415 - torch
    from harness_bench.labels.store import open_labels  # noqa: PLC0415 - torch
    from harness_bench.pretrain.loop import pretrain  # noqa: PLC0415

    if not (label_folder / REPORT_FILE).is_file():
        raise ValueError(
            f"{label_folder} holds no finished labels (no {REPORT_FILE}); run `harness-bench "
            "labels` (again)."
        )
    found = open_training(cuts, split, allow_test_data=step.pretrain.allow_test_data)
    made = open_labels(label_folder)
    return pretrain(step, found, made, out, fabric=fabric, teacher=teacher, restart=restart)


def export(run: Path, out: Path, *, random: bool, seed: int) -> None:
    """Write a checkpoint folder: a run's, that of fairseq's `.pt` file, or an untrained model's.

    Raises:
        ValueError: `run` holds no finished checkpoint, is no HuBERT file, or names no preset or
            config.
    """
    from harness_bench.models import checkpoint, fairseq  # noqa: PLC0415 - torch

    if random:
        checkpoint.save_random(out, read_iteration(run).model, seed=seed)
        return
    if run.suffix == ".pt":
        fairseq.import_fairseq(run, out)
        return
    found = checkpoint_of(run)
    source = found if found.is_dir() else run
    checkpoint.load_backbone(source)
    partial = out.with_name(f".partial-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
