"""Where a study's jobs run: Dask's workers on this machine, or jobs of a cluster that are workers.

`[engine]` describes the workers of jobs without a GPU, `[engine.gpu]` those of jobs with one; what
that leaves out is as in `[engine]`. Each worker is a process that runs one job at a time.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from contextlib import contextmanager
from dataclasses import KW_ONLY, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.core.log import say
from harness_bench.core.process import THREAD_VARIABLES
from harness_bench.study.job import JOBS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from distributed import Client

    from harness_bench.study.job import Needs, StudyJob

type EngineKind = Literal["local", "slurm", "pbs", "lsf", "sge", "htcondor"]
type Pool = Literal["cpu", "gpu", "batch"]
POOLS: tuple[Pool, ...] = ("cpu", "gpu")
_DASK = {
    "distributed.worker.daemon": False,  # jobs start processes of their own
    "distributed.worker.profile.enabled": False,
    # Jobs count their tries themselves (`job.Attempt`), because Dask would blame each that waited.
    "distributed.scheduler.allowed-failures": 1_000_000,
    # Jobs take minutes to days and return little: memory and bandwidth do not decide.
    "distributed.scheduler.work-stealing-interval": "200ms",
    "distributed.deploy.lost-worker-timeout": "5s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WorkersConfig:
    """Workers of one kind; what is None is chosen, for `[engine.gpu]` as in `[engine]`."""

    workers: int | None = Field(default=None, ge=0)  # at a time; None: as many as fit this machine
    cpus: int | None = Field(default=None, ge=1)  # of one worker; None: 1
    gpus: int | None = Field(default=None, ge=1)  # of one worker of `[engine.gpu]`; None: 1
    memory_gb: float | None = Field(default=None, gt=0)  # of one worker; None: no limit


@dataclass(frozen=True, config=STRICT)
class EngineConfig(WorkersConfig):
    """`[engine]` of a study."""

    _: KW_ONLY
    kind: EngineKind = "local"
    gpu: WorkersConfig = Field(default_factory=WorkersConfig)
    tries: int = Field(default=3, ge=1)  # of a job whose worker dies while it runs
    dashboard: int | None = Field(
        default=None, ge=0, le=65535
    )  # port of Dask's; 0: any; None: none

    def workers_of(self, pool: Pool) -> WorkersConfig:
        """Return the settings of a pool with nothing left open."""
        cpus, memory = self.cpus or 1, self.memory_gb
        if pool == "gpu":
            count = (
                _gpus() // (self.gpu.gpus or 1) if self.gpu.workers is None else self.gpu.workers
            )
            return replace(
                self.gpu, workers=count, cpus=self.gpu.cpus or cpus, gpus=self.gpu.gpus or 1,
                memory_gb=self.gpu.memory_gb or memory,
            )  # fmt: skip
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        count = max(1, (cores or 1) // cpus) if self.workers is None else self.workers
        return WorkersConfig(workers=count, cpus=cpus, memory_gb=memory)

    def lacks(self, needs: Needs) -> str:
        """Say why no worker can ever run a job, with the way out; nothing where one can."""
        pool = pool_of(needs)
        if pool == "batch":
            return f"it needs {needs.nodes} machines of its own, which kind = {self.kind!r} lacks"
        table = "[engine.gpu]" if pool == "gpu" else "[engine]"
        there = self.workers_of(pool)
        if not there.workers:
            return (
                f"it needs {needs.gpus or 'no'} GPU, and {table} has no worker for it "
                f"(workers = {there.workers}). Give it one, or run the study where there is one."
            )
        if needs.gpus > (there.gpus or 0):
            return f"it needs {needs.gpus} GPUs, and {table} gpus = {there.gpus} of one worker."
        if needs.memory_gb > (there.memory_gb or needs.memory_gb):
            return (
                f"it needs {needs.memory_gb:g} GB of memory, and {table} memory_gb = "
                f"{there.memory_gb:g} of one worker. Raise it, and lower workers."
            )
        return ""


def pool_of(needs: Needs) -> Pool:
    """Say which workers run a job."""
    if needs.nodes:
        return "batch"
    return "gpu" if needs.gpus else "cpu"


@cache
def _gpus() -> int:
    """Count the GPUs that this process may use."""
    import torch  # noqa: PLC0415 - seconds

    return torch.cuda.device_count()


@contextmanager
def open_workers(out: Path, engine: EngineConfig, jobs: Collection[StudyJob]) -> Iterator[Client]:
    """Start the workers that `jobs` have use for; yield Dask's client; stop all at the end."""
    import dask  # noqa: PLC0415 - a second, with distributed
    from distributed import Client, Scheduler, SpecCluster  # noqa: PLC0415 - as above

    with dask.config.set(_DASK), _variables(_threads(engine.cpus or 1)):
        spec: dict[str, dict[str, Any]] = {}
        for pool in POOLS:
            count = sum(pool_of(job.needs) == pool for job in jobs)
            spec |= _local(out, engine, pool, count)
        options: dict[str, Any] = {"host": "127.0.0.1", "dashboard": False}
        if engine.dashboard is not None:
            options |= {"dashboard": True, "dashboard_address": f":{engine.dashboard}"}
        with (
            SpecCluster(
                workers=spec, scheduler={"cls": Scheduler, "options": options},
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):  # fmt: skip
            if engine.dashboard is not None:
                _say_dashboard(client)
            yield client


def _local(out: Path, engine: EngineConfig, pool: Pool, count: int) -> dict[str, dict[str, Any]]:
    """Describe the workers of a pool on this machine; a worker has GPUs of its own."""
    from distributed import Nanny  # noqa: PLC0415 - see `open_workers`

    there, found = engine.workers_of(pool), {}
    visible = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    for number in range(min(there.workers or 0, count)):
        variables = _threads(there.cpus or 1)
        if pool == "gpu":
            size = there.gpus or 1
            mine = range(number * size, (number + 1) * size)
            names = [visible[each] if visible else str(each) for each in mine]
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(names)
        found[f"{pool}-{number}"] = {"cls": Nanny, "options": {
            "nthreads": 1, "resources": {pool: 1}, "env": variables, "dashboard": False,
            "memory_limit": int((there.memory_gb or 0) * 1e9), "local_directory": str(out / JOBS),
            "host": "127.0.0.1", "silence_logs": logging.CRITICAL,
        }}  # fmt: skip
    return found


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
        os.environ.clear()
        os.environ |= before


def _say_dashboard(client: Client) -> None:
    if importlib.util.find_spec("bokeh") is None:
        say("No dashboard: Dask draws it with bokeh, which is absent (pip install bokeh).")
    else:
        say(f"Dask's dashboard: {client.dashboard_link}")
