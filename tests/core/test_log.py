"""Progress must be seen on a terminal, not flood a log, and times must add up."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from harness_bench.core.log import StageTimes, bar, cpu_seconds, say


def test_a_bar_in_a_log_file_is_short(capfd: pytest.CaptureFixture[str]) -> None:
    """A cluster's log of a week with a line per update is megabytes that nobody reads."""
    assert list(bar(range(10_000), title="frames")) == list(range(10_000))
    log = capfd.readouterr().err
    assert "frames" in log
    assert len(re.split(r"[\r\n]+", log.strip())) <= 3


def test_say_goes_to_standard_error_with_the_time(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is for results, so that it can be piped."""
    say("model loaded")
    output = capfd.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d model loaded\n", output.err)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("RANK", "0", True), ("RANK", "3", False), ("SLURM_PROCID", "0", True),
     ("SLURM_PROCID", "7", False), ("LOCAL_RANK", "1", False)],
)  # fmt: skip
def test_one_rank_speaks_for_all(
    name: str, value: str, *, shown: bool,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """24 ranks that say the same are a log that nobody reads."""
    monkeypatch.setenv(name, value)
    say("stage done")
    assert list(bar([1, 2], title="frames")) == [1, 2]
    assert ("stage done" in capfd.readouterr().err) == shown


def test_stage_times_add_up(capfd: pytest.CaptureFixture[str]) -> None:
    times = StageTimes()
    with times.stage("sleep"):
        time.sleep(0.05)
    with times.stage("compute"):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    assert [row[0] for row in times.rows] == ["sleep", "compute"]
    assert times.rows[0][1] >= 0.05
    assert times.rows[1][2] >= 0.04
    assert times.rows[0][2] < times.rows[1][2]
    log = capfd.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1].split(":")[0] for line in log] == ["sleep", "compute"]
    table = [line.split() for line in times.summary().splitlines()]
    assert table[0] == ["stage", "seconds", "CPU-s"]
    assert table[-1][0] == "total"
    assert float(table[-1][1]) == pytest.approx(sum(row[1] for row in times.rows), abs=0.051)


def test_a_stage_that_fails_is_not_said_to_be_done(capfd: pytest.CaptureFixture[str]) -> None:
    times = StageTimes()
    with pytest.raises(ValueError, match="broken"), times.stage("train"):
        raise ValueError("broken")
    assert times.rows == []
    assert "done" not in capfd.readouterr().err


def test_an_empty_run_has_a_summary() -> None:
    assert StageTimes().summary().splitlines()[-1].startswith("total")


def test_cpu_seconds_count_children() -> None:
    """Stages are processes of their own; without them every stage would look free."""
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert cpu_seconds() - before > 0.02
