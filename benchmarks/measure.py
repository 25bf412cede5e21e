"""What every benchmark shares: rows, and timing of two things in turn."""

from __future__ import annotations

import importlib.metadata
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Row:
    """One comparison; a ratio above 1 means that ours is better."""

    name: str  # what is done and by which peer of which version
    ours: float
    peer: float
    ratio: float
    unit: str


def lower_is_better(name: str, ours: float, peer: float, unit: str) -> Row:
    """Make a row of two costs."""
    return Row(name, ours, peer, peer / ours, unit)


def versus(what: str, peer: str) -> str:
    """Return a row's name: what is done, the peer (a distribution) and its version."""
    return f"{what} (peer: {peer} {importlib.metadata.version(peer)})"


def in_turn(
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    repeats: int,
    clock: Callable[[], float] = time.process_time,
) -> tuple[float, float]:
    """Return the median seconds of two calls, made by turns so that both meet the same machine.

    Args:
        ours: called first in every turn; each is called once more before, unmeasured.
        peer: called second.
        repeats: turns.
        clock: what counts; CPU seconds of this process by default.
    """
    ours(), peer()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, taken in zip((ours, peer), times, strict=True):
            start = clock()
            call()
            taken.append(clock() - start)
    return statistics.median(times[0]), statistics.median(times[1])
