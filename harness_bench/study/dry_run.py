"""What a study would do: its jobs, what they cost, and what is absent here with how to get it."""

from __future__ import annotations

import math
import re
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from harness_bench.core import hub as core_hub
from harness_bench.corpora.doctor.catalogue import catalogue
from harness_bench.models import hub
from harness_bench.probing.s3prl.hub import own_names
from harness_bench.study.estimate import Durations, time_left
from harness_bench.study.job import finished, keys
from harness_bench.study.look import stacked_bar
from harness_bench.study.saved import SavedStudy
from harness_bench.study.status import JobStatus, StatusReader, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from harness_bench.study.job import StudyJob

_HOUR = 3600.0
_HUB_LAYOUT = "hf"
_LEAST_GB = 0.001
_VARIABLE = re.compile(r"\$\w+")  # of a path that was not expanded
_WIDE = 100  # characters, from which on there is room for bars


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """The jobs of one kind that are left."""

    kind: str
    jobs: int
    finished: int
    cut_off: int
    cpu_hours: float  # of those that are left and can be estimated
    gpu_hours: float
    disk_gb: float
    unknown: int  # of those that are left, without an estimate


@dataclass(frozen=True, kw_only=True)
class AbsentInput:
    """A corpus or checkpoint that is not here, or cannot be opened."""

    name: str
    how: str  # to get it; of a broken one, what is wrong with it
    jobs: tuple[str, ...]  # that cannot run without it
    fetched: bool  # the study gets it itself where there is a network
    broken: bool = False  # it is here, and is not what it is said to be


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a study would do."""

    title: str
    stages: tuple[StageCost, ...]
    absent: tuple[AbsentInput, ...]
    lacking: dict[str, int]  # why no worker can run jobs -> how many of them
    workers: int
    hours: float | None  # from the first to the last job, on so many workers
    free_gb: float
    sources: tuple[str, ...]  # of the estimates
    jobs: tuple[dict[str, Any], ...]  # name, kind, state, hours

    @property
    def left(self) -> int:
        """The jobs that are left."""
        return sum(stage.jobs - stage.finished for stage in self.stages)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**asdict(self), "left": self.left, "estimates": True}


def dry_run(
    out: Path, jobs: Mapping[str, StudyJob], *, title: str, workers: int,
    sources: Sequence[str] = (), lacks: Callable[[StudyJob], str] = lambda _: "",
) -> DryRun:  # fmt: skip
    """Look at what is finished and what is absent; nothing is made, and nobody is asked.

    Args:
        out: the study's folder; it need not exist.
        jobs: with the hours of `guess.with_guesses`.
        title: of the study.
        workers: so many jobs run at a time.
        sources: where those hours are from.
        lacks: says why no worker can ever run a job, and nothing where one can.
    """
    statuses = _statuses(out, jobs, title)
    durations = Durations.measured(statuses.values())
    by_kind: dict[str, list[JobStatus]] = {}
    for status in statuses.values():
        by_kind.setdefault(status.job.kind, []).append(status)
    seconds, _ = time_left(list(statuses.values()), durations, workers)
    place = out.absolute()
    while not place.exists():
        place = place.parent
    measured = ["times of equal jobs here"] if durations.means else []
    return DryRun(
        title=title,
        stages=tuple(_stage(kind, found, durations) for kind, found in by_kind.items()),
        absent=tuple(_absent(jobs)),
        lacking=dict(Counter(filter(None, map(lacks, jobs.values())))),
        workers=workers,
        hours=None if seconds is None else seconds / _HOUR,
        free_gb=shutil.disk_usage(place).free / 1e9,
        sources=(*measured, *sources),
        jobs=tuple(
            {"name": name, "kind": each.job.kind, "state": each.stand, "after": each.job.after,
             "hours": None if (left := durations.seconds(each.job)) is None else left / _HOUR}
            for name, each in statuses.items()
        ),
    )  # fmt: skip


def _statuses(out: Path, jobs: Mapping[str, StudyJob], title: str) -> dict[str, JobStatus]:
    """Return where all jobs are, by their notes, as the engine sees them."""
    found = keys(jobs)
    study = SavedStudy(title=title, jobs=jobs, keys=found, chosen=frozenset(jobs))
    statuses = StatusReader(out, study).read()
    return {
        name: status if status.stand != "done" or finished(out, status.job, found[name])
        else replace(status, stand="waiting")
        for name, status in statuses.items()
    }  # fmt: skip


def _stage(kind: str, statuses: Sequence[JobStatus], durations: Durations) -> StageCost:
    counts = count(statuses)
    left = [status.job for status in statuses if status.stand != "done"]
    hours = [(job, (durations.seconds(job) or 0.0) / _HOUR) for job in left]
    return StageCost(
        kind=kind, jobs=len(statuses), finished=counts["done"],
        cut_off=counts["cut off"] + counts["running"],
        cpu_hours=sum(each * job.needs.cpus for job, each in hours if not job.needs.gpus),
        gpu_hours=sum(each * job.needs.gpus * max(job.needs.nodes, 1) for job, each in hours),
        disk_gb=sum(job.needs.disk_gb for job in left),
        unknown=sum(durations.seconds(job) is None for job in left),
    )  # fmt: skip


def _absent(jobs: Mapping[str, StudyJob]) -> list[AbsentInput]:
    """List what is not here, with the jobs that need it."""
    behind: dict[str, list[str]] = {}
    for name, job in jobs.items():
        for each in job.after:
            behind.setdefault(each, []).append(name)
    found: dict[str, AbsentInput] = {}
    for name, job in jobs.items():
        told = [(what, how, fetched, False) for what, how, fetched in _absent_of(job)]
        for what, how, fetched, broken in told or [(*each, False, True) for each in _broken(job)]:
            before = found[what].jobs if what in found else ()
            needing = tuple(dict.fromkeys([*before, *_closure(name, behind)]))
            found[what] = AbsentInput(
                name=what, how=how, jobs=needing, fetched=fetched, broken=broken
            )
    return list(found.values())


def _closure(name: str, behind: Mapping[str, Sequence[str]]) -> dict[str, None]:
    found, waiting = {name: None}, [name]
    while waiting:
        new = [each for each in behind.get(waiting.pop(), ()) if each not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return found


def _absent_of(job: StudyJob) -> Iterator[tuple[str, str, bool]]:
    """Yield what one job reads that is not here: its name, how to get it, who does."""
    settings = job.settings
    if job.kind == "checkpoint":
        if how := hub.how_to_get(settings["model"]):
            yield settings["model"], how, hub.is_repository(settings["model"])
    elif settings.get("layout") == _HUB_LAYOUT and "get" not in settings:
        preset = catalogue([_HUB_LAYOUT])[0].named.get(settings["folder"])
        source = core_hub.repository(settings["folder"], "dataset")
        if source is not None and (how := core_hub.how_to_get(source)):
            yield settings["folder"], " ".join(filter(None, (preset, how))), True
    elif job.kind in {"labels", "pretrain"}:
        for source in (settings["data"] or {}).get("sources", ()):
            if not Path(source["folder"]).exists():
                family = Path(job.paths["family"]).resolve()
                yield source["folder"], f"audio of [data] in {family}", False
    elif isinstance(settings.get("get"), str):
        folder = settings.get("folder") or settings.get("cuts")
        yield f"{job.name.partition(' ')[2]} ({folder})", settings["get"] or _expected(job), False
    else:
        for name, how in settings.get("get", {}).items():
            yield name, how or _expected(job), False


def _broken(job: StudyJob) -> Iterator[tuple[str, str]]:
    """Yield what one job reads that is here and cannot be used: its path, and why not.

    Settings and headers are read, no weights and no audio.
    """
    from harness_bench.cuts.store import splits  # noqa: PLC0415 - where there is something to open

    path: Path | None = None
    look: Callable[[Path], object] = splits
    if job.kind == "prepared":
        path = Path(job.settings["cuts"])
    elif job.kind == "checkpoint" and job.settings["upstream"] in own_names():
        path, look = Path(job.settings["model"]), _shape_of
    elif "teacher" in job.inputs:
        path, look = Path(job.inputs["teacher"][0]), _shape_of
    if path is not None and path.exists():
        try:
            look(path)
        except ValueError as error:
            yield str(path), str(error)


def _shape_of(path: Path) -> object:
    from harness_bench.models.frozen import shape_of  # noqa: PLC0415 - loads torch

    return shape_of(path)


def _expected(job: StudyJob) -> str:
    """Say what a layout expects, of a corpus whose study does not say how to get it."""
    layout = job.settings.get("layout")
    if layout is None:
        return "make it with `harness-bench prepare`"
    entry = catalogue([layout])[0]
    return f"{entry.description} {entry.expects}".strip()


def about(hours: float) -> str:
    """Return an estimate with the one digit that it has.

    >>> about(0.004), about(0.31), about(17.2), about(681_000)
    ('< 1 min', '20 min', '20 h', '700,000 h')
    """
    if hours * 60 < 1:
        return "< 1 min" if hours else ""
    number, unit = (hours, "h") if hours >= 1 else (hours * 60, "min")
    return f"{_one_digit(number):,.0f} {unit}"


def _one_digit(number: float) -> float:
    if not number:
        return 0.0
    digits: float = 10.0 ** math.floor(math.log10(number))
    return float(round(number / digits) * digits)


def render(found: DryRun, console: Console) -> None:
    """Print it for people."""
    console.print(Text(found.title, style="bold"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    bars = console.width >= _WIDE
    for head in ("stage", *([""] * bars)):
        table.add_column(head, no_wrap=True)
    for head in ("jobs", "finished", "cut off", "CPU hours", "GPU hours", "disk"):
        table.add_column(head, justify="right", no_wrap=True)
    for stage in found.stages:
        left = stage.jobs - stage.finished
        counts = count(()) | {"done": stage.finished, "cut off": stage.cut_off,
                              "waiting": left - stage.cut_off}  # fmt: skip
        unsaid = "" if not stage.unknown else "?" if stage.unknown == left else " + ?"
        table.add_row(
            stage.kind, *([stacked_bar(counts, 16)] * bars), str(stage.jobs),
            str(stage.finished or ""), str(stage.cut_off or ""),
            about(stage.cpu_hours) + unsaid * (not stage.gpu_hours),
            about(stage.gpu_hours) + unsaid * bool(stage.gpu_hours),
            f"{_one_digit(stage.disk_gb):,.3g} GB" if stage.disk_gb >= _LEAST_GB else "",
        )  # fmt: skip
    console.print(table)
    for line in summary(found):
        console.print(line, soft_wrap=True)


def summary(found: DryRun) -> list[Text]:
    """Return the lines below the table: totals, what they are from, and what is absent."""
    cpu, gpu, disk = (
        sum(getattr(stage, name) for stage in found.stages)
        for name in ("cpu_hours", "gpu_hours", "disk_gb")
    )
    unknown = sum(stage.unknown for stage in found.stages)
    workers = f"{found.workers} worker{'s' * (found.workers != 1)}"
    parts = [f"{about(cpu) or '0'} of CPU cores", f"{about(gpu)} of GPUs" * bool(gpu)]
    if disk >= _LEAST_GB:
        parts.append(f"{_one_digit(disk):,.3g} GB of disk ({found.free_gb:,.0f} GB free)")
    least = "at least " * bool(unknown)
    total = f"{found.left} jobs are left, by estimate {least}{', '.join(filter(None, parts))}"
    total += f"; {least or 'about '}{about(found.hours)} on {workers}." if found.hours else "."
    lines = [Text(), Text(total)]
    if unknown:
        lines.append(Text(f"?: of {unknown} of them nobody can say how long they take.", "dim"))
    lines += [Text(f"Estimated {source}.", "dim") for source in found.sources]
    for each in found.absent:
        what = "to be fetched" if each.fetched else "unusable" if each.broken else "absent"
        jobs = f"{len(each.jobs)} job{'s' * (len(each.jobs) != 1)} cannot do without"
        style = "yellow" if each.fetched else "red"
        lines += [Text(f"{what}: {each.name} ({jobs})", style), Text(f"  {each.how}")]
    for why, number in found.lacking.items():
        lines += [
            Text(f"no worker: for {number} job{'s' * (number != 1)}", "red"),
            Text(f"  {why}"),
        ]
    if unset := sorted({name for each in found.absent for name in _VARIABLE.findall(each.name)}):
        lines.append(Text(f"not set in the environment: {', '.join(unset)}", "red"))
    if found.lacking or any(not each.fetched for each in found.absent):
        lines.append(Text("Everything else runs. The same command goes on once that is there."))
    return lines
