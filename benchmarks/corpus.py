"""Made-up utterances of read speech's lengths, as files and cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment

from harness_bench.audio.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def lengths(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw lengths in samples, log-normal around 6 s, 1 to 15 s."""
    return (rng.lognormal(np.log(6), 0.6, count).clip(1, 15) * SAMPLE_RATE).astype(np.int64)


def write(folder: Path, waves: list[NDArray[np.float64]]) -> list[MonoCut]:
    """Write a file for each wave (samples,) at 16 kHz; return their cuts."""
    cuts = []
    for number, wave in enumerate(waves):
        path = folder / f"{number:03d}.flac"
        soundfile.write(path, wave, SAMPLE_RATE)
        recording = Recording.from_file(path)
        whole = SupervisionSegment(path.stem, path.stem, 0, recording.duration)
        cuts.append(MonoCut(path.stem, 0, recording.duration, 0, [whole], recording=recording))
    return cuts
