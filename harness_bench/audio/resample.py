"""Sampling rates are converted here, by soxr: whole signals, or long ones piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Part of the keys of what was computed from resampled audio; another where it sounds otherwise.
NAME = "soxr-hq-steep"
LOWEST_RATE = 1000  # Hz; a header that names less is wrong, and each sample would become many
_BLOCK = 1 << 16  # samples; soxr's own buffers are no longer than what it is given at once
# libsoxr's quality "HQ" (0x04: stop band at -140 dB, from half the lower rate on) with its
# SOXR_STEEP_FILTER (0x40: pass band up to 98 % of that, where "HQ" alone is 3 dB down at 95 %).
# In float32 neither HQ nor its FFT share tables between threads, which VHQ does.
_RECIPE = 0x04 | 0x40
_MORE = False  # "this is the last piece"


class Resampler:
    """A signal that comes in pieces; the pieces it gives are, joined, what `resample` gives.

    Args:
        rate: sampling rate of what comes, Hz.
        to: sampling rate of what is given, Hz.
        channels: columns of each piece.

    Raises:
        ValueError: a rate below 1000 Hz.
    """

    def __init__(self, rate: int, to: int = SAMPLE_RATE, channels: int = 1) -> None:
        for hertz in (rate, to):
            if hertz < LOWEST_RATE:
                raise ValueError(
                    f"A sampling rate of {hertz} Hz holds no speech: expected {LOWEST_RATE} Hz or "
                    "more. Is the header of the file right?"
                )
        self._rate, self._to, self._channels = int(rate), int(to), channels
        self._came = self._gone = 0  # samples
        same = self._rate == self._to
        self._soxr = None if same else _converter(self._rate, self._to, channels)

    def __call__(self, samples: NDArray[np.floating], *, last: bool = False) -> NDArray[np.float32]:
        """Take the next (samples, channels), give what is ready; `last`: nothing follows."""
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        self._came += len(samples)
        if self._soxr is None:
            return samples
        *whole, rest = range(0, max(len(samples), 1), _BLOCK)
        ready = [self._soxr(samples[start : start + _BLOCK], _MORE) for start in whole]
        tail = samples[rest:]
        if last:  # soxr rounds the length to the nearest: silence behind it makes room
            silence = np.zeros((1 - -self._rate // self._to, self._channels), np.float32)
            tail = np.concatenate([tail, silence])
        ready.append(self._soxr(tail, last))
        out: NDArray[np.float32] = ready[0] if len(ready) == 1 else np.concatenate(ready)
        if last:
            out = out[: -(-self._came * self._to // self._rate) - self._gone]
        self._gone += len(out)
        return out


def resample(
    samples: NDArray[np.floating], rate: int, to: int = SAMPLE_RATE
) -> NDArray[np.float32]:
    """Convert (samples,) or (samples, channels) from `rate` Hz to `to` Hz.

    The result has ceil(samples * to / rate) samples; what is at a time stays at that time. Up to
    98 % of half the lower rate nothing changes by 0.5 dB, and what lies beyond half of it is 130 dB
    down.

    Raises:
        ValueError: a rate below 1000 Hz.
    """
    columns = samples[:, None] if samples.ndim == 1 else samples
    out = Resampler(rate, to, columns.shape[1])(columns, last=True)
    return out[:, 0] if samples.ndim == 1 else out


def _converter(rate: int, to: int, channels: int) -> Any:
    """Return soxr's step (samples, last) -> samples, of its extension: its front takes no flags."""
    from soxr import soxr_ext  # noqa: PLC0415 - loads a shared library

    of_one_ratio = False  # the ratio of the two rates does not change on the way
    try:
        return soxr_ext.CSoxr(
            rate, to, channels, soxr_ext.SOXR_FLOAT32_I, _RECIPE, of_one_ratio
        ).process_float32
    except (AttributeError, TypeError) as error:
        raise RuntimeError(
            f"The soxr that is installed is not the one known here ({error}). Install 1.1, as "
            "requirements.lock has it."
        ) from error
