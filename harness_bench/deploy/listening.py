"""Audio for exported graphs: read by libsndfile, resampled by soxr, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import lacking_audio
from harness_bench.models.runtime import extra

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_audio(path: Path) -> NDArray[np.float32]:
    """Read a whole file -> (samples,) float32 at 16 kHz, channels averaged.

    Raises:
        ValueError: no such file, no audio, cut off, or NaN or infinite samples.
    """
    import soundfile  # noqa: PLC0415 - loads a shared library

    if not path.is_file():
        raise ValueError("it is no file" if path.exists() else "there is no such file")
    try:
        with soundfile.SoundFile(str(path)) as stream:
            if cut_off := lacking_audio(stream.extra_info, stream.frames / stream.samplerate):
                raise ValueError(cut_off)
            samples, rate = stream.read(dtype="float32", always_2d=True), int(stream.samplerate)
            if len(samples) < stream.frames:
                raise ValueError(
                    f"the header promises {stream.frames} samples, {len(samples)} could be decoded"
                )
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError("it cannot be read as audio") from error
    if not np.isfinite(samples).all():
        raise ValueError("it has NaN or infinite samples")
    return at_16_khz(samples.T, rate)


def at_16_khz(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Average (channels, samples) or take (samples,), resample -> (samples at 16 kHz,)."""
    mono = samples.mean(axis=0, dtype=np.float32) if samples.ndim == 2 else samples  # noqa: PLR2004
    if rate != SAMPLE_RATE:
        mono = extra("soxr").resample(mono, rate, SAMPLE_RATE, quality="VHQ")
    return np.ascontiguousarray(mono, dtype=np.float32)
