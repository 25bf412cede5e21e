"""Progress bars for long steps, and log lines with the time of day."""

import logging
import os
import resource
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import override

from tqdm import tqdm

from harness_bench.core.sanitize import escaped


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


def steps[T](items: Collection[T], *, title: str, name: Callable[[T], str]) -> Iterator[T]:
    """Yield a few items that take seconds each, with a bar that names the one at work.

    On a terminal alone: a log would have a line for each.
    """
    interactive = sys.stderr.isatty()
    with tqdm(total=len(items), desc=title, dynamic_ncols=True, disable=not interactive) as shown:
        for item in items:
            shown.set_postfix_str(name(item))
            yield item
            shown.update()
        shown.set_postfix_str("")


class _AboveBars(logging.Handler):
    """Writes lines with the time of day to standard error, above any running bar."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def say(message: str) -> None:
    """Log one line for people under the calling module's logger; the first rank alone does.

    `logging.getLogger("harness_bench")` and those below it take levels and further handlers.
    """
    top = logging.getLogger("harness_bench")
    if not top.handlers:
        handler = _AboveBars()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        top.addHandler(handler)
        top.setLevel(logging.INFO)
        top.propagate = False  # ESPnet gives the root logger a handler, which would say all twice
    if first_rank():
        caller = str(sys._getframe(1).f_globals["__name__"])  # noqa: SLF001 - as `logging` does
        top.getChild(caller.removeprefix("harness_bench.")).info(escaped(message))


def first_rank() -> bool:
    """Whether this process is the first of those that a launcher started, or alone."""
    # By torchrun, by SLURM, by Fabric itself on one machine.
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return int(next((os.environ[name] for name in names if name in os.environ), "0")) == 0


def cpu_seconds() -> float:
    """Return user + system CPU seconds of this process and its finished children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))
