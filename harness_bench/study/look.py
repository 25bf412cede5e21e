"""A study at one moment, as a picture of text: the whole, its stages, the jobs that run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness_bench.core.sanitize import clean
from harness_bench.study.estimate import Durations, time_left
from harness_bench.study.progress import JobProgress, job_progress
from harness_bench.study.status import MISSING, JobStatus, Stand, count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import RenderableType

    from harness_bench.study.saved import SavedStudy

_WIDE, _STAGE_BAR, _JOB_BAR = 120, 16, 12  # characters
_SHOWN = 24  # running jobs in the table
_NO_LINE = "no output yet"  # of a job that starts
STYLES: dict[Stand, str] = {
    "done": "green", "running": "cyan", "failed": "bold red", "left out": "red",
    "cut off": "yellow", "no time": "yellow", "waiting": "dim",
}  # fmt: skip


def clock(seconds: float | None) -> str:
    """Return a time as hours, minutes and seconds, of days as days and hours.

    >>> clock(75.2), clock(3600 * 30), clock(None)
    ('1:15', '1 d 06 h', '')
    """
    if seconds is None:
        return ""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:  # noqa: PLR2004 - of a day
        return f"{hours // 24} d {hours % 24:02} h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def short_clock(seconds: float) -> str:
    """Return a time as `clock` does, one below a minute with a decimal.

    >>> short_clock(7.26), short_clock(75.2)
    ('7.3 s', '1:15')
    """
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)  # noqa: PLR2004 - of a minute


@dataclass
class Look:
    """A study at one moment."""

    out: Path
    study: SavedStudy
    statuses: Mapping[str, JobStatus]
    progress: dict[str, JobProgress] = field(default_factory=dict)  # of running jobs

    def __post_init__(self) -> None:
        """Read how far running jobs are."""
        for status in self.running:
            folder = self.out / status.job.folder if status.job.folder else None
            self.progress[status.job.name] = job_progress(folder, status.progress)

    @property
    def running(self) -> list[JobStatus]:
        """Those that began last come last."""
        found = [each for each in self.statuses.values() if each.stand == "running"]
        return sorted(found, key=lambda each: each.begun)

    @property
    def counts(self) -> dict[Stand, int]:
        """Jobs by where they are."""
        return count(self.statuses.values())

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.counts["done"] == len(self.statuses)

    @property
    def ran(self) -> bool:
        """Whether the last session ran any job."""
        begun = self.study.sessions[-1].begun if self.study.sessions else 0.0
        return any(each.begun >= begun for each in self.statuses.values())

    @property
    def workers(self) -> int:
        """How many jobs run at a time."""
        sessions = self.study.sessions
        return (sessions[-1].workers if sessions else 0) or max(1, len(self.running))

    def left(self) -> str:
        """Say how long it will take."""
        statuses = list(self.statuses.values())
        told = {name: each.left for name, each in self.progress.items() if each.left is not None}
        seconds, whole = time_left(statuses, Durations.measured(statuses), self.workers, told)
        if seconds is None or not self.study.driven:
            return ""
        return f"about {clock(seconds)} left" if whole else f"more than {clock(seconds)} left"

    def headline(self) -> str:
        """Say in one line where the study is."""
        counts = self.counts
        told = [f"{counts['done']} of {len(self.statuses)} jobs done"]
        told += [
            f"{counts[stand]} {stand}"
            for stand in ("running", "failed", "cut off", "left out", "no time") if counts[stand]
        ]  # fmt: skip
        return ", ".join(told)

    def picture(self, width: int) -> RenderableType:
        """Draw it: the whole, its stages, and the jobs that run."""
        sessions = self.study.sessions
        elapsed = ""
        if self.study.driven:
            elapsed = f"running for {clock(time.time() - sessions[-1].begun)}"
        told = filter(None, (elapsed or "no driver runs", self.left()))
        head = Table.grid(expand=True)
        head.add_column()
        head.add_column(justify="right", style="dim")
        head.add_row(Text(clean(self.study.title), style="bold"), Text(" · ".join(told)))
        summary = self.headline()
        bar = stacked_bar(self.counts, max(_STAGE_BAR, width - len(summary) - 2))
        parts: list[RenderableType] = [
            head, Text.assemble(bar, "  ", summary), Text(), self._stages()
        ]  # fmt: skip
        if self.running:
            parts += [Text(), self._jobs(width)]
        return Group(*parts)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "title": self.study.title,
            "driven": self.study.driven,
            "counts": self.counts,
            "jobs": [
                {"name": name, "kind": each.job.kind, "state": each.stand, "host": each.host,
                 "begun": each.begun, "seconds": each.seconds, "why": each.why}
                | ({"progress": asdict(self.progress[name])} if name in self.progress else {})
                for name, each in self.statuses.items()
            ],
        }  # fmt: skip

    def _stages(self) -> Table:
        """One row for each kind of job, as they come in the plan."""
        by_kind: dict[str, list[JobStatus]] = {}
        for status in self.statuses.values():
            by_kind.setdefault(status.job.kind, []).append(status)
        table = _table("stage", "", "done >", "running >", "waiting >", "problems", "time >")
        for kind, found in by_kind.items():
            counts = count(found)
            wrong = [
                (f"{counts[stand]} {stand}", STYLES[stand])
                for stand in MISSING if stand != "waiting" and counts[stand]
            ]  # fmt: skip
            table.add_row(
                kind,
                stacked_bar(counts, _STAGE_BAR),
                f"{counts['done']}/{len(found)}",
                Text(str(counts["running"] or ""), style=STYLES["running"]),
                Text(str(counts["waiting"] or ""), style=STYLES["waiting"]),
                Text(", ").join(Text(*each) for each in wrong),
                clock(sum(each.seconds for each in found) or None),
            )
        return table

    def _jobs(self, width: int) -> Table:
        """One row for each running job, those that have run the longest first."""
        wide = width >= _WIDE
        table = _table("running", "node", "for >", "progress", ">", *(["rate >"] * wide), "left >")
        table.expand = True
        table.columns[3].min_width = _JOB_BAR
        table.add_column(Text("log", style="dim"), ratio=1, no_wrap=True, overflow="ellipsis")
        for status in self.running[:_SHOWN]:
            found = self.progress[status.job.name]
            bar: RenderableType = ""
            line = found.line or (_NO_LINE if found.share is None else "")
            if found.share is not None:
                bar = ProgressBar(
                    total=1.0, completed=found.share, width=_JOB_BAR, complete_style="cyan",
                    finished_style="cyan",
                )  # fmt: skip
            table.add_row(
                clean(status.job.name), status.host.split(".")[0], clock(status.seconds), bar,
                "" if found.share is None else f"{found.share:.0%}", *([found.rate] * wide),
                clock(found.left), Text(line, style="dim"),
            )  # fmt: skip
        if len(self.running) > _SHOWN:
            table.add_row(f"and {len(self.running) - _SHOWN} more")
        return table


def stacked_bar(counts: Mapping[Stand, int], width: int) -> Text:
    """Draw how many jobs are where, as shares of a bar; what is there has one cell at least."""
    total, text, used = sum(counts.values()) or 1, Text(), 0
    parts = [(stand, counts[stand]) for stand in STYLES if stand != "waiting" and counts[stand]]
    for stand, number in parts:
        cells = min(max(1, number * width // total), width - used)
        text.append("━" * cells, style=STYLES[stand])
        used += cells
    return text.append("━" * (width - used), style="bright_black")


def _table(*heads: str) -> Table:
    """Return a table without lines; figures, whose heads end in `>`, stand to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        right = head.endswith(">")
        table.add_column(head.rstrip(" >"), justify="right" if right else "left", no_wrap=True)
    return table
