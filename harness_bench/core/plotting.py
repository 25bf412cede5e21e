"""What all plots share: colours, and matplotlib settings. Imports nothing."""

from typing import Any

INK, MUTED, LINE = "#1b2224", "#5b6669", "#d4d9da"  # titles and figures, labels, axes and grids
# Okabe and Ito's colours (2008), told apart by every kind of colour vision. Their yellow is left
# out: lines of it cannot be seen on white.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
SKY_BLUE, ORANGE, BLACK = "#56b4e9", "#e69f00", "#000000"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, SKY_BLUE, ORANGE, BLACK)
# For `matplotlib.rc_context`; a plot lays its own settings over these.
STYLE: dict[str, Any] = {
    "font.size": 10, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"],
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "grid.color": LINE, "grid.linewidth": 0.8,
    "svg.hashsalt": "harness-bench",  # the same plot is the same file
}  # fmt: skip
