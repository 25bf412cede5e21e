"""Make a family of models: each iteration labels, trains and exports; students share a teacher."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import check_given
from harness_bench.core.stage_times import StageTimes
from harness_bench.models import checkpoint, frozen, hub
from harness_bench.models.initialization import check_start
from harness_bench.models.readme import update_readme
from harness_bench.models.types import fairseq
from harness_bench.models.weights import weight_files
from harness_bench.pretrain.boards import check_boards
from harness_bench.pretrain.card import open_card
from harness_bench.pretrain.config import (
    CHECKPOINT,
    FamilyConfig,
    checkpoint_folder,
    is_outside,
    load_family,
    read_iteration,
)
from harness_bench.pretrain.data.cut_source import as_source
from harness_bench.pretrain.data.sources import open_data, open_training, open_valid, valid_folders
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import REPORT_FILE, NoLabels, open_labels
from harness_bench.pretrain.objectives.base import objective_class
from harness_bench.pretrain.plan import label_owner
from harness_bench.pretrain.trainer import pretrain
from harness_bench.pretrain.validation import ValidSet
from harness_bench.results.model_card import add_results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from lhotse.cut import Cut
    from lightning.fabric import Fabric

    from harness_bench.pretrain.config import IterationConfig
    from harness_bench.pretrain.data.cut_source import CutList, CutSource
    from harness_bench.pretrain.labels.store import Labels


VALID = "valid"  # folder of dev's labels, within those of training

# What checkpoints and graphs are made of, a copied one of other tools too.
_OF_A_MODEL = frozenset(
    {".json", ".safetensors", ".onnx", ".pt", ".bin", ".md", ".txt", ".model", ".yaml"}
)


@dataclass(frozen=True)
class TrainedFamily:
    """The models of a family and what making them took."""

    checkpoints: dict[str, Path]  # iteration -> checkpoint folder
    times: StageTimes


def train_family(  # noqa: PLR0913 - one keyword per option of the verb
    config: FamilyConfig | str | Path,
    cuts: str | Path | Sequence[Cut] | CutSource | None = None,
    out: str | Path | None = None,
    *,
    split: str = "train",
    only: str | None = None,
    restart: bool = False,
    adapt: bool = False,
    labels_only: bool = False,
    accelerator: str = "auto",
    devices: int | None = None,
    times: StageTimes | None = None,
) -> TrainedFamily:
    """Label, pretrain and export the models of a family, iteration by iteration.

    Each iteration has its own folder `out/NAME` with `labels/` and `run/`; iterations with equal
    label settings share their labels. Finished stages with unchanged inputs are kept, interrupted
    ones resume.

    Args:
        config: a family, or its TOML file.
        cuts: a prepared or sharded folder, or utterances; None: the family's [data].
        out: folder to write; default runs/NAME.
        split: split to read, if `cuts` is a folder.
        only: train only this iteration; its teacher must have been trained before.
        restart: replace runs of another config or other inputs instead of raising an error.
        adapt: resume runs although learning rate, clipping or length changed.
        labels_only: compute labels and train nothing; a later call uses the labels.
        accelerator: auto, cpu or cuda.
        devices: ranks on this machine.
        times: records the time of each stage.

    Raises:
        ValueError: an invalid config, no audio, an unknown iteration, or a teacher that is not
            trained yet.
    """
    family = config if isinstance(config, FamilyConfig) else load_family(Path(config))
    folder = Path(cuts) if isinstance(cuts, str | Path) else None
    if isinstance(cuts, str | Path):
        cuts = open_training(Path(cuts), split, allow_test_data=family.allow_test_data)
    out = Path("runs") / family.name if out is None else Path(out)
    check_starts(family)
    chosen = [step for step in family.iterations if only in (None, step.name)]
    if not chosen:
        names = ", ".join(step.name for step in family.iterations)
        raise ValueError(f"The family has no iteration {only!r}; it has {names}.")
    teachers = {step.name: _teacher(family, step, out) for step in chosen}
    for step in chosen:
        check_boards(step.pretrain)
    made = TrainedFamily({}, StageTimes() if times is None else times)
    for step in chosen:
        fabric = _fabric(step, accelerator, devices)
        source, teacher = _audio(family, step, cuts, out), teachers[step.name]
        held_out = _held_out(family, step, out, folder, given=cuts is not None)
        with made.times.stage(f"{step.name}: labels"):
            labels: Labels = NoLabels()
            if step.labels.source != "none":
                owner = label_owner(family, step)
                labels = _make_labels(
                    owner, source, out / owner.name / "labels", teacher, fabric.device
                )
            valid = _labelled(step, held_out, labels, teacher, fabric)
        if labels_only:
            continue
        with made.times.stage(f"{step.name}: pretraining"):
            made.checkpoints[step.name] = pretrain(
                step, source, labels, out / step.name / "run", fabric=fabric, teacher=teacher,
                valid=valid, restart=restart, adapt=adapt,
            )  # fmt: skip
    return made


def check_starts(family: FamilyConfig) -> None:
    """Refuse what cannot work before a teacher is trained for days: objectives, initialisations."""
    by_name = {step.name: step for step in family.iterations}
    for step in family.iterations:
        objective_class(step)
        teacher = by_name.get(step.teacher or "")
        if teacher is None:
            continue
        try:
            check_start(step.model, step.pretrain.init, teacher.model)
        except ValueError as error:
            raise ValueError(f"iteration {step.name!r}: {error}") from None


def _teacher(family: FamilyConfig, step: IterationConfig, out: Path) -> Path | None:
    """Return the teacher's checkpoint; one from outside is checked at once."""
    if step.teacher is None:
        return None
    made = {each.name: checkpoint_folder(out, each.name) for each in family.iterations}
    found = find_teacher(step.teacher, made)
    if step.teacher not in made:
        check_teacher(step, found)
    return found


