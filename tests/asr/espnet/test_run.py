"""The launcher: commands in turn, and their times; test_spawn.py has what spawned ranks know."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness_bench.asr.espnet.run import Command, parse, split_times
from harness_bench.core.stage_times import StageTimes

if TYPE_CHECKING:
    from pathlib import Path

ECHO = '''
"""Say how it was called."""
import sys

def main():
    print("called with", *sys.argv[1:])
    sys.exit(0)
'''


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness_bench.asr.espnet.run", *arguments],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_commands_are_divided_at_then() -> None:
    """One process runs several stages, each with exactly its own arguments."""
    found = parse(["--stage", "Stage 1", "-m", "a.b", "-x", "y z", "--then", "-m", "c"])
    assert found == [Command("a.b", ("-x", "y z"), "Stage 1"), Command("c", (), "c")]


@pytest.mark.parametrize("arguments", [[], ["-m"], ["espnet2.bin.asr_train"], ["--stage", "x"]])
def test_a_command_without_a_module_is_refused(arguments: list[str]) -> None:
    """`--then` misplaced must not run half of what was meant."""
    with pytest.raises(ValueError, match="Expected `-m MODULE`"):
        parse(arguments)


def test_commands_run_in_turn_until_one_fails(tmp_path: Path) -> None:
    """A decoding after a failed training would decode an old model."""
    (tmp_path / "echo_probe.py").write_text(ECHO, encoding="utf-8")
    (tmp_path / "fail_probe.py").write_text("def main(): raise SystemExit(3)", encoding="utf-8")
    echo = ["-m", "echo_probe"]
    done = launch(tmp_path, *echo, "1", "--then", *echo, "2", "--then", "-m", "fail_probe",
                  "--then", *echo, "3")  # fmt: skip
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["called with 1", "called with 2"]


def test_times_of_all_calls_are_kept_and_shown(tmp_path: Path) -> None:
    """Stages are run in several calls; one that fails keeps the time of its last good run."""
    (tmp_path / "echo_probe.py").write_text(ECHO, encoding="utf-8")
    (tmp_path / "fail_probe.py").write_text("def main(): raise SystemExit(3)", encoding="utf-8")
    path = tmp_path / "stage_times.json"

    def stage(title: str, module: str = "echo_probe") -> list[str]:
        return ["--stage", title, "-m", module]

    launch(tmp_path, "--times", str(path), *stage("Stage 3: b"), "--then", *stage("Stage 1: a"))
    before = StageTimes(path).rows
    assert [row.stage for row in before] == ["Stage 1: a", "Stage 3: b"]
    launch(tmp_path, "--times", str(path), *stage("Stage 1: a", "fail_probe"))
    assert StageTimes(path).rows == before
    done = launch(tmp_path, "--times", str(path), *stage("Stage 2: c"))
    assert [row.stage[6] for row in StageTimes(path).rows] == ["1", "2", "3"]
    assert StageTimes(path).summary() in done.stderr


def test_a_broken_times_file_is_told_before_the_stages(tmp_path: Path) -> None:
    """Told afterwards, it would be after the training."""
    (tmp_path / "echo_probe.py").write_text(ECHO, encoding="utf-8")
    (tmp_path / "times.json").write_text("{", encoding="utf-8")
    done = launch(tmp_path, "--times", str(tmp_path / "times.json"), "-m", "echo_probe")
    assert done.returncode == 1
    assert "times.json is not valid JSON" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("arguments", [["--times"], ["--times", "-m", "a"]])
def test_times_need_a_file(arguments: list[str]) -> None:
    """An option without its value must not swallow the command."""
    with pytest.raises(ValueError, match="--times needs a file"):
        split_times(arguments)
