"""One job of a study: what it does, what it waits for, what it needs, and whether it is done.

Jobs are plain data, so that a worker on another machine can run them, and a file on the shared disk
says what became of each. What a job does stands in `study/kinds/<kind>.py`.
"""

from __future__ import annotations

import re
import socket
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.core.files import digest_strings, read_json
from harness_bench.core.registry import attribute, modules_in
from harness_bench.core.workdir import WorkDir, inputs_key
from harness_bench.study.alive import Alive, write_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

KINDS = "harness_bench.study.kinds"
JOBS = "jobs"  # folder of a study with the notes and states of its jobs
LOG = "log.txt"
FILES = "results"  # of an outcome: names of files in the job's folder, without which it is undone
_HERE = "{study}"  # in the outcome of a note: the study's folder

State = Literal["running", "done", "kept", "failed", "left out", "no time"]
"""What became of a job. kept: an equal one had finished before; left out: one it needs has not."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a job occupies while it runs, and an estimate of how long that will be."""

    cpus: int = 1
    gpus: int = 0
    memory_gb: float = 2.0
    hours: float | None = None  # None: no estimate
    disk_gb: float = 0.0  # what it leaves behind
    nodes: int = 0  # 1 or more: no worker's task, but a batch job of its own on so many machines


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """One step of a study. Everything in it is JSON-ready."""

    name: str  # unique in the study, such as "probe ser harness_st"
    kind: str  # module of study/kinds, or the dotted name of one elsewhere
    settings: Mapping[str, Any] = field(default_factory=dict)  # all that decides what it makes
    folder: str = ""  # below the study's, where it works and logs; empty: it has none of its own
    after: tuple[str, ...] = ()  # jobs that it cannot do without
    wants: tuple[str, ...] = ()  # jobs that it waits for, and does without where they failed
    inputs: Mapping[str, Any] = field(default_factory=dict)  # digests of what is no job's work
    # Where such files lie now. No part of the key: a repository may be moved.
    paths: Mapping[str, str] = field(default_factory=dict)
    needs: Needs = field(default_factory=Needs)
    rank: int = 0  # of jobs that could start, the one with the lowest rank does
    always: bool = False  # never taken for done: it looks at what is on disk, and is fast
    late: bool = False  # begins though the time is over: it is short, and shows what is finished
    log_apart: bool = False  # its folder is another job's too, or takes no files but its own

    @property
    def slug(self) -> str:
        """Its name as a file name; names that differ have slugs that differ."""
        return slug_of(self.name)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a job, as a worker returns it and the jobs behind it receive it."""

    name: str
    state: State
    outcome: Any = None  # JSON-ready: what jobs behind it may want to know
    why: str = ""  # of one that failed or was left out
    host: str = ""
    begun: float = 0.0  # seconds since the epoch
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether what it makes is there."""
        return self.state in ("done", "kept")


@dataclass(frozen=True)
class Place:
    """What a kind's `run` gets to know beside its settings."""

    out: Path  # the study's folder
    job: StudyJob
    found: Mapping[str, Any]  # job that it waited for -> outcome; those that failed are absent
    alive: Alive | None = None

    @property
    def folder(self) -> Path:
        """Where the job works."""
        return self.out / self.job.folder

    @property
    def log(self) -> Path:
        """Where the job's processes log; its last line is shown while it runs."""
        return log_of(self.out, self.job)

    def progress(self, done: float, of: float, unit: str = "") -> None:
        """Tell how far the job is, as often as one likes; shown where it logs no bar of its own."""
        if self.alive is not None:
            self.alive.progress(done, of, unit)


def slug_of(name: str) -> str:
    """Return a name as the name of a file; names that differ have slugs that differ."""
    plain = re.sub(r"[^\w.-]+", "_", name)[:100]
    return plain if plain == name else f"{plain}-{digest_strings([name])[:8]}"


def kinds() -> list[str]:
    """List the kinds of jobs there are."""
    return modules_in(KINDS)


