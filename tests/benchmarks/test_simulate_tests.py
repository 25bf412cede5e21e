"""The simulation that docs/scoring.md quotes: it runs whole, and says what the tests promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import simulate_tests

if TYPE_CHECKING:
    import pytest


def test_a_scenario_is_told_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2 clusters no alarm and no power; the former test alarmed in half of the sets."""
    monkeypatch.setattr(simulate_tests, "CLUSTERS", (2, 6))
    head, two, six = simulate_tests.scenario_table(simulate_tests.SCENARIOS[0], "wer", 300, 60)
    found = [dict(zip(head, map(float, row), strict=True)) for row in (two, six)]
    assert found[0]["alarms"] == found[0]["power"] == found[0]["swapped"] == 0
    assert found[0]["alarms old"] > 25
    assert found[1]["alarms"] <= 100 / 32 + 3
    assert found[0]["covers"] > 88 > found[0]["covers old"]


def test_seeds_and_families() -> None:
    """The spread of seeds is needed to cover; Holm is needed where there are ten systems."""
    _, *rows = simulate_tests.seeds_table(300)
    assert all(float(alone) < float(spread) > 91 for *_, alone, spread in rows)
    _, *rows = simulate_tests.family_table(60)
    assert all(float(corrected) < 15 and float(plain) > 40 for _, plain, corrected in rows)
