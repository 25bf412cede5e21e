"""Fingerprints of audio: spectral peaks, and landmarks, which are pairs of them.

After A. Wang, "An industrial-strength audio search algorithm" (ISMIR 2003). A peak stays where it
is under another gain, a lossy codec or some noise, and two peaks keep their distance wherever a
recording is cut. Each pair is one number; the same number at the same distance in time, many times
over, is the same sound. Another speed moves every peak by one known factor, so the peaks of a copy
can be moved back without hearing it again; for that they are kept finer than frames and bins.
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
_FINE = 16  # steps of a frame or bin in which a peak's place is kept
_OFF_GRID = 7 / 16  # frames or bins by which a peak may stand beside its largest value
_FAN_OUT = 6  # pairs that one peak begins
_NEXT_PEAKS = 25  # looked at for them
_SHORTEST, _LONGEST = 2, 63  # frames between the peaks of a pair
_WIDEST = 64  # bins between them
_CHUNK = 4096  # frames at a time, about a minute: hours of audio need no hours of spectrum

# 9 bits of each peak's bin and 6 of their distance in time.
_FIRST, _SECOND = 15, 6
HASHES = (_HIGHEST_BIN - _LOWEST_BIN) << _FIRST  # all are below this


class Landmarks(NamedTuple):
    """The landmarks of one utterance, at one speed."""

    hashes: NDArray[np.uint32]  # (n,) one per pair of peaks
    frames: NDArray[np.int32]  # (n,) where the pair begins, in frames of 16 ms
    length: int  # of the utterance, in frames


class Moved(NamedTuple):
    """Pairs of peaks at several speeds; a pair that leaves the range of hashes has none there."""

    hashes: NDArray[np.int32]  # (n,)
    frames: NDArray[np.int32]  # (n,) where the pair begins
    speeds: NDArray[np.int32]  # (n,) number of the speed, ascending


class Fingerprint(NamedTuple):
    """The peaks of one utterance, by frame and bin."""

    times: NDArray[np.int32]  # (peaks,) in sixteenths of a frame
    bins: NDArray[np.int32]  # (peaks,) in sixteenths of a bin
    length: int  # of the utterance, in frames

    def landmarks(self, speed: float = 1.0) -> Landmarks:
        """Return the landmarks; about 160 for each second of speech.

        Args:
            speed: at which the audio stands to what it is compared with; the landmarks are those
                it would have there.
        """
        times = np.rint(self.times * (speed / _FINE)).astype(np.int64)
        bins = np.rint(self.bins * (1 / (speed * _FINE))).astype(np.int64) - _LOWEST_BIN
        inside = np.flatnonzero((bins >= 0) & (bins < _HIGHEST_BIN - _LOWEST_BIN))
        order = inside[np.lexsort((bins[inside], times[inside]))]
        times, bins = times[order], bins[order]
        first, second = _pairs(times, bins, _FAN_OUT)
        hashes = (
            (bins[first] << _FIRST) | (bins[second] << _SECOND) | (times[second] - times[first])
        )
        length = max(1, round(self.length * speed))
        return Landmarks(hashes.astype(np.uint32), times[first].astype(np.int32), length)

    def part(self, first: int, last: int) -> tuple[Fingerprint, float]:
        """Return the audio of some of the peaks, and the second at which it begins."""
        times = self.times[first:last]
        if not len(times):
            return self, 0.0
        frame = int(times[0]) // _FINE if first else 0
        end = int(times[-1]) // _FINE if last < len(self.times) else self.length
        part = Fingerprint(times - frame * _FINE, self.bins[first:last], max(1, end - frame))
        return part, frame / FRAMES_PER_SECOND

    def moved(self, speeds: NDArray[np.float64], fan_out: int) -> Moved:
        """Return the same pairs at every speed: close to `landmarks` of each, and far cheaper.

        Args:
            speeds: (speeds,) as for `landmarks`.
            fan_out: pairs that one peak begins.
        """
        times, bins = self.times * (1 / _FINE), self.bins * (1 / _FINE)
        first, second = _pairs(np.rint(times).astype(np.int64), np.rint(bins), fan_out)
        scale = speeds.astype(np.float32)[:, None]
        low, high = (
            np.rint(bins[side].astype(np.float32) / scale).astype(np.int32) - _LOWEST_BIN
            for side in (first, second)
        )
        distance = (times[second] - times[first]).astype(np.float32)
        apart = np.rint(distance * scale).astype(np.int32)
        inside = (apart >= _SHORTEST) & (apart <= _LONGEST)
        for side in (low, high):
            inside &= (side >= 0) & (side < _HIGHEST_BIN - _LOWEST_BIN)
        number, pair = np.nonzero(inside)
        hashes = (low << _FIRST) | (high << _SECOND) | apart
        frames = np.rint(times[first][pair] * speeds[number]).astype(np.int32)
        return Moved(hashes[inside], frames, number.astype(np.int32))


def fingerprint(samples: NDArray[np.float32]) -> Fingerprint:
    """Return the fingerprint of audio; about 40 peaks for each second of speech.

    Args:
        samples: (samples,) float32 at 16 kHz. Silence has no peaks.
    """
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    found = [
        (times + first * _FINE, bins)
        for first in range(0, len(windows), _CHUNK)
        for times, bins in [_peaks(windows[first : first + _CHUNK])]
    ]
    times, bins = (np.concatenate(part).astype(np.int32) for part in zip(*found, strict=True))
    return Fingerprint(times, bins, len(windows))


def _peaks(windows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return time and frequency of every spectral peak in fine steps, by frame.

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
    top = levels[times, bins]
    earlier, later = (levels[at, bins] for at in _neighbours(times, len(levels)))
    below, above = (levels[times, at] for at in _neighbours(bins, levels.shape[1]))
    time = times + _beside(earlier, top, later)
    place = bins + _LOWEST_BIN + _beside(below, top, above)
    return np.rint(time * _FINE).astype(np.int64), np.rint(place * _FINE).astype(np.int64)


def _neighbours(
    places: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places before and after; at an edge, twice the one that there is."""
    last = size - 1
    before, after = np.abs(places - 1), last - np.abs(last - 1 - places)
    return np.minimum(before, last), np.maximum(after, 0)


def _beside(
    before: NDArray[np.float32], top: NDArray[np.float32], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return how far from the largest of three values a parabola through them has its top."""
    bend = np.maximum(2 * top - before - after, np.float32(1e-6))
    beside: NDArray[np.float32] = (after - before) / (2 * bend)
    return beside.clip(-_OFF_GRID, _OFF_GRID)


def _pairs(
    times: NDArray[np.int64], bins: NDArray[np.int64] | NDArray[np.float64], fan_out: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Join each peak with the next ones that are near; return the two peaks of each pair."""
    begun = np.zeros(len(times), dtype=np.int64)
    firsts, seconds = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for step in range(1, min(_NEXT_PEAKS, len(times))):
        apart = times[step:] - times[:-step]
        near = (apart >= _SHORTEST) & (apart <= _LONGEST)
        near &= np.abs(bins[step:] - bins[:-step]) < _WIDEST
        first = np.flatnonzero(near & (begun[:-step] < fan_out))
        begun[first] += 1
        firsts.append(first)
        seconds.append(first + step)
    return np.concatenate(firsts), np.concatenate(seconds)
