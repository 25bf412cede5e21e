"""Where jobs are, from files alone: what is told after a kill must be true."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.core.files import write_json
from harness_bench.core.log import cpu_seconds
from harness_bench.study.alive import Alive
from harness_bench.study.job import Ended, StudyJob, keys, note, state_file, tell
from harness_bench.study.saved import saved_study, session
from harness_bench.study.status import JobStatus, StatusReader, count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JOBS = {
    job.name: job
    for job in (
        StudyJob(name="a", kind="prepare"), StudyJob(name="b", kind="probe", after=("a",)),
        StudyJob(name="c d", kind="probe", after=("a",)),
    )
}  # fmt: skip
KEYS = keys(JOBS)


def _save(out: Path, jobs: Mapping[str, StudyJob] = JOBS) -> None:
    with session(out, jobs, keys(jobs), title="x"):
        pass


def _read(out: Path) -> dict[str, JobStatus]:
    return StatusReader(out, saved_study(out)).read()


def _tell(out: Path, name: str, state: Any, **more: Any) -> None:
    ended = Ended(name=name, state=state, host="n1", begun=time.time() - 5, seconds=4.0, **more)
    tell(out, JOBS[name], KEYS[name], ended)


def test_states_as_jobs_wrote_them(tmp_path: Path) -> None:
    _save(tmp_path)
    _tell(tmp_path, "a", "done")
    _tell(tmp_path, "b", "failed", why="no such corpus")
    found = _read(tmp_path)
    assert [each.stand for each in found.values()] == ["done", "failed", "waiting"]
    assert found["b"].why == "no such corpus"
    assert found["a"].seconds == 4.0
    assert count(found.values())["done"] == 1


def test_a_running_job_whose_process_is_gone_was_cut_off(tmp_path: Path) -> None:
    _save(tmp_path)
    facts = {"state": "running", "begun": time.time() - 9, "key": KEYS["b"]}
    with Alive(state_file(tmp_path, JOBS["b"]), facts):
        found = _read(tmp_path)["b"]
        assert (found.stand, found.host) == ("running", socket.gethostname())
        assert 8 < found.seconds < 20
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    here = {"host": socket.gethostname(), "pid": gone.pid}
    write_json(state_file(tmp_path, JOBS["b"]), facts | here)
    assert _read(tmp_path)["b"].stand == "cut off"


def test_what_changed_inputs_made_is_to_be_made_again(tmp_path: Path) -> None:
    _save(tmp_path)
    _tell(tmp_path, "a", "done")
    _tell(tmp_path, "b", "done")
    _save(tmp_path, JOBS | {"b": replace(JOBS["b"], settings={"layers": 9})})
    assert [each.stand for each in _read(tmp_path).values()] == ["done", "waiting", "waiting"]


def test_a_note_without_a_state_is_finished_work(tmp_path: Path) -> None:
    """A kill between the note of a job and its state: it will not run again."""
    _save(tmp_path)
    work = note(tmp_path, JOBS["c d"], KEYS["c d"])
    work.begin()
    assert _read(tmp_path)["c d"].stand == "waiting"
    work.finish()
    assert _read(tmp_path)["c d"].stand == "done"


def test_what_failed_before_this_driver_is_tried_again(tmp_path: Path) -> None:
    _save(tmp_path)
    _tell(tmp_path, "b", "failed", why="x")
    before = time.time() - 60
    os.utime(state_file(tmp_path, JOBS["b"]), (before, before))
    with session(tmp_path, JOBS, KEYS, title="x"):
        assert _read(tmp_path)["b"].stand == "waiting"
        _tell(tmp_path, "b", "failed", why="again")
        assert _read(tmp_path)["b"].stand == "failed"
    assert _read(tmp_path)["b"].why == "again"


def test_a_reader_sees_changes(tmp_path: Path) -> None:
    _save(tmp_path)
    _tell(tmp_path, "a", "failed")
    reader = StatusReader(tmp_path, saved_study(tmp_path))
    assert reader.read()["a"].stand == "failed"
    _tell(tmp_path, "a", "done")
    assert reader.read()["a"].stand == "done"


def test_jobs_that_were_not_chosen_are_left_aside(tmp_path: Path) -> None:
    with session(tmp_path, JOBS, KEYS, title="x", chosen={"a"}):
        pass
    reader = StatusReader(tmp_path, saved_study(tmp_path))
    assert list(reader.read()) == ["a"]
    assert list(reader.read(everything=True)) == list(JOBS)


@pytest.mark.slow
def test_ten_thousand_jobs_are_read_within_two_seconds(tmp_path: Path) -> None:
    jobs = {f"probe {n}": StudyJob(name=f"probe {n}", kind="probe") for n in range(10_000)}
    found = keys(jobs)
    with session(tmp_path, jobs, found, title="x"):
        pass
    for name, job in jobs.items():
        state = {"name": name, "state": "done", "host": "n1", "begun": 1.0, "seconds": 1.0}
        state_file(tmp_path, job).parent.mkdir(exist_ok=True)
        write = state | {"why": "", "key": found[name]}
        state_file(tmp_path, job).write_text(str(write).replace("'", '"'))
    before = cpu_seconds()
    assert count(_read(tmp_path).values())["done"] == 10_000
    assert cpu_seconds() - before < 2
