"""Landmarks must be those of the sound, whatever its gain, start or length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egs.audit.planted import voice
from harness_bench.leakage import landmarks as module
from harness_bench.leakage.landmarks import HOP, landmarks


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
