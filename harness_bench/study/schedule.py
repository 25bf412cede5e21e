"""Run stages that depend on one another, several at a time, and show where they are."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from harness_bench.core.process import log_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One step of a longer job: mostly a process of its own, logging into a file."""

    name: str
    run: Callable[[], Any]
    after: tuple[str, ...] = ()
    log: Path | None = None
    rank: int = 0  # Of stages that could start, the one with the lowest rank does.


@dataclass(frozen=True)
class Took:
    """When a stage began and how long it took, in seconds."""

    name: str
    start: float
    seconds: float


@dataclass
class Schedule:
    """Runs stages on `jobs` slots; the first failure stops what has not begun, as the time does."""

    jobs: int
    console: Console
    seconds: float | None = None  # No stage begins later than this.
    times: list[Took] = field(default_factory=list)
    _running: dict[str, tuple[Stage, float]] = field(default_factory=dict)

    def run(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """Run all stages that begin in time; return name -> what each returned.

        Raises:
            Whatever the first failing stage raised, once those running beside it have ended.
        """
        by_name = {stage.name: stage for stage in stages}
        assert len(by_name) == len(stages), "stages need names of their own"
        order = TopologicalSorter({stage.name: stage.after for stage in stages})
        order.prepare()
        results: dict[str, Any] = {}
        self._origin = time.perf_counter()
        overall = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), console=self.console,
        )  # fmt: skip
        bar = overall.add_task("stages", total=len(stages))
        with (
            ThreadPoolExecutor(self.jobs) as pool,
            Live(get_renderable=lambda: self._picture(overall), console=self.console,
                 refresh_per_second=2, transient=True),
        ):  # fmt: skip
            waiting: list[Stage] = []
            futures: dict[Future[Any], Stage] = {}
            while order.is_active():
                waiting += [by_name[name] for name in order.get_ready()]
                waiting.sort(key=lambda stage: stage.rank)
                if self._over() and not futures:
                    break
                while waiting and len(futures) < self.jobs and not self._over():
                    stage = waiting.pop(0)
                    self._running[stage.name] = (stage, time.perf_counter())
                    futures[pool.submit(stage.run)] = stage
                done, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in done:
                    stage = futures.pop(future)
                    results[stage.name] = future.result()
                    self._finished(stage)
                    order.done(stage.name)
                    overall.advance(bar)
        if left := [stage.name for stage in stages if stage.name not in results]:
            self.console.print(f"No time was left for: {', '.join(left)}", highlight=False)
        return results

    def _over(self) -> bool:
        """Whether no further stage may begin."""
        return self.seconds is not None and time.perf_counter() - self._origin >= self.seconds

    def _finished(self, stage: Stage) -> None:
        """Note a stage's time and say so in one line."""
        _, began = self._running.pop(stage.name)
        took = Took(stage.name, began - self._origin, time.perf_counter() - began)
        self.times.append(took)
        clock = time.strftime("%H:%M:%S")
        self.console.print(f"{clock} {stage.name}: done in {took.seconds:.1f} s", highlight=False)

    def _picture(self, overall: Progress) -> RenderableType:
        """Draw the overall bar and, for each running stage, its time and its log's last line."""
        rows: list[RenderableType] = [overall]
        for stage, began in list(self._running.values()):
            seconds = time.perf_counter() - began
            tail = next(reversed(log_lines(stage.log)), "") if stage.log else ""
            line = f"  {stage.name}  {seconds:.0f} s  {tail}"
            rows.append(Text(line[: self.console.width - 1], no_wrap=True, style="dim"))
        return Group(*rows)

    def summary(self) -> Table:
        """Return the table of stage times, in the order in which stages began."""
        figures = (Column(head, justify="right") for head in ("began at (s)", "took (s)"))
        table = Table("stage", *figures, title="Times", title_justify="left")
        for row in sorted(self.times, key=lambda took: took.start):
            table.add_row(row.name, f"{row.start:.0f}", f"{row.seconds:.1f}")
        end = max((row.start + row.seconds for row in self.times), default=0.0)
        table.add_section()
        table.add_row(f"all, {self.jobs} at a time", "0", f"{end:.1f}")
        return table
