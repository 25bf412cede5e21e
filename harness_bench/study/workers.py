"""Start Dask's workers for a study, and keep as many as there is work for."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness_bench.core.extras import MissingLibraryError, require
from harness_bench.core.log import say
from harness_bench.core.process import THREAD_VARIABLES
from harness_bench.study.alive import repeated
from harness_bench.study.clusters import (
    BATCH_JOBS,
    DASK,
    POOLS,
    EngineConfig,
    Pool,
    job_options,
)
from harness_bench.study.job import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from distributed import Client


type Demand = Callable[[], Mapping[Pool, int]]
"""How many jobs of each pool have use for a worker."""
LOST = "distributed.deploy.lost-worker-timeout"
LOGS = "workers"  # folder of JOBS with the logs of a cluster's workers
_PERIOD = 5.0  # seconds between two looks at the workers
_AGAIN = 60.0  # seconds until a worker that was refused is sent again
_PATIENCE = 180.0  # seconds until a user is told that no worker has come


@contextmanager
def open_workers(out: Path, engine: EngineConfig, demand: Demand) -> Iterator[Client]:
    """Start the workers that jobs have use for; yield Dask's client; stop all at the end.

    Raises:
        RuntimeError: a cluster's scheduler takes no job; with what it said.
    """
    import dask  # noqa: PLC0415 - a second, with distributed
    from distributed import Client, Scheduler, SpecCluster  # noqa: PLC0415 - as above

    settings = {f"distributed.{name}": value for name, value in DASK.items()}
    # Until a worker that is gone counts as lost; one whose process alone died is back by then.
    settings[LOST] = "20s" if engine.kind == "local" else "10s"
    with dask.config.set(settings), _variables(_threads(engine.cpus or 1)):
        options: dict[str, Any] = {"host": "127.0.0.1"} if engine.kind == "local" else {}
        options |= {"interface": engine.interface} if engine.interface else {}
        options["dashboard"] = engine.dashboard is not None
        options["dashboard_address"] = f"{options.get('host', '')}:{engine.dashboard or 0}"
        staff = _Staff(out, engine, demand)
        with (
            SpecCluster(
                workers=staff.spec, scheduler={"cls": Scheduler, "options": options},
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
            staff.looked_after(cluster),
        ):  # fmt: skip
            if staff.refused:
                raise RuntimeError(
                    f"{engine.kind} accepts no worker as [engine] describes it: {staff.refused[-1]}"
                )
            if engine.dashboard is not None:
                _say_dashboard(client)
            yield client


class _Staff:
    """The workers of a run: started anew where one is lost, given back where none is needed."""

    def __init__(self, out: Path, engine: EngineConfig, demand: Demand) -> None:
        self.out, self.engine, self.demand = out, engine, demand
        self._idle: dict[str, float] = {}  # worker -> since when
        self._began = self._tried = time.monotonic()
        self._complained = False
        self.refused: list[str] = []  # what a cluster's scheduler said of workers
        self.spec: dict[str, dict[str, Any]] = {}
        self._adjust(set())

    @contextmanager
    def looked_after(self, cluster: Any) -> Iterator[None]:
        """Look at the workers every few seconds while the block runs."""

        async def busy() -> set[str]:
            return {each.name for each in cluster.scheduler.workers.values() if each.processing}

        def look() -> None:
            self._adjust(cluster.sync(busy))
            self._try_again(cluster)
            cluster.worker_spec = dict(self.spec)
            cluster.scale(len(self.spec))  # starts what is lacking, stops what is too much
            self._complain(len(cluster.scheduler_info["workers"]))

        with repeated(look, _PERIOD):
            yield

    def _adjust(self, busy: set[str]) -> None:
        """Add workers for jobs that could run; drop those that had none for long."""
        now, wanted = time.monotonic(), self.demand()
        if wanted.get("batch"):
            self.spec.setdefault("batch", _waiter())
        for pool in POOLS:
            there = self.engine.workers_of(pool) if wanted.get(pool) else None
            mine = [name for name in self.spec if name.startswith(f"{pool}-")]
            self._idle = {name: self._idle.get(name, now) for name in self.spec if name not in busy}
            target = min(wanted.get(pool, 0), (there.workers or 0) if there else 0)
            if self.engine.kind != "local":
                patience = 60 * self.engine.idle_minutes
                late = [name for name in mine if now - self._idle.get(name, now) > patience]
                for name in late[: max(0, len(mine) - target)]:
                    del self.spec[name]
            free = (f"{pool}-{number}" for number in range(target + len(mine) + 1))
            names = [name for name in free if name not in self.spec]
            for name in names[: max(0, target - len(mine))]:
                self.spec[name] = self._worker(pool, name)

    def _worker(self, pool: Pool, name: str) -> dict[str, Any]:
        if self.engine.kind == "local":
            return _local(self.engine, pool, int(name.rpartition("-")[2]))
        from harness_bench.study.sent import worker_class  # noqa: PLC0415 - imports Dask

        options = job_options(self.engine, pool, self.out / JOBS / LOGS)
        return {"cls": worker_class(self.engine.kind, self.refused), "options": options}

    def _try_again(self, cluster: Any) -> None:
        """Forget workers that the cluster's scheduler has refused, so that they are sent anew."""
        if self.refused and time.monotonic() - self._tried > _AGAIN:
            self._tried = time.monotonic()
            say(f"{self.engine.kind} accepts no worker; retrying every minute: {self.refused[-1]}")
            self.refused.clear()
            for name, worker in list(cluster.workers.items()):
                if getattr(worker, "job_id", "") is None:
                    del cluster.workers[name]

    def _complain(self, workers: int) -> None:
        if workers or not self.spec:
            self._complained = bool(workers)
        elif not self._complained and time.monotonic() - self._began > _PATIENCE:
            self._complained = True
            say(
                f"No worker has come from {self.engine.kind} so far. Its queue says which wait; "
                f"those that could not start say why in {self.out / JOBS / LOGS}. A worker must "
                "see this folder and this environment, and reach this machine (interface)."
            )


