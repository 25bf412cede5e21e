"""Jobs run on workers in order, failures stay their own, and what a worker loses is done again."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.core.files import read_jsonl
from harness_bench.study.clusters import EngineConfig, WorkersConfig
from harness_bench.study.engine import Task, run
from harness_bench.study.job import Ended, Needs, StudyJob, last_state

if TYPE_CHECKING:
    from pathlib import Path

KIND = "tests.study.tiny_job"
TWO = EngineConfig(workers=2, tries=2)
GPUS, ON_GPUS = ("4", "7"), ("gpu a", "gpu b", "gpu c", "gpu d")


def named(*jobs: StudyJob) -> dict[str, StudyJob]:
    return {job.name: job for job in jobs}


def job(name: str, *after: str, wants: tuple[str, ...] = (), **settings: Any) -> StudyJob:
    return StudyJob(
        name=name, kind=KIND, settings=settings, folder=f"work/{name}", after=after, wants=wants
    )


def ran(out: Path) -> list[str]:
    return [row["name"] for row in read_jsonl(out / "runs.jsonl")]


type Study = tuple[Path, dict[str, StudyJob], dict[str, Ended], list[Ended]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Run once what most tests look at: a failure, a killer, and jobs that go on beside them."""
    out = tmp_path_factory.mktemp("study")
    jobs = named(
        job("data"),
        job("heads", "data", memory=True),
        job("broken", "data", fails=True),
        job("behind", "broken"),
        job("killer", kills=True),
        StudyJob(name="huge", kind=KIND, needs=Needs(gpus=99)),
        *(replace(job(name, seconds=0.2), needs=Needs(gpus=1)) for name in ON_GPUS),
        job("board", wants=("heads", "behind", "killer", "huge")),
        StudyJob(name="always", kind=KIND, always=True),
    )
    heard: list[Ended] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", ",".join(GPUS))
        before = dict(os.environ)
        ended = run(out, jobs, replace(TWO, gpu=WorkersConfig(workers=2)), watch=heard.append)
        assert dict(os.environ) == before  # Dask sets some for its workers
    return out, jobs, ended, heard


def test_every_job_ends_and_a_failure_stays_its_own(study: Study) -> None:
    """What needs a failed job is left out; what only wants it goes on without."""
    _, jobs, ended, heard = study
    assert list(ended) == list(jobs)
    assert sorted(each.name for each in heard) == sorted(jobs)
    states = {name: each.state for name, each in ended.items()}
    assert states == {
        "data": "done", "heads": "done", "broken": "failed", "behind": "left out",
        "killer": "failed", "huge": "failed", "board": "done", "always": "done",
    } | dict.fromkeys(ON_GPUS, "done")  # fmt: skip
    assert ended["broken"].why == "no such corpus"
    assert "gpu" in ended["huge"].why


def test_a_gpu_has_one_job_at_a_time_which_sees_no_other(study: Study) -> None:
    """The devices are made up: what counts is which worker gets which job, and what it is told."""
    out, _, ended, _ = study
    rows = [row for row in read_jsonl(out / "runs.jsonl") if row["name"] in ON_GPUS]
    seen = {(row["pid"], row["CUDA_VISIBLE_DEVICES"]) for row in rows}
    assert {device for _, device in seen} <= {*GPUS}
    assert len({pid for pid, _ in seen}) == len({device for _, device in seen}) == len(seen)
    for pid, _ in seen:
        mine = [ended[row["name"]] for row in rows if row["pid"] == pid]
        spans = sorted((each.begun, each.begun + each.seconds) for each in mine)
        assert all(end <= begun for (_, end), (begun, _) in itertools.pairwise(spans))
    others = [row for row in read_jsonl(out / "runs.jsonl") if row["name"] not in ON_GPUS]
    assert not {row["pid"] for row in others} & {pid for pid, _ in seen}


def test_a_job_that_kills_its_workers_is_given_up(study: Study) -> None:
    out, _, ended, _ = study
    assert ran(out).count("killer") == TWO.tries
    assert "memory" in ended["killer"].why
    assert [ran(out).count(name) for name in ("heads", "broken", "board")] == [1, 1, 1]


def test_outcomes_reach_the_jobs_behind(study: Study) -> None:
    out, *_ = study
    assert (out / "made/board.txt").read_text() == "board\nheads=7\n"


def test_a_jobs_output_is_in_its_log(study: Study) -> None:
    out, *_ = study
    assert "heads says hello" in (out / "work/heads/log.txt").read_text()
    assert last_state(out, study[1]["heads"])["state"] == "done"


def test_a_worker_keeps_freed_memory_for_what_comes_next(study: Study) -> None:
    """Dask has its workers give every block back: trainings took up to twice their time."""
    row = next(row for row in read_jsonl(study[0] / "runs.jsonl") if row["name"] == "heads")
    assert row["MALLOC_TRIM_THRESHOLD_"] is None
    once = (8 << 20) // 4096
    assert row["faults"] < 5 * once


def test_what_is_finished_is_kept_without_a_worker(study: Study) -> None:
    out, jobs, *_ = study
    before = ran(out)
    chosen = {name: jobs[name] for name in ("data", "heads")}
    start = time.process_time()
    ended = run(out, chosen, TWO)
    assert [each.state for each in ended.values()] == ["kept", "kept"]
    assert ended["heads"].outcome == 7
    assert ran(out) == before
    assert time.process_time() - start < 0.5  # no worker is started for it


def test_no_job_begins_when_the_time_is_over(tmp_path: Path) -> None:
    ended = Task(tmp_path, TWO, "run", until=0)(job("a"), "key")
    assert ended.state == "no time"
    assert last_state(tmp_path, job("a"))["state"] == "no time"
    assert not (tmp_path / "runs.jsonl").exists()


def test_a_worker_makes_a_deleted_folder_again(tmp_path: Path) -> None:
    """A log that is opened before the note is read would make the folder, and the job be kept."""
    here, once = job("a"), Task(tmp_path, TWO, "run", until=None)
    assert once(here, "key").state == "done"
    shutil.rmtree(tmp_path / "work/a")
    assert Task(tmp_path, TWO, "another", until=None)(here, "key").state == "done"


def test_a_worker_leaves_no_memory_of_a_gpu_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next job's process may need all of it; a process without torch does not import it."""
    freed: list[int] = []
    cuda = SimpleNamespace(is_initialized=lambda: True, empty_cache=lambda: freed.append(1))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    Task(tmp_path, TWO, "run", until=None)(job("a", fails=True), "key")
    assert freed == [1]
