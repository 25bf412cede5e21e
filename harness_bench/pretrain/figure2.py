"""Figure 2 of the paper: students with and without PCA supervision, started in two ways.

All have one teacher and differ in nothing else. Their loss curves are drawn together, and how fast
each learns is given in numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.files import read_json, write_json
from harness_bench.models.initialization import check_start
from harness_bench.pretrain.curves import plot_curves, read_curve
from harness_bench.pretrain.family import run_family
from harness_bench.pretrain.figure2_report import measure, write_table
from harness_bench.pretrain.plan import label_owner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.data.sources import CutSource
    from harness_bench.iteration import FamilyConfig, IterationConfig, LabelConfig
    from harness_bench.progress import StageTimes

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
        pca_dim: of the variants with PCA; None takes the student's own, else that of an iteration
            with the same teacher, else half of the teacher's width.

    Raises:
        ValueError: no such student, one without a teacher, or shapes that do not fit.
    """
    by_name = {step.name: step for step in family.iterations}
    base = by_name[_student_name(family, student)]
    assert base.teacher is not None  # _student_name saw to it
    teacher = by_name[base.teacher]
    plain = replace(base.labels, pca_dim=None, pca_variance=None)
    reduced = _pca_labels(family, base, teacher, pca_dim)
    starts: tuple[Start, ...] = ("random", _averaged_start(base, teacher))
    variants = tuple(
        Variant(_variant(base, labels, start, pca=pca), pca)
        for labels, pca in ((plain, False), (reduced, True))
        for start in starts
    )
    iterations = (*_line(by_name, teacher), *(variant.step for variant in variants))
    whole = replace(family, name=f"{family.name}_figure2", iterations=iterations)
    return Comparison(whole, base.name, teacher.name, variants)


def _student_name(family: FamilyConfig, name: str | None) -> str:
    """Return the student's name, or the default's."""
    students = [step for step in family.iterations if step.teacher]
    names = ", ".join(step.name for step in students) or "none"
    if name is None:
        plain = [s for s in students if s.labels.pca_dim is None and s.labels.pca_variance is None]
        if not plain:
            raise ValueError(
                f"Family {family.name!r} has no iteration with a teacher and without PCA; "
                f"name a student. Iterations with a teacher: {names}."
            )
        return plain[-1].name
    if name not in [step.name for step in students]:
        raise ValueError(
            f"{name!r} is no iteration with a teacher in family {family.name!r}; these are: {names}"
        )
    return name


def _pca_labels(
    family: FamilyConfig, base: IterationConfig, teacher: IterationConfig, pca_dim: int | None
) -> LabelConfig:
    """Return the student's labels with PCA."""
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


def _averaged_start(base: IterationConfig, teacher: IterationConfig) -> Start:
    """Return "block_average" where it fits, else "svd"; neither fits: say why."""
    try:
        check_start(base.model, "block_average", teacher.model)
    except ValueError:
        check_start(base.model, "svd", teacher.model)
        return "svd"
    return "block_average"


def _variant(
    base: IterationConfig, labels: LabelConfig, start: Start, *, pca: bool
) -> IterationConfig:
    """Return the student with other labels, another start and another name; no more."""
    ending = "average" if start == "block_average" else start
    return replace(
        base,
        name=f"{base.name}{'_pca' if pca else ''}_{ending}",
        labels=labels,
        pretrain=replace(base.pretrain, init=start),
    )


def _line(
    by_name: dict[str, IterationConfig], last: IterationConfig
) -> tuple[IterationConfig, ...]:
    """Return an iteration and those above it, first one first."""
    above = () if last.teacher is None else _line(by_name, by_name[last.teacher])
    return (*above, last)


def make_figure(
    found: Comparison,
    cuts: Sequence[Cut] | CutSource | None,
    out: Path,
    *,
    times: StageTimes,
    restart: bool = False,
    accelerator: str = "auto",
    devices: int | None = None,
) -> dict[str, Any]:
    """Train the variants and write figure2.png, figure2.csv and figure2.json; return the last.

    What `out` holds already is left alone: a second call only draws, and the folder of a family
    that was run before saves its teachers. For the arguments see `family.run_family`.
    """
    run_family(
        found.family, cuts, out, times=times, restart=restart, accelerator=accelerator,
        devices=devices,
    )  # fmt: skip
    return draw(found, out)


def draw(found: Comparison, out: Path) -> dict[str, Any]:
    """Draw the finished runs of `out` and measure them; see `make_figure`."""
    curves = []
    for variant in found.variants:
        labels = out / label_owner(found.family, variant.step).name / "labels" / "report.json"
        curve = read_curve(
            out / variant.step.name, name=variant.title, colour=int(variant.pca),
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
    width = max(len(row["name"]) for row in report["variants"])
    share = report["common_share_of_entropy"]
    lines = [
        f"{'variant':<{width}}  loss (bits)  labels (bits)  share  updates to {share:.3f}",
        *(
            f"{row['name']:<{width}}  {row['final_loss_bits']:11.3f}  "
            f"{row['label_entropy_bits']:13.3f}  {row['final_share_of_entropy']:5.3f}  "
            f"{row['updates_to_common_share']:16.0f}"
            for row in report["variants"]
        ),
        *report["caveats"],
        f"Figure: {out / PLOT}",
    ]
    return "\n".join(lines)
