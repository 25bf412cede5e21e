"""Places of a plot that say in words what they show: to pointers, keys and screen readers."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness_bench.core.sanitize import clean

from ..tables import figure, parameters, rank_span, uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..board import BoardColumn, ModelRow, ResultCell

    At = tuple[float, float]

SMALL, LARGE = 22, 44  # areas of marks in square points, as matplotlib counts them
_INCH = 72  # points: the unit of matplotlib's SVG files


@dataclass(frozen=True)
class Spot:
    """One place; in the SVG it is a link to its model's page, which Tab and arrow keys reach."""

    axes: Any
    at: At  # in data coordinates
    words: Sequence[str]  # lines, the name first
    link: str = ""
    look: str = "dot"  # "dot": seen when pointed at; "stripe": a row 1 high; else the model's kind
    size: int = LARGE
    span: At | None = None  # an interval along y, drawn with the mark
    paper: At | None = None  # where the paper's figure stands, a hollow mark
    number: int = 0  # joins what matplotlib drew of the same model, see `tag`

    @property
    def corners(self) -> list[At]:
        """All places that are drawn, in data coordinates."""
        x, y = self.at
        if self.look == "stripe":
            return [(x, y - 0.5), (x, y + 0.5)]
        ends = [(x, end) for end in self.span or ()]
        return [self.at, *ends, *([self.paper] if self.paper else [])]

    def drawn(self, corners: Sequence[At], width: float) -> str:
        """Write the shapes, of corners in points."""
        (x, y), *more = corners
        if self.look == "stripe":
            top, bottom = sorted((y, more[0][1]))
            return f'<rect y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"/>'
        if self.look == "dot":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        parts = [_mark(self.look, self.size, x, y)]
        if self.span:
            parts.insert(0, f'<path class="span" d="M{x:.1f} {more[0][1]:.1f}V{more[1][1]:.1f}"/>')
        if self.paper:
            parts.append(_mark(self.look, self.size, *more[-1]).replace("/>", ' class="paper"/>'))
        return "".join(parts)


def tag(artist: Any, number: int) -> None:
    """Join an artist to a spot, with which it fades when filters hide the model."""
    artist.set_gid(f"at-{number}")


def overlay(canvas: Any, spots: Sequence[Spot]) -> str:
    """Write all spots of a drawn figure as one SVG group; Tab stops at the first of them."""
    made: list[str] = []
    scale = _INCH / canvas.dpi
    width, height = canvas.bbox.width * scale, canvas.bbox.height * scale
    for axes, group in groupby(spots, key=lambda spot: spot.axes):
        each = [*group]
        found = axes.transData.transform([corner for spot in each for corner in spot.corners])
        places = iter([(x * scale, height - y * scale) for x, y in found.tolist()])
        for spot in each:
            shapes = spot.drawn([next(places) for _ in spot.corners], width)
            made.append(_link(spot, shapes, "-1" if made else "0"))
    return f'<g class="spots">{"".join(made)}</g>'


def _link(spot: Spot, shapes: str, stop: str) -> str:
    look = f"spot {spot.look}{' faint' * (spot.size == SMALL)}"
    opens = f'href="{escape(spot.link)}"' if spot.link else 'role="img"'
    title = escape("\n".join(spot.words), quote=False)
    return (
        f'<a class="{look}" {opens} tabindex="{stop}" data-at="{spot.number}">'
        f"<title>{title}</title>{shapes}</a>"
    )


def _mark(kind: str, size: int, x: float, y: float) -> str:
    """Write matplotlib's marks o, s, D and ^ of an area, as `MARKERS` has them."""
    r = size**0.5 / 2
    if kind == "random":
        return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}"/>'
    if kind == "baseline":
        s = 2**0.5 * r
        return f'<path d="M{x:.1f} {y - s:.1f}l{s:.1f} {s:.1f}-{s:.1f} {s:.1f}-{s:.1f}-{s:.1f}z"/>'
    if kind == "other":
        return f'<path d="M{x:.1f} {y - r:.1f}l{r:.1f} {2 * r:.1f}h-{2 * r:.1f}z"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'


def tell(row: ModelRow, column: BoardColumn, cell: ResultCell, *more: str) -> list[str]:
    """Return the lines of one figure: model, figure and interval, ranks, the paper's, size."""
    ranks = rank_span(cell)
    return [
        clean(row.model),
        f"{clean(column.metric)} {written(cell)} {clean(column.unit)} {sure(cell)}".rstrip(),
        *([f"rank {ranks}"] if ranks else []),
        *([f"in the paper {figure(cell.paper.main, 2)}"] if cell.paper else []),
        *([f"{parameters(row.parameters)} parameters"] if row.parameters is not None else []),
        *more,
    ]


def written(cell: ResultCell) -> str:
    """Write a figure as the tables do."""
    return figure(cell.metric, _decimals(cell))


def sure(cell: ResultCell) -> str:
    """Write a figure's spread and interval as the tables do."""
    return uncertainty(cell.metric, _decimals(cell))


def _decimals(cell: ResultCell) -> int:
    return 1 if cell.result.source == "measured" else 2
