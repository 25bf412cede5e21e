"""Stage times: one table over all the calls that a recipe took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.core import workdir

if TYPE_CHECKING:
    from pathlib import Path


def test_a_stage_run_again_adds_to_its_line(tmp_path: Path) -> None:
    """A call that only finds a training finished must not pass for the training's time."""
    path = tmp_path / "exp" / "stage_times.json"
    for stage, seconds in (("Stage 11: training", 50.0), ("Stage 12: decoding", 7.0)):
        workdir.record(path, stage, seconds, 2 * seconds)
    workdir.record(path, "Stage 2: speed", 1.5, 1.0)
    workdir.record(path, "Stage 11: training", 3.0, 4.0)
    workdir.record(path, "unnumbered", 0.5, 0.5)
    assert [(row.stage, row.seconds, row.cpu_seconds) for row in workdir.read(path)] == [
        ("Stage 2: speed", 1.5, 1.0),
        ("Stage 11: training", 53.0, 104.0),
        ("Stage 12: decoding", 7.0, 14.0),
        ("unnumbered", 0.5, 0.5),
    ]
    assert [row.calls for row in workdir.read(path)] == [1, 2, 1, 1]
    assert "Stage 11: training (2 calls) " in workdir.table(path)
    assert [line.split()[-2:] for line in workdir.table(path).splitlines()[1:]] == [
        ["1.5", "1.0"], ["53.0", "104.0"], ["7.0", "14.0"], ["0.5", "0.5"], ["62.0", "119.5"],
    ]  # fmt: skip


def test_no_file_is_no_stage(tmp_path: Path) -> None:
    """The first call of a recipe finds none."""
    assert workdir.read(tmp_path / "none.json") == []


@pytest.mark.parametrize("text", ["{", "{}", '[{"stage": "Stage 1"}]', '["Stage 1"]'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    """Overwriting what is not ours would lose it."""
    path = tmp_path / "times.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"times\.json"):
        workdir.read(path)
