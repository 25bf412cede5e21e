"""The index must find changed copies and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import fingerprint_recall as bench
from egs.audit.planted import voice
from harness_bench.leakage.fingerprint.landmarks import Landmarks, landmarks
from harness_bench.leakage.fingerprint.search import Builder, Index

DATA = Path(__file__).parents[4] / "shared" / "data"
SECONDS, MANY = 4.0, 8


def made() -> Index:
    builder = Builder()
    for seed in range(MANY):
        builder.add(landmarks(voice(seed, SECONDS)))
    return builder.build()


INDEX = made()


@pytest.mark.parametrize("change", bench.VARIANTS)
def test_every_change_is_seen_through(change: str) -> None:
    """Each alone; the copy is found and no other utterance."""
    for seed in (0, 5):
        found = INDEX.matches(landmarks(bench.VARIANTS[change](voice(seed, SECONDS))))
        assert [match.row for match in found] == [seed]


def test_other_speech_is_not_found() -> None:
    for seed in range(100, 115):
        assert INDEX.matches(landmarks(voice(seed, SECONDS))) == []


@settings(max_examples=15, deadline=None)
@given(first=st.integers(0, 30_000), length=st.integers(32_000, 34_000))
def test_a_part_is_found_at_its_place(first: int, length: int) -> None:
    """Where the sound stands tells a reader what to listen to."""
    part = voice(2, SECONDS)[first : first + length]
    (match,) = INDEX.matches(landmarks(part))
    assert match.row == 2
    assert match.offset == pytest.approx(-first / 16_000, abs=0.02)
    assert match.seconds <= length / 16_000


def test_the_thresholds_count() -> None:
    """All votes there are find an utterance; one more does not."""
    query = landmarks(voice(4, SECONDS))
    (match,) = INDEX.matches(query)
    assert INDEX.matches(query, votes=match.votes, share=0)
    assert not INDEX.matches(query, votes=match.votes + 1, share=0)
    assert not INDEX.matches(query, seconds=match.seconds + 0.1)
    assert not INDEX.matches(query, share=1.0)


def test_one_instant_is_no_sound() -> None:
    """A click or a tone agrees with every other, all at one moment."""
    hashes = np.arange(50, dtype=np.uint32)
    click = Landmarks(hashes, np.full(50, 10, dtype=np.int32), 200)
    builder = Builder()
    builder.add(click)
    assert builder.build().matches(click) == []


def test_votes_of_neighbouring_offsets_count_together() -> None:
    """A shift of half a frame moves one half of the landmarks by one frame, the others not."""
    hashes, frames = np.arange(16, dtype=np.uint32), np.arange(0, 160, 10, dtype=np.int32)
    builder = Builder()
    builder.add(Landmarks(hashes, frames, 200))
    shifted = Landmarks(hashes, frames + (hashes % 2).astype(np.int32), 200)
    (match,) = builder.build().matches(shifted)
    assert (match.row, match.votes) == (0, 16)


def test_empty_fingerprints_keep_their_number() -> None:
    """Silence, and audio that could not be read, must not shift the utterances behind them."""
    empty = landmarks(np.zeros(0, dtype=np.float32))
    builder = Builder()
    builder.add(empty)
    builder.add(landmarks(voice(1, 2.0)))
    index = builder.build()
    assert [match.row for match in index.matches(landmarks(voice(1, 2.0)))] == [1]
    assert index.matches(empty) == []
    assert Builder().build().matches(landmarks(voice(1, 2.0))) == []


@pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no real speech at {DATA}")
def test_real_speech() -> None:
    """Small form of benchmarks/fingerprint_recall.py: 30 sentences, each changed in two ways."""
    waves = [wave for wave in bench.read(DATA / "cv_lid10", every=30) if len(wave) > 24_000][:30]
    prints = [landmarks(wave) for wave in waves]
    index = bench.indexed(prints)
    assert all(
        [match.row for match in index.matches(each)] == [row] for row, each in enumerate(prints)
    )
    for change in ("shifted, -10 dB, opus", "middle half"):
        heard = [
            row in {match.row for match in index.matches(landmarks(bench.VARIANTS[change](wave)))}
            for row, wave in enumerate(waves)
        ]
        assert sum(heard) >= 0.95 * len(waves), change
