"""Run the jobs of a study on Dask's workers, those of this machine or of a cluster.

Dask's workers run the jobs, and start anew what a lost worker was at. A job that finished is never
run again, whoever dies: its note on the disk says so (`study/job.py`).
"""

from __future__ import annotations

import gc
import os
import sys
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from harness_bench.study.batch import run_batch
from harness_bench.study.clusters import EngineConfig, Pool, pool_of
from harness_bench.study.job import (
    Attempt,
    Ended,
    StudyJob,
    finished,
    keys,
    outcome_of,
    run_job,
    tell,
)
from harness_bench.study.workers import open_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

type Watch = Callable[[Ended], None]


def run(
    out: Path,
    jobs: Mapping[str, StudyJob],
    engine: EngineConfig,
    *,
    watch: Watch = lambda _ended: None,
    until: float | None = None,
) -> dict[str, Ended]:
    """Run all jobs that are not finished; return what became of each, in the order of `jobs`.

    Args:
        out: the study's folder, on a disk that all workers see.
        jobs: by name, each behind those that it waits for.
        engine: where they run.
        watch: hears of every job as soon as it has ended, in this process.
        until: seconds since the epoch; no job begins later.
    """
    out = out.absolute()
    found = keys(jobs)
    ended: dict[str, Ended] = {}

    def told(one: Ended) -> None:
        ended[one.name] = one
        watch(one)

    for name, job in jobs.items():
        settled = all(_kept(ended, each) for each in job.after + job.wants)
        if settled and finished(out, job, found[name]):
            told(Ended(name=name, state="kept", outcome=outcome_of(out, job, found[name])))
        elif lack := engine.lacks(job.needs):
            told(tell(out, job, found[name], Ended(name=name, state="failed", why=lack)))
    left = {name: job for name, job in jobs.items() if name not in ended}
    if left:
        with open_workers(out, engine, partial(_demand, left, ended, engine)) as client:
            task = Task(out, engine, uuid.uuid4().hex, until)
            for one in _results(client, left, found, ended, task):
                told(one)
    return {name: ended[name] for name in jobs}


def _demand(
    left: Mapping[str, StudyJob], ended: Mapping[str, Ended], engine: EngineConfig
) -> Counter[Pool]:
    """Count the jobs of each pool that have use for workers: on a cluster, those that could run."""
    return Counter(
        pool_of(job.needs)
        for name, job in left.items()
        if name not in ended
        and (engine.kind == "local" or all(each in ended for each in job.after + job.wants))
    )


def _kept(ended: Mapping[str, Ended], name: str) -> bool:
    return name in ended and ended[name].state == "kept"


@dataclass(frozen=True)
class Task:
    """What every job of a run is told; it goes to the workers."""

    out: Path
    engine: EngineConfig
    run: str
    until: float | None

    def __call__(self, job: StudyJob, key: str, *before: Ended) -> Ended:
        """Run a job in a worker's process, with its output in its log."""
        if self.until is not None and time.time() > self.until and not job.late:
            return tell(self.out, job, key, Ended(name=job.name, state="no time"))
        found = {each.name: each for each in before}
        attempt = Attempt(self.run, self.engine.tries, batch=partial(run_batch, self.engine))
        if job.needs.nodes:  # in the driver's process
            return run_job(self.out, job, key, found, attempt)
        from harness_bench.study.ended_early import running  # noqa: PLC0415 - imports Dask

        with running(self.out, job):
            ended = run_job(self.out, job, key, found, replace(attempt, output=_output_into))
        _free_gpu()
        return ended


def _results(
    client: Any, left: Mapping[str, StudyJob], found: Mapping[str, str],
    ended: Mapping[str, Ended], task: Task,
) -> Iterator[Ended]:  # fmt: skip
    """Give jobs to Dask as they can begin, the lowest rank first; yield what became of each.

    Dask would take all at once, yet it lines up what is ready before single workers, where a long
    job waits behind another while the next worker goes on with jobs of higher rank: in a study of
    33 jobs 14 % of two workers' time was idle, and 4 % is so.
    """
    from distributed import as_completed  # noqa: PLC0415 - a second

    from harness_bench.study.ended_early import EndedEarly  # noqa: PLC0415 - as above

    client.register_plugin(EndedEarly())
    before = {name: job.after + job.wants for name, job in left.items()}
    order = TopologicalSorter({name: left.keys() & before[name] for name in left})
    order.prepare()
    ready: dict[Pool, list[tuple[int, int, str]]] = {"cpu": [], "gpu": [], "batch": []}
    free = {pool: task.engine.slots(pool) for pool in ready}
    number = {name: place for place, name in enumerate(left)}
    running = as_completed(loop=client.loop, with_results=True, raise_errors=False)
    while order.is_active():
        for name in order.get_ready():
            job = left[name]
            heappush(ready[pool_of(job.needs)], (job.rank, number[name], name))
        for pool, waiting in ready.items():
            while waiting and free[pool]:
                free[pool] -= 1
                rank, _, name = heappop(waiting)
                running.add(client.submit(
                    task, left[name], found[name], *(ended[each] for each in before[name]),
                    # Dask takes all keys of one first part for equally long.
                    key=("job", name), priority=-rank, resources={pool: 1},
                ))  # fmt: skip
        for future, result in running.next_batch(block=True):
            name = future.key[1]
            free[pool_of(left[name].needs)] += 1
            order.done(name)
            if isinstance(result, Ended):
                yield result
            else:  # Dask itself could not run it
                yield Ended(name=name, state="failed", why=str(future.exception()))


def _free_gpu() -> None:
    """Leave a GPU's memory to the processes of the next jobs; torch would keep it for this one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def _output_into(log: Path) -> Iterator[None]:
    """Append what this process and its children print to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with log.open("ab") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, before in zip((1, 2), kept, strict=True):
            os.dup2(before, descriptor)
            os.close(before)
