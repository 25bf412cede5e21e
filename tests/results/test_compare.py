"""Differences between two sets of results: figures, not times and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.results.compare import OF_THE_MEASUREMENT, OF_THE_RUN, Difference, diff
from harness_bench.results.record import Costs, Result
from tests.results.conftest import edit, metrics, put

if TYPE_CHECKING:
    from pathlib import Path


def test_changed_appeared_vanished(tmp_path: Path) -> None:
    """Each kind once, values before and after."""
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, model="same")
    put(second, model="same", seconds=5.0, command="other", hardware="other")
    put(first, model="moved", metrics=metrics(50.0))
    put(second, model="moved", metrics=metrics(60.0), seed=1)
    put(first, model="gone")
    put(second, model="new")
    place = "did tones/test (measured)"
    found, problems = diff(first, second)
    assert not problems
    assert found == [
        Difference("vanished", f"gone {place}"),
        Difference("changed", f"moved {place}", "metrics.accuracy.value", 50.0, 60.0),
        Difference("changed", f"moved {place}", "seed", None, 1),
        Difference("appeared", f"new {place}"),
    ]
    assert str(found[2]) == f"changed  moved {place}  seed: nothing -> 1"
    back, _ = diff(second, first)
    assert [each.kind for each in back] == ["appeared", "changed", "changed", "vanished"]
    assert diff(first, first) == ([], [])


def test_two_files_are_compared_whatever_they_are_of(tmp_path: Path) -> None:
    """Two models' results side by side: their names are a difference like any other."""
    first, second = put(tmp_path, model="a"), put(tmp_path, model="b")
    found, _ = diff(first, second)
    assert [(each.field, each.first, each.second) for each in found] == [("model", "a", "b")]


def test_a_broken_file_is_told_and_the_rest_compared(tmp_path: Path) -> None:
    """Were it only skipped, it would look as if it had vanished."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        put(folder)
    bad = edit(put(second, model="bad"), seconds=-1)
    found, problems = diff(first, second)
    assert not found
    assert [(each.file, each.field) for each in problems] == [(str(bad), "seconds")]


def test_a_folder_is_not_compared_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two folders or two files"):
        diff(tmp_path, put(tmp_path))


def test_fields_left_out_exist() -> None:
    """A renamed field would otherwise make every two runs differ."""
    assert set(Result.model_fields) >= OF_THE_RUN
    assert set(Costs.model_fields) >= OF_THE_MEASUREMENT


def test_costs_differ_by_what_is_the_models(tmp_path: Path) -> None:
    """Times scatter from one measurement to the next; operations change with the model alone."""
    costs = {"real_time_factor": 0.1, "peak_bytes": 5, "macs_per_second": 1e9, "hardware": "a"}
    first = put(tmp_path / "first", costs=costs)
    second = put(tmp_path / "second", costs={**costs, "real_time_factor": 0.2, "hardware": "b"})
    assert diff(first, second) == ([], [])
    third = put(tmp_path / "third", costs={**costs, "macs_per_second": 2e9})
    found, _ = diff(first, third)
    assert [(each.field, each.first, each.second) for each in found] == [
        ("costs.macs_per_second", 1e9, 2e9)
    ]
    without = put(tmp_path / "without")
    assert [each.field for each in diff(without, first)[0]] == ["costs.macs_per_second"]
