"""OUT/study.json: the jobs of a study, and one session for each time that a driver ran it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_json, write_text
from harness_bench.study.alive import Alive, is_alive, kept_alive
from harness_bench.study.job import Needs, StudyJob

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

STUDY = "study.json"
PLANNING = ".planning.json"  # while a driver plans a study
_OF_WORKERS = ("settings", "inputs", "paths")  # of jobs; whoever looks at a study has no need


@dataclass(frozen=True, kw_only=True)
class Session:
    """One time that a driver ran a study."""

    begun: float  # seconds since the epoch
    host: str
    pid: int
    command: str
    engine: str = "local"
    workers: int = 0  # at a time; 0: nobody knows
    ended: float | None = None  # None: it runs, or was killed


@dataclass(frozen=True, kw_only=True)
class SavedStudy:
    """A study as study.json has it."""

    title: str
    jobs: Mapping[str, StudyJob]  # by name, without settings and inputs
    keys: Mapping[str, str]  # of the jobs
    chosen: frozenset[str]  # those of the last session: all, or those of --only
    sessions: tuple[Session, ...] = ()
    driven: bool = False  # whether the last session's driver lives


@contextmanager
def planning(out: Path) -> Iterator[None]:
    """Note in a study's folder that a driver plans it."""
    try:
        with Alive(out / PLANNING, {}):
            yield
    finally:
        (out / PLANNING).unlink(missing_ok=True)


def is_planned(out: Path) -> bool:
    """Tell whether a driver plans the study of a folder, which has no study.json before."""
    path = out / PLANNING
    try:
        return is_alive(path, read_json(path))
    except (OSError, ValueError):  # there is none, or it is being replaced
        return False


@contextmanager
def session(
    out: Path, jobs: Mapping[str, StudyJob], keys: Mapping[str, str], *, title: str,
    chosen: Collection[str] | None = None, engine: str = "local", workers: int = 0,
) -> Iterator[Session]:  # fmt: skip
    """Write study.json, with one more session, which ends with the block.

    Args:
        out: the study's folder.
        jobs: all of the study.
        keys: of all jobs.
        title: of the study.
        chosen: the jobs that this session is for; None: all.
        engine: where they run.
        workers: so many run at a time.
    """
    path, now = out / STUDY, time.time()
    before: tuple[Session, ...] = ()
    if path.is_file():  # whoever ran it does so no longer, though it was alive a moment ago
        last = path.stat().st_mtime
        before = tuple(
            replace(each, ended=last if each.ended is None else each.ended)
            for each in saved_study(out).sessions
        )
    this = Session(
        begun=now, host=socket.gethostname(), pid=os.getpid(), engine=engine, workers=workers,
        command=shlex.join(["harness-bench", *sys.argv[1:]]),
    )  # fmt: skip
    mine = jobs.keys() if chosen is None else chosen
    rows = [_row(job, keys[name], chosen=name in mine) for name, job in jobs.items()]
    _save(path, title, (*before, this), rows)
    try:
        with kept_alive(path):
            yield this
    finally:
        _save(path, title, (*before, replace(this, ended=time.time())), rows)


def _row(job: StudyJob, key: str, *, chosen: bool) -> dict[str, Any]:
    kept = {name: value for name, value in vars(job).items() if name not in _OF_WORKERS}
    return kept | {"needs": asdict(job.needs), "key": key, "chosen": chosen}


def _save(
    path: Path, title: str, sessions: tuple[Session, ...], rows: list[dict[str, Any]]
) -> None:
    """Write a job a line: ten thousand of them take a tenth of a second."""
    head = {"title": title, "sessions": [asdict(each) for each in sessions]}
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = json.dumps(head, ensure_ascii=False, indent=2).removesuffix("\n}")
    write_text(path, f'{text},\n  "jobs": [\n{lines}\n]}}\n')


def file_of_study(out: Path, name: str) -> dict[str, Any]:
    """Read a JSON file that a driver wrote into a study's folder; ValueError where it is absent."""
    path = out / name
    if not path.is_file():
        if is_planned(out):
            raise ValueError(
                f"The study in {out} is being planned: its jobs are known in some seconds. "
                "`harness-bench study status --follow` waits for them."
            )
        raise ValueError(
            f"{out} holds no study: it has no {name}. Give a folder that `harness-bench study` or "
            "`harness-bench demo` wrote; they write it some seconds after their start."
        )
    found: dict[str, Any] = read_json(path)
    return found


def saved_study(out: Path) -> SavedStudy:
    """Read study.json; a folder without one is a ValueError."""
    found = file_of_study(out, STUDY)
    jobs, keys, chosen = {}, {}, set()
    for row in found["jobs"]:
        keys[row["name"]] = row.pop("key")
        if row.pop("chosen", True):
            chosen.add(row["name"])
        given = row | {"needs": Needs(**row["needs"])}
        given |= {name: tuple(row[name]) for name in ("after", "wants")}
        jobs[row["name"]] = StudyJob(**given)
    sessions = tuple(Session(**each) for each in found["sessions"])
    driven = is_driven(out, sessions)
    if sessions and sessions[-1].ended is None and not driven:
        # One that was killed ended when it last gave a sign of life.
        sessions = (*sessions[:-1], replace(sessions[-1], ended=(out / STUDY).stat().st_mtime))
    return SavedStudy(
        title=found["title"], jobs=jobs, keys=keys, chosen=frozenset(chosen), sessions=sessions,
        driven=driven,
    )  # fmt: skip


def is_driven(out: Path, sessions: tuple[Session, ...]) -> bool:
    """Tell whether the driver of the last session lives."""
    if not sessions or sessions[-1].ended is not None:
        return False
    return is_alive(out / STUDY, asdict(sessions[-1]))
