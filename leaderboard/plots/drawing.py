"""What all plots share: colours, one style, and each drawing written as PNG and as SVG.

The PNG is for papers and posts, on white. The SVG is for the page: its colours are CSS variables,
so that it follows the reader's light or dark setting, and its text is in the page's font.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from harness_bench.core.plotting import BLUE, INK, LINE, MUTED, PURPLE, STYLE, VERMILION
from harness_bench.core.sanitize import clean

from .labels import Label, draw_labels
from .spots import Spot, overlay, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..board import BoardColumn, ModelRow, ResultCell, Source

Entry = tuple["ModelRow", "ResultCell"]
COLOURS = {"pretrained": BLUE, "random": VERMILION, "baseline": "#7f7f7f", "other": PURPLE}
MARKERS = {"pretrained": "o", "random": "s", "baseline": "D", "other": "^"}
KINDS = {"pretrained": "pretrained", "random": "not trained", "baseline": "baseline",
         "other": "other"}  # fmt: skip
ACCENT, CARD = "#005a8f", "#fefefe"
# The paper's figure of a model that is measured here.
HOLLOW: dict[str, Any] = {
    "marker": "D", "markersize": 6, "markerfacecolor": CARD, "markeredgecolor": INK,
    "markeredgewidth": 1.2,
}  # fmt: skip
# Lines on white: two of Okabe and Ito's, a hair off so that each has a CSS variable of its own,
# and three found by search: the least difference under any kind of colour vision is largest.
SERIES = ("#0071b2", "#d45e00", "#5000c8", "#c8718c", "#712800", "#1b2225")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1)), "-")
DOTS = ("o", "s", "^", "D", "v", "P")
# Shares of the strongest colour in the steps of the sequential scale, the rest is background.
# The gap in the middle leaves no step on which neither dark nor light text can be read.
HEAT_STEPS = (0.05, 0.12, 0.2, 0.29, 0.4, 0.62, 0.74, 0.87, 1.0)
HEAT = tuple(
    to_hex(share * np.array(to_rgb("#00305c")) + (1 - share) * np.array(to_rgb(CARD)))
    for share in HEAT_STEPS
)
_VARIABLES = {
    **{colour: f"var(--{kind})" for kind, colour in COLOURS.items()},
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
    **{
        colour: f"color-mix(in srgb, var(--heat) {100 * share:.0f}%, var(--card))"
        for colour, share in zip(HEAT, HEAT_STEPS, strict=True)
    },
    INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", ACCENT: "var(--accent)",
    CARD: "var(--card)",
}  # fmt: skip
_STYLE = STYLE | {
    "svg.fonttype": "none", "text.parse_math": False,  # dollar signs in names are no formulas
    "figure.facecolor": "white", "axes.facecolor": "none", "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "legend.frameon": False, "legend.fontsize": 9,
}  # fmt: skip
_LABEL = 24  # characters of the longest model name in a plot
_WIDTH, _DPI = 5.2, 160  # inches, and their dots
_LINE, _TOP = 0.2, 0.34  # inches: a line of the title, the first one and the room below it
_TITLE = 56  # characters of a line of the title


@dataclass(frozen=True)
class Plot:
    """One drawn plot."""

    name: str  # file name without suffix
    title: str
    text: str  # what it shows, for readers who do not see it
    png: bytes
    svg: str  # one <svg> element, colours as CSS variables, no outside reference
    size: tuple[float, float]  # inches

    @property
    def wide(self) -> bool:
        """Whether it goes over the whole width of the page."""
        return self.size[0] > _WIDTH


@dataclass(frozen=True)
class PlotSubject:
    """What the plots of one column are of."""

    source: Source
    column: BoardColumn
    entries: Sequence[Entry]  # best first
    number: int  # of the column, from 1
    links: Mapping[str, str]  # model -> address of its page

    @property
    def title(self) -> str:
        """What the column is of, in one line."""
        column = self.column
        made = " (synthetic)" if column.synthetic else ""
        said = ", as reported" if self.source == "reported" else ""
        return f"{column.task.upper()} on {column.corpus}, {column.split}{made}{said}"

    def file(self, kind: str) -> str:
        """Make a file name of task, corpus and kind; the column's number keeps names apart."""
        column = self.column
        slug = re.sub(r"[^A-Za-z0-9_]+", "-", f"{column.task}-{column.corpus}")[:60].strip("-")
        return f"{prefix(self.source)}{self.number:02}-{slug}-{kind}"

    def link(self, row: ModelRow) -> str:
        """Return the address of a model's page, "" where it has none."""
        return self.links.get(row.model, "")

    def stripe(self, axes: Any, place: int, entry: Entry, *more: str) -> Spot:
        """Make a row of a plot the spot of its model."""
        row, cell = entry
        words = tell(row, self.column, cell, *more)
        return Spot(axes, (0, place), words, self.link(row), "stripe", number=place)


