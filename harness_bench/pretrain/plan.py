"""What models cost before they are trained: the paper's presets, a family's GPU-hours, disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from harness_bench.audio.frames import FRAMES_PER_HOUR
from harness_bench.core.config import resolved
from harness_bench.core.files import size_text
from harness_bench.core.tables import columns
from harness_bench.models import config as shapes
from harness_bench.models import hub
from harness_bench.pretrain.config import load_preset, preset_names
from harness_bench.pretrain.scaling import lr_by_rule, lr_warning, seconds_per_update

if TYPE_CHECKING:
    from harness_bench.pretrain.config import FamilyConfig, IterationConfig

_THOUSAND = 1000
_LEAST = 0.01  # GPU-hours that are told apart from none
LABEL_BYTES = 2  # uint16
FLOAT_BYTES = 4
STATE_COPIES = 3  # weights and Adam's two moments
H_L = "harness_l_it2"  # compression is counted against HArnESS-L
_SHAPE = (
    "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads"
)  # fmt: skip


def preset_table() -> list[dict[str, Any]]:
    """Return one row per preset of the paper: shape, exact counts and what the paper prints."""
    steps = [load_preset(name) for name in preset_names()]
    largest = _parameters(load_preset(H_L))
    return [
        {
            "name": step.name,
            **{key: getattr(step.model, key) for key in _SHAPE},
            "parameters": _parameters(step),
            "exported_parameters": shapes.exported_parameters(step.model),
            "printed_millions": step.paper.printed_millions if step.paper else None,
            "where": step.paper.where if step.paper else "Ours, not the paper's.",
            "compression_percent": round(100 * (1 - _parameters(step) / largest), 2),
        }
        for step in steps
    ]


def _parameters(step: IterationConfig) -> int:
    return shapes.paper_parameters(step.model, step.labels.clusters, step.pretrain.final_dim)


def render_presets(rows: list[dict[str, Any]]) -> str:
    """Return the table as text, with the readings explained below it."""
    header = (
        "preset", "layers", "dim", "FFN", "heads", "parameters", "exported", "printed",
        "compression",
    )  # fmt: skip
    cells = [
        (row["name"], *(str(row[key]) for key in _SHAPE), f"{row['parameters']:,}",
         f"{row['exported_parameters']:,}",
         "-" if row["printed_millions"] is None else f"{row['printed_millions']:g} M",
         f"{row['compression_percent']:.2f} %")
        for row in rows
    ]  # fmt: skip
    explained = (
        "parameters: counted as fairseq does, pretraining head with 1,004 label embeddings "
        "included;\nexported: the backbone in the checkpoint folder (transformers always has a "
        "projection);\nprinted: millions in the paper; compression: 1 - parameters / HArnESS-L."
    )
    notes = [f"{row['name']}: {row['where']}" for row in rows]
    for name, folder in hub.packaged().items():
        size = size_text((folder / hub.WEIGHTS).stat().st_size)
        notes.append(f"{name}: comes with this package ({size}); `-u {name}` needs no checkpoint.")
    return "\n".join([*columns([header, *cells]), "", explained, "", *notes])


class TrainingCost(NamedTuple):
    """What a training costs by the operation count."""

    audio_hours: float  # seen at most, all epochs together
    flop_per_second: float  # forward and backward, per second of audio
    gpu_hours_usual: float  # on H100 at 10 % of its bf16 peak
    gpu_hours_goal: float  # at 40 %


def cost_of(step: IterationConfig, ranks: int | None = None) -> TrainingCost:
    """Return the cost of one training, on the paper's number of ranks unless given."""
    config = step.pretrain
    seconds = config.max_update * seconds_per_update(config, ranks or _ranks(step))
    each = shapes.training_per_second(
        step.model, clusters=step.labels.clusters, final_dim=config.final_dim
    )
    usual = shapes.gpu_hours(seconds * each, shapes.USUAL_UTILISATION)
    goal = shapes.gpu_hours(seconds * each, shapes.GOAL_UTILISATION)
    return TrainingCost(seconds / 3600, each, usual, goal)


def _ranks(step: IterationConfig) -> int:
    return step.paper.gpus if step.paper else 1


def plan(
    family: FamilyConfig, hours: float | None = None, ranks: int | None = None
) -> list[dict[str, Any]]:
    """Return a row per iteration from the config alone.

    `hours` replace what [data] declares, and `ranks` those of the paper.
    """
    return [
        _row(
            family, step, _declared_hours(family, step) if hours is None else hours,
            ranks or _ranks(step),
        )
        for step in family.iterations
    ]  # fmt: skip


def _row(
    family: FamilyConfig, step: IterationConfig, hours: float | None, ranks: int
) -> dict[str, Any]:
    config, cost, parameters = step.pretrain, cost_of(step, ranks), _parameters(step)
    ruled = lr_by_rule(config, ranks)
    return {
        "name": step.name,
        "teacher": step.teacher or "-",
        "labels": label_text(step),
        "labels_shared_with": label_owner(family, step).name,
        "clusters": step.labels.clusters,
        "updates": config.max_update,
        "ranks": ranks,
        "audio_seconds_per_update": seconds_per_update(config, ranks),
        "lr": config.lr,
        "lr_by_rule": ruled and _short(ruled),
        "lr_warning": lr_warning(step, ranks),
        "audio_hours_seen_at_most": round(cost.audio_hours, 1),
        "data_hours": hours,
        "epochs": None if not hours else round(cost.audio_hours / hours, 1),
        "gflop_per_audio_second": round(cost.flop_per_second / 1e9, 2),
        "gpu_hours_at_10_percent": _short(cost.gpu_hours_usual),
        "gpu_hours_at_40_percent": _short(cost.gpu_hours_goal),
        "label_gpu_hours_at_10_percent": hours and _label_gpu_hours(family, step, hours),
        "label_bytes": hours and round(hours * FRAMES_PER_HOUR * LABEL_BYTES),
        "disk_bytes": disk_bytes(step),
        "parameters_as_fairseq_counts": parameters,
        "parameters_exported": shapes.exported_parameters(step.model),
    }


