"""Clipped are peaks that were cut off, not loud ones; headers tell what decoding tells."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.corpora.base import Reason, Skipped, Utterance
from harness_bench.corpora.check import Checked, Limits, check, check_header, clipped
from tests.corpora.conftest import MixedCorpus


@given(levels=st.lists(st.sampled_from([0.0, 0.9, -0.5, 1.0, -1.0, 0.9995]), max_size=40))
def test_runs_of_three_at_full_scale_count(levels: list[float]) -> None:
    """Against the words of the rule, sample by sample."""
    expected, run = 0, 0
    for level in [*levels, 0.0]:
        if abs(level) >= 0.999:
            run += 1
            continue
        expected += run if run >= 3 else 0
        run = 0
    assert clipped(np.array(levels, dtype=np.float32)) == expected


@pytest.mark.parametrize(("gain", "share"), [(0.99, 0.0), (1.5, 0.53)])
def test_a_sine_too_loud_is_clipped(tmp_path: Path, gain: float, share: float) -> None:
    """A sine of 1.5 of full scale stays at it for 2/pi acos(1/1.5) = 53 % of its time."""
    wave = np.clip(gain * np.sin(2 * np.pi * 100 * np.arange(16_000) / 16_000), -1, 1)
    soundfile.write(tmp_path / "a.wav", wave, 16_000)
    found = check(Utterance("a", tmp_path / "a.wav"), Limits())
    assert isinstance(found, Checked)
    assert found.clipped / found.samples == pytest.approx(share, abs=0.01)


def test_a_wav_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    """Libsndfile reads what is there without a word; the transcript speaks of more."""
    whole, half = tmp_path / "whole.wav", tmp_path / "half.wav"
    soundfile.write(whole, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert isinstance(check(Utterance("a", whole), Limits()), Checked)
    left_out = check(Utterance("a", half), Limits())
    assert isinstance(left_out, Skipped)
    assert (left_out.reason, left_out.detail[:7]) == (Reason.UNREADABLE, "cut off")
    # A segment of the part that is there is whole.
    assert isinstance(check(Utterance("a", half, duration=1.0), Limits()), Checked)


def test_headers_and_decoding_agree_where_headers_can_tell(mixed_corpus: MixedCorpus) -> None:
    """What is kept must be the same stretch of audio; what needs samples stays unseen."""
    limits = Limits(max_duration=4.0)
    unseen = {"silent", "NaN or infinite samples", "unreadable audio"}
    for path in sorted(mixed_corpus.root.iterdir()):
        item = Utterance(path.stem, path, start=0.02)
        slow, fast = check(item, limits), check_header(item, limits)
        if isinstance(slow, Checked):
            assert isinstance(fast, Checked)
            assert (fast.samples, fast.sampling_rate, fast.channels) == (
                slow.samples, slow.sampling_rate, slow.channels,
            )  # fmt: skip
        elif isinstance(fast, Skipped) and path.suffix != ".tsv":
            # A file of 0 bytes has no header either.
            assert slow.reason in (fast.reason, Reason.EMPTY)
        else:
            assert str(slow.reason) in unseen
