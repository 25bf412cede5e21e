"""Times add up over stages, and over all the calls that a recipe took."""

import time
from pathlib import Path

import pytest

from harness_bench.core.stage_times import StageTimes


def test_stage_times_add_up(capfd: pytest.CaptureFixture[str]) -> None:
    times = StageTimes()
    with times.stage("sleep"):
        time.sleep(0.05)
    with times.stage("compute"):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    assert [row.stage for row in times.rows] == ["sleep", "compute"]
    assert times.rows[0].seconds >= 0.05
    assert times.rows[1].cpu_seconds >= 0.04
    assert times.rows[0].cpu_seconds < times.rows[1].cpu_seconds
    log = capfd.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1].split(":")[0] for line in log] == ["sleep", "compute"]
    table = [line.split() for line in times.summary().splitlines()]
    assert table[0] == ["stage", "seconds", "CPU-s"]
    assert table[-1][0] == "total"
    assert float(table[-1][1]) == pytest.approx(sum(row.seconds for row in times.rows), abs=0.051)


def test_a_stage_that_fails_is_not_said_to_be_done(capfd: pytest.CaptureFixture[str]) -> None:
    times = StageTimes()
    with pytest.raises(ValueError, match="broken"), times.stage("train"):
        raise ValueError("broken")
    assert times.rows == []
    assert times.summary().splitlines()[-1].startswith("total")
    assert "done" not in capfd.readouterr().err


def test_a_stage_run_again_adds_to_its_line(tmp_path: Path) -> None:
    """A call that only finds a training finished must not pass for the training's time."""
    times = StageTimes(tmp_path / "exp" / "stage_times.json")
    for stage, seconds in (("Stage 11: training", 50.0), ("Stage 12: decoding", 7.0)):
        times.add(stage, seconds, 2 * seconds)
    times.add("Stage 2: speed", 1.5, 1.0)
    times.add("Stage 11: training", 3.0, 4.0)
    times.add("unnumbered", 0.5, 0.5)
    assert [(row.stage, row.seconds, row.cpu_seconds) for row in times.rows] == [
        ("Stage 2: speed", 1.5, 1.0),
        ("Stage 11: training", 53.0, 104.0),
        ("Stage 12: decoding", 7.0, 14.0),
        ("unnumbered", 0.5, 0.5),
    ]
    assert [row.calls for row in times.rows] == [1, 2, 1, 1]
    assert "Stage 11: training (2 calls) " in times.summary()
    assert [line.split()[-2:] for line in times.summary().splitlines()[1:]] == [
        ["1.5", "1.0"], ["53.0", "104.0"], ["7.0", "14.0"], ["0.5", "0.5"], ["62.0", "119.5"],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{", "{}", '[{"stage": "Stage 1"}]', '["Stage 1"]'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    """Overwriting what is not ours would lose it."""
    path = tmp_path / "times.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"times\.json"):
        _ = StageTimes(path).rows
