"""Long recordings in chunks: nothing lost, nothing too long, cut where nobody speaks."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.asr.transcribe.chunks import find_recordings, quiet_place, read_chunks
from harness_bench.audio.io import standard

RATE = 16_000


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * rate)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.1, 1.9, 2.0, 2.01, 2.5, 3.0, 11.3])
def test_the_pieces_are_the_recording(tmp_path: Path, seconds: float) -> None:
    """A sample lost between two chunks is a word lost; one too many is heard twice."""
    wave = noise(seconds)
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    chunks = list(read_chunks(tmp_path / "a.wav", 2.0))
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), wave)
    assert [chunk.start for chunk in chunks] == pytest.approx(
        np.cumsum([0, *(chunk.duration for chunk in chunks)])[:-1]
    )
    assert all(chunk.duration <= 2.0 for chunk in chunks)
    assert len(chunks) == 1 or all(chunk.duration >= 0.5 for chunk in chunks)


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_no_joint_is_heard_at_other_rates(tmp_path: Path, rate: int) -> None:
    """Chunks are cut out of the whole at 16 kHz; each resampled alone would ring at its ends."""
    wave = np.stack([noise(26.3, 1, rate), noise(26.3, 2, rate)], axis=1)
    sf.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    chunks = [chunk.samples for chunk in read_chunks(tmp_path / "a.wav", 2.0)]
    assert len(chunks) > 12
    np.testing.assert_array_equal(np.concatenate(chunks), standard(wave.T, rate))


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(400, 4000),
    extra=st.floats(0.001, 3),
    gaps=st.lists(st.floats(0, 1), max_size=4),
)
def test_a_cut_lies_where_it_may_and_no_place_there_is_quieter(
    limit: int, extra: float, gaps: list[float]
) -> None:
    """Compared with the loudness of every place, computed from its definition."""
    rate = 1000
    samples = noise(1, seed=limit, rate=int(limit * (1 + extra)) + 1)
    for gap in gaps:
        at = int(gap * len(samples))
        samples[at : at + rate // 4] = 0
    cut = quiet_place(samples, rate, limit)
    low, high = limit // 2, min(limit, len(samples) - limit // 4)
    assert low <= cut <= high

    def loudness(place: int) -> float:
        around = samples[max(place - 100, 0) : place + 100].astype(np.float64)
        return float((around**2).mean())

    assert loudness(cut) <= min(map(loudness, range(low, high + 1, 10))) + 1e-9


def test_a_cut_falls_into_the_pause(tmp_path: Path) -> None:
    """Three sounds with pauses at known places, longer than a chunk together."""
    parts = [noise(1.2, 1), np.zeros(6400, np.float32), noise(1.1, 2), np.zeros(6400, np.float32)]
    sf.write(tmp_path / "a.wav", np.concatenate([*parts, noise(1.2, 3)]), RATE)
    starts = [chunk.start for chunk in read_chunks(tmp_path / "a.wav", 2.0)]
    assert len(starts) == 3
    assert 1.2 < starts[1] < 1.6
    assert 2.7 < starts[2] < 3.1


@pytest.mark.parametrize(("suffix", "rate", "channels"), [
    ("wav", 8000, 2), ("flac", 44_100, 1), ("ogg", 48_000, 2), ("mp3", 22_050, 1),
])  # fmt: skip
def test_any_format_rate_and_channels(
    tmp_path: Path, suffix: str, rate: int, channels: int
) -> None:
    """The tone comes out at its own pitch and length, in one channel at 16 kHz."""
    tone = 0.4 * np.sin(2 * np.pi * 500 * np.arange(int(3.3 * rate)) / rate)
    path = tmp_path / f"a.{suffix}"
    sf.write(path, np.stack([tone] * channels, axis=1), rate)
    chunks = list(read_chunks(path, 2.0))
    wave = np.concatenate([chunk.samples for chunk in chunks])
    assert len(wave) == pytest.approx(3.3 * RATE, abs=1200)  # mp3 adds a frame or two
    spectrum = np.abs(np.fft.rfft(wave[:RATE]))
    assert int(spectrum.argmax()) == pytest.approx(500, abs=2)


@pytest.mark.parametrize(("name", "reason"), [
    ("absent.wav", "no such file"), (".", "no file"), ("text.wav", "no audio was recognised"),
    ("short.wav", "too short for a word"), ("empty.wav", "too short"), ("nan.wav", "NaN"),
    ("half.flac", r"48000 samples|decod|[Ee]rror"),  # it still promises its whole length
    ("empty.mp3", "0 bytes"), ("torn.mp3", "torn.mp3"),
])  # fmt: skip
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, reason: str) -> None:
    """Half the speech must not be lost without a word."""
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    (tmp_path / "empty.mp3").touch()
    for silent, samples in (("short.wav", np.zeros(800)), ("empty.wav", np.zeros(0))):
        sf.write(tmp_path / silent, samples, RATE)
    sf.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    for torn, share in (("half.flac", 0.5), ("torn.mp3", 0.01)):
        sf.write(tmp_path / torn, noise(3), RATE)
        data = (tmp_path / torn).read_bytes()
        (tmp_path / torn).write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=reason):
        list(read_chunks(tmp_path / name, 2.0))
    with pytest.raises(ValueError, match=r"max_seconds = 0\.5"):
        list(read_chunks(tmp_path / name, 0.5))


@pytest.mark.parametrize("kind", ["wav", "wavex", "aiff", "au"])
def test_a_plain_recording_that_was_cut_off_is_told(tmp_path: Path, kind: str) -> None:
    """Libsndfile reads what is there of these, without a word: half the speech would be lost."""
    whole, half = tmp_path / "whole", tmp_path / "half"
    sf.write(whole, noise(3), RATE, format=kind, subtype="PCM_16")
    assert sum(len(chunk.samples) for chunk in read_chunks(whole, 2.0)) == 3 * RATE
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut off: the header promises 960\d\d bytes"):
        list(read_chunks(half, 2.0))


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 96_044, 96_000])
def test_a_length_that_means_nothing_is_no_cut(tmp_path: Path, length: int) -> None:
    """Ffmpeg and sox cannot know it when they write into a pipe; others count the header in."""
    path = tmp_path / "a.wav"
    sf.write(path, noise(3), RATE, subtype="PCM_16")
    head, _, rest = path.read_bytes().partition(b"data")
    path.write_bytes(head + b"data" + length.to_bytes(4, "little") + rest[4:])
    assert sum(len(chunk.samples) for chunk in read_chunks(path, 2.0)) == 3 * RATE


def test_silence_is_known(tmp_path: Path) -> None:
    """A model writes words for silence; a constant offset is none the less silence."""
    wave = np.concatenate([np.full(2 * RATE, 0.2), 0.2 + 0.01 * noise(2)])
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    chunks = list(read_chunks(tmp_path / "a.wav", 2.0))
    assert chunks[0].silent
    assert not chunks[-1].silent


def test_files_and_folders(tmp_path: Path) -> None:
    """Files by any name, folders by suffix; twice named comes once; names are below the folder."""
    for name in ("b/2.wav", "b/sub/1.OGG", "b/.hidden/3.wav", "b/notes.txt", "odd.name"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_recordings([tmp_path / "odd.name", tmp_path / "b", tmp_path / "b/2.wav"])
    assert [str(each.name) for each in found] == ["odd.name", "2.wav", "sub/1.OGG"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="holds no audio file"):
        find_recordings([tmp_path / "none"])
