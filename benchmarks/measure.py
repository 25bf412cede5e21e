"""What every benchmark shares: rows, timing of two things in turn, inputs and a tiny model."""

import importlib.metadata
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from lhotse import MonoCut, Recording, SupervisionSegment
from numpy.typing import NDArray

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.config import HubertConfig

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


Rows = Iterator[Row]


def lower_is_better(name: str, ours: float, peer: float, unit: str, **more: Any) -> Row:
    """Make a row of two costs; `more` are its note and limit."""
    return Row(name, ours, peer, peer / ours, unit, **more)


def higher_is_better(name: str, ours: float, peer: float, unit: str, **more: Any) -> Row:
    """Make a row of two speeds; `more` are its note and limit."""
    return Row(name, ours, peer, ours / peer, unit, **more)


def versus(what: str, peer: str) -> str:
    """Say what is done, the peer (a distribution) and its version: a row's name or its note."""
    return f"{what} (peer: {peer} {importlib.metadata.version(peer)})"


def timed[T](
    call: Callable[[], T], clock: Callable[[], float] = time.process_time
) -> tuple[T, float]:
    """Return what a call gives and the seconds that it takes, CPU seconds by default."""
    start = clock()
    found = call()
    return found, clock() - start


def in_turn[T](
    ours: Callable[[], T],
    peer: Callable[[], T],
    *,
    repeats: int,
    clock: Callable[[], float] = time.process_time,
    tolerance: float | None = None,
) -> tuple[float, float]:
    """Return the median seconds of two calls, made by turns so that both meet the same machine.

    Args:
        ours: called first in every turn; each is called once more before, unmeasured.
        peer: called second.
        repeats: turns.
        clock: what counts; CPU seconds of this process by default.
        tolerance: where calls give losses, by how much the first two may differ, relatively.

    Raises:
        ValueError: the losses differ by more: the times of two computations do not compare.
    """
    first = ours(), peer()
    if tolerance is not None:
        require_equal_losses(*first, tolerance)
    times = [(timed(ours, clock)[1], timed(peer, clock)[1]) for _ in range(repeats)]
    own, others = zip(*times, strict=True)
    return statistics.median(own), statistics.median(others)


def require_equal_losses(ours: Any, peer: Any, tolerance: float) -> None:
    """Raise ValueError where two losses differ by more than `tolerance`, relatively."""
    if not math.isclose(ours, peer, rel_tol=tolerance):
        raise ValueError(f"The losses differ: ours {ours}, the peer's {peer}; no times compared.")


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


def speech_lengths(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw lengths of read speech in samples, log-normal around 6 s, 1 to 15 s."""
    return (rng.lognormal(np.log(6), 0.6, count).clip(1, 15) * SAMPLE_RATE).astype(np.int64)


def write_cuts(folder: Path, waves: list[NDArray[np.float64]]) -> list[MonoCut]:
    """Write a file for each wave (samples,) at 16 kHz; return their cuts."""
    cuts = []
    for number, wave in enumerate(waves):
        path = folder / f"{number:03d}.flac"
        soundfile.write(path, wave, SAMPLE_RATE)
        recording = Recording.from_file(path)
        whole = SupervisionSegment(path.stem, path.stem, 0, recording.duration)
        cuts.append(MonoCut(path.stem, 0, recording.duration, 0, [whole], recording=recording))
    return cuts
