"""A study on the SLURM that answers `sinfo`, of two nodes with one CPU each.

It takes 20 minutes, 15 of them 20 lost nodes; without such a cluster it skips. CONTRIBUTING.md says
how to have one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
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
    from collections.abc import Iterator

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


def lost_nodes(times: int, out: Path, rng: random.Random, over: threading.Event) -> Iterator[str]:
    """Take a node away and give it back, so many times, whenever both are at work."""
    for _ in range(times):
        while at_work(out) != {"n1", "n2"}:
            if over.wait(0.2):
                return
        time.sleep(rng.uniform(0, 4))
        node = rng.choice(("n1", "n2"))
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
        yield f"{clock(time.time())} {node} lost"
        over.wait(6)


def at_work(out: Path) -> set[str]:
    """Return the nodes on which a job has begun in the last seconds."""
    rows = read_jsonl(out / "runs.jsonl") if (out / "runs.jsonl").is_file() else ()
    return {row["SLURMD_NODENAME"] for row in rows if row["time"] > time.time() - 5}


@pytest.mark.parametrize("losses", [1, 20])
def test_a_lost_node_costs_what_it_was_at_and_serves_again(losses: int, tmp_path: Path) -> None:
    """20 of them take 15 minutes."""
    heads = [job(f"head {n}", "data", seconds=4) for n in range(12 * (losses + 1))]
    jobs = named(job("data"), *heads, job("board", wants=tuple(each.name for each in heads)))
    over, told = threading.Event(), list[str]()
    nodes = lost_nodes(losses, tmp_path, random.Random(0), over)
    thread = threading.Thread(target=lambda: told.extend(nodes))
    thread.start()
    ended = run(tmp_path, jobs, engine(tries=100))
    over.set()
    thread.join()
    assert {each.state for each in ended.values()} == {"done"}
    assert len(told) == losses
    rows = list(read_jsonl(tmp_path / "runs.jsonl"))
    counts = Counter(row["name"] for row in rows)
    assert sum(counts.values()) <= len(jobs) + losses  # what a node was at, and nothing else
    assert {row["SLURM_PROCID"] for row in rows} == {None}  # no job takes itself for a rank
    text = "board\n" + "".join(f"{name}=7\n" for name in sorted(each.name for each in heads))
    assert (tmp_path / "made/board.txt").read_text() == text
    begun = [f"{clock(row['time'])} {row['SLURMD_NODENAME']} {row['name']}" for row in rows]
    print("", *sorted(told + begun), sep="\n")  # noqa: T201 - the log of docs/study.md


def clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


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
