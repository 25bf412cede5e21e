"""Hundreds of short texts in a plot: outlines in the PNG, text in the SVG, both in a moment.

A text of matplotlib's is laid out and drawn one by one, which takes most of a plot's time. Here the
outlines of equal texts are made once, and all of one colour are drawn as one shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.transforms import IdentityTransform

from harness_bench.core.plotting import INK

if TYPE_CHECKING:
    from collections.abc import Sequence

_INCH = 72  # points
_EM = 10.0  # points of the outlines that are kept
_MIDDLE = 0.36  # of an em: the middle of a line above its baseline
_SHARES = {"left": 0.0, "center": 0.5, "right": 1.0}
_ANCHORS = {"left": "start", "center": "middle", "right": "end"}


@dataclass(frozen=True)
class Label:
    """One line of text, in the middle of its height."""

    axes: Any
    at: tuple[float, float]  # data coordinates; see `beside`
    text: str
    side: Literal["left", "center", "right"] = "left"  # which of its sides is there
    size: float = 8.5  # points
    colour: str = INK
    bold: bool = False
    beside: bool = False  # x is a share of the axes' width, as for names beside them
    shift: tuple[float, float] = (0.0, 0.0)  # points, to the right and up
    number: int | None = None  # of the spot with which it fades

    @property
    def place(self) -> tuple[float, float]:
        """Where the label is, in pixels from the lower left corner."""
        axes, scale = self.axes, self.axes.figure.dpi / _INCH
        move = axes.get_yaxis_transform() if self.beside else axes.transData
        x, y = move.transform(self.at)
        return x + scale * self.shift[0], y + scale * self.shift[1]

    def outline(self) -> tuple[Any, Any]:
        """Return the letters' vertices, (n, 2) in pixels, and matplotlib's codes for them."""
        vertices, codes, wide = _letters(self.text, bold=self.bold)
        scale = self.axes.figure.dpi / _INCH * self.size / _EM
        x, y = self.place
        left = x - scale * wide * _SHARES[self.side], y - scale * _MIDDLE * _EM
        return vertices * scale + left, codes

    def svg(self, height: float) -> str:
        """Write the text; `height` is the figure's, in points."""
        scale = _INCH / self.axes.figure.dpi
        x, y = self.place
        joined = "" if self.number is None else f' data-at="{self.number}"'
        weight = "; font-weight: 700" if self.bold else ""
        return (
            f'<text x="{x * scale:.1f}" y="{height - y * scale + _MIDDLE * self.size:.1f}"{joined} '
            f"style=\"font-size: {self.size:g}px; font-family: 'DejaVu Sans'; fill: {self.colour}; "
            f'text-anchor: {_ANCHORS[self.side]}{weight}">{escape(self.text, quote=False)}</text>'
        )


def width_of(texts: Sequence[str], size: float) -> float:
    """Return the width of the widest of some texts, in inches."""
    return max((_letters(text, bold=False)[2] for text in texts), default=0.0) * size / _EM / _INCH


def draw_labels(labels: Sequence[Label]) -> list[PathPatch]:
    """Return shapes of all labels, one a colour, for a figure whose layout is settled."""
    made = []
    for colour in dict.fromkeys(label.colour for label in labels):
        parts = [label.outline() for label in labels if label.colour == colour]
        vertices, codes = (np.concatenate(each) for each in zip(*parts, strict=True))
        whole = Outline(vertices, codes)
        made.append(PathPatch(whole, transform=IdentityTransform(), facecolor=colour, linewidth=0))
    return made


@lru_cache(maxsize=4096)
def _letters(text: str, *, bold: bool) -> tuple[Any, Any, float]:
    """Return the outline of a text of 10 points on its baseline, and its width, in points."""
    if not text.strip():
        return np.empty((0, 2)), np.empty(0, dtype=Outline.code_type), 0.0
    font = FontProperties(weight="bold" if bold else "normal")
    found = TextPath((0, 0), text, size=_EM, prop=font)
    return found.vertices, found.codes, float(found.vertices[:, 0].max())
