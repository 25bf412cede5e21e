"""Where every job of a study is, read from files alone: by any process, on any machine."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.core.files import read_json
from harness_bench.study.alive import is_alive
from harness_bench.study.job import JOBS, StudyJob, note
from harness_bench.study.saved import is_driven

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness_bench.study.saved import SavedStudy

type Stand = Literal["waiting", "running", "done", "failed", "left out", "no time", "cut off"]
STANDS: tuple[Stand, ...] = (
    "running", "waiting", "done", "failed", "cut off", "left out", "no time"
)  # fmt: skip
MISSING: tuple[Stand, ...] = ("failed", "cut off", "left out", "no time", "waiting")
_STATE = ".state.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """Where a job is."""

    job: StudyJob
    stand: Stand = "waiting"
    host: str = ""
    begun: float = 0.0  # seconds since the epoch; 0: never, or nobody noted it
    seconds: float = 0.0  # it took, or has run so far
    why: str = ""  # of one that failed or was left out
    progress: Mapping[str, Any] | None = None  # what a running one tells

    @property
    def ended(self) -> float:
        """Seconds since the epoch."""
        return self.begun + self.seconds


@dataclass
class StatusReader:
    """Reads where jobs are, and reads again only files that have changed."""

    out: Path
    study: SavedStudy
    _seen: dict[str, tuple[tuple[int, int], dict[str, Any]]] = field(default_factory=dict)
    _slugs: dict[str, StudyJob] = field(default_factory=dict)
    _done: dict[str, JobStatus] = field(default_factory=dict)  # by slug; what is done stays so

    def __post_init__(self) -> None:
        """Take file names, which cost a digest each, once."""
        self._slugs = {job.slug: job for job in self.study.jobs.values()}

    def read(self, *, everything: bool = False) -> dict[str, JobStatus]:
        """Return where every job is that was chosen, or every one, in the order of the plan."""
        stamps, chosen = self._stamps(), self.study.chosen
        found: dict[str, JobStatus] = {}
        for slug, job in self._slugs.items():
            if everything or job.name in chosen:
                status = self._done.get(slug) or self._status(slug, job, stamps)
                found[job.name] = status
                if status.stand == "done":
                    self._done[slug] = status
        return found

    def refresh(self) -> None:
        """Look whether the driver still runs."""
        self.study = replace(self.study, driven=is_driven(self.out, self.study.sessions))

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """Return time of change and size of the files of jobs that are not done."""
        folder = self.out / JOBS
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            return {
                entry.name: _stamp(entry)
                for entry in entries
                if entry.name.endswith(".json") and not entry.name.startswith(".")
                and entry.name.removesuffix(".json").removesuffix(".state") not in self._done
            }  # fmt: skip

    def _status(self, slug: str, job: StudyJob, stamps: Mapping[str, tuple[int, int]]) -> JobStatus:
        name = slug + _STATE
        found = self._state(name, stamps[name]) if name in stamps else {}
        key = self.study.keys[job.name]
        if found.get("key") != key:  # its inputs have changed, or it has never begun
            found = {}
        stand = self._stand(self.out / JOBS / name, found, stamps.get(name, (0, 0))[0])
        if stand not in {"done", "running"} and f"{slug}.json" in stamps:
            # Kept from work that left no state, or killed between the two files.
            stand = "done" if note(self.out, job, key).finished else stand
        running = stand == "running"
        begun = found.get("begun", 0.0)
        return JobStatus(
            job=job, stand=stand, host=found.get("host", ""), begun=begun,
            seconds=time.time() - begun if running else found.get("seconds", 0.0),
            why=found.get("why", "") if stand in MISSING else "",
            progress=found.get("progress") if running else None,
        )  # fmt: skip

    def _state(self, name: str, stamp: tuple[int, int]) -> dict[str, Any]:
        if (known := self._seen.get(name)) and known[0] == stamp:
            return known[1]
        try:
            found = read_json(self.out / JOBS / name)
        except (OSError, ValueError):  # it is being replaced, on a disk of a network
            return {}
        self._seen[name] = stamp, found
        return dict(found)

    def _stand(self, path: Path, found: Mapping[str, Any], changed_ns: int) -> Stand:
        state = found.get("state", "waiting")
        if state == "running":
            return "running" if is_alive(path, found) else "cut off"
        if state in ("done", "kept"):
            return "done"
        # What went wrong before this driver began is tried again.
        sessions = self.study.sessions
        old = self.study.driven and changed_ns / 1e9 < sessions[-1].begun
        return "waiting" if old else state


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        found = entry.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def count(statuses: Iterable[JobStatus]) -> dict[Stand, int]:
    """Count the jobs by where they are."""
    found = dict.fromkeys(STANDS, 0)
    for status in statuses:
        found[status.stand] += 1
    return found
