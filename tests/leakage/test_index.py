"""The index finds changed copies, at other speeds too, and nothing else."""

import functools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks import fingerprint_recall as bench
from egs.audit.planted import voice
from harness_bench.leakage import index as module
from harness_bench.leakage.index import Builder, Index, grid, speed_range
from harness_bench.leakage.landmarks import Landmarks, fingerprint

DATA = Path(__file__).parents[3] / "shared" / "data"
SECONDS = 4.0
RATE = 16_000
GRID = bench.GRID
WHOLE = voice(2, SECONDS)


@functools.cache
def eight() -> Index:
    """Return the index of eight voices."""
    return bench.indexed([fingerprint(voice(seed, SECONDS)) for seed in range(8)])


def index_of(*found: Landmarks) -> Index:
    builder = Builder()
    for each in found:
        builder.add(each)
    return builder.build()


@pytest.mark.parametrize("change", bench.VARIANTS)
def test_every_change_is_seen_through(change: str) -> None:
    for seed in (0, 5):
        sound = fingerprint(bench.VARIANTS[change](voice(seed, SECONDS)))
        (match,) = eight().matches(sound, GRID)
        told = re.search(r"speed ([\d.]+)", change)
        assert match.row == seed
        assert match.speed == pytest.approx(float(told[1]) if told else 1.0, abs=0.006)


def test_other_speeds_are_heard_only_where_asked_for() -> None:
    sound = fingerprint(bench.faster(1.05, voice(0, SECONDS)))
    assert eight().matches(sound) == eight().matches(sound, grid(0.98, 1.02)) == []
    assert len(eight().matches(sound, grid(0.95, 1.05))) == 1


def test_other_speech_is_not_found() -> None:
    """At no speed: more chances are taken, and more must agree."""
    for seed in range(100, 115):
        assert eight().matches(fingerprint(voice(seed, SECONDS)), GRID) == []


@settings(max_examples=15, deadline=None)
@given(first=st.integers(0, 30_000), length=st.integers(32_000, 34_000))
@example(first=183, length=32_512)  # its votes lie in two frames, most of them in the later one
def test_a_part_is_found_at_its_place(first: int, length: int) -> None:
    """Where the sound stands tells a reader what to listen to."""
    part = WHOLE[first : first + length]
    (match,) = eight().matches(fingerprint(part), GRID)
    assert match.row == 2
    assert match.speed == pytest.approx(1.0, abs=0.005)
    assert match.offset == pytest.approx(-first / RATE, abs=0.02)
    assert match.seconds <= length / RATE


# No random ones: of 2.25 s of made-up voice one in some 150 is not found.
@pytest.mark.parametrize("first", [56, 4_712, 15_000])
@pytest.mark.parametrize("speed", [0.9, 0.935, 0.963, 0.985, 1.0068, 1.025, 1.055, 1.1])
def test_a_part_is_found_at_another_speed(speed: float, first: int) -> None:
    """Whichever of the two was changed, and with its place in the time of the index."""
    copy = bench.faster(speed, WHOLE[first : first + 36_000])
    speed = round(RATE * speed) / RATE
    (match,) = eight().matches(fingerprint(copy), GRID)
    assert match.row == 2
    near = 0.008  # the grid's step is 0.01
    assert match.speed == pytest.approx(speed, rel=near)
    assert match.offset == pytest.approx(-first / RATE, abs=0.05)
    (back,) = bench.indexed([fingerprint(copy)]).matches(fingerprint(WHOLE), GRID)
    assert back.speed == pytest.approx(1 / speed, rel=near)


