"""What a graph keeps of its parent: the same outputs, in less time and less space."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.workdir import hardware
from harness_bench.models.runtime import padded

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.models.runtime import GraphConfig

Run = Callable[[NDArray[np.float32]], list[NDArray[Any]]]  # of one utterance (samples,)
# Of a padded batch (B, T) and its lengths (B,).
BatchRun = Callable[[NDArray[np.float32], NDArray[np.int64]], list[NDArray[Any]]]
EXACT = 1e-3  # a float32 graph's largest difference, as a share of its output's largest number
SECONDS, REPEATS = 10.0, 5  # of the utterance that is timed, as `harness-bench efficiency` does


@dataclass(frozen=True)
class Change:
    """A metric of the graph and of its parent on the same utterances, and a 95 % interval."""

    metric: str
    value: float
    parent: float
    difference: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Parity:
    """Figures of a graph beside its parent's."""

    utterances: int
    made_up: bool  # whether they are noise, for want of cuts
    max_difference: float  # of any number of the outputs
    relative_difference: float  # norm of the difference by norm of the output; the worst output's
    disk_bytes: int
    parent_disk_bytes: int
    parent_float32_bytes: int  # of the parent's weights, however they are kept
    real_time_factor: float  # CPU seconds per second of audio, one thread
    parent_real_time_factor: float  # in torch, float32
    hardware: str
    changes: tuple[Change, ...] = ()

    def section(self) -> str:
        """Write the figures for a README."""
        audio = "made-up noise" if self.made_up else "speech"
        changes = "".join(
            f"| {each.metric} | {each.value:.2f} | {each.parent:.2f} | {each.difference:+.2f} "
            f"[{each.low:+.2f}, {each.high:+.2f}], {each.method} |\n"
            for each in self.changes
        )
        return f"""## Beside its parent

| | this graph | parent in torch | |
|---|---|---|---|
| largest difference of an output | {self.max_difference:.2g} | | \
{self.relative_difference:.2%} of its norm, {self.utterances} utterances of {audio} |
| MB on disk | {self.disk_bytes / 1e6:.2f} | {self.parent_disk_bytes / 1e6:.2f} | \
{self.parent_float32_bytes / self.disk_bytes:.1f} times smaller than in float32 |
| real-time factor, one thread | {self.real_time_factor:.4f} | \
{self.parent_real_time_factor:.4f} | \
{self.parent_real_time_factor / self.real_time_factor:.1f} times faster |
{changes}
Measured on {self.hardware}; one utterance of {SECONDS:g} s."""


def check(run: Run, parent: Run, source: Path, least: int) -> None:
    """Refuse a float32 graph that does not give what its parent does, at several lengths."""
    for wave in made_up(least):
        wanted = parent(wave)
        try:
            found = run(wave)
        except Exception as error:
            raise ValueError(
                f"{source} cannot be exported: the graph fails for {len(wave)} samples. Its model "
                "decides by the audio's length or values, which tracing has fixed."
            ) from error
        shapes = [each.shape for each in found], [each.shape for each in wanted]
        if shapes[0] != shapes[1]:
            odd = next(each for each in zip(*shapes, strict=True) if each[0] != each[1])
            problem = f"an output of shape {odd[0]} instead of {odd[1]}"
        elif (worst := max(map(_share, found, wanted))) > EXACT or np.isnan(worst):
            problem = f"numbers that differ by {worst:.2g} of the largest"
        else:
            continue
        raise ValueError(
            f"{source} cannot be exported: the graph gives {problem} for {len(wave)} samples. Its "
            "model decides by the audio's length or values, which tracing has fixed."
        )


def check_batch(run: BatchRun, alone: Run, config: GraphConfig) -> None:
    """Assert that a padded batch gives what each utterance gives alone."""
    waves = made_up(config.receptive_field)
    rows = run(*padded(waves))
    for at, wave in enumerate(waves):
        for found, wanted in zip(rows, alone(wave), strict=True):
            row = found[at : at + 1]
            row = row[:, : wanted.shape[1]] if row.ndim == 3 else row  # noqa: PLR2004 - has frames
            assert _share(row, wanted) < EXACT, "a padded batch gives other features"


def _share(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    largest = float(np.abs(wanted).max()) if wanted.size else 0.0
    return float(np.abs(found - wanted).max(initial=0)) / max(largest, 1e-6)


def made_up(least: int) -> list[NDArray[np.float32]]:
    """Make utterances of several lengths, the shortest a graph takes among them."""
    generator = np.random.default_rng(0)
    lengths = (least, SAMPLE_RATE, 2 * SAMPLE_RATE + 4321)
    # With a slow envelope, as speech has one.
    envelopes = (np.abs(np.sin(np.arange(length) / 1500)) + 0.01 for length in lengths)
    return [
        (0.1 * envelope * generator.standard_normal(len(envelope))).astype(np.float32)
        for envelope in envelopes
    ]


def compare(
    run: Run,
    parent: Run,
    waves: Sequence[NDArray[np.float32]],
    *,
    config: GraphConfig,
    sizes: tuple[int, int, int],
) -> Parity:
    """Measure a graph beside its parent; `sizes`: its bytes, the parent's, and in float32."""
    largest = 0.0
    sums = np.zeros((0, 2))
    heard = [wave for wave in waves if len(wave) >= config.receptive_field]
    for wave in heard or made_up(config.receptive_field):
        pairs = [
            (np.asarray(one, np.float64), np.asarray(other, np.float64))
            for one, other in zip(run(wave), parent(wave), strict=True)
        ]
        largest = max(largest, *(float(np.abs(one - other).max(initial=0)) for one, other in pairs))
        more = np.array([(np.square(a - b).sum(), np.square(b).sum()) for a, b in pairs])
        sums = more if not len(sums) else sums + more
    own, theirs = _times(run, parent)
    return Parity(
        utterances=len(heard) or len(made_up(config.receptive_field)),
        made_up=not heard,
        max_difference=largest,
        relative_difference=float(np.sqrt((sums[:, 0] / np.maximum(sums[:, 1], 1e-30)).max())),
        disk_bytes=sizes[0],
        parent_disk_bytes=sizes[1],
        parent_float32_bytes=sizes[2],
        real_time_factor=own,
        parent_real_time_factor=theirs,
        hardware=hardware(),
    )


def _times(*runs: Run) -> list[float]:
    """Return the median CPU time of each per second of audio, measured in turn."""
    generator = np.random.default_rng(0)
    wave = (0.1 * generator.standard_normal(int(SECONDS * SAMPLE_RATE))).astype(np.float32)
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(REPEATS + 1):
        for run, mine in zip(runs, times, strict=True):
            start = time.process_time()
            run(wave)
            if turn:  # the first call prepares
                mine.append(time.process_time() - start)
    return [median(mine) / SECONDS for mine in times]
