"""`harness-bench study`: a file as the first word, exit status, and what is shown of a study."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from harness_bench.study import drive, engine, times
from harness_bench.study.job import Needs, StudyJob, last_state
from tests.study.chain import run_here, write_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


def _jobs(**settings: Any) -> dict[str, StudyJob]:
    kind = "tests.study.tiny_job"
    found = (
        StudyJob(name="prepare a", kind=kind, needs=Needs(hours=0.1)),
        StudyJob(name="probe x", kind=kind, after=("prepare a",), settings=settings),
        StudyJob(name="publish x", kind=kind, after=("probe x",)),
        StudyJob(name="probe y", kind=kind, after=("prepare a",)),
        StudyJob(name="board", kind=kind, wants=("publish x", "probe y")),
    )
    return {job.name: job for job in found}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a study whose plan is five tiny jobs, which run here; Dask has tests of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "run", lambda out, jobs, *_, **__: run_here(out, jobs))
    monkeypatch.setattr(drive, "plan", lambda _study: _jobs())
    return write_study(tmp_path)


def test_a_dry_run_makes_nothing(file: Path, run: Run, tmp_path: Path) -> None:
    """`study FILE` is `study run FILE`, wherever the options stand."""
    found = []
    for words in ((file, "--dry-run", "--json"), ("run", "--json", file, "--dry-run"),
                  ("--dry-run", "--json", file)):  # fmt: skip
        code, out, _ = run("study", *words)
        assert code == 0
        found.append(json.loads(out) | {"free_gb": 0})
    assert found[0] == found[1] == found[2]
    assert found[0]["left"] == 5
    assert [job["name"] for job in found[0]["jobs"]] == list(_jobs())
    assert not (tmp_path / "runs").exists()
    code, out, errors = run("study", file, "--dry-run", "--only", "probe y")
    assert code == 0, errors
    assert "3 jobs are left" in out


def test_bad_words_are_refused_before_anything_is_made(
    file: Path, run: Run, tmp_path: Path
) -> None:
    for words in (("--only", "nothing"), ("--json",), ("--engine", "cloud"), ("--jobs", "0")):
        code, _, errors = run("study", file, *words)
        assert code == 2
        assert words[0] in errors
    code, _, errors = run("study", "statu")
    assert code == 2
    assert "status" in errors
    code, _, errors = run("study", file, "--dry-run", "--out", file)
    assert code == 2
    assert str(file) in errors
    code, _, errors = run("study", tmp_path / "none.toml")
    assert code == 2
    assert "none.toml" in errors
    code, _, errors = run("study", "status", tmp_path)
    assert code == 2
    assert "no study" in errors
    assert not (tmp_path / "runs").exists()


def test_a_study_runs_is_told_and_goes_on(
    file: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 1 while something is missing, with why; 0 once it is whole."""
    monkeypatch.setattr(drive, "plan", lambda _study: _jobs(fails=True))
    code, out, errors = run("study", file, "--jobs", "1", "--out", "made")
    assert code == 1
    assert "no such corpus" in out
    assert "left out: 1 job needs probe x" in out
    assert f"To resume: harness-bench study {file} --jobs 1 --out made" in out
    assert "prepare a: done" in errors
    assert errors.startswith("Study: made\n"), "where it is, before anything is planned"
    assert "harness-bench study status made --follow" in errors
    assert (tmp_path / "made" / "times.png").is_file()
    assert last_state(tmp_path / "made", _jobs()["board"])["state"] == "done"

    code, out, _ = run("study", "status", "made", "--json")
    assert code == 0
    states = {job["name"]: job["state"] for job in json.loads(out)["jobs"]}
    assert states == {"prepare a": "done", "probe x": "failed", "publish x": "left out",
                      "probe y": "done", "board": "done"}  # fmt: skip
    code, out, _ = run("study", "status", "made", "--follow")
    assert code == 0
    assert "failed: probe x" in out

    monkeypatch.setattr(drive, "plan", lambda _study: _jobs())
    monkeypatch.setattr(times, "draw", Mock(side_effect=OSError("No space left on device")))
    code, out, errors = run("study", file, "--jobs", "1", "--out", "made")
    assert code == 0, out
    assert "no picture (No space left on device)" in out, "a picture ends no study"
    assert "prepare a: done" not in errors, "it is kept"
    assert "none was run" not in out
    code, out, errors = run("study", file, "--jobs", "1", "--out", "made")
    assert code == 0, errors
    assert "All 5 jobs had finished before; none was run." in out
    code, out, _ = run("study", "times", "made", "--json")
    assert code == 0
    assert len(json.loads(out)["jobs"]) == 5


def test_a_second_driver_is_refused(file: Path, run: Run, tmp_path: Path) -> None:
    with drive.held(tmp_path):
        code, _, errors = run("study", file, "--out", tmp_path)
    assert code == 2
    assert "study status" in errors