def test_a_clip_is_found_in_a_long_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is searched part by part, and speed by speed where much is found."""
    monkeypatch.setattr(module, "_PART", 200)
    monkeypatch.setattr(module, "_NEXT_PART", 120)
    monkeypatch.setattr(module, "_LOOKED_UP", 500)
    long = np.concatenate([voice(seed, SECONDS) for seed in range(20, 26)])
    start = 13 * RATE
    clip = bench.faster(1.08, long[start : start + 3 * RATE])
    index = bench.indexed([fingerprint(voice(1, 3.0)), fingerprint(clip)])
    (match,) = index.matches(fingerprint(long), GRID)
    assert match.row == 1
    assert match.speed == pytest.approx(1 / 1.08, abs=0.005)
    assert match.offset == pytest.approx(13 / 1.08, abs=0.1)  # in the time of the clip


def test_the_thresholds_count() -> None:
    """All votes there are find an utterance; one more does not."""
    query = fingerprint(voice(4, SECONDS)).landmarks()
    (match,) = eight().agreeing(query)
    assert eight().agreeing(query, votes=match.votes, share=0)
    assert not eight().agreeing(query, votes=match.votes + 1, share=0)
    assert not eight().agreeing(query, seconds=match.seconds + 0.1)
    assert not eight().agreeing(query, share=1.0)


def test_one_instant_is_no_sound() -> None:
    """A click or a tone agrees with every other, all at one moment."""
    hashes = np.arange(50, dtype=np.uint32)
    click = Landmarks(hashes, np.full(50, 10, dtype=np.int32), 200)
    assert index_of(click).agreeing(click) == []


def test_votes_of_neighbouring_offsets_count_together() -> None:
    """A shift of half a frame moves one half of the landmarks by one frame, the others not."""
    hashes, frames = np.arange(16, dtype=np.uint32), np.arange(0, 160, 10, dtype=np.int32)
    shifted = Landmarks(hashes, frames + (hashes % 2).astype(np.int32), 200)
    (match,) = index_of(Landmarks(hashes, frames, 200)).agreeing(shifted)
    assert (match.row, match.votes) == (0, 16)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=60),
    st.integers(2, 6),
)
def test_no_place_of_enough_votes_is_passed_over(given_: list[tuple[int, int]], least: int) -> None:
    """The table that spares the sorting may let more through, never less."""
    keys = np.array([(row << 24) + offset for row, offset in given_], dtype=np.int64)
    every, kept = (
        dict(zip(*(part.tolist() for part in module._counted(some)), strict=True))
        for some in (keys, keys[module._crowded(keys, least)])
    )
    assert all(kept[key] == votes for key, votes in every.items() if votes >= least)


def test_empty_fingerprints_keep_their_number() -> None:
    """Silence, and audio that could not be read, must not shift the utterances behind them."""
    empty, sound = fingerprint(np.zeros(0, dtype=np.float32)), fingerprint(voice(1, 2.0))
    index = bench.indexed([empty, sound])
    assert [match.row for match in index.matches(sound, GRID)] == [1]
    assert index.matches(empty, GRID) == []
    assert bench.indexed([]).matches(sound, GRID) == []


def test_speeds_are_a_range_around_one() -> None:
    assert speed_range("none") is None
    assert speed_range("0.9-1.1") == module.SPEEDS == (0.9, 1.1)
    for bad in ("", "0.9", "1.1-1.2", "1.1-0.9", "0.1-1.1", "0.9-3", "nan-1.1", "a-b"):
        with pytest.raises(ValueError, match=r"0\.9-1\.1, or none"):
            speed_range(bad)


def test_either_of_two_may_be_the_copy() -> None:
    """The original beside a copy at 0.9 stands at 1.11."""
    tried = grid(0.9, 1.1)
    for speed in (0.9, 1 / 0.9, 1.1, 1 / 1.1):
        assert np.abs(tried / speed - 1).min() < 0.006


@pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no real speech at {DATA}")
def test_real_speech() -> None:
    """Small form of benchmarks/fingerprint_recall.py: 15 sentences, each changed in some ways."""
    waves = [wave for wave in bench.read(DATA / "cv_lid10", every=60) if len(wave) > 24_000][:15]
    prints = [fingerprint(wave) for wave in waves]
    index = bench.indexed(prints)
    assert all(
        [match.row for match in index.matches(each, GRID)] == [row]
        for row, each in enumerate(prints)
    )
    for change in ("shifted, -10 dB, opus", "middle half", "speed 0.9", "speed 1.1, mp3"):
        heard = [
            row in {m.row for m in index.matches(fingerprint(bench.VARIANTS[change](wave)), GRID)}
            for row, wave in enumerate(waves)
        ]
        assert sum(heard) >= len(waves) - 1, change


def test_a_sound_that_many_share_is_found_in_all() -> None:
    """The coarse search sees few utterances of each landmark; a jingle must not hide behind it."""
    jingle = voice(50, 2.0)
    programmes = [np.concatenate([jingle, WHOLE[n * 6_000 :][:16_000]]) for n in range(6)]
    index = bench.indexed([fingerprint(each) for each in programmes])._replace(few=2)
    found = index.matches(fingerprint(bench.faster(1.05, jingle)), GRID)
    assert [match.row for match in found] == [*range(6)]


def test_speeds_far_from_one_are_told_right() -> None:
    """With 151 speeds the number of one reaches the sign of a key."""
    sound = fingerprint(bench.faster(1.9, voice(2, SECONDS)))
    (match,) = eight().matches(sound, grid(0.5, 2.0))
    assert match.row == 2
    assert match.speed == pytest.approx(1.9, abs=0.006)