def heat_ink(step: int) -> str:
    """Return the colour of text that can be read on a step of the sequential scale."""
    return INK if HEAT_STEPS[step] < 0.5 else CARD  # noqa: PLR2004


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the house's style; names of any script may come."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def sheet(height: float, title: str, width: float = _WIDTH, *, placed: bool = False) -> Figure:
    """Return an empty figure of `height` inches below a title of at most 3 lines.

    What is drawn finds its room by itself, unless it is `placed` by who draws it.
    """
    lines = textwrap.wrap(
        clean(title), round(_TITLE * width / _WIDTH), max_lines=3, placeholder=" …",
        break_on_hyphens=False,
    ) or [""]  # fmt: skip
    whole = height + _LINE * len(lines)
    canvas = Figure(figsize=(width, whole), layout=None if placed else "constrained")
    top = {"y": 1 - 0.06 / whole} if placed else {}
    canvas.suptitle("\n".join(lines), x=0.015 * _WIDTH / width, ha="left", fontsize=10.5,
                    fontweight="bold", **top)  # fmt: skip
    return canvas


def settle(canvas: Figure, axes: Any, left: float, right: float, bottom: float) -> None:
    """Give axes all of a placed figure below its title but for margins, in inches."""
    width, height = canvas.get_size_inches()
    top = height - _LINE * canvas.get_suptitle().count("\n") - _TOP
    box = left, bottom, width - left - right, top - bottom
    axes.set_position([*(part / side for part, side in zip(box, (width, height) * 2, strict=True))])


def finish(
    canvas: Figure, name: str, title: str, text: str, spots: Sequence[Spot] = (),
    png_alone: Iterable[Any] = (), labels: Sequence[Label] = (),
) -> Plot:  # fmt: skip
    """Write a figure as PNG and as SVG for the page.

    Args:
        canvas: what matplotlib has drawn.
        name: of the files, without suffix.
        title: of the plot.
        text: what it shows, in words.
        spots: places that say what they show, in the SVG.
        png_alone: artists that the SVG does not repeat: the marks of spots.
        labels: texts; they need a figure whose layout is settled.
    """
    # Straight to the two writers: `savefig` would draw everything once more before each.
    png, svg = BytesIO(), StringIO()
    canvas.set_dpi(_DPI)
    shapes = draw_labels(labels)
    for shape in shapes:
        canvas.add_artist(shape)
    FigureCanvasAgg(canvas).print_png(png, pil_kwargs={"compress_level": 3})
    canvas.set_layout_engine("none")  # keep the layout that the first drawing found
    over = overlay(canvas, spots) if spots else ""
    high = canvas.get_figheight() * 72
    texts = "".join(label.svg(high) for label in labels)
    canvas.patch.set_visible(False)
    for artist in (*png_alone, *shapes):
        artist.set_visible(False)
    nothing: dict[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(canvas).print_svg(svg, metadata=nothing)
    drawn = svg.getvalue()
    end = drawn.rindex("</svg>")
    drawn = f'{drawn[:end]}<g aria-hidden="true">{texts}</g>{drawn[end:]}'
    written = _inline(drawn, name, over)
    size = float(canvas.get_figwidth()), float(canvas.get_figheight())
    return Plot(name, title, text, png.getvalue(), written, size)


def _inline(svg: str, name: str, over: str) -> str:
    """Cut the <svg> element out of a file; ids get a prefix, colours become CSS variables.

    What is drawn is hidden from screen readers: the plot's text and its spots speak for it.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="at-(\d+)"', r'data-at="\1"', body)
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>plot-{name}-", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(f": {colour}", f": {variable}")
    # A right-to-left name orders its parts by its own direction, as the PNG does.
    body = body.replace("<text ", '<text unicode-bidi="plaintext" ')
    body = body.replace("<g ", '<g aria-hidden="true" ', 1)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", body)
    end = body.rindex("</svg>")
    return f"{body[:end]}{over}{body[end:]}"


def brief(name: str, limit: int = _LABEL) -> str:
    """Cut a name in its middle: models of one family differ at the end."""
    line = clean(name)
    if len(line) <= limit:
        return line
    head = (limit - 1) // 2
    return f"{line[:head].rstrip()}…{line[len(line) - (limit - 1 - head) :].lstrip()}"


def prefix(source: Source) -> str:
    """Begin the file names of a source's plots."""
    return "" if source == "measured" else "reported-"


def made_of(columns: Sequence[BoardColumn]) -> str:
    """Say which columns are synthetic, for a title; nothing where none is."""
    made = [column.synthetic for column in columns]
    return " (synthetic)" if all(made) else " (some synthetic)" if any(made) else ""


def metric_label(column: BoardColumn) -> str:
    """Name a figure, its unit and the direction of better."""
    better = "higher is better" if column.higher_is_better else "lower is better"
    return f"{brief(column.metric, 40)} ({brief(column.unit, 12)}), {better}"


def best_of(shown: Sequence[object], every: Sequence[object]) -> str:
    """Say that some are left out, for a title; nothing where none is."""
    return f", best {len(shown)} of {len(every)}" if len(shown) < len(every) else ""