def part(kind: str, name: str) -> Any:
    """Return a function of a kind: `run`, or where a cluster runs it, `command` and `outcome`."""
    return attribute(kind if "." in kind else f"{KINDS}.{kind}", name)


def keys(jobs: Mapping[str, StudyJob]) -> dict[str, str]:
    """Return the digest of all that decides what each job makes, the jobs before it included.

    `jobs` stand in an order in which each follows those that it waits for.
    """
    found: dict[str, str] = {}
    for name, job in jobs.items():
        before = {each: found[each] for each in (*job.after, *job.wants)}
        found[name] = inputs_key(_inputs(job) | {"before": before})
    return found


def _inputs(job: StudyJob) -> dict[str, Any]:
    return {"kind": job.kind, "settings": dict(job.settings), "inputs": dict(job.inputs)}


def note(out: Path, job: StudyJob, key: str) -> WorkDir:
    """Return the note of a job: whether one with an equal key has finished."""
    return WorkDir(out / JOBS, _inputs(job), key=key, note=f"{job.slug}.json")


def finished(out: Path, job: StudyJob, key: str) -> bool:
    """Whether an equal job has finished, and what it made is still there."""
    found = None if job.always else note(out, job, key).found
    if found is None or found.key != key or not found.finished:
        return False
    outcome = found.outcome if isinstance(found.outcome, dict) else {}
    made = [out / job.folder, *(out / job.folder / name for name in outcome.get(FILES, ()))]
    made += [out / _opened(out, outcome["checkpoint"])] if "checkpoint" in outcome else []
    return all(path.exists() for path in made)


def outcome_of(out: Path, job: StudyJob, key: str) -> Any:
    """Return what a job with an equal key noted, its paths those of where the study lies now."""
    return _opened(out, note(out, job, key).outcome)


def _movable(out: Path, outcome: Any) -> Any:
    """Return an outcome whose paths below the study's folder outlast a move of that."""
    return _renamed(outcome, f"{out}/", f"{_HERE}/")


def _opened(out: Path, outcome: Any) -> Any:
    return _renamed(outcome, f"{_HERE}/", f"{out}/")


def _renamed(value: Any, old: str, new: str) -> Any:
    """Replace the beginning of all strings in a JSON-ready value."""
    if isinstance(value, str):
        return new + value.removeprefix(old) if value.startswith(old) else value
    if isinstance(value, dict):
        return {name: _renamed(each, old, new) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(each, old, new) for each in value]
    return value


def state_file(out: Path, job: StudyJob) -> Path:
    """Return the file that says where a job is, for whoever looks from another process."""
    return out / JOBS / f"{job.slug}.state.json"


def log_of(out: Path, job: StudyJob) -> Path:
    """Return the log of a job: in its folder, unless it shares that, as late ones do."""
    own = job.folder and not job.late and not job.log_apart
    return out / job.folder / LOG if own else out / JOBS / f"{job.slug}.txt"


def cut_file(out: Path, job: StudyJob) -> Path:
    """Return the file that says that a worker ended in time, and the job was not why."""
    return out / JOBS / "locks" / f"{job.slug}.cut"


@dataclass(frozen=True)
class Attempt:
    """A run of a study, in which a job may begin so many times before it is given up."""

    run: str = ""  # its id; empty: neither noted nor counted
    tries: int = 3
    batch: Callable[[Place, str], Any] | None = None  # runs jobs that need machines of their own
    output: Callable[[Path], AbstractContextManager[Any]] = nullcontext  # fills a job's log


ONCE = Attempt()


def run_job(
    out: Path, job: StudyJob, key: str, before: Mapping[str, Ended], attempt: Attempt = ONCE
) -> Ended:
    """Run one job where it is not finished, in this process; every failure is told, not raised.

    `before` holds what became of the jobs that it waited for. Where another process runs it, this
    one waits until that has ended. A job whose worker dies each time is told as failed at last.
    """
    from filelock import FileLock  # noqa: PLC0415 - a tenth of a second

    for name in job.after:
        if not before[name].good:
            return tell(out, job, key, Ended(
                name=job.name, state="left out", why=f"it needs {name!r}: {before[name].state}",
            ))  # fmt: skip
    (out / JOBS / "locks").mkdir(parents=True, exist_ok=True)
    with FileLock(out / JOBS / "locks" / job.slug):
        return _run_alone(out, job, key, before, attempt)


