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
    assert (left_out.reason, left_out.detail[:7]) == (Reason.CUT_OFF, "cut off")
    # A segment of the part that is there is whole.
    assert isinstance(check(Utterance("a", half, duration=1.0), Limits()), Checked)


def test_headers_and_decoding_agree_where_headers_can_tell(mixed_corpus: MixedCorpus) -> None:
    """What is kept must be the same stretch of audio; what needs samples stays unseen."""
    limits = Limits(max_duration=4.0)
    unseen = {Reason.SILENT, Reason.NOT_FINITE, Reason.CUT_OFF, Reason.CANCELS, Reason.UNREADABLE}
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
            assert slow.reason in unseen


RATES = st.sampled_from([8_000, 11_025, 16_000, 44_100])


@given(rate=RATES, start=st.floats(0, 1.2), length=st.floats(0.2, 2), data=st.data())
def test_a_segment_has_its_whole_length_or_is_a_fault(
    tmp_path_factory: pytest.TempPathFactory,
    rate: int,
    start: float,
    length: float,
    data: st.DataObject,
) -> None:
    """A second of audio; up to 10 ms behind its end are forgiven, and nothing more."""
    path = tmp_path_factory.getbasetemp() / f"second_{rate}.wav"
    if not path.is_file():
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, rate), rate)
    if data.draw(st.booleans()):
        length = max(1 + data.draw(st.floats(-0.02, 0.02)) - start, 0.1)  # near the end
    item = Utterance("a", path, start=start, duration=length)
    missing = round(start * rate) + round(length * rate) - rate
    for found in (check(item, Limits()), check_header(item, Limits())):
        if missing > 0.01 * rate or start >= 1:
            assert isinstance(found, Skipped)
            assert (found.reason, found.seconds) == (Reason.OUTSIDE, length)
        elif isinstance(found, Checked):
            assert found.samples == round(length * rate) - max(missing, 0)
        else:  # what is left of it is short
            assert found.reason == Reason.TOO_SHORT


def test_a_segment_behind_a_cut_says_that_its_recording_was_cut_off(tmp_path: Path) -> None:
    """What is in the part that is there is fit; of the rest one reads why it is not."""
    whole, half = tmp_path / "whole.wav", tmp_path / "half.wav"
    soundfile.write(whole, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for judge in (check, check_header):
        assert isinstance(judge(Utterance("a", half, duration=1.4), Limits()), Checked)
        left_out = judge(Utterance("a", half, start=1.0, duration=1.0), Limits())
        assert isinstance(left_out, Skipped)
        assert left_out.reason == Reason.OUTSIDE
        for told in ("2.00 s", "1.50 s", "0.50 of its 1.00 s", "cut off"):
            assert told in left_out.detail


def sine(phase: float = 0.0, hertz: float = 200.0) -> np.ndarray:
    """One second of a tone at 16 kHz."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000 + phase)


ZEROS = np.zeros(16_000)


@pytest.mark.parametrize(
    ("channels", "reason"),
    [
        ([sine(), -sine()], Reason.CANCELS),
        ([sine(), -0.9 * sine()], Reason.CANCELS),
        ([sine(), -sine() + 0.2], Reason.CANCELS),  # a constant offset is no sound
        ([sine(), ZEROS], None),
        ([sine(), *[ZEROS] * 7], None),
        ([sine(), sine(np.pi / 2)], None),
        ([sine(), sine(hertz=310.0)], None),
        ([1e-5 * sine(), -1e-5 * sine()], Reason.SILENT),
        ([ZEROS, ZEROS], Reason.SILENT),
        ([32_768 * sine()], Reason.SCALE),
        ([10 * sine()], None),  # float audio may be too loud
        ([sine() / 32_768], Reason.SILENT),
    ],
)
def test_levels_that_no_recording_has_are_named(
    channels: list[np.ndarray], reason: Reason | None, tmp_path: Path
) -> None:
    """Stereo whose second channel has the opposite sign is silence once it is averaged."""
    soundfile.write(tmp_path / "a.wav", np.stack(channels, axis=1), 16_000, subtype="FLOAT")
    found = check(Utterance("a", tmp_path / "a.wav"), Limits())
    assert (found.reason if isinstance(found, Skipped) else None) == reason


def test_a_header_is_compared_with_the_stated_length(tmp_path: Path) -> None:
    """No sample is needed to see that a file has another length than the corpus says."""
    soundfile.write(tmp_path / "a.wav", sine(), 16_000)
    for stated, fits in ((1.05, True), (2.0, False)):
        found = check_header(Utterance("a", tmp_path / "a.wav", stated_duration=stated), Limits())
        assert isinstance(found, Checked) == fits
