"""Landmarks of audio: pairs of spectral peaks.

After A. Wang, "An industrial-strength audio search algorithm" (ISMIR 2003). A peak stays where it
is under another gain, a lossy codec or some noise, and two peaks keep their distance wherever a
recording is cut. Each pair is one number; the same number at the same distance in time, many times
over, is the same sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW, HOP = 1024, 256  # samples: 64 ms tell the harmonics of a voice apart
FRAMES_PER_SECOND = SAMPLE_RATE / HOP
# Bins of 15.6 Hz: from 94 Hz, above mains hum, to 5 kHz, which lossy codecs keep.
_LOWEST_BIN, _HIGHEST_BIN = 6, 320
_PEAK_FRAMES, _PEAK_BINS = 7, 13  # a peak is the largest value within so many, itself in the middle
_LOUD_FRAMES = 63  # about a second
_BELOW_LOUD = 30 / (20 / np.log(10))  # 30 dB: weaker peaks do not outlive a codec
_SILENCE = 1e-3  # magnitude; the rounding noise of 16 bits stays below it
_FAN_OUT = 6  # pairs that one peak begins
_NEXT_PEAKS = 25  # looked at for them
_SHORTEST, _LONGEST = 2, 63  # frames between the peaks of a pair
_WIDEST = 64  # bins between them
_CHUNK = 4096  # frames at a time, about a minute: hours of audio need no hours of spectrum


class Landmarks(NamedTuple):
    """The fingerprint of one utterance."""

    hashes: NDArray[np.uint32]  # (n,) one per pair of peaks
    frames: NDArray[np.int32]  # (n,) where the pair begins, in frames of 16 ms
    length: int  # of the utterance, in frames


def landmarks(samples: NDArray[np.float32]) -> Landmarks:
    """Return the fingerprint of audio; about 160 landmarks for each second of speech.

    Args:
        samples: (samples,) float32 at 16 kHz. Silence has no landmarks.
    """
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    found = [
        (times + first, bins)
        for first in range(0, len(windows), _CHUNK)
        for times, bins in [_peaks(windows[first : first + _CHUNK])]
    ]
    times, bins = (np.concatenate(part) for part in zip(*found, strict=True))
    return Landmarks(*_pairs(times, bins), len(windows))


def _peaks(windows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return frame and bin of every spectral peak, by frame.

    Args:
        windows: (frames, WINDOW) float32.
    """
    from scipy.ndimage import maximum_filter  # noqa: PLC0415 - slow to import

    shape = np.hanning(WINDOW).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(windows * shape, axis=1))[:, _LOWEST_BIN:_HIGHEST_BIN]
    levels = np.log(np.maximum(spectrum, _SILENCE)).astype(np.float32)
    largest = maximum_filter(levels, size=(_PEAK_FRAMES, _PEAK_BINS), mode="nearest")
    loud = maximum_filter(levels.max(axis=1), size=_LOUD_FRAMES, mode="nearest")
    heard = levels > np.maximum(loud - _BELOW_LOUD, np.log(_SILENCE))[:, None]
    times, bins = np.nonzero((levels == largest) & heard)
    return times, bins


def _pairs(
    times: NDArray[np.int64], bins: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Join each peak with the next ones that are near; return hashes and their frames."""
    begun = np.zeros(len(times), dtype=np.int64)
    hashes, starts = [np.zeros(0, np.uint32)], [np.zeros(0, np.int32)]
    for step in range(1, min(_NEXT_PEAKS, len(times))):
        apart = times[step:] - times[:-step]
        near = (apart >= _SHORTEST) & (apart <= _LONGEST)
        near &= np.abs(bins[step:] - bins[:-step]) < _WIDEST
        first = np.flatnonzero(near & (begun[:-step] < _FAN_OUT))
        begun[first] += 1
        # 9 bits of each peak's bin and 6 of their distance in time.
        code = (bins[first] << 15) | (bins[first + step] << 6) | apart[first]
        hashes.append(code.astype(np.uint32))
        starts.append(times[first].astype(np.int32))
    return np.concatenate(hashes), np.concatenate(starts)
