"""Bars that other programs draw with tqdm into their logs: read, and shown on this terminal."""

from __future__ import annotations

import re
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from harness_bench.core.process import read_tail
from harness_bench.core.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PERIOD = 1.0  # seconds between two looks at a log
# A bar of tqdm: `title:  40%|████  | 4/10 [00:02<00:03, 1.97it/s, bits=5.1]`
_BAR = re.compile(
    r"(?P<title>[^|%]*?):?\s*\d+%\|[^|]*\| *(?P<done>\d+)[.\d]*/(?P<of>\d+)[.\d]* "
    r"\[(?P<took>[\d:]+)<(?P<left>[\d:?]+), *(?P<rate>[^\],]+)"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_COMMAND = 500  # characters; people write shorter lines
_SAID = re.compile(r"\d\d:\d\d:\d\d \S")


@dataclass(frozen=True, kw_only=True)
class LoggedBar:
    """A bar of tqdm as a log has it."""

    title: str
    done: int
    of: int
    left: float | None  # seconds
    rate: str  # as tqdm writes it: `1.97it/s`, `3.2s/it`


def last_bar(text: str) -> tuple[LoggedBar | None, str]:
    """Return the bar that moves at the end of a log, and the last line that is for people.

    Of bars in bars it is the outermost; one that has ended, or stands above a line, is none. Of the
    lines of a command it is the last that begins with the time of day, as `log.say` writes them,
    where there is one; others are what libraries say of themselves.
    """
    bars, line = list[re.Match[str]](), ""
    for piece in reversed([_ANSI.sub("", each) for each in re.split(r"[\r\n]", text)]):
        if piece.startswith("$ ") or _SAID.match(piece):
            line = line if piece.startswith("$ ") else clean(piece)
            break
        if "%|" in piece:  # bars above a line are of what has ended
            bars += filter(None, [None if line else _BAR.match(piece)])
        elif len(piece) <= _COMMAND:
            line = line or clean(piece)
    # Of bars in bars, the outermost has run the longest.
    bar = max(bars, key=lambda found: _seconds(found["took"]) or 0.0, default=None)
    if bar is None or not 0 < int(bar["of"]) > int(bar["done"]):
        return None, line
    return LoggedBar(
        title=clean(bar["title"]).strip(), done=int(bar["done"]), of=int(bar["of"]),
        left=_seconds(bar["left"]), rate=clean(bar["rate"]),
    ), line  # fmt: skip


@contextmanager
def shown(log: Path, title: str) -> Iterator[None]:
    """Show on a terminal, while the block runs, the bar that a program draws into its log."""
    if not sys.stderr.isatty():
        yield
        return
    start, over = log.stat().st_size if log.is_file() else 0, threading.Event()
    with tqdm(desc=title, bar_format="{desc}: {elapsed}", leave=False) as display:

        def follow() -> None:
            while not over.wait(_PERIOD):
                bar, _ = last_bar(read_tail(log, start))
                if bar is not None:
                    _redraw(display, title, bar)
                display.refresh()

        thread = threading.Thread(target=follow, name="bar", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _redraw(display: tqdm[Any], title: str, bar: LoggedBar) -> None:
    name = f"{title}, {bar.title}"
    if (display.desc, display.total) != (f"{name}: ", bar.of):  # another bar: its own speed
        display.set_description(name, refresh=False)
        display.bar_format, display.initial = None, bar.done
        display.reset(bar.of)
    display.n = bar.done


def _seconds(clock: str) -> float | None:
    """Read tqdm's `1:02:03`; what it does not know yet is `?`."""
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    return float(sum(int(part) * 60**power for power, part in enumerate(reversed(parts))))
