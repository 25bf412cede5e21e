"""A study on the SLURM that answers `sinfo`, of two nodes with one CPU each.

It takes 5 minutes; without such a cluster it skips. CONTRIBUTING.md says how to have one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest

from harness_bench.core.files import read_json, read_jsonl
from harness_bench.study.clusters import EngineConfig, WorkersConfig
from harness_bench.study.engine import run
from harness_bench.study.job import Needs, StudyJob
from tests.study.test_engine import KIND, job, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.study.job import Ended

ROOT = Path(__file__).parents[2]


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def two_nodes() -> bool:
    return which("sinfo") is not None and len(set(slurm("sinfo", "-hN", "-o%N").split())) == 2


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not two_nodes(), reason="needs a SLURM of two nodes"),
]


def engine(**given: object) -> EngineConfig:
    values = {"workers": 2, "memory_gb": 2.0, "walltime": "0:10:00"} | given
    return EngineConfig(kind="slurm", **values)  # type: ignore[arg-type]


def when(
    out: Path, ready: Callable[[list[dict[str, str]]], bool], do: Callable[[], object]
) -> Callable[[Ended], None]:
    """Do something once, at the end of the first job after which `ready` is true."""
    left = [do]

    def watch(_ended: Ended) -> None:
        if left and ready(list(read_jsonl(out / "runs.jsonl"))):
            left.pop()()

    return watch


def test_a_lost_node_costs_what_it_was_at_and_serves_again(tmp_path: Path) -> None:
    jobs = named(job("data"), *(job(f"head {n}", "data", seconds=4) for n in range(18)))
    log: list[str] = []

    def lose() -> None:
        slurm("scontrol", "update", "nodename=n2", "state=down", "reason=test")
        log.append(slurm("sinfo", "-N"))
        slurm("scontrol", "update", "nodename=n2", "state=resume")

    nodes = {"n1", "n2"}
    watch = when(tmp_path, lambda rows: {row["SLURMD_NODENAME"] for row in rows} == nodes, lose)
    ended = run(tmp_path, jobs, engine(), watch=watch)
    assert {each.state for each in ended.values()} == {"done"}
    rows = list(read_jsonl(tmp_path / "runs.jsonl"))
    counts = Counter(row["name"] for row in rows)
    assert "down" in log[0]
    assert sorted(counts.values()) == [1] * 18 + [2]  # what it was at is begun anew, nothing else
    on = [row["SLURMD_NODENAME"] for row in rows]
    assert set(on[on.index("n2") + 3 :]) == {"n1", "n2"}  # back, and at work
    assert {row["SLURM_PROCID"] for row in rows} == {None}  # no job takes itself for a rank
    print(log[0], *(f"{row['SLURMD_NODENAME']} {row['name']}" for row in rows), sep="\n")  # noqa: T201


def test_a_walltime_cuts_a_worker_and_no_job_is_blamed(tmp_path: Path) -> None:
    """A training longer than its worker's time goes on where it was, in the next worker."""
    jobs = named(job("training", steps=80))
    ended = run(tmp_path, jobs, engine(workers=1, walltime="0:01:00", tries=1))
    assert ended["training"].state == "done"
    assert len(list(read_jsonl(tmp_path / "runs.jsonl"))) in (2, 3)
    assert (tmp_path / "work/training/steps.txt").read_text() == "80"


def test_a_new_driver_waits_for_the_job_that_was_sent(tmp_path: Path) -> None:
    training = StudyJob(name="training", kind=KIND, folder="work/t", needs=Needs(nodes=2))
    jobs = named(training, job("head", "training"))
    settings = engine(batch=WorkersConfig(walltime="0:05:00"))
    code = (
        "from tests.study.test_slurm import *; from tests.study.test_slurm import StudyJob as S\n"
        f"run(Path({str(tmp_path)!r}), named({training!r}, {jobs['head']!r}), {settings!r})"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ})
    note = tmp_path / "work/t/batch.json"
    while not note.is_file():
        assert driver.poll() is None
        time.sleep(0.2)
    sent = read_json(note)["job"]
    driver.kill()
    driver.wait()
    ended = run(tmp_path, jobs, settings)
    assert [each.state for each in ended.values()] == ["done", "done"]
    assert ended["training"].outcome == 2  # ranks, each once
    assert read_json(note)["job"] == sent
    assert (tmp_path / "made/head.txt").read_text() == "head\ntraining=2\n"
