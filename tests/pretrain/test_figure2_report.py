"""The points of a curve that figure2.json carries, and the leaderboard that reads them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from harness_bench.leaderboard.curves import load_curves
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.files import write_json
from harness_bench.pretrain.config import load_family
from harness_bench.pretrain.curves import Curve
from harness_bench.pretrain.figure2 import MAX_POINTS, compare, measure, points

CONF = Path(__file__).parents[2] / "egs" / "harness" / "pretrain1" / "conf"


def curve(lines: int, name: str = "curve") -> Curve:
    updates = 10 * np.arange(1, lines + 1)
    return Curve(name, updates, 6 - np.log10(updates), entropy=5.0)


@given(lines=st.integers(1, 1000))
def test_points_are_of_the_smoothed_curve(lines: int) -> None:
    """No more than a plot shows, both ends, none twice, and each where the curve has it."""
    made = curve(lines)
    taken = points(made)
    updates = taken["updates"]
    assert len(updates) == min(lines, MAX_POINTS)
    assert (updates[0], updates[-1]) == (10, 10 * lines)
    gaps = {b - a for a, b in itertools.pairwise(updates)}
    assert not gaps or (min(gaps) > 0 and max(gaps) - min(gaps) <= 10)  # even
    at = [update // 10 - 1 for update in updates]
    assert taken["loss_bits"] == pytest.approx(made.smoothed[at].tolist(), rel=1e-5)
    assert taken["share_of_entropy"] == pytest.approx(
        [loss / 5 for loss in taken["loss_bits"]], rel=1e-4
    )


def test_the_leaderboard_reads_what_is_written(tmp_path: Path) -> None:
    """Across the border between the two: file to page, without a word about keys in between."""
    found = compare(load_family(CONF / "figure2_tiny.toml"))
    report = measure(found, [curve(300 + n, v.title) for n, v in enumerate(found.variants)])
    write_json(tmp_path / "figure2.json", report)
    (read,), problems = load_curves(tmp_path)
    assert not problems
    assert [variant.title for variant in read.variants] == [v.title for v in found.variants]
    assert [variant.name for variant in read.variants] == [v.step.name for v in found.variants]
    assert [variant.curve.updates[-1] for variant in read.variants] == [3000, 3010, 3020, 3030]
    assert list(read.variants[0].curve.loss_bits) == report["variants"][0]["curve"]["loss_bits"]
    assert read.caveats == tuple(report["caveats"])
