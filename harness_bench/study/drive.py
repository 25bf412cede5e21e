"""Run a study from its file to its board: plan, engine, watch, and what is missing at the end."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import build
from harness_bench.core.files import check_writable
from harness_bench.core.workdir import alone
from harness_bench.study.clusters import POOLS, EngineConfig, gpu_count, pool_of
from harness_bench.study.config import ASR
from harness_bench.study.dry_run import DryRun, dry_run
from harness_bench.study.guess import with_guesses
from harness_bench.study.job import keys
from harness_bench.study.opened import refuse_another, save_study
from harness_bench.study.plan import plan
from harness_bench.study.ranking import by_critical_path
from harness_bench.study.saved import planning, session
from harness_bench.study.select import select
from harness_bench.study.task_base import RESULTS
from harness_bench.study.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from harness_bench.study.job import StudyJob
    from harness_bench.study.look import Look
    from harness_bench.study.opened import Study


def engine_of(study: Study, kind: str | None = None, jobs: int | None = None) -> EngineConfig:
    """Return `[engine]` of a study with what the command line says over it."""
    given: dict[str, Any] = dict(study.config.engine)
    given |= {"kind": kind} if kind else {}
    given |= {"workers": jobs} if jobs else {}
    return build(EngineConfig, given, source=f"[engine] of {study.called or study.config.name}")


def workers_for(engine: EngineConfig, jobs: Mapping[str, StudyJob]) -> int:
    """Return how many jobs will run at a time."""
    pools = [pool_of(job.needs) for job in jobs.values()]
    found = {pool: pools.count(pool) for pool in POOLS if pool in pools}  # GPUs: by torch's seconds
    return max(1, sum(min(engine.workers_of(p).workers or 0, n) for p, n in found.items()))


def drive(
    study: Study, *, console: Console, engine: EngineConfig, only: Sequence[str] = (),
    minutes: float | None = None,
) -> Look:  # fmt: skip
    """Run what is not finished of a study; return where it stands at the end.

    Failures are told and stop nothing else. One driver at a time: another is a ValueError.

    Args:
        study: opened.
        console: shows how it goes.
        engine: where the jobs run.
        only: patterns of `select.select`; none: all jobs.
        minutes: no job begins later than this.
    """
    from harness_bench.study.engine import run  # noqa: PLC0415 - Dask takes a second

    until = None if minutes is None else time.time() + 60 * minutes
    check_writable(study.out, "--out")
    refuse_another(study)
    with held(study.out), ExitStack() as planned:
        say_where(console, study.out)
        planned.enter_context(planning(study.out))
        jobs, _ = with_guesses(study, plan(study))
        jobs = by_critical_path(jobs)
        chosen = select(jobs, only)
        require_gpus(chosen, engine)
        (study.out / RESULTS).mkdir(exist_ok=True)  # to be served from the beginning
        with session(
            study.out, jobs | chosen, keys(jobs) | keys(chosen), title=study.config.title,
            chosen=chosen, engine=engine.kind, workers=workers_for(engine, chosen),
        ):  # fmt: skip
            planned.close()
            save_study(study)
            watch = Watch(study.out, console)
            with watch.shown():
                run(study.out, chosen, engine, until=until)
    return Watch(study.out, console).look()


def rehearse(study: Study, engine: EngineConfig, only: Sequence[str] = ()) -> DryRun:
    """Say what `drive` would do."""
    refuse_another(study)
    jobs, sources = with_guesses(study, plan(study))
    chosen = select(jobs, only)
    return dry_run(
        study.out, chosen, title=study.config.title, workers=workers_for(engine, chosen),
        sources=sorted(sources),
        lacks=lambda job: engine.lacks(job.needs) or lacks_gpus(job, engine),
    )  # fmt: skip


def require_gpus(jobs: Mapping[str, StudyJob], engine: EngineConfig) -> None:
    """Refuse ASR on GPUs that are not here: ESPnet would, after all the pretraining.

    The engine tells of jobs that have a GPU each; this is of those that share one.
    """
    for job in jobs.values():
        if why := lacks_gpus(job, engine):
            raise ValueError(f"{job.name}: {why}")


def lacks_gpus(job: StudyJob, engine: EngineConfig) -> str:
    """Say which GPUs a job of ASR that shares them would miss here; nothing where it can run."""
    if engine.kind != "local" or job.needs.gpus:
        return ""
    given = job.settings.get("recipe" if job.kind == ASR else "given") or {}
    number = int(given.get("ngpu", 0)) if isinstance(given, dict) else 0
    if not number or number <= (found := gpu_count()):
        return ""
    return (
        f"ngpu = {number}, but torch sees {found} GPUs here. Look at nvidia-smi and "
        "`harness-bench doctor`, or set ngpu = 0: ASR on the CPU."
    )


def say_where(console: Console, out: Path) -> None:
    """Say where a study is, and how to watch, stop and resume it, before anything is planned."""
    short = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    console.print(
        f"Study: {short}\nTo watch it from another shell: {_watching(short)}\n"
        "Ctrl-C stops it; the same command resumes it.",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip


def _watching(out: Path) -> str:
    return shlex.join(["harness-bench", "study", "status", str(out), "--follow"])


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the study's folder; a second driver is a ValueError. A new one that stays empty goes."""
    made = [each for each in (out, *out.parents) if not each.exists()]
    lock = out / ".driver.lock"
    refusal = (
        f"Another process runs the study in {out}: watch it with `{_watching(out)}`, or give "
        "another --out."
    )
    with alone(lock, refusal):
        try:
            yield
        finally:
            with suppress(OSError):  # not empty: the study has begun
                if made and [*out.iterdir()] == [lock]:
                    lock.unlink()
                for folder in made:
                    folder.rmdir()