def find_teacher(name: str, made: Mapping[str, Path]) -> Path:
    """Return the checkpoint that a teacher's name stands for; a named model may be downloaded.

    It is an iteration of `made`, a model of models/hub.toml, a path, or a model of the Hugging Face
    Hub, else a `ValueError`.
    """
    if name in made:
        return made[name]
    if "/" not in name and name in hub.names():
        return hub.resolve(name)
    iterations = [f"an iteration ({', '.join(made)})"] if made else []
    return hub.locate(name, "Teacher", hub.choices(*iterations))


def check_teacher(step: IterationConfig, path: Path) -> None:
    """Check a teacher from outside by its settings: its layers, and its shape to start from."""
    if step.labels.source == "hidden":
        shape, layer = frozen.shape_of(path), step.labels.layer or 0
        if layer > shape.num_layers:
            raise ValueError(
                f"labels.layer = {layer}, but teacher {path} has {shape.num_layers} layers."
            )
    if step.pretrain.init != "random":
        folder = path.is_dir()
        config = checkpoint.load_config(path) if folder else fairseq.read_fairseq(path).config
        check_start(step.model, step.pretrain.init, config)


def _audio(
    family: FamilyConfig, step: IterationConfig, cuts: Sequence[Cut] | CutSource | None, out: Path
) -> CutSource:
    if cuts is not None:
        return as_source(cuts)
    if family.data is None:
        raise ValueError(
            f"Family {family.name!r} has no [data]; name a folder of cuts on the command line."
        )
    allow = step.pretrain.allow_test_data
    return open_data(family.data, out / "data", step.sources, allow_test_data=allow)


def _held_out(
    family: FamilyConfig, step: IterationConfig, out: Path, folder: Path | None, *, given: bool
) -> CutList | None:
    """Open what an iteration validates on: of the folder, or else of the family's [data]."""
    if step.pretrain.validate_interval_updates is None:
        return None
    folders = [] if folder is None else [folder]
    if not given and family.data is not None:
        folders = valid_folders(family.data, out / "data", step.sources)
    return open_valid(folders, step.pretrain)


def _labelled(
    step: IterationConfig, cuts: CutList | None, labels: Labels, teacher: Path | None,
    fabric: Fabric,
) -> ValidSet | None:  # fmt: skip
    """Label what is held out with the labeler of the training's labels, in a folder of theirs."""
    if cuts is None or isinstance(labels, NoLabels):
        return None if cuts is None else ValidSet(cuts, labels)
    folder = labels.folder / VALID
    return ValidSet(cuts, _make_labels(step, cuts, folder, teacher, fabric.device, labels))


def _make_labels(
    step: IterationConfig, audio: CutSource, out: Path, teacher: Path | None,
    device: torch.device, fitted: Labels | None = None,
) -> Labels:  # fmt: skip
    """Label audio as an iteration says; those who share its labels need the same precision."""
    settings = step.pretrain
    return make_labels(
        audio, out, step.labels, teacher=teacher, device=device, fitted=fitted,
        max_skipped=settings.max_skipped, num_workers=settings.num_workers,
        precision=settings.precision, balance=settings.balance,
    )  # fmt: skip


def label(
    config: Path,
    cuts: Path,
    out: Path,
    *,
    teacher: Path | None = None,
    split: str = "train",
    accelerator: str = "auto",
    devices: int | None = None,
) -> Labels:
    """Label the cuts of one split, or shards, as an iteration's config or preset says."""
    step = read_iteration(config)
    if step.labels.source == "none":
        raise ValueError(f"iteration {step.name!r} has labels.source = 'none': nothing to make")
    fabric = make_fabric(accelerator=accelerator, devices=devices)
    found = open_training(cuts, split, allow_test_data=step.pretrain.allow_test_data)
    teacher = _lone_teacher(step, teacher, needed=step.labels.source == "hidden")
    return _make_labels(step, found, out, teacher, fabric.device)