def _run_alone(
    out: Path, job: StudyJob, key: str, before: Mapping[str, Ended], attempt: Attempt
) -> Ended:
    planned = key
    if without := [name for name in job.wants if not before[name].good]:
        key = inputs_key({"key": key, "without": without})  # to be done anew once they are there
    work, last = note(out, job, key), last_state(out, job)
    tries = int(last.get("tries", 0)) if last.get("run", "") == attempt.run != "" else 0
    if cut_file(out, job).exists():
        cut_file(out, job).unlink()
        tries = max(0, tries - 1)
    if last.get("run", "") == attempt.run != "" and last["state"] in ("done", "failed"):
        # The worker that could tell is gone.
        told = {each.name: last[each.name] for each in fields(Ended) if each.name in last}
        return Ended(**told, outcome=outcome_of(out, job, key))
    if finished(out, job, key):
        return Ended(name=job.name, state="kept", outcome=outcome_of(out, job, key))
    attempted = {"run": attempt.run, "tries": tries + 1}
    ended = Ended(name=job.name, state="done", host=socket.gethostname(), begun=time.time())
    if tries >= attempt.tries:
        ended = replace(ended, state="failed", why=_worker_died(out, job, last))
        return tell(out, job, planned, ended, attempted)
    found = {name: each.outcome for name, each in before.items() if each.good}
    if job.folder:
        (out / job.folder).mkdir(parents=True, exist_ok=True)
    running = {"name": job.name, "state": "running", "begun": ended.begun, "key": planned}
    try:
        work.begin(keep_outcome=True)  # what other inputs made is finished no longer
        with (
            Alive(state_file(out, job), running | attempted) as alive,
            attempt.output(log_of(out, job)),
        ):
            place = Place(out, job, found, alive)
            if job.needs.nodes and attempt.batch:
                outcome = attempt.batch(place, key)
            else:
                outcome = part(job.kind, "run")(place)
        ended = replace(ended, outcome=outcome)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, other jobs go on
        ended = replace(ended, state="failed", why=_reason(out, job, error))
    else:
        work.finish(_movable(out, ended.outcome))
    ended = replace(ended, seconds=time.time() - ended.begun)
    return tell(out, job, planned, ended, attempted)


def _worker_died(out: Path, job: StudyJob, last: Mapping[str, Any]) -> str:
    """Say why a job is given up whose worker did not live to say it."""
    return (
        f"its worker died {last['tries']} times while it ran, at last on {last['host']}: mostly "
        "for want of memory, of which `dmesg` on that machine tells. It is said to need "
        f"{job.needs.memory_gb:g} GB: give the workers more by memory_gb of [engine], or have "
        f"fewer of them by workers, and run the study again. Its log: {log_of(out, job)}."
    )


def _reason(out: Path, job: StudyJob, error: BaseException) -> str:
    """Return what a user reads of a failure; a traceback goes into the log."""
    if not isinstance(error, ValueError | RuntimeError | OSError):
        log = log_of(out, job)
        with log.open("a", encoding="utf-8") as stream:
            stream.write("".join(traceback.format_exception(error)))
        return f"{type(error).__name__}: {error} (traceback in {log})"
    return str(error)


def tell(
    out: Path, job: StudyJob, key: str, ended: Ended, more: Mapping[str, Any] | None = None
) -> Ended:
    """Write what became of a job into its state file; `key` is its own of `keys`."""
    kept = {name: value for name, value in vars(ended).items() if name != "outcome"}
    write_state(state_file(out, job), kept | {"key": key} | dict(more or {}))
    return ended


def last_state(out: Path, job: StudyJob) -> dict[str, Any]:
    """Return what a job's state file says, nothing where the job has never begun."""
    path = state_file(out, job)
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return found
