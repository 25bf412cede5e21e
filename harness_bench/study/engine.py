"""Run the jobs of a study on Dask's workers, those of this machine or of a cluster.

Dask is told of all jobs at once: which waits for which, what each occupies, which goes first. It
starts them, and starts anew what a lost worker was at. A job that finished is never run again,
whoever dies: its note on the disk says so (`study/job.py`).
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from harness_bench.study.batch import run_batch
from harness_bench.study.clusters import EngineConfig, Pool, pool_of
from harness_bench.study.job import (
    JOBS,
    LOG,
    Attempt,
    Ended,
    StudyJob,
    finished,
    keys,
    note,
    run_job,
    tell,
)
from harness_bench.study.workers import open_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dask.highlevelgraph import HighLevelGraph

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
            outcome = note(out, job, found[name]).outcome
            told(Ended(name=name, state="kept", outcome=outcome))
        elif lack := engine.lacks(job.needs):
            told(tell(out, job, found[name], Ended(name=name, state="failed", why=lack)))
    left = {name: job for name, job in jobs.items() if name not in ended}
    if left:
        with open_workers(out, engine, partial(_demand, left, ended, engine)) as client:
            task = _Task(out, engine, uuid.uuid4().hex, until)
            for one in _results(client, left, _graph(left, found, ended, task)):
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
class _Task:
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
        attempt = Attempt(self.run, self.engine.tries, partial(run_batch, self.engine))
        if job.needs.nodes:  # in the driver's process
            return run_job(self.out, job, key, found, attempt)
        from harness_bench.study.ended_early import running  # noqa: PLC0415 - imports Dask

        with _output_into(self.out / (job.folder or JOBS) / LOG), running(self.out, job):
            return run_job(self.out, job, key, found, attempt)


def _graph(
    left: Mapping[str, StudyJob], found: Mapping[str, str], ended: Mapping[str, Ended], task: _Task
) -> HighLevelGraph:
    """Tell Dask of all jobs: one layer for those of equal rank on equal workers."""
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer  # noqa: PLC0415 - a second
    from dask.task_spec import Task, TaskRef  # noqa: PLC0415 - as above

    layers: dict[tuple[int, str], dict[Any, Any]] = {}
    for name, job in left.items():
        before = [
            ended[each] if each in ended else TaskRef(_key(each)) for each in job.after + job.wants
        ]
        place = (job.rank, pool_of(job.needs))
        layers.setdefault(place, {})[_key(name)] = Task(_key(name), task, job, found[name], *before)
    return HighLevelGraph(
        {
            f"{rank} {pool}": MaterializedLayer(
                tasks, annotations={"priority": -rank, "resources": {pool: 1}}
            )
            for (rank, pool), tasks in layers.items()
        },
        {f"{rank} {pool}": set() for rank, pool in layers},
    )


def _key(name: str) -> tuple[str, str]:
    """Return a job's key; Dask takes all of one first part for equally long."""
    return ("job", name)


def _results(client: Any, left: Mapping[str, StudyJob], graph: HighLevelGraph) -> Iterator[Ended]:
    from distributed import as_completed  # noqa: PLC0415 - a second

    from harness_bench.study.ended_early import EndedEarly  # noqa: PLC0415 - as above

    client.register_plugin(EndedEarly())
    futures = client.get(graph, [_key(name) for name in left], sync=False)
    waiting = as_completed(futures, loop=client.loop, with_results=True, raise_errors=False)
    for batch in waiting.batches():
        for future, result in batch:
            if isinstance(result, Ended):
                yield result
            else:  # Dask itself could not run it
                yield Ended(name=future.key[1], state="failed", why=str(future.exception()))


@contextmanager
def _output_into(log: Path) -> Iterator[None]:
    """Append what this process and its children print to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
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
