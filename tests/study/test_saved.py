"""study.json: what `study status` knows of a study without its TOML."""

from __future__ import annotations

import os
import time
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from harness_bench.core.files import write_text
from harness_bench.study import watch
from harness_bench.study.drive import held
from harness_bench.study.job import Needs, StudyJob, keys
from harness_bench.study.saved import STUDY, planning, saved_study, session
from harness_bench.study.watch import last_study, wait_for_plan

if TYPE_CHECKING:
    from pathlib import Path

JOBS = {
    job.name: job
    for job in (
        StudyJob(name="prepare أ", kind="prepare", folder="cuts/a", needs=Needs(hours=0.5)),
        StudyJob(name="board", kind="board", after=("prepare أ",), settings={"x": 1}),
    )
}


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    with session(tmp_path, JOBS, keys(JOBS), title="A study", engine="slurm", workers=3):
        running = saved_study(tmp_path)
        assert running.driven
        assert running.sessions[0].workers == 3
    found = saved_study(tmp_path)
    assert found.title == "A study"
    assert list(found.jobs) == list(JOBS)
    assert found.jobs["prepare أ"] == JOBS["prepare أ"]
    assert found.jobs["board"].after == ("prepare أ",)
    assert found.keys == keys(JOBS)
    assert not found.driven
    assert found.sessions[0].ended is not None


def test_a_session_that_was_killed_ended_with_its_last_sign_of_life(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), session(tmp_path, JOBS, keys(JOBS), title="x"):
            raise KeyboardInterrupt
    assert len(saved_study(tmp_path).sessions) == 2
    path = tmp_path / STUDY
    ended = saved_study(tmp_path).sessions[1].ended
    path.write_text(path.read_text().replace(f'"ended": {ended}', '"ended": null'))
    last = time.time() - 3600
    os.utime(path, (last, last))
    assert not saved_study(tmp_path).driven
    with session(tmp_path, JOBS, keys(JOBS), title="x"):
        killed = saved_study(tmp_path).sessions[1]
        assert killed.ended == pytest.approx(last)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=STUDY):
        saved_study(tmp_path)


def test_a_study_that_is_planned_is_no_folder_without_one(tmp_path: Path) -> None:
    """The driver of a large study plans for a minute before there is a study.json."""
    out = tmp_path / "runs" / "large"
    with held(out), planning(out):
        assert last_study(tmp_path / "runs") == out
        with pytest.raises(ValueError, match="being planned"):
            saved_study(out)
    assert not (tmp_path / "runs").exists(), "nothing is left of what was never begun"
    with held(out), planning(out):
        write_text(out / STUDY, "")
    assert {each.name for each in out.iterdir()} == {STUDY, ".driver.lock"}


def test_a_plan_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`study status --follow` may begin before the study."""
    monkeypatch.setattr(watch, "_BETWEEN", 0.01)
    wait_for_plan(tmp_path)  # there is none to wait for
    with planning(tmp_path):
        waiting = Thread(target=wait_for_plan, args=(tmp_path,))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        write_text(tmp_path / STUDY, "")
        waiting.join(10)
        assert not waiting.is_alive()
