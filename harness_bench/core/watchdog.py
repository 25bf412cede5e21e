"""Ends a process that hangs: without it a rank that waits for a dead one waits for days."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness_bench.core.distributed import world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HUNG = 75  # exit status; sysexits.h calls it a temporary failure: try again


@contextmanager
def watchdog(seconds: float | None, what: str) -> Iterator[Callable[[], None]]:
    """End this process with status 75 once nothing was heard of the block for so long.

    The stacks of all threads go to standard error first: of several ranks, the one that hangs is
    where the others are not.

    Args:
        seconds: of silence; None watches nothing.
        what: the awaited, in the message.

    Yields:
        A function to be called now and then.
    """
    heard, over = [time.monotonic()], threading.Event()

    def alive() -> None:
        heard[0] = time.monotonic()

    def watch(limit: float) -> None:
        while not over.wait(min(1.0, limit / 4)):
            if time.monotonic() - heard[0] > limit:
                _end(f"No {what} for {limit:g} s (heartbeat_timeout): this process hangs.")

    if seconds is not None:
        threading.Thread(target=watch, args=(seconds,), name="watchdog", daemon=True).start()
    try:
        yield alive
    finally:
        over.set()


def _end(message: str) -> None:
    sys.stderr.write(f"Rank {world()[0]}: {message} It ends with status {HUNG}. Its threads:\n")
    sys.stderr.flush()
    faulthandler.dump_traceback(file=2, all_threads=True)
    os._exit(HUNG)
