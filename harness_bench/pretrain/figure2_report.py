"""What Figure 2 says in numbers: where each variant ends, how fast, and its curve."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.files import atomic_path
from harness_bench.pretrain.curves import LOSS, updates_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness_bench.pretrain.curves import Curve
    from harness_bench.pretrain.figure2 import Comparison, Variant

MAX_POINTS = 200  # of a curve in figure2.json; a plot shows no more
CAVEATS = (
    (
        "Losses in bits on different labels have no common level: with PCA the labels are others. "
        "Compare them as shares of the labels' entropy."
    ),
    "One seed each: small differences may be chance.",
)


def measure(found: Comparison, curves: Sequence[Curve]) -> dict[str, Any]:
    """Say where each variant ends and how many updates it needs to the lowest common levels.

    A common level is the lowest that all curves in question reach: in bits for the two starts on
    the same labels, as a share of the labels' entropy for all four. All by smoothed curves, which
    come along as points: the leaderboard draws them.
    """
    shares = [_share(curve) for curve in curves]
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
        "caveats": list(CAVEATS),
        "variants": rows,
    }


def points(curve: Curve) -> dict[str, list[Any]]:
    """Return a smoothed curve as at most `MAX_POINTS` points, evenly taken, both ends included.

    Returns:
        `updates`, `loss_bits` and `share_of_entropy`, lists of one length.
    """
    count = len(curve.updates)
    taken = np.linspace(0, count - 1, min(count, MAX_POINTS)).round().astype(int)
    return {
        "updates": curve.updates[taken].tolist(),
        "loss_bits": _short(curve.smoothed[taken]),
        "share_of_entropy": _short(_share(curve)[taken]),
    }


def _short(values: NDArray[np.float64]) -> list[float]:
    """Round to 6 digits, as the table does: a drawing needs no more."""
    return [float(f"{value:.6g}") for value in values]


def _share(curve: Curve) -> NDArray[np.float64]:
    share = curve.relative
    assert share is not None  # draw gives every curve its entropy
    return share


def write_table(variants: Sequence[Variant], curves: Sequence[Curve], path: Path) -> None:
    """Write a line per variant and log line."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([
            "variant", "init", "pca", "updates", "loss_bits", "loss_bits_smoothed",
            "share_of_entropy_smoothed",
        ])  # fmt: skip
        for variant, curve in zip(variants, curves, strict=True):
            first = [variant.step.name, variant.step.pretrain.init, int(variant.pca)]
            columns = (curve.updates, curve.values, curve.smoothed, _share(curve))
            for values in zip(*columns, strict=True):
                table.writerow([*first, int(values[0]), *(f"{x:.6g}" for x in values[1:])])