def _waiter() -> dict[str, Any]:
    """Describe a worker in this process, for jobs that wait for jobs of the cluster."""
    from distributed import Worker  # noqa: PLC0415 - see `open_workers`

    return {"cls": Worker, "options": {
        "nthreads": BATCH_JOBS, "resources": {"batch": BATCH_JOBS}, "dashboard": False,
        "memory_limit": 0,
    }}  # fmt: skip


def _local(engine: EngineConfig, pool: Pool, number: int) -> dict[str, Any]:
    """Describe a worker on this machine; it has GPUs of its own."""
    from distributed import Nanny  # noqa: PLC0415 - see `open_workers`

    there = engine.workers_of(pool)
    variables = _threads(there.cpus or 1)
    if pool == "gpu":
        visible = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
        size = there.gpus or 1
        mine = range(number * size, (number + 1) * size)
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(
            visible[each] if visible else str(each) for each in mine
        )
    return {"cls": Nanny, "options": {
        "nthreads": 1, "resources": {pool: 1}, "env": variables, "dashboard": False,
        "memory_limit": int((there.memory_gb or 0) * 1e9), "host": "127.0.0.1",
        "silence_logs": logging.CRITICAL,
    }}  # fmt: skip


def _threads(cpus: int) -> dict[str, str]:
    return dict.fromkeys(THREAD_VARIABLES, str(cpus))


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set what workers inherit as they start; Dask would leave it set for good."""
    before = dict(os.environ)
    os.environ |= {**values, "DASK_LOGGING__DISTRIBUTED": "critical"}
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ |= before


def _say_dashboard(client: Client) -> None:
    try:
        require("bokeh")
    except MissingLibraryError as missing:
        say(f"No dashboard: {missing}")
    else:
        say(f"Dask's dashboard: {client.dashboard_link}")
