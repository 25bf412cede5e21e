"""Audio as every model here takes it: 16 kHz, one channel, float32 in [-1, 1]."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.audio.base import AudioFault, Fault, Header, OpenAudio
from harness_bench.audio.lhotse import install
from harness_bench.audio.opening import AUDIO_SUFFIXES, open_audio, read_alike, read_header
from harness_bench.audio.resample import resample

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut
    from numpy.typing import NDArray

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioFault",
    "Fault",
    "Header",
    "OpenAudio",
    "digest_samples",
    "load_finite",
    "load_samples",
    "load_waveform",
    "open_audio",
    "read_alike",
    "read_header",
    "read_waveform",
    "standard",
]


def load_waveform(cut: Cut) -> NDArray[np.float32]:
    """Read a cut -> (samples,) float32 at 16 kHz, channels averaged; errors: `load_samples`."""
    return standard(load_samples(cut), cut.sampling_rate)


def load_samples(cut: Cut) -> NDArray[np.float32]:
    """Read a cut as it is -> (channels, samples) float32; unreadable: a ValueError names it."""
    from lhotse.audio.utils import (  # noqa: PLC0415 - imports torch
        AudioLoadingError,
        DurationMismatchError,
    )

    install()
    try:
        samples: NDArray[np.float32] = cut.load_audio()
    except (AudioLoadingError, DurationMismatchError, OSError) as error:
        reason = str(error).splitlines()[0]
        # lhotse asks to report both to its makers.
        if isinstance(error, DurationMismatchError) or "declared samples" in reason:
            reason = "it has another length than was prepared"
        raise ValueError(
            f"Cut {cut.id!r}: its audio cannot be read ({reason}). "
            "Were files moved or changed since `harness-bench prepare`? Run it again."
        ) from error
    return samples


def load_finite(cut: Cut) -> NDArray[np.float32]:
    """Read a cut as `load_waveform` does; an empty or not finite one is a ValueError too."""
    wave = load_waveform(cut)
    if not len(wave):
        raise ValueError(f"Cut {cut.id!r} has no samples.")
    if not np.isfinite(wave).all():
        raise ValueError(f"Cut {cut.id!r} has NaN or infinite samples.")
    return wave


def read_waveform(path: str | Path) -> NDArray[np.float32]:
    """Read a whole file -> (samples,) float32 at 16 kHz, channels averaged. Imports no torch.

    Raises:
        AudioFault: no audio, cut off, empty, or NaN or infinite samples.
    """
    with open_audio(path) as stream:
        if stream.header.lacking:
            raise AudioFault(Fault.CUT_OFF, f"it is {stream.header.lacking}", path)
        wave = standard(stream.read().T, stream.header.sampling_rate)
    if not len(wave):
        raise AudioFault(Fault.EMPTY, "it has no samples", path)
    if not np.isfinite(wave).all():
        raise AudioFault(Fault.UNREADABLE, "it has NaN or infinite samples", path)
    return wave


def digest_samples(samples: NDArray[np.float32]) -> str:
    """Return BLAKE2b-128 of (samples, channels) as decoded, by which cuts know equal audio."""
    return hashlib.blake2b(np.ascontiguousarray(samples).data, digest_size=16).hexdigest()


def standard(samples: NDArray[np.floating], sampling_rate: int) -> NDArray[np.float32]:
    """Average (channels, samples), resample -> (ceil(samples * 16000 / sampling_rate),) float32."""
    mono = samples.mean(axis=0) if samples.ndim == 2 else samples  # noqa: PLR2004
    return resample(np.ascontiguousarray(mono, dtype=np.float32), sampling_rate)
