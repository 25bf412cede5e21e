"""A study as people watch it: a table on a terminal, lines in a log, and what is missing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from harness_bench.core.process import log_lines
from harness_bench.core.sanitize import clean
from harness_bench.study.job import log_of
from harness_bench.study.look import STYLES, Look, short_clock
from harness_bench.study.saved import PLANNING, STUDY, is_planned, saved_study
from harness_bench.study.status import MISSING, JobStatus, Stand, StatusReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

_SHARE = 150  # a look costs 1/150 of a core: it is taken so many times as seldom as it is long
_BETWEEN, _SELDOM = 1.0, 20.0  # seconds between two looks, at least and at most
_NEWS = (60.0, 600.0)  # seconds between two lines of a log where nothing ends: first, at most
_NAMED = 3  # jobs of a group that are named
_TAIL = 12  # lines of a failure
_LEFT: dict[Stand, str] = {
    "cut off": "cut off, and to be gone on with", "no time": "no time was left for",
    "waiting": "not begun",
}  # fmt: skip


@dataclass
class Watch:
    """Shows a study while a block runs: a live table on a terminal, else lines.

    It reads files alone, so that it serves a driver and any other shell alike. A look is taken as
    seldom as it is costly, so that a study of ten thousand jobs is watched for 1 % of a core, too.
    """

    out: Path
    console: Console
    since: float = field(default_factory=time.time)  # what ended before is no news
    _known: dict[str, Stand] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _news: tuple[float, float] = (0.0, _NEWS[0])  # when the last line was written, and the pause

    def __post_init__(self) -> None:
        """Read the plan."""
        self._reader = StatusReader(self.out, saved_study(self.out))

    def look(self) -> Look:
        """Read where the study is."""
        return Look(self.out, self._reader.study, self._reader.read())

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it, from a thread of its own."""
        thread = threading.Thread(
            target=self.follow, kwargs={"ours": True}, name="watch", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def follow(self, *, ours: bool = False) -> None:
        """Show it until no driver runs any more; where the driver is `ours`, until `shown` ends."""
        if not self.console.is_terminal:
            self._follow(self._say_news, ours=ours)
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            self._follow(lambda look: live.update(self._below(look), refresh=True), ours=ours)

    def _below(self, look: Look) -> RenderableType:
        """Draw the table a line below what has been told."""
        return Padding(look.picture(self.console.width), (1, 0, 0, 0))

    def _follow(self, show: Callable[[Look], None], *, ours: bool) -> None:
        while True:
            over, cost = self._over.is_set(), time.thread_time()
            try:
                look = self.look()
            except OSError:  # a disk of a network that is away for a moment
                if over:
                    return
                self._over.wait(_SELDOM)
                continue
            self._say_ended(look)
            if over or not (ours or look.study.driven):
                return
            show(look)
            cost = time.thread_time() - cost
            self._over.wait(max(_BETWEEN, min(_SHARE * cost, _SELDOM)))
            self._reader.refresh()

    def _say_ended(self, look: Look) -> None:
        """Write a line for each job that has ended, in the order in which they did."""
        ended = [
            each for each in look.statuses.values()
            if each.stand in ("done", "failed") and each.begun >= self.since
            and self._known.get(each.job.name) != each.stand
        ]  # fmt: skip
        self._known |= {each.job.name: each.stand for each in ended}
        for each in sorted(ended, key=lambda each: each.ended):
            at = time.strftime("%H:%M:%S", time.localtime(each.ended))
            what = "done in" if each.stand == "done" else "FAILED after"
            line = f"{at} {clean(each.job.name)}: {what} {short_clock(each.seconds)} on {each.host}"
            style = STYLES["failed"] if each.stand == "failed" else ""
            self.console.print(Text(line, style=style), soft_wrap=True)

    def _say_news(self, look: Look) -> None:
        """Write a line now and then, ever more seldom, where there is no terminal."""
        last, pause = self._news
        if (now := time.monotonic()) - last < pause:
            return
        self._news = now, min(2 * pause, _NEWS[1])
        shares = [(each.job.name, look.progress[each.job.name].share) for each in look.running]
        told = [clean(name) + (f" {share:.0%}" if share is not None else "")
                for name, share in shares[:_NAMED]]  # fmt: skip
        parts = filter(None, [look.headline(), ", ".join(told), look.left()])
        self.console.print(Text(f"{time.strftime('%H:%M:%S')} {'; '.join(parts)}"), soft_wrap=True)


def wait_for_plan(out: Path) -> None:
    """Wait while a driver plans the study of a folder that has none yet."""
    while not (out / STUDY).is_file() and is_planned(out):
        time.sleep(_BETWEEN)


def last_study(folder: Path = Path("runs")) -> Path:
    """Return the study below a folder that was at work last; ValueError where there is none."""
    found: dict[Path, float] = {}
    for path in (path for name in (STUDY, PLANNING) for path in folder.glob(f"*/{name}")):
        if path.name == STUDY or is_planned(path.parent):
            with suppress(FileNotFoundError):  # what was planned runs now
                found[path.parent] = path.stat().st_mtime
    if not found:
        raise ValueError(
            f"There is no study below {folder.absolute()}. Name its folder: the one given to "
            "`harness-bench study FILE --out`."
        )
    return max(found, key=found.__getitem__)


def missing(look: Look) -> list[Text]:
    """Say what is missing and why: failures with the end of their logs, and what they cost."""
    lines: list[Text] = []
    by_stand: dict[Stand, list[JobStatus]] = {stand: [] for stand in MISSING}
    for status in look.statuses.values():
        if status.stand in by_stand:
            by_stand[status.stand].append(status)
    for status in by_stand["failed"]:
        lines.append(Text(f"failed: {status.job.name}", style=STYLES["failed"]))
        lines += [Text(f"  {line}", style="dim") for line in _reason(look, status)]
    causes = Counter(_cause(look, status.job.name) for status in by_stand["left out"])
    for cause, number in causes.most_common():
        jobs = "job needs" if number == 1 else "jobs need"
        lines.append(Text(f"left out: {number} {jobs} {cause}", style=STYLES["left out"]))
    for stand, text in _LEFT.items():
        if found := by_stand[stand]:
            names = ", ".join(status.job.name for status in found[:_NAMED])
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            lines.append(Text(f"{text}: {names}{more}", style=STYLES[stand]))
    return lines


def _reason(look: Look, status: JobStatus) -> list[str]:
    """Return why a job failed, with the end of its log unless the reason has it."""
    why = [clean(line) for line in status.why.splitlines()]
    log = log_of(look.out, status.job)
    if len(why) == 1 and log.is_file() and log.stat().st_size:
        why += [f"The end of {log}:", *map(clean, log_lines(log)[-_TAIL:])]
    return [*why[:2], *why[2:][-_TAIL:]]


def _cause(look: Look, name: str) -> str:
    """Return the job for whose sake one was left out: the first of the chain."""
    job = look.statuses[name].job
    bad = [each for each in job.after if look.statuses[each].stand != "done"]
    if not bad:
        return name
    return _cause(look, bad[0])
