"""Labels of plots in their real boxes: none lies over another, none leaves the figure."""

from __future__ import annotations

import itertools
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from harness_bench.leaderboard import plots
from harness_bench.leaderboard.plots import draw_overall, draw_plots
from harness_bench.leaderboard.plots.drawing import KINDS, finish
from harness_bench.leaderboard.plots.labels import Label, width_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from matplotlib.text import Text

from tests.leaderboard.conftest import result, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.transforms import Bbox

ROOM = 1.5  # pixels of 160 to the inch that two boxes may share: boxes are wider than their letters
NAMES = (
    "fbank", "HArnESS-L", "نموذج تمييز اللهجات العربية الكبير", "w" * 40,
    "harness_student_distilled_from_teacher_pca128", "XLS-R (multilingual)",
)  # fmt: skip


@dataclass
class Drawn:
    """A drawn figure, and the labels that are outlines in it."""

    canvas: Figure
    labels: Sequence[Label]

    @property
    def boxes(self) -> list[tuple[str, Bbox]]:
        """The texts that are drawn, with their boxes in pixels."""
        renderer = FigureCanvasAgg(self.canvas).get_renderer()
        texts: list[Any] = self.canvas.findobj(lambda e: isinstance(e, Text) and e.get_visible())
        unseen = {id(label) for axes in self.canvas.axes for label in outside(axes)}
        seen = [each for each in texts if each.get_text() and id(each) not in unseen]
        return [
            *((each.get_text(), each.get_window_extent(renderer)) for each in seen),
            *((each.text, Outline(*each.outline()).get_extents()) for each in self.labels
              if each.text),
        ]  # fmt: skip


def overlapping(boxes: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    """Return the pairs of labels that lie over each other."""
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > ROOM and min(a.y1, b.y1) - max(a.y0, b.y0) > ROOM
    ]


def outside(axes: Any) -> list[Any]:
    """Return the labels of ticks beyond the ends of their axis, which matplotlib has and hides."""
    hidden = []
    for axis, part in ((axes.xaxis, 0), (axes.yaxis, 1)):
        low, high = sorted(axis.get_view_interval())
        labels = axis.get_ticklabels() if axes.axison and axis.get_visible() else []
        hidden += [label for label in labels if not low <= label.get_position()[part] <= high]
    return hidden


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Drawn]:
    """Keep the drawn figures, by the name of the plot."""
    kept: dict[str, Drawn] = {}

    def keep(canvas: Figure, name: str, *args: Any, labels: Sequence[Label] = ()) -> Any:
        plot = finish(canvas, name, *args, labels=labels)
        kept[name] = Drawn(canvas, labels)
        return plot

    for name in ("overall", "overview", "rows", "scatter", "series"):
        monkeypatch.setattr(sys.modules[f"{plots.__name__}.{name}"], "finish", keep)
    return kept


@pytest.mark.parametrize("count", [3, 20, 60])
def test_no_label_lies_over_another(count: int, tmp_path: Path, figures: dict[str, Drawn]) -> None:
    """Crowds of equal figures and sizes, long names and Arabic ones, in all plots of a column."""
    draw = random.Random(count)
    made = [
        result(
            f"{NAMES[n % len(NAMES)]} {n}", draw.choice([50.0, 50.1, draw.uniform(5, 95)]),
            task=task, metric="accuracy",
            parameters=draw.choice([0, 10**6, draw.randrange(10**8, 4 * 10**8)]),
            real_time=draw.uniform(0.001, 1), layer_weights=[1 / 13] * 13,
            model_kind=[*KINDS][n % 4],
        )
        for n in range(count)
        for task in ("did", "ser")
    ]  # fmt: skip
    found = table(tmp_path, *made)
    draw_plots(found)
    draw_overall(found)
    assert len(figures) == 9
    for name, drawn in figures.items():
        boxes = drawn.boxes
        assert overlapping(boxes) == [], name
        width, height = drawn.canvas.get_size_inches() * drawn.canvas.dpi
        for text, box in boxes:
            inside = -ROOM < box.x0 <= box.x1 < width + ROOM
            assert inside, (name, text)
            assert -ROOM < box.y0 <= box.y1 < height + ROOM, (name, text)


def test_the_measure_sees_overlaps(figures: dict[str, Drawn], tmp_path: Path) -> None:
    """A watch that never barks proves nothing."""
    draw_plots(table(tmp_path, result("a", 50), result("b", 60)))
    (drawn,) = figures.values()
    drawn.canvas.text(0.5, 0.5, "one")
    drawn.canvas.text(0.5, 0.5, "other")
    assert overlapping(drawn.boxes) == [("one", "other")]
    label = drawn.labels[0]
    assert (label.text, label.text) in overlapping(Drawn(drawn.canvas, [label, label]).boxes)


@pytest.mark.parametrize("text", ["HArnESS-ST (PCA)", "نموذج لهجات", "$x_{1}", "84.98"])
@pytest.mark.parametrize("side", ["left", "center", "right"])
def test_outlines_stand_where_matplotlib_would_write(text: str, side: Any) -> None:
    """Against matplotlib's own text of the same font: place and size to a pixel or two."""
    canvas = Figure(figsize=(4, 2), dpi=160)
    axes = canvas.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(0, 10), ylim=(0, 10))
    label = Label(axes, (5, 5), text, side, size=9)
    with plots.drawing():
        box = Outline(*label.outline()).get_extents()
        own = axes.text(5, 5, text, ha=side, va="center", fontsize=9)
        expected = own.get_window_extent(FigureCanvasAgg(canvas).get_renderer())
        wide = width_of([text], 9) * 160
    assert box.width == pytest.approx(expected.width, abs=6)
    assert wide == pytest.approx(expected.width, abs=6)
    assert box.x0 == pytest.approx(expected.x0, abs=6)
    assert abs((box.y0 + box.y1) - (expected.y0 + expected.y1)) / 2 < 4
    assert f">{text}</text>" in label.svg(144)
