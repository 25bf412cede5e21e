"""Per-class figures, calibration error and a picture of the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.core.files import atomic_path
from harness_bench.scoring.classes.score import Confusion, confusion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness_bench.results.predictions import ClassPrediction

BINS = 15  # of the calibration error, equally wide
_TOLERANCE = 1e-3  # how far probabilities may be from a sum of 1
_PICTURES = (".png", ".svg", ".pdf")
_MOST_NUMBERS = 30  # classes above which cells are coloured alone


@dataclass(frozen=True)
class ClassFigures:
    """One class; rates in percent, None where there is nothing to divide by."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int  # utterances that truly are of the class


def per_class(found: Confusion) -> dict[str, ClassFigures]:
    """Return precision, recall and F1 of every class that occurs."""
    table = {}
    for place, label in enumerate(found.labels):
        hits = int(found.counts[place, place])
        true, guessed = int(found.counts[place].sum()), int(found.counts[:, place].sum())
        if true or guessed:
            table[label] = ClassFigures(
                _percent(hits, guessed),
                _percent(hits, true),
                _percent(2 * hits, true + guessed),
                true,
            )
    return table


def calibration_error(rows: Sequence[ClassPrediction], bins: int = BINS) -> float | None:
    """Return the expected calibration error in percent (Guo et al., ICML 2017), None without probs.

    Utterances fall into equally wide bins of (0, 1] by the probability of the class predicted.
    The error is the distance between a bin's accuracy and its mean probability, averaged over the
    bins by their utterances.

    Raises:
        ValueError: probabilities in some rows only, outside 0 to 1, of a sum that is not 1, or
            without the class predicted; names the row.
    """
    without = [row.id for row in rows if not row.probs]
    if len(without) == len(rows):
        return None
    if without:
        raise ValueError(
            f"{len(without)} of {len(rows)} predictions have no probabilities, first "
            f"{without[0]!r}; give them to all utterances or to none."
        )
    sure = np.array([_confidence(row) for row in rows])
    right = np.array([row.pred == row.truth for row in rows], dtype=np.float64)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(sure, edges, right=True) - 1, 0, bins - 1)
    gaps = np.abs(np.bincount(place, right - sure, bins))
    return float(100 * gaps.sum() / len(rows))


def check_picture(path: Path) -> None:
    """Refuse a name that tells no kind of picture, before any work is done."""
    if path.suffix not in _PICTURES:
        raise ValueError(f"--plot {path}: the name must end in {', '.join(_PICTURES)}.")


def plot_confusion(rows: Sequence[ClassPrediction], path: Path) -> None:
    """Draw true against predicted classes, coloured by the share of the true class."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - loaded for pictures only.

    found = confusion(rows)
    many = len(found.labels)
    shares = found.counts / np.maximum(found.counts.sum(axis=1, keepdims=True), 1)
    side = min(2.6 + 0.55 * many, 16)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(many), found.labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(many), found.labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row, column in np.ndindex(many, many) if many <= _MOST_NUMBERS else ():
        dark = shares[row, column] > 0.5  # noqa: PLR2004 - half of the colour scale
        colour = "white" if dark else "black"
        number = str(found.counts[row, column])
        axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)


def _confidence(row: ClassPrediction) -> float:
    values = np.array(list(row.probs.values()))
    if not ((values >= 0) & (values <= 1 + _TOLERANCE)).all() or abs(values.sum() - 1) > _TOLERANCE:
        raise ValueError(
            f"The probabilities of {row.id!r} are {row.probs}; expected numbers from 0 to 1 that "
            "add up to 1."
        )
    if row.pred not in row.probs:
        raise ValueError(
            f"{row.id!r} is predicted as {row.pred!r}, which has no probability; there are "
            f"{', '.join(row.probs)}."
        )
    return float(row.probs[row.pred])


def _percent(above: int, below: int) -> float | None:
    return 100 * above / below if below else None
