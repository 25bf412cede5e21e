"""Windows: what a batch hears of an utterance."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import MonoCut, SupervisionSegment
from lhotse.cut import Cut

from harness_bench.audio.io import load_waveform
from harness_bench.pretrain.config import AugmentConfig
from harness_bench.pretrain.data.windows import draw_windows
from tests.pretrain.conftest import small_step
from tests.pretrain.labels.conftest import make_cuts

CONFIG = small_step().pretrain
SPEEDS = replace(CONFIG, augment=AugmentConfig(speed=(0.9, 1.0, 1.1)))


def test_windows_move_between_epochs(cuts: list[Cut]) -> None:
    """A long utterance must not show its first seconds for ever."""
    longest = max(cuts, key=lambda cut: cut.duration)
    starts = {draw_windows(longest, CONFIG, epoch)[0].first for epoch in range(8)}
    assert len(starts) > 3


def test_a_faster_window_still_fits(cuts: list[Cut]) -> None:
    """Changed audio keeps to max_sample_size, or batches would outgrow the memory."""
    factors = set()
    for cut, epoch in itertools.product(cuts, range(4)):
        for window in draw_windows(cut, SPEEDS, epoch):
            factors.add(window.factor)
            wave = load_waveform(window.applied(cut))
            assert len(wave) <= SPEEDS.max_sample_size
            assert len(wave) / 16_000 == pytest.approx(window.duration, abs=1e-3)
    assert factors == {0.9, 1.0, 1.1}


@given(st.integers(400, 2_000_000), st.sampled_from([CONFIG, SPEEDS]), st.integers(0, 50))
def test_a_recording_is_heard_but_for_less_than_a_window(
    samples: int, config: object, epoch: int
) -> None:
    """Whatever its length: windows follow each other on frames, within it, none over another."""
    assert isinstance(config, type(CONFIG))
    said = SupervisionSegment("u", "u", 0.0, samples / 16_000)
    cut = MonoCut("u", 0.0, samples / 16_000, channel=0, supervisions=[said])
    found = draw_windows(cut, config, epoch)
    assert len({window.id for window in found}) == len(found)
    if found[0].samples is None:
        assert len(found) == 1
        return
    spans = [(320 * window.first, 320 * window.first + window.samples) for window in found
             if window.samples is not None]  # fmt: skip
    assert spans[0][0] >= 0
    assert spans[-1][1] <= samples
    gaps = [after - end for (_, end), (after, _) in itertools.pairwise(spans)]
    assert all(0 <= gap < 320 for gap in gaps)
    heard = sum(end - start for start, end in spans)
    assert samples - heard < spans[0][1] - spans[0][0] + 320 * len(spans)


def test_windows_of_an_hour_are_its_audio(tmp_path: Path) -> None:
    """Read window by window, a long recording is what it is as a whole."""
    (cut,) = make_cuts(tmp_path, [24_000 * 9 + 5_000])
    whole, found = load_waveform(cut), draw_windows(cut, CONFIG, 2)
    assert len(found) == 9
    for window in found:
        part = whole[320 * window.first :][: window.samples]
        np.testing.assert_array_equal(load_waveform(window.applied(cut)), part)
