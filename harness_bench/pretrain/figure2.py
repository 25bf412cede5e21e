"""Figure 2 of the paper: students with and without PCA supervision, started in two ways.

All have one teacher and differ in nothing else. Their loss curves are drawn together, and how fast
each learns is given in numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from harness_bench.core.files import atomic_path, read_json, write_json
from harness_bench.core.tables import columns
from harness_bench.models.initialization import check_start
from harness_bench.pretrain.curves import LOSS, plot_curves, read_curve, updates_to
from harness_bench.pretrain.family import train_family
from harness_bench.pretrain.plan import label_owner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.core.stage_times import StageTimes
    from harness_bench.pretrain.config import FamilyConfig, IterationConfig, LabelConfig
    from harness_bench.pretrain.curves import Curve
    from harness_bench.pretrain.data.cut_source import CutSource

Start = Literal["random", "block_average", "svd"]
PLOT, TABLE, REPORT = "figure2.png", "figure2.csv", "figure2.json"
STARTS = {
    "random": "random start",
    "block_average": "block averages",
    "svd": "averaged blocks, projected (SVD)",
}


@dataclass(frozen=True)
class Variant:
    """One line of the figure."""

    step: IterationConfig
    pca: bool

    @property
    def title(self) -> str:
        """Return the line of the legend."""
        labels = self.step.labels
        kept = f"{labels.pca_dim} dims" if labels.pca_dim else f"{labels.pca_variance} of variance"
        return f"{f'PCA ({kept})' if self.pca else 'no PCA'}, {STARTS[self.step.pretrain.init]}"


@dataclass(frozen=True)
class Comparison:
    """What is trained: the teacher's line and the student's variants."""

    family: FamilyConfig
    student: str
    teacher: str
    variants: tuple[Variant, ...]


def compare(
    family: FamilyConfig, *, student: str | None = None, pca_dim: int | None = None
) -> Comparison:
    """Derive the four variants of a student: {no PCA, PCA} x {random, block average}.

    Where the shapes do not allow block averages (thin students), the second start is "svd".

    Args:
        family: holds the student and the iterations above it.
        student: its name; None takes the last iteration that has a teacher and no PCA.
        pca_dim: None takes the student's own, else that of an iteration with the same teacher,
            else half of the teacher's width.

    Raises:
        ValueError: no such student, one without a teacher, or shapes that do not fit.
    """
    by_name = {step.name: step for step in family.iterations}
    base = by_name[_student_name(family, student)]
    assert base.teacher is not None  # _student_name saw to it
    teacher = by_name[base.teacher]
    plain = replace(base.labels, pca_dim=None, pca_variance=None)
    reduced = _pca_labels(family, base, teacher, pca_dim)
    averaged: Start = "block_average"
    try:
        check_start(base.model, averaged, teacher.model)
    except ValueError:
        averaged = "svd"
        check_start(base.model, averaged, teacher.model)
    starts: tuple[Start, ...] = ("random", averaged)
    variants = []
    for (pca, labels), start in product(((False, plain), (True, reduced)), starts):
        name = f"{base.name}{'_pca' if pca else ''}_{start.removeprefix('block_')}"
        pretrain = replace(base.pretrain, init=start)
        step = replace(base, name=name, labels=labels, pretrain=pretrain)
        variants.append(Variant(step, pca))
    line = [teacher]  # the teachers above, first one first
    while above := by_name.get(line[0].teacher or ""):
        line.insert(0, above)
    iterations = (*line, *(variant.step for variant in variants))
    whole = replace(family, name=f"{family.name}_figure2", iterations=iterations)
    return Comparison(whole, base.name, teacher.name, tuple(variants))


def compare_trained(family: FamilyConfig, names: Sequence[str]) -> Comparison:
    """Compare iterations that a family makes anyway and that differ in PCA and start alone.

    Raises:
        ValueError: no such iteration, none with a teacher, or a difference in anything else.
    """
    by_name = {step.name: step for step in family.iterations}
    if odd := [name for name in names if name not in by_name]:
        raise ValueError(f"{odd[0]!r} is no iteration of {family.name!r}: {', '.join(by_name)}")
    steps = [by_name[name] for name in names]
    if not steps or steps[0].teacher is None:
        raise ValueError(f"Figure 2 compares students of one teacher; given: {[*names]}")
    alike = {name: _but_labels_and_start(step) for name, step in zip(names, steps, strict=True)}
    if odd := [name for name in names if alike[name] != alike[names[0]]]:
        raise ValueError(
            f"{odd[0]!r} differs from {names[0]!r} in more than PCA and start: Figure 2 would show "
            "something else"
        )
    variants = (
        Variant(step, bool(step.labels.pca_dim or step.labels.pca_variance)) for step in steps
    )
    return Comparison(family, names[0], steps[0].teacher, tuple(variants))


def _but_labels_and_start(step: IterationConfig) -> IterationConfig:
    labels = replace(step.labels, pca_dim=None, pca_variance=None)
    pretrain = replace(step.pretrain, init="random")
    return replace(step, name="x", labels=labels, pretrain=pretrain)


def _student_name(family: FamilyConfig, name: str | None) -> str:
    names = {step.name for step in family.iterations}
    students = [step for step in family.iterations if step.teacher in names]
    plain = [s for s in students if s.labels.pca_dim is None and s.labels.pca_variance is None]
    if name is None and plain:
        return plain[-1].name
    if name not in [step.name for step in students]:
        raise ValueError(
            f"student = {name!r} is no iteration with a teacher in family {family.name!r}; these "
            f"are: {', '.join(step.name for step in students) or 'none'}"
        )
    return str(name)


def _pca_labels(
    family: FamilyConfig, base: IterationConfig, teacher: IterationConfig, pca_dim: int | None
) -> LabelConfig:
    width = teacher.model.encoder_embed_dim
    if pca_dim is not None and pca_dim > width:
        raise ValueError(
            f"--pca-dim {pca_dim} is more than the {width} dimensions of teacher {teacher.name!r}."
        )
    if pca_dim is not None:
        return replace(base.labels, pca_dim=pca_dim, pca_variance=None)
    siblings = [step for step in family.iterations if step.teacher == base.teacher]
    for step in (base, *siblings):
        share, dim = step.labels.pca_variance, step.labels.pca_dim
        if share is not None or dim is not None:
            return replace(base.labels, pca_dim=dim, pca_variance=share)
    return replace(base.labels, pca_dim=max(1, width // 2))


def make_figure(
    found: Comparison,
    cuts: str | Path | Sequence[Cut] | CutSource | None,
    out: Path,
    *,
    times: StageTimes,
    split: str = "train",
    restart: bool = False,
    accelerator: str = "auto",
    devices: int | None = None,
) -> dict[str, Any]:
    """Train the variants and write figure2.png, figure2.csv and figure2.json; return the last.

    What `out` holds already is left alone: a second call only draws, and the folder of a family
    that was run before saves its teachers. For the arguments see `family.train_family`.
    """
    train_family(
        found.family, cuts, out, split=split, times=times, restart=restart,
        accelerator=accelerator, devices=devices,
    )  # fmt: skip
    return draw_figure(found, out, out)


def draw_figure(found: Comparison, trained: Path, out: Path) -> dict[str, Any]:
    """Draw variants that are trained below `trained` into `out`; return the report."""
    curves = []
    for variant in found.variants:
        labels = trained / label_owner(found.family, variant.step).name / "labels" / "report.json"
        curve = read_curve(
            trained / variant.step.name, name=variant.title, colour=int(variant.pca),
            entropy=read_json(labels)["entropy_bits"],
            dashes=int(variant.step.pretrain.init != "random"),
        )  # fmt: skip
        curves.append(curve)
    title = f"Figure 2: {found.student} taught by {found.teacher}, with and without PCA"
    plot_curves(curves, out / PLOT, title=title)
    write_table(found.variants, curves, out / TABLE)
    report = measure(found, curves)
    write_json(out / REPORT, report)
    return report


def render(report: dict[str, Any], out: Path) -> str:
    """Return the measured figures as a table for the terminal."""
    header = ("variant", "loss (bits)", "labels (bits)", "share",
              f"updates to {report['common_share_of_entropy']:.3f}")  # fmt: skip
    rows = [
        (row["name"], f"{row['final_loss_bits']:.3f}", f"{row['label_entropy_bits']:.3f}",
         f"{row['final_share_of_entropy']:.3f}", f"{row['updates_to_common_share']:.0f}")
        for row in report["variants"]
    ]  # fmt: skip
    return "\n".join([*columns([header, *rows]), *report["caveats"], f"Figure: {out / PLOT}"])


MAX_POINTS = 200  # of a curve in figure2.json; a plot shows no more
CAVEATS = [
    (
        "Losses in bits on different labels have no common level: with PCA the labels are others. "
        "Compare them as shares of the labels' entropy."
    ),
    "One seed each: small differences may be chance.",
]


def measure(found: Comparison, curves: Sequence[Curve]) -> dict[str, Any]:
    """Say where each variant ends and how many updates it needs to the lowest common levels.

    A common level is the lowest that all curves in question reach: in bits for the two starts on
    the same labels, as a share of the labels' entropy for all four. All by smoothed curves, which
    come along as points: the leaderboard draws them.
    """
    shares = [curve.relative for curve in curves]
    common = max(float(share.min()) for share in shares)
    rows = []
    for variant, curve, share in zip(found.variants, curves, shares, strict=True):
        mates = [c for v, c in zip(found.variants, curves, strict=True) if v.pca == variant.pca]
        level = max(float(mate.smoothed.min()) for mate in mates)
        rows.append({
            "name": variant.step.name,
            "title": curve.name,
            "init": variant.step.pretrain.init,
            "pca_dim": variant.step.labels.pca_dim,
            "pca_variance": variant.step.labels.pca_variance,
            "updates": int(curve.updates[-1]),
            "label_entropy_bits": curve.entropy,
            "final_loss_bits": float(curve.smoothed[-1]),
            "final_share_of_entropy": float(share[-1]),
            "level_on_these_labels_bits": level,
            "updates_to_level_on_these_labels": updates_to(curve.updates, curve.smoothed, level),
            "updates_to_common_share": updates_to(curve.updates, share, common),
            "curve": points(curve),
        })  # fmt: skip
    return {
        "family": found.family.name,
        "student": found.student,
        "teacher": found.teacher,
        "field": LOSS,
        "common_share_of_entropy": common,
        "caveats": CAVEATS,
        "variants": rows,
    }


def points(curve: Curve) -> dict[str, list[Any]]:
    """Return a smoothed curve as at most `MAX_POINTS` points, evenly taken, both ends included."""
    count = len(curve.updates)
    taken = np.linspace(0, count - 1, min(count, MAX_POINTS)).round().astype(int)
    return {
        "updates": curve.updates[taken].tolist(),
        "loss_bits": [float(f"{x:.6g}") for x in curve.smoothed[taken]],
        "share_of_entropy": [float(f"{x:.6g}") for x in curve.relative[taken]],
    }


def write_table(variants: Sequence[Variant], curves: Sequence[Curve], path: Path) -> None:
    """Write a line per variant and log line."""
    tables = [
        pd.DataFrame({
            "variant": variant.step.name,
            "init": variant.step.pretrain.init,
            "pca": int(variant.pca),
            "updates": curve.updates,
            "loss_bits": curve.values,  # noqa: PD011 - no frame
            "loss_bits_smoothed": curve.smoothed,
            "share_of_entropy_smoothed": curve.relative,
        })
        for variant, curve in zip(variants, curves, strict=True)
    ]  # fmt: skip
    with atomic_path(path) as partial:
        pd.concat(tables).to_csv(partial, index=False, float_format="%.6g", lineterminator="\r\n")
