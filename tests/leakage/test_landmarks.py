"""Landmarks must be those of the sound, whatever its gain, start, length or speed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egs.audit.planted import voice
from harness_bench.audio.resample import resample
from harness_bench.leakage import landmarks as module
from harness_bench.leakage.landmarks import HOP, Landmarks, fingerprint


def landmarks(wave: np.ndarray, speed: float = 1.0) -> Landmarks:
    return fingerprint(wave).landmarks(speed)


def pairs(found: Landmarks) -> set[tuple[int, int]]:
    return {*zip(found.hashes.tolist(), found.frames.tolist(), strict=True)}


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.01, 3.0), seed=st.integers(0, 5))
def test_gain_changes_nothing(gain: float, seed: int) -> None:
    """But for peaks so weak that they stand at the edge of silence."""
    wave = voice(seed, 2.0)
    plain, other = landmarks(wave), landmarks(wave * np.float32(gain))
    same = {*zip(plain.hashes, plain.frames, strict=True)}
    changed = {*zip(other.hashes, other.frames, strict=True)}
    assert len(same & changed) >= 0.9 * len(same | changed)


@pytest.mark.parametrize("frames", [1, 7, 40])
def test_a_shift_by_whole_frames_moves_the_landmarks(frames: int) -> None:
    wave = voice(3, 2.0)
    plain = landmarks(wave)
    later = landmarks(np.pad(wave, (frames * HOP, 0)))
    moved = {(code, frame + frames) for code, frame in zip(*plain[:2], strict=True)}
    found = {*zip(*later[:2], strict=True)}
    assert len(moved & found) >= 0.9 * len(moved)


@pytest.mark.parametrize("samples", [0, 1, 399, 1023, 1024, 1025, 16_000])
@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence_and_scraps_have_none(samples: int, level: float) -> None:
    """A constant has no sound; were silence full of landmarks, all pauses would be one sound."""
    found = landmarks(np.full(samples, level, dtype=np.float32))
    assert len(found.hashes) == len(found.frames)
    inner = found.frames[(found.frames > 0) & (found.frames < found.length - 5)]
    assert len(inner) == 0 or level  # the window's edges may ring, silence may not
    assert found.length >= 1


def test_long_audio_is_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks bound the memory; they must cost few landmarks and shift none."""
    wave = voice(1, 6.0)
    whole = {*zip(*landmarks(wave)[:2], strict=True)}
    monkeypatch.setattr(module, "_CHUNK", 100)
    parts = {*zip(*landmarks(wave)[:2], strict=True)}
    assert len(whole & parts) > 0.7 * len(whole)


def test_every_second_of_speech_has_some() -> None:
    """A short test utterance must leave enough to be found by."""
    found = landmarks(voice(2, 5.0))
    per_second = np.bincount((found.frames * HOP / 16_000).astype(int))
    assert per_second[:4].min() >= 100


@pytest.mark.parametrize("hertz", [440.0, 1003.9, 2345.6])
def test_a_peak_is_placed_finer_than_a_bin(hertz: float) -> None:
    """A step of a bin is 3 % at 500 Hz: speeds could not be told apart by it."""
    time = np.arange(8_000) / 16_000
    tone = 0.3 * np.hanning(len(time)) * np.sin(2 * np.pi * hertz * time)
    found = fingerprint(tone.astype(np.float32))
    loudest = np.argmin(np.abs(found.times / 16 * HOP + 512 - 4_000))
    assert found.bins[loudest] / 16 * 15.625 == pytest.approx(hertz, abs=15.625 / 5)
    assert found.times[loudest] / 16 == pytest.approx((4_000 - 512) / HOP, abs=0.25)


@pytest.mark.parametrize("speed", [0.9, 0.97, 1.03, 1.1])
def test_landmarks_of_a_copy_are_moved_back(speed: float) -> None:
    """By its known speed, where the same peaks unmoved say nothing."""
    wave = voice(3, 3.0)
    copy = resample(wave, round(16_000 * speed), 16_000)
    plain = pairs(landmarks(wave))

    def agreeing(at: float) -> float:  # within a frame: windows begin elsewhere
        moved = pairs(landmarks(copy, at))
        near = {(code, frame + step) for code, frame in moved for step in (-1, 0, 1)}
        return len(plain & near) / len(plain)

    assert agreeing(speed) > 0.2
    assert agreeing(1.0) < 0.05


def test_pairs_at_many_speeds_are_those_at_each() -> None:
    """The cheap way rounds a distance once, the exact one both its ends: most still agree."""
    sound = fingerprint(voice(4, 3.0))
    speeds = np.array([0.9, 1.0, 1.1])
    moved = sound.moved(speeds, 6)
    assert np.all(np.diff(moved.speeds) >= 0)
    for number, speed in enumerate(speeds):
        here = moved.speeds == number
        cheap = {*zip(moved.hashes[here].tolist(), moved.frames[here].tolist(), strict=True)}
        exact = pairs(sound.landmarks(float(speed)))
        assert len(cheap & exact) > 0.4 * len(exact)


def test_parts_together_are_the_whole() -> None:
    sound = fingerprint(voice(1, 4.0))
    for first in (0, 40, 90):
        part, seconds = sound.part(first, first + 50)
        begun = round(seconds * 62.5)
        assert (part.times + begun * 16 == sound.times[first : first + 50]).all()
        assert part.times.min() >= -8
        assert part.times.max() < part.length * 16 + 16
