"""What happens to synthetic speech after synthesis: vocal tract, effort, level, pauses, noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import standard

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPEECH_LEVEL = 0.07  # root mean square of speech before the level changes, -23 dB of full scale
_SILENCE = 0.01  # of the peak; below it, the ends are cut off
_TRACT_STEP = 100  # Hz; rates with a large common divisor resample fast
_PEAK = 0.98
_DULLEST, _BRIGHTEST = -0.5, 0.7


@dataclass(frozen=True)
class Channel:
    """How one utterance is voiced and recorded."""

    tract: float  # factor on all frequencies
    effort: float  # above 0 brighter, below 0 duller
    level: float  # dB
    snr: float  # dB
    noise_slope: float  # 0 white, 1 pink
    lead: float  # seconds of noise before the speech
    tail: float  # seconds of noise after it


def finish(
    speech: NDArray[np.int16], sampling_rate: int, channel: Channel, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Turn what eSpeak NG gives into an utterance.

    Args:
        speech: (samples,) int16.
        sampling_rate: of `speech`, in Hz.
        channel: how it is voiced and recorded.
        rng: where the noise comes from.

    Returns:
        (samples,) float32 in [-1, 1] at 16 kHz.
    """
    samples = _trimmed((speech / 32768).astype(np.float32))
    # Reading the samples as if they had another rate moves all formants.
    read_as = _TRACT_STEP * round(sampling_rate * channel.tract / _TRACT_STEP)
    samples = _with_effort(standard(samples, read_as), channel.effort)
    samples *= _SPEECH_LEVEL * 10 ** (channel.level / 20) / np.sqrt(np.mean(samples**2))
    lead, tail = (round(seconds * SAMPLE_RATE) for seconds in (channel.lead, channel.tail))
    padded = np.pad(samples, (lead, tail))
    noise = coloured_noise(len(padded), channel.noise_slope, rng)
    padded += noise * (np.sqrt(np.mean(samples**2)) * 10 ** (-channel.snr / 20))
    peak = float(np.abs(padded).max())
    result: NDArray[np.float32] = (padded * min(1.0, _PEAK / peak)).astype(np.float32)
    return result


def coloured_noise(samples: int, slope: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (samples,) float32 noise of unit power; power falls as frequency ** -slope."""
    size = 1 << (samples - 1).bit_length()  # other lengths may have no fast transform
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    weights = np.arange(1, len(spectrum) + 1, dtype=np.float32) ** (-slope / 2)
    noise: NDArray[np.float32] = np.fft.irfft(spectrum * weights, n=size)[:samples]
    return noise / noise.std()


def _trimmed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def _with_effort(samples: NDArray[np.float32], effort: float) -> NDArray[np.float32]:
    """Tilt the spectrum by a first-order difference (brighter) or average (duller)."""
    weight = float(np.clip(0.5 * effort, _DULLEST, _BRIGHTEST))
    tilted = samples.copy()
    tilted[1:] -= weight * samples[:-1]
    return tilted
