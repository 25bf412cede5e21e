"""What figures can be, by the metric's name."""

from __future__ import annotations

from harness_bench.results.record import is_learning_rate, range_problems
from harness_bench.scoring.registry import get_metric, metric_names


def test_ranges() -> None:
    """Shares end at 100 %, error rates do not, and a profile's name changes nothing."""
    assert not range_problems("accuracy", {"value": 100.0}, higher_is_better=True)
    assert not range_problems("macro_f1", {"value": 100.00000000000001}, higher_is_better=True)
    assert not range_problems("wer_none", {"value": 340.0}, higher_is_better=False)
    assert not range_problems("my_score", {"value": -5.0}, higher_is_better=True)
    for name, value, higher in (
        ("accuracy", 100.1, True), ("uar", -0.1, True), ("wer", -1.0, False),
        ("cer_none", -1.0, False), ("calibration_error", 101.0, False),
        ("accuracy\u200b", 1e9, True),  # it is shown as `accuracy`
    ):  # fmt: skip
        (problem,) = range_problems(name, {"value": value}, higher_is_better=higher)
        assert problem.startswith(f"value is {value}, it must be")
    assert range_problems("wer", {}, higher_is_better=True) == ["higher_is_better must be false"]


def test_our_own_metrics_are_in_range() -> None:
    """A metric whose direction disagreed with this table could not be written at all."""
    for name in metric_names():
        higher = get_metric(name).higher_is_better
        assert not range_problems(name, {"value": 50.0}, higher_is_better=higher)


def test_learning_rates() -> None:
    assert all(map(is_learning_rate, ("1e-3", "0.5", "3")))
    assert not any(map(is_learning_rate, ("0", "-1", "nan", "inf", "", "fast")))