def train(  # noqa: PLR0913 - one keyword per option of the verb
    config: Path,
    cuts: Path,
    label_folder: Path,
    out: Path,
    *,
    teacher: Path | None = None,
    split: str = "train",
    restart: bool = False,
    adapt: bool = False,
    accelerator: str = "auto",
    devices: int | None = None,
) -> Path:
    """Train one iteration, a config's or preset's, on ready labels; return its checkpoint."""
    step = read_iteration(config)
    objective_class(step)
    unlabelled = step.labels.source == "none"
    if not unlabelled:
        _check_labels(label_folder)
    fabric = _fabric(step, accelerator, devices)
    found = open_training(cuts, split, allow_test_data=step.pretrain.allow_test_data)
    labels = NoLabels() if unlabelled else open_labels(label_folder)
    validates, valid = step.pretrain.validate_interval_updates is not None, None
    hidden = validates and step.labels.source == "hidden"
    teacher = _lone_teacher(step, teacher, needed=hidden or step.pretrain.init != "random")
    if validates:
        valid = _labelled(step, open_valid([cuts], step.pretrain), labels, teacher, fabric)
    return pretrain(
        step, found, labels, out, fabric=fabric, teacher=teacher, valid=valid, restart=restart,
        adapt=adapt,
    )  # fmt: skip


def _check_labels(folder: Path) -> None:
    check_given(folder, "LABEL_FOLDER", "folder", "`harness-bench labels` writes such a folder.")
    if not (folder / REPORT_FILE).is_file():
        raise ValueError(
            f"LABEL_FOLDER {folder} holds no finished labels (no {REPORT_FILE}); run "
            "`harness-bench labels` (again)."
        )


def _fabric(step: IterationConfig, accelerator: str, devices: int | None) -> Fabric:
    return make_fabric(
        precision=step.pretrain.precision, accelerator=accelerator, devices=devices,
        unused_parameters=step.model.encoder_layerdrop > 0,
    )  # fmt: skip


def _lone_teacher(step: IterationConfig, given: Path | None, *, needed: bool) -> Path | None:
    """Return what the command line names, else the config's where that needs no family."""
    outside = step.teacher is not None and is_outside(step.teacher)
    name = str(given) if given is not None else step.teacher if outside else None
    return find_teacher(name, {}) if needed and name is not None else None


def export(
    run: Path,
    out: Path,
    *,
    random: bool = False,
    seed: int = 0,
    dtype: Literal["float32", "float16"] = "float32",
    card: Path | None = None,
    results: Path | None = None,
) -> None:
    """Write a checkpoint folder: of a run, fairseq's `.pt` file, the Hub, or an untrained model.

    float16 is for frozen use: half the size, without the pretraining head. A folder `out` that
    holds something else, or what is no model, is a ValueError. With a card, see `open_card`; of a
    folder of results, those of these weights go into the README.
    """
    run = run if random else hub.locate(run)
    carded = None if card is None else open_card(card, run)
    source = run / CHECKPOINT if (run / CHECKPOINT).is_dir() else run
    with replaced(out) as partial:
        if random:
            checkpoint.save_random(partial, read_iteration(run).model, seed=seed)
        elif run.suffix == ".pt":
            fairseq.import_fairseq(run, partial)
        else:
            frozen.load_backbone(source)
            if not source.is_dir():
                raise ValueError(f"{source} is no folder, which is what a checkpoint is copied as.")
            if dtype == "float16":
                weight_files(source)  # a graph, for one, has none
            shutil.copytree(source, partial)
        if dtype == "float16":
            checkpoint.halve(partial)
        if carded is None:
            update_readme(partial, out.name, source)
        else:
            carded.write(partial, out.name)
        if results is not None:
            add_results(partial, results)


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Yield where to make a folder that takes a model's place if the block ends without error.

    A folder with anything beside a model's own files, such as a repository's, is a ValueError.
    """
    there = [out] if out.is_file() else [*out.iterdir()] if out.is_dir() else []
    others = [path for path in there if path.is_dir() or path.suffix not in _OF_A_MODEL]
    if there and (others or not (out / frozen.CONFIG).is_file()):
        named = ", ".join(sorted(path.name for path in others or there)[:3])
        raise ValueError(
            f"{out} holds no model but something else, or more than one ({named}), which would be "
            "lost; name a new or empty folder."
        )
    partial = out.with_name(f".partial-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        shutil.rmtree(out, ignore_errors=True)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
