"""Where a study's jobs run: Dask's workers on this machine, or jobs of a cluster that are workers.

`[engine]` describes the workers of jobs without a GPU, `[engine.gpu]` those of jobs with one,
`[engine.batch]` the jobs of a cluster that trainings on several machines are. What the last two
leave out is as in `[engine]`. Each worker is a process that runs one job at a time.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import KW_ONLY, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.core.extras import is_installed
from harness_bench.core.process import THREAD_VARIABLES

if TYPE_CHECKING:
    from harness_bench.study.job import Needs

type EngineKind = Literal["local", "slurm", "pbs", "lsf", "sge", "htcondor"]
type Pool = Literal["cpu", "gpu", "batch"]
POOLS: tuple[Pool, ...] = ("cpu", "gpu")
# Jobs start processes of their own; they take minutes to days and return little.
DASK: dict[str, Any] = {
    "worker.daemon": False,
    "worker.profile.enabled": False,
    "worker.memory.target": False,
    "worker.memory.spill": False,
    "worker.memory.pause": False,
    # Jobs count their tries themselves (`job.Attempt`): Dask would blame each that waited, too.
    "scheduler.allowed-failures": 1_000_000,
    "scheduler.work-stealing-interval": "200ms",
}
BATCH_JOBS = 64  # on several machines, at a time
_TIME = r"^\d+:[0-5]\d:[0-5]\d$"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WorkersConfig:
    """Workers of one kind; what is None is chosen, for `[engine.gpu]` as in `[engine]`."""

    workers: int | None = Field(default=None, ge=0)  # at a time; None: as many as fit this machine
    cpus: int | None = Field(default=None, ge=1)  # of one worker; None: 1
    gpus: int | None = Field(default=None, ge=1)  # of one worker of `[engine.gpu]`; None: 1
    memory_gb: float | None = Field(default=None, gt=0)  # of one worker; None: no limit
    # Of clusters alone:
    walltime: str | None = Field(default=None, pattern=_TIME)  # hours:minutes:seconds of one worker
    queue: str | None = Field(default=None, min_length=1)  # SLURM's partition
    account: str | None = Field(default=None, min_length=1)  # LSF's and SGE's project
    directives: tuple[str, ...] | None = None  # further lines of the job script, such as "--qos=x"

    @property
    def seconds(self) -> int:
        """The walltime, 0 where there is none."""
        hours, minutes, seconds = map(int, (self.walltime or "0:0:0").split(":"))
        return 3600 * hours + 60 * minutes + seconds


@dataclass(frozen=True, config=STRICT)
class EngineConfig(WorkersConfig):
    """`[engine]` of a study."""

    _: KW_ONLY
    kind: EngineKind = "local"
    gpu: WorkersConfig = Field(default_factory=WorkersConfig)
    batch: WorkersConfig = Field(default_factory=WorkersConfig)
    tries: int = Field(default=3, ge=1)  # of a job whose worker dies while it runs
    dashboard: int | None = Field(
        default=None, ge=0, le=65535
    )  # port of Dask's; 0: any; None: none
    # Of clusters alone:
    interface: str | None = Field(default=None, min_length=1)  # network of all nodes, such as "ib0"
    prologue: tuple[str, ...] = ()  # shell lines before a worker starts, such as "module load cuda"
    idle_minutes: float = Field(default=10, ge=0)  # without a job, then a worker is given back

    def __post_init__(self) -> None:
        """Refuse clusters whose schedulers would not know what to give."""
        if self.kind == "local":
            return
        missing = [
            name for name in ("workers", "memory_gb", "walltime") if getattr(self, name) is None
        ]
        if missing:
            raise ValueError(
                f"kind = {self.kind!r} needs {', '.join(missing)}: how many workers there may be "
                "at a time, and what the scheduler is asked for each, such as workers = 8, "
                'memory_gb = 16, walltime = "12:00:00"'
            )
        if self.kind == "htcondor" and (self.queue or self.gpu.queue):
            raise ValueError('HTCondor has no queues; use directives = ["requirements = ..."]')

    def workers_of(self, pool: Pool) -> WorkersConfig:
        """Return the settings of a pool with nothing left open that this engine needs."""
        if pool == "cpu":
            base = {each: getattr(self, each) for each in _FIELDS}
            base |= {"cpus": self.cpus or 1, "gpus": None, "directives": self.directives or ()}
            return WorkersConfig(**base | {"workers": self._cpu_workers()})
        base = vars(replace(self.workers_of("cpu"), workers=0))
        own = self.gpu if pool == "gpu" else self.batch
        named = {each: getattr(own, each) for each in _FIELDS if getattr(own, each) is not None}
        found = WorkersConfig(**{each: base[each] for each in _FIELDS} | {"gpus": 1} | named)
        if pool == "gpu" and own.workers is None and self.kind == "local":
            return replace(found, workers=gpu_count() // (found.gpus or 1))
        return found

    def _cpu_workers(self) -> int:
        if self.workers is not None:
            return self.workers
        known = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
        return max(1, cores // (self.cpus or 1))

    def slots(self, pool: Pool) -> int:
        """Return how many jobs of a pool run at a time."""
        return BATCH_JOBS if pool == "batch" else self.workers_of(pool).workers or 0

    def lacks(self, needs: Needs) -> str:
        """Say why no worker can ever run a job, with the way out; nothing where one can."""
        pool = pool_of(needs)
        if pool == "batch":
            return self._lacks_batch(needs)
        table = "[engine.gpu]" if pool == "gpu" else "[engine]"
        there = self.workers_of(pool)
        if not there.workers:
            return (
                f"it needs {f'{needs.gpus} GPU' if needs.gpus else 'a worker'}, and {table} has no "
                "worker for it. Give it workers, or run the study where there is one."
            )
        if needs.gpus > (there.gpus or 0):
            return f"it needs {needs.gpus} GPUs, and {table} gives a worker {there.gpus} (gpus)."
        if needs.memory_gb > (there.memory_gb or needs.memory_gb):
            return (
                f"it needs {needs.memory_gb:g} GB of memory, and {table} gives a worker "
                f"{there.memory_gb:g} (memory_gb). Raise it, and have fewer workers if need be."
            )
        return ""

    def _lacks_batch(self, needs: Needs) -> str:
        """Jobs of several machines are told to SLURM alone."""
        if self.kind == "slurm":
            return ""
        return (
            f"it needs {needs.nodes} machines of its own, which a study asks of SLURM alone, not "
            f"of kind = {self.kind!r} of [engine]. Give it nodes = 0, and one worker trains it; "
            "where that takes too long, train it before in its folder by a script of your own "
            "that calls torchrun (docs/pretraining.md): the worker finds it finished."
        )


_FIELDS = tuple(WorkersConfig.__annotations__)


def pool_of(needs: Needs) -> Pool:
    """Say which workers run a job."""
    if needs.nodes:
        return "batch"
    return "gpu" if needs.gpus else "cpu"


@cache
def gpu_count() -> int:
    """Count the GPUs that this process may use; without torch none."""
    if not is_installed("torch"):
        return 0
    import torch  # noqa: PLC0415 - seconds

    return torch.cuda.device_count()


def job_class(kind: EngineKind) -> Any:
    """Return dask-jobqueue's class of a scheduler's jobs."""
    import dask_jobqueue  # noqa: PLC0415 - a second, with distributed

    return {
        "slurm": dask_jobqueue.slurm.SLURMJob, "pbs": dask_jobqueue.pbs.PBSJob,
        "lsf": dask_jobqueue.lsf.LSFJob, "sge": dask_jobqueue.sge.SGEJob,
        "htcondor": dask_jobqueue.htcondor.HTCondorJob,
    }[kind]  # fmt: skip


def job_options(engine: EngineConfig, pool: Pool, logs: Path) -> dict[str, Any]:
    """Return what dask-jobqueue's job is told of one worker of a pool.

    A job of the cluster is one worker of one thread, and what it asks for is there for the job
    that it runs. It ends some minutes before its walltime, so that its job goes on elsewhere.
    """
    if " " in str(logs):
        raise ValueError(
            f"{logs}: scripts of {engine.kind} cannot name a folder with a space in it. Give --out "
            "a path without."
        )
    there = engine.workers_of(pool)
    margin = min(300, there.seconds // 10)  # and each a little earlier or later than the others
    options: dict[str, Any] = {
        "cores": there.cpus, "memory": f"{there.memory_gb}GB", "processes": 1, "job_name": "study",
        "log_directory": str(logs), "death_timeout": 120, "interface": engine.interface,
        "job_script_prologue": [*engine.prologue, *_prologue(engine.kind, there.cpus or 1)],
        "worker_extra_args": [
            "--nthreads", "1", "--resources", f"{pool}=1", "--no-dashboard",
            "--lifetime", f"{there.seconds - 2 * margin}s", "--lifetime-stagger", f"{margin}s",
        ],
    }  # fmt: skip
    return options | _asked(engine.kind, there, there.gpus or 0 if pool == "gpu" else 0)


def _prologue(kind: EngineKind, cpus: int) -> list[str]:
    """Return shell lines before a worker starts."""
    variables = dict.fromkeys(THREAD_VARIABLES, str(cpus))
    for name, value in DASK.items():
        words = name.upper().replace("-", "_").replace(".", "__")
        variables[f"DASK_DISTRIBUTED__{words}"] = str(value)
    variables["DASK_LOGGING__DISTRIBUTED"] = "warning"
    # Else a training would take itself for one rank of a task of srun.
    lines = ['unset "${!SLURM_@}"'] if kind == "slurm" else []
    lines.append(f"cd {shlex.quote(str(Path.cwd()))}")
    return lines + [f"export {name}={value}" for name, value in variables.items()]


def _asked(kind: EngineKind, there: WorkersConfig, gpus: int) -> dict[str, Any]:
    """Say in a scheduler's own words what one worker asks for beside cores and memory."""
    cpus, memory, directives = there.cpus or 1, there.memory_gb or 0, list(there.directives or ())
    if kind == "htcondor":  # knows no walltime; the worker ends by itself
        pairs = dict(part.split("=", maxsplit=1) for part in directives)
        pairs |= {"accounting_group": there.account} if there.account else {}
        pairs |= {"request_gpus": str(gpus)} if gpus else {}
        more = {name.strip(): value for name, value in pairs.items()}
        return {"disk": "4GB", "job_extra_directives": more}
    asked: dict[str, Any] = {"queue": there.queue, "walltime": there.walltime}
    if kind == "slurm":
        asked |= {"account": there.account}
        # One whose node is lost before the driver has heard of it, comes again by itself.
        directives += ["--requeue"]
        directives += [f"--gres=gpu:{gpus}"] if gpus else []
    elif kind == "pbs":
        spec = f"select=1:ncpus={cpus}:mem={memory:g}gb" + (f":ngpus={gpus}" if gpus else "")
        asked |= {"account": there.account, "resource_spec": spec}
    elif kind == "lsf":
        hours, minutes, _ = (there.walltime or "").split(":")
        asked |= {"project": there.account, "walltime": f"{hours}:{minutes}"}
        directives += [f'-gpu "num={gpus}"'] if gpus else []
    else:
        asked |= {"project": there.account, "resource_spec": f"mem_free={memory:g}G"}
        directives += [f"-pe smp {cpus}"] if cpus > 1 else []
        directives += [f"-l gpu={gpus}"] if gpus else []
    return asked | {"job_extra_directives": directives}
