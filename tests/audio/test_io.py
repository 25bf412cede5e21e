"""Audio as the models take it, whatever is on disk."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import Recording
from lhotse.cut import Cut
from numpy.typing import NDArray

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import (
    AudioFault,
    digest_samples,
    load_finite,
    load_waveform,
    read_header,
    read_waveform,
    standard,
)


def chirp(rate: int, seconds: float = 1.0) -> NDArray[np.float64]:
    """Return a sweep from 100 Hz to 2 kHz, (samples,): no two moments of it are alike."""
    time = np.arange(round(rate * seconds)) / rate
    return 0.3 * np.sin(2 * np.pi * (100 * time + 950 * time**2 / seconds))


def written(path: Path, samples: NDArray[np.float64], rate: int) -> Cut:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return Recording.from_file(path).to_cut()


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
def test_resampled_stereo_stays_aligned(rate: int, tmp_path: Path) -> None:
    """Labels are per 20 ms: a shift by resampling or mixing would move them all."""
    stereo = np.stack([1.2 * chirp(rate), 0.8 * chirp(rate)], axis=1)
    waveform = load_waveform(written(tmp_path / "a.wav", stereo, rate))
    expected = chirp(SAMPLE_RATE)
    assert waveform.shape == expected.shape
    assert waveform.dtype == np.float32
    middle = slice(800, -800)
    np.testing.assert_allclose(waveform[middle], expected[middle], atol=2e-3)


def test_start_and_duration_are_respected(tmp_path: Path) -> None:
    """Segments of long recordings are cut at the sample, also where the rate changes."""
    whole = written(tmp_path / "a.wav", chirp(8000, 3.0), 8000)
    part = load_waveform(whole.truncate(offset=0.75, duration=1.5))
    expected = chirp(SAMPLE_RATE, 3.0)[12_000:36_000]
    assert part.shape == expected.shape
    np.testing.assert_allclose(part[800:-800], expected[800:-800], atol=2e-3)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    """Files move after `prepare`; the message must lead back to it."""
    cut = written(tmp_path / "a.wav", chirp(16_000), 16_000)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(ValueError, match=f"(?s){cut.id}.*prepare"):
        load_waveform(cut)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_file_of_another_length_than_prepared_is_told(seconds: float, tmp_path: Path) -> None:
    """A file that was downloaded again is no fault of lhotse's, as lhotse says."""
    cut = written(tmp_path / "a.wav", chirp(16_000), 16_000)
    written(tmp_path / "a.wav", chirp(16_000, seconds), 16_000)
    with pytest.raises(ValueError, match="another length than was prepared"):
        load_waveform(cut)


def test_a_whole_file_is_read_whole_or_refused(tmp_path: Path) -> None:
    """Libsndfile gives what is left of a file that was cut off, and NaN as it stands."""
    sound, kept = chirp(16_000), tmp_path / "whole.wav"
    soundfile.write(kept, sound, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_waveform(kept), sound, atol=1e-6)
    broken: dict[str, bytes] = {"nothing.wav": b"", "text.wav": b"no audio"}
    for kind in ("wav", "flac", "mp3", "ogg"):
        soundfile.write(tmp_path / f"whole.{kind}", sound, 16_000)
        whole = (tmp_path / f"whole.{kind}").read_bytes()
        broken[f"cut.{kind}"] = whole[: len(whole) // 3]
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    for value in (np.nan, np.inf):
        odd = np.where(np.arange(len(sound)) == 100, value, sound)
        soundfile.write(tmp_path / f"{value}.wav", odd, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", sound[:0], 16_000)
    for name in (*broken, "nan.wav", "inf.wav", "empty.wav", "none.wav"):
        with pytest.raises(ValueError, match=name):
            read_waveform(tmp_path / name)
    with pytest.raises(ValueError, match="NaN or infinite"):
        load_finite(Recording.from_file(tmp_path / "nan.wav").to_cut())


@settings(deadline=None, max_examples=50)
@given(samples=st.integers(1, 20_000), rate=st.sampled_from([8000, 16_000, 22_050, 44_100]))
def test_length_after_resampling(samples: int, rate: int) -> None:
    """Frame counts are computed from lengths alone, so lengths must follow one rule."""
    assert len(standard(np.zeros(samples), rate)) == -(-samples * SAMPLE_RATE // rate)


def test_digest_is_of_the_samples_whatever_their_layout() -> None:
    """A cut's part of a file is a view; equal audio must be known as equal, and no other."""
    stereo = np.arange(20, dtype=np.float32).reshape(10, 2)
    left = stereo[:, :1]
    assert not left.flags.c_contiguous
    assert digest_samples(left) == hashlib.blake2b(left.tobytes(), digest_size=16).hexdigest()
    assert digest_samples(left) != digest_samples(stereo[:, 1:])


def test_a_rate_that_holds_no_speech_is_told_with_the_file(tmp_path: Path) -> None:
    """A header of 1 Hz would make 16,000 samples of each, long after `prepare`."""
    for rate in (1, 999, 1000):
        soundfile.write(tmp_path / f"{rate}.wav", np.zeros(2000), rate)
    for rate in (1, 999):
        with pytest.raises(AudioFault, match=f"{rate}.wav.* {rate} Hz"):
            read_header(tmp_path / f"{rate}.wav")
    assert len(read_waveform(tmp_path / "1000.wav")) == 32_000
