"""A family of models: each iteration labels, trains and exports; students share a teacher."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from harness_bench.config import build, read_toml
from harness_bench.data.config import resolve_paths
from harness_bench.files import locked
from harness_bench.iteration import PRESETS, FamilyConfig, IterationConfig, load_preset
from harness_bench.pretrain.plan import label_owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from lightning.fabric import Fabric

    from harness_bench.data.sources import CutSource
    from harness_bench.labels.store import Labels
    from harness_bench.progress import StageTimes

PRESET_KEY = "preset"


def checkpoint_of(run: Path) -> Path:
    """Return where a run folder holds its exported checkpoint."""
    return run / "checkpoint"


def checkpoint_folder(out: Path, name: str) -> Path:
    """Return where a family's folder holds the checkpoint of one of its models."""
    return checkpoint_of(out / name / "run")


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
    from harness_bench.pretrain.engine import make_fabric  # noqa: PLC0415
    from harness_bench.pretrain.loop import pretrain  # noqa: PLC0415

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
    from harness_bench.data.opening import open_data  # noqa: PLC0415 - torch
    from harness_bench.data.sources import as_source  # noqa: PLC0415 - torch

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
    from harness_bench.labels.make import make_labels  # noqa: PLC0415 - torch

    folder = out / label_owner(family, step).name / "labels"
    # Two students may be made at a time, by two processes.
    lock = locked(out / f".{folder.parent.name}.lock") if fabric.global_rank == 0 else nullcontext()
    with lock:
        return make_labels(source, folder, step.labels, teacher=teacher, device=fabric.device)


def _chosen(family: FamilyConfig, only: str | None) -> list[IterationConfig]:
    """Return all iterations, or the one asked for."""
    by_name = {step.name: step for step in family.iterations}
    if only is None:
        return list(family.iterations)
    if only not in by_name:
        raise ValueError(f"The family has no iteration {only!r}; it has {', '.join(by_name)}.")
    return [by_name[only]]
