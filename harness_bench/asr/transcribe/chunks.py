"""Recordings of any length as chunks that a recogniser can take, cut at quiet places."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness_bench.audio.base import AudioFault, Fault, OpenAudio
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import AUDIO_SUFFIXES, open_audio
from harness_bench.audio.resample import Resampler
from harness_bench.core.files import Aside, paths_below
from harness_bench.core.log import say

MIN_SECONDS = 0.1  # a shorter recording holds no word
SILENCE_DB = -60.0  # a chunk whose peak stays below this (offset removed) holds no speech
SHORTEST_LIMIT = 1.0  # seconds; the least that `max_seconds` may be
_WINDOW, _HOP = 0.2, 0.01  # seconds over which loudness is measured, and its step


@dataclass(frozen=True)
class Recording:
    """A file to transcribe; `name` is its path below what was asked for, to name the output by."""

    path: Path
    name: Path


@dataclass(frozen=True)
class Chunk:
    """A part of a recording."""

    start: float  # seconds from the recording's beginning
    samples: NDArray[np.float32]  # (samples,) at 16 kHz, one channel

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE

    @property
    def silent(self) -> bool:
        """Whether nothing here is as loud as speech."""
        peak = float(np.abs(self.samples - self.samples.mean()).max()) if len(self.samples) else 0.0
        return peak < 10 ** (SILENCE_DB / 20)


def find_recordings(paths: Iterable[Path]) -> list[Recording]:
    """List the recordings that files and folders stand for, in the order given, by name in each.

    A file is taken whatever its name; folders are searched at any depth for the suffixes of audio,
    hidden files and folders aside. What is named twice comes once.

    Raises:
        ValueError: a folder without audio.
    """
    found: dict[Path, Recording] = {}
    for path in paths:
        if not path.is_dir():
            found.setdefault(path, Recording(path, type(path)(path.name)))
            continue
        aside = Aside()
        files = paths_below(path, AUDIO_SUFFIXES, aside)
        below = [Recording(file, file.relative_to(path)) for file in files]
        if not below:
            kinds = ", ".join(sorted(AUDIO_SUFFIXES))
            raise ValueError(
                f"{path} holds no audio file; looked for {kinds} at any depth; found "
                f"{aside.held()}."
            )
        if losses := aside.losses():
            say(f"Below {path}, {losses}")
        for recording in below:
            found.setdefault(recording.path, recording)
    return list(found.values())


def read_chunks(path: Path, max_seconds: float) -> Iterator[Chunk]:
    """Read a recording chunk by chunk, so that memory does not grow with its length.

    Each chunk ends where the 0.2 s around it are quietest between half of `max_seconds` and
    `max_seconds` after its beginning (the last of equally quiet places). The chunks together are
    the whole recording at 16 kHz; none but a recording shorter than that is below a quarter of it.

    Args:
        path: audio of any kind and rate; channels are averaged.
        max_seconds: longest chunk.

    Raises:
        ValueError: no such file, unreadable, cut off, too short, NaN or infinite samples, or
            `max_seconds` below one second.
    """
    if max_seconds < SHORTEST_LIMIT:
        raise ValueError(f"max_seconds = {max_seconds}: expected at least {SHORTEST_LIMIT:g}.")
    limit = int(max_seconds * SAMPLE_RATE)
    with open_audio(path) as recording:
        if recording.header.lacking:
            raise AudioFault(Fault.CUT_OFF, recording.header.lacking, path)
        pieces = _pieces(recording)
        waiting, done = np.zeros(0, np.float32), 0
        while True:
            # A quarter more than a chunk, so that the last one can be kept from being tiny.
            while len(waiting) < limit + limit // 4 and (more := next(pieces, None)) is not None:
                waiting = np.concatenate([waiting, more])
            whole = len(waiting) <= limit
            end = len(waiting) if whole else quiet_place(waiting, SAMPLE_RATE, limit)
            if not end:
                break
            yield Chunk(done / SAMPLE_RATE, waiting[:end])
            waiting, done = waiting[end:], done + end
    if done < MIN_SECONDS * SAMPLE_RATE:
        raise ValueError(f"{done / SAMPLE_RATE:.3f} s < {MIN_SECONDS:g} s: too short for a word")


def _pieces(recording: OpenAudio) -> Iterator[NDArray[np.float32]]:
    """Yield the whole of a recording, (samples,) at 16 kHz, about 10 s at a time."""
    rate = recording.header.sampling_rate
    convert = Resampler(rate)
    for block in recording.blocks(10 * rate):
        if not np.isfinite(block).all():
            raise ValueError("NaN or infinite samples")
        yield convert(block.mean(axis=1, dtype=np.float32, keepdims=True))[:, 0]
    yield convert(np.zeros((0, 1)), last=True)[:, 0]


def quiet_place(samples: NDArray[np.float32], rate: int, limit: int) -> int:
    """Return where to cut: the quietest place, in samples from the beginning.

    It lies between a half of `limit` and `limit`, the longest chunk in samples, and at least a
    quarter of `limit` before the end of the `samples` (more than `limit`).
    """
    low, high = limit // 2, min(limit, len(samples) - limit // 4)
    hop, half = max(int(_HOP * rate), 1), int(_WINDOW * rate) // 2
    centres = np.arange(low, high + 1, hop)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    first, last = np.maximum(centres - half, 0), np.minimum(centres + half, len(samples))
    loudness = np.maximum(energy[last] - energy[first], 0) / (last - first)
    # Sums of floats differ in their last digits where the sound is the same.
    quietest = np.flatnonzero(loudness <= loudness.min() + 1e-12)
    return int(centres[quietest[-1]])
