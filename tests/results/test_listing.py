"""Listing: one row a result, in a stable order, broken files told and not hiding any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.results.listing import list_results, render
from tests.results.conftest import metrics, put

if TYPE_CHECKING:
    from pathlib import Path

SPAN = {"low": 40.25, "high": 60.0, "method": "bootstrap"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, model="b", metrics=metrics(50.0, interval=SPAN))
    put(tmp_path, model="a", task="ser")
    shown = metrics(22.6, printed="22.6")
    put(tmp_path, model="\x1b[31mمتعلم", source="reported", citation="c", metrics=shown)
    (tmp_path / "bad.json").write_text("{oops")
    return tmp_path


def test_rows_and_problems(folder: Path) -> None:
    """Measured before reported, by task, corpus, split and model."""
    rows, problems = list_results(folder)
    assert [(row["source"], row["task"], row["model"]) for row in rows] == [
        ("measured", "did", "b"), ("measured", "ser", "a"), ("reported", "did", "[31mمتعلم"),
    ]  # fmt: skip
    assert [problem.file for problem in problems] == [str(folder / "bad.json")]
    assert (rows[0]["value"], rows[0]["low"], rows[0]["metrics"]) == (50, 40.25, {"accuracy": 50})


def test_filters(folder: Path) -> None:
    """By task and model; a mistyped one is told with what there is."""
    assert [row["model"] for row in list_results(folder, task="ser")[0]] == ["a"]
    assert [row["task"] for row in list_results(folder, model="b")[0]] == ["did"]
    assert not list_results(folder, model="b", task="ser")[0]
    with pytest.raises(ValueError, match="there are: did, ser"):
        list_results(folder, task="asr")


def test_table(folder: Path) -> None:
    """Aligned, intervals beside values, reported figures as printed, no escape codes."""
    text = render(list_results(folder)[0])
    head, first, second, third = text.splitlines()
    assert head.split() == ["model", "task", "corpus/split", "metric", "value", "kind"]
    assert first.split() == (
        [
            "b",
            "did",
            "tones/test",
            "accuracy",
            "50.00",
            "[40.25,",
            "60.00]",
            "%",
            "measured,",
            "synthetic",
        ]
    )
    assert " 22.6 %" in third
    assert "reported" in third
    assert "\x1b" not in text
    assert len({line.index("accuracy") for line in (first, second, third)}) == 1