def disk_bytes(step: IterationConfig) -> int:
    """Return what a training's states and checkpoints take on the disk."""
    every = step.pretrain.export_interval_updates
    exports = 1 + (step.pretrain.max_update // every if every else 0)
    states = STATE_COPIES * step.pretrain.keep_interval_updates
    return FLOAT_BYTES * (states + exports) * _parameters(step)


def _declared_hours(family: FamilyConfig, step: IterationConfig) -> float | None:
    """Return the hours that [data] declares for an iteration's sources; None where one does not."""
    if family.data is None:
        return None
    used = [s for s in family.data.sources if not step.sources or s.title in step.sources]
    hours = [source.hours for source in used]
    return None if None in hours else sum(h for h in hours if h is not None)


def label_owner(family: FamilyConfig, step: IterationConfig) -> IterationConfig:
    """Return the first iteration whose labels are the same: it makes them, the others read them."""
    wanted = _label_inputs(step)
    return next(other for other in family.iterations if _label_inputs(other) == wanted)


def _label_inputs(step: IterationConfig) -> tuple[object, ...]:
    teacher = step.teacher if step.labels.source == "hidden" else None
    return (teacher, resolved(step.labels), step.sources, step.pretrain.balance)


def label_text(step: IterationConfig) -> str:
    """Say in words what an iteration's labels are made from."""
    labels = step.labels
    layer = "" if labels.layer is None else f", layer {labels.layer}"
    pca = "" if labels.pca_dim is None else f", PCA {labels.pca_dim}"
    share = "" if labels.pca_variance is None else f", PCA {labels.pca_variance:.0%} of variance"
    return f"{labels.source}{layer}{pca}{share}"


def _label_gpu_hours(family: FamilyConfig, step: IterationConfig, hours: float) -> float | None:
    """Count the teacher's forward pass over all audio; None for a teacher from outside."""
    if step.labels.source != "hidden":
        return 0.0
    teacher = next((each for each in family.iterations if each.name == step.teacher), None)
    if teacher is None:
        return None
    each = shapes.forward_per_second(teacher.model)
    return _short(shapes.gpu_hours(hours * 3600 * each, shapes.USUAL_UTILISATION))


def _short(figure: float) -> float:
    return float(f"{figure:.4g}")  # the digits that an estimate has


def _hours(figure: float) -> str:
    """Write GPU-hours for people: those of a laptop's models are next to none."""
    return f"< {_LEAST}" if 0 < figure < _LEAST else _plain(figure)


def _plain(figure: float) -> str:
    """Write a figure of four digits without an exponent."""
    return f"{figure:,.0f}" if figure >= _THOUSAND else f"{figure:.4g}"


def render_plan(rows: list[dict[str, Any]]) -> str:
    """Return the plan as a table with its totals below."""
    header = (
        "iteration", "teacher", "labels", "parameters", "updates", "GPUs", "s/update", "lr",
        "by rule", "audio seen", "epochs", "GPU-h at 10 %", "at 40 %", "labels", "disk",
    )  # fmt: skip
    usual, goal, disk = (
        sum(row[key] for row in rows)
        for key in ("gpu_hours_at_10_percent", "gpu_hours_at_40_percent", "disk_bytes")
    )
    own = [row for row in rows if row["labels_shared_with"] == row["name"]]
    labels = sum(row["label_bytes"] or 0 for row in own)
    total = (
        f"In all {_hours(usual)} GPU-hours on H100 at 10 % of its bf16 peak ({_hours(goal)} at "
        f"40 %), {size_text(disk)} of states and checkpoints, {size_text(labels)} of labels."
    )
    note = "By the operation count of forward and backward pass. Features are never written."
    warnings = [row["lr_warning"] for row in rows if row["lr_warning"]]
    table = columns([header, *map(_cells, rows)], texts=True)
    return "\n".join([*table, "", total, note, *warnings])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    shared = row["labels_shared_with"]
    label_size = "?" if row["label_bytes"] is None else size_text(row["label_bytes"])
    return (
        row["name"], row["teacher"], f"{row['labels']} -> {row['clusters']}",
        f"{row['parameters_as_fairseq_counts']:,}", f"{row['updates']:,}", str(row["ranks"]),
        f"{row['audio_seconds_per_update']:,.5g}", f"{row['lr']:.2g}",
        "-" if row["lr_by_rule"] is None else f"{row['lr_by_rule']:.2g}",
        f"{_plain(row['audio_hours_seen_at_most'])} h",
        "?" if row["epochs"] is None else f"{row['epochs']:g}",
        _hours(row["gpu_hours_at_10_percent"]), _hours(row["gpu_hours_at_40_percent"]),
        label_size if shared == row["name"] else f"of {shared}", size_text(row["disk_bytes"]),
    )  # fmt: skip
