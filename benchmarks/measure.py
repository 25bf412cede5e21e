"""What every benchmark shares: rows, and timing of two things in turn."""

from __future__ import annotations

import importlib.metadata
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness_bench.models.config import HubertConfig

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")
TINY_MODEL = HubertConfig(  # tries the code, not the speed
    encoder_layers=2, encoder_embed_dim=32, encoder_ffn_embed_dim=64,
    encoder_attention_heads=4, conv_dim=(32,) * 7, conv_pos=16, conv_pos_groups=4,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One comparison; a ratio above 1 means that ours is better."""

    name: str
    ours: float
    peer: float
    ratio: float
    unit: str
    note: str = ""  # what is done, if the name does not say it, and by which peer of which version
    limit: float | None = None  # ours as a share of what the machine can do, measured beside it


def lower_is_better(
    name: str, ours: float, peer: float, unit: str, *, note: str = "", limit: float | None = None
) -> Row:
    """Make a row of two costs."""
    return Row(name, ours, peer, peer / ours, unit, note, limit)


def higher_is_better(
    name: str, ours: float, peer: float, unit: str, *, note: str = "", limit: float | None = None
) -> Row:
    """Make a row of two speeds."""
    return Row(name, ours, peer, ours / peer, unit, note, limit)


def versus(what: str, peer: str) -> str:
    """Say what is done, the peer (a distribution) and its version: a row's name or its note."""
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


def clock_of(device: torch.device) -> Callable[[], float]:
    """Return a clock of CPU seconds of this process; on a GPU, of seconds once it has finished."""
    if device.type == "cpu":
        return time.process_time

    def finished() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return finished


def matmul_peak(kind: torch.dtype, device: torch.device = CPU, *, tiny: bool = False) -> float:
    """Return the operations a second of a large matrix product, the best of some.

    Args:
        kind: of both factors.
        device: where they lie; it decides what a second is, see `clock_of`.
        tiny: one small product, that tries the code.
    """
    size = 64 if tiny else 1024 if device.type == "cpu" else 8192
    one, two = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    clock, best = clock_of(device), float("inf")
    # Plain, and as a linear layer and its weight's gradient have them: bf16 differs tenfold.
    for left, right in ((one, two), (one, two.T), (one.T, two)):
        begin = clock()
        left @ right
        while True:
            start = clock()
            left @ right
            best = min(best, max(clock() - start, 1e-9))
            if tiny or clock() - begin > 0.5:  # noqa: PLR2004 - seconds of trying
                break
    return 2 * size**3 / best
