"""A family of models: each iteration labels, trains and exports; students share a teacher."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from harness_bench.core import config as configs
from harness_bench.core.config import build, read_toml
from harness_bench.pretrain.augment.config import AugmentConfig
from harness_bench.pretrain.config import (
    PRESETS,
    FamilyConfig,
    IterationConfig,
    checkpoint_folder,
    checkpoint_of,
    load_preset,
    preset_names,
)
from harness_bench.pretrain.data.config import resolve_paths
from harness_bench.pretrain.plan import label_owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from lightning.fabric import Fabric

    from harness_bench.core.log import StageTimes
    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.labels.store import Labels


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


PRESET_KEY = "preset"


def load_family(path: Path) -> FamilyConfig:
    """Read a family from TOML.

    An iteration may name a `preset` of the paper and override any of its keys; keys of
    `[defaults.*]` tables hold for every iteration that does not set them. Paths of `[data]` are
    relative to the file.

    Raises:
        ValueError: unknown keys or presets, impossible values, teachers that do not fit.
    """
    values = read_toml(path)
    defaults = values.pop("defaults", {})
    iterations = [_with_defaults(entry, defaults) for entry in values.pop("iterations", [])]
    if isinstance(values.get("data"), dict):
        values["data"] = resolve_paths(values["data"], path.parent)
    return build(FamilyConfig, {**values, "iterations": iterations}, source=str(path))


def _with_defaults(entry: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Lay an iteration over its preset, and that over the family's defaults."""
    entry = dict(entry)
    base: dict[str, Any] = {}
    if PRESET_KEY in entry:
        name = entry.pop(PRESET_KEY)
        load_preset(name)  # An unknown name is refused with the list of known ones.
        # The file's own keys alone: its unset ones must not hide the family's defaults.
        base = read_toml(PRESETS / f"{name}.toml")
    return _merge(_merge(dict(defaults), base), entry)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested tables; `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def run_family(
    family: FamilyConfig,
    cuts: Sequence[Cut] | CutSource | None,
    out: Path,
    *,
    times: StageTimes,
    only: str | None = None,
    restart: bool = False,
    accelerator: str = "auto",
    devices: int | None = None,
) -> dict[str, Path]:
    """Make the models of a family; return name -> checkpoint folder.

    Each iteration has its own folder `out/<name>` with `labels/` and `run/`; one whose labels
    would be the same as an earlier one's reads those. Finished stages whose inputs are unchanged
    are left alone, interrupted ones go on.

    Args:
        family: the iterations.
        cuts: the training utterances; None takes the family's [data].
        out: where to write.
        times: collects a line per stage.
        only: make this one alone; its teacher must have been made before.
        restart: replace runs of another config or other inputs instead of refusing.
        accelerator: see `engine.make_fabric`.
        devices: see `engine.make_fabric`.

    Raises:
        ValueError: no audio, no iteration of that name, or its teacher is not there yet.
    """
    # They import torch and Lightning, which a plan of the family does not need.
    from harness_bench.core.fabric import make_fabric  # noqa: PLC0415
    from harness_bench.pretrain.trainer import pretrain  # noqa: PLC0415

    check_starts(family)
    made: dict[str, Path] = {}
    for step in _chosen(family, only):
        fabric = make_fabric(
            precision=step.pretrain.precision, accelerator=accelerator, devices=devices,
            unused_parameters=step.model.encoder_layerdrop > 0,
        )  # fmt: skip
        source = _audio(family, step, cuts, out)
        teacher = checkpoint_folder(out, step.teacher) if step.teacher else None
        with times.stage(f"{step.name}: labels"):
            labels = _labels(family, step, source, out, fabric, teacher)
        with times.stage(f"{step.name}: pretraining"):
            made[step.name] = pretrain(
                step, source, labels, out / step.name / "run", fabric=fabric, teacher=teacher,
                restart=restart,
            )  # fmt: skip
    return made


def check_starts(family: FamilyConfig) -> None:
    """Refuse students whose initialisation cannot work, before a teacher is trained for days.

    Raises:
        ValueError: as `initialise`, with the iteration's name.
    """
    from harness_bench.models.initialization import check_start  # noqa: PLC0415 - torch

    by_name = {step.name: step for step in family.iterations}
    for step in family.iterations:
        teacher = by_name.get(step.teacher or "")
        if step.pretrain.init == "random" or teacher is None:
            continue
        try:
            check_start(step.model, step.pretrain.init, teacher.model)
        except ValueError as error:
            raise ValueError(f"iteration {step.name!r}: {error}") from None


def _audio(
    family: FamilyConfig, step: IterationConfig, cuts: Sequence[Cut] | CutSource | None, out: Path
) -> CutSource:
    """Return an iteration's audio: what was handed over, or the sources it names."""
    from harness_bench.pretrain.data.cut_source import as_source  # noqa: PLC0415 - torch
    from harness_bench.pretrain.data.training_audio import open_data  # noqa: PLC0415 - torch

    if cuts is not None:
        return as_source(cuts)
    if family.data is None:
        raise ValueError(
            f"Family {family.name!r} has no [data]; name a folder of cuts on the command line."
        )
    allow = step.pretrain.allow_test_data
    return open_data(family.data, out / "data", step.sources, allow_test_data=allow)


def _labels(
    family: FamilyConfig,
    step: IterationConfig,
    source: CutSource,
    out: Path,
    fabric: Fabric,
    teacher: Path | None,
) -> Labels:
    """Make an iteration's labels, or wait for those of the iteration that shares them."""
    from harness_bench.pretrain.labels.make import make_labels  # noqa: PLC0415 - torch

    folder = out / label_owner(family, step).name / "labels"
    return make_labels(source, folder, step.labels, teacher=teacher, device=fabric.device)


def _chosen(family: FamilyConfig, only: str | None) -> list[IterationConfig]:
    """Return all iterations, or the one asked for."""
    by_name = {step.name: step for step in family.iterations}
    if only is None:
        return list(family.iterations)
    if only not in by_name:
        raise ValueError(f"The family has no iteration {only!r}; it has {', '.join(by_name)}.")
    return [by_name[only]]


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
    from harness_bench.pretrain.data.training_audio import open_training  # noqa: PLC0415 - torch
    from harness_bench.pretrain.labels.make import make_labels  # noqa: PLC0415 - torch

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
    from harness_bench.pretrain.data.training_audio import open_training  # noqa: PLC0415 - torch
    from harness_bench.pretrain.labels.store import REPORT_FILE, open_labels  # noqa: PLC0415 - torch
    from harness_bench.pretrain.trainer import pretrain  # noqa: PLC0415

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
    from harness_bench.models import checkpoint, fairseq, frozen  # noqa: PLC0415 - torch

    if random:
        checkpoint.save_random(out, read_iteration(run).model, seed=seed)
        return
    if run.suffix == ".pt":
        fairseq.import_fairseq(run, out)
        return
    found = checkpoint_of(run)
    source = found if found.is_dir() else run
    frozen.load_backbone(source)
    partial = out.with_name(f".partial-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
