"""Progress bars for long steps and one log line per stage with its time."""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def bar[T](
    items: Iterable[T], *, title: str, total: int | None = None, unit: str = "it"
) -> Iterable[T]:
    """Wrap an iterable in a progress bar on standard error.

    On a terminal the bar is redrawn and cleared at the end; in a log file it adds at most one
    line every 10 seconds.
    """
    interactive = sys.stderr.isatty()
    return tqdm(
        items,
        desc=title,
        total=total,
        unit=unit,
        dynamic_ncols=interactive,
        mininterval=0.1 if interactive else 10,
        leave=interactive,
        disable=not first_rank(),
    )


def say(message: str) -> None:
    """Print one log line with the time of day, above any running bar; the first rank alone does."""
    if first_rank():
        tqdm.write(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr)


def first_rank() -> bool:
    """Whether this process is the first of those that a launcher started, or alone."""
    # By torchrun, by SLURM, by Fabric itself on one machine.
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return int(next((os.environ[name] for name in names if name in os.environ), "0")) == 0


@dataclass
class StageTimes:
    """Wall-clock and CPU seconds of the stages of one run, for the summary at its end."""

    rows: list[tuple[str, float, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Run a block as a named stage: a log line when it ends, with its time."""
        start, cpu = time.perf_counter(), cpu_seconds()
        yield
        wall, used = time.perf_counter() - start, cpu_seconds() - cpu
        self.rows.append((title, wall, used))
        say(f"{title}: done in {wall:.1f} s ({used:.1f} CPU-s)")

    def summary(self) -> str:
        """Return the table of stage times, total last."""
        total = ("total", sum(row[1] for row in self.rows), sum(row[2] for row in self.rows))
        width = max(len(row[0]) for row in [*self.rows, total])
        lines = [f"{'stage':<{width}}  seconds  CPU-s"]
        lines += [
            f"{name:<{width}}  {wall:7.1f}  {cpu:5.1f}" for name, wall, cpu in [*self.rows, total]
        ]
        return "\n".join(lines)


def cpu_seconds() -> float:
    """Return user + system CPU seconds of this process and its finished children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))
