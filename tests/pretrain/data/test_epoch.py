"""An epoch: languages in their shares, crops and speeds, and what is too short."""

import itertools
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse.cut import Cut

from harness_bench.audio.io import load_waveform
from harness_bench.cuts.fields import language_of, spoken
from harness_bench.pretrain.config import AugmentConfig
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.data.epoch import (
    FACTOR_FIELD,
    EpochCuts,
    crop,
    repeated,
    repetitions,
    vary,
)
from tests.pretrain.conftest import small_step
from tests.pretrain.labels.conftest import make_cuts

CONFIG = small_step().pretrain


@given(
    hours=st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 1000), min_size=1), data=st.data()
)
def test_shares_come_out(hours: dict[str, float], data: st.DataObject) -> None:
    """Repeated audio has the weights' proportions, and nothing is heard less than once."""
    shares = {name: data.draw(st.floats(0.01, 10)) for name in hours}
    factors = repetitions(shares, hours)
    assert min(factors.values()) == pytest.approx(1)
    heard = [hours[name] * factors[name] / shares[name] for name in hours]
    assert max(heard) == pytest.approx(min(heard))


def test_an_epoch_holds_the_shares(cuts: list[Cut]) -> None:
    """Over some epochs the rarer language fills its half; within one, counts are as drawn."""
    source = CutList([spoken(cut, "en" if n < 3 else "ar") for n, cut in enumerate(cuts)])
    factors = repetitions({"ar": 1.0, "en": 1.0}, source.hours_by_language())
    epochs = [
        list(repeated(partial(source.epoch, 0, epoch, 0, 1), factors, 0, epoch))
        for epoch in range(60)
    ]
    heard: Counter[str] = Counter()
    for cut in itertools.chain(*epochs):
        heard[language_of(cut)] += cut.duration
    assert heard["en"] / heard["ar"] == pytest.approx(1, abs=0.05)
    first = [cut.id for cut in epochs[0]]
    assert len(first) == len(set(first))
    assert {cut.id for cut in cuts} <= set(first)
    with pytest.raises(ValueError, match="speaks of ar, but the audio is in ar, en"):
        repetitions({"ar": 1.0}, source.hours_by_language())


def test_crops_move_between_epochs(cuts: list[Cut]) -> None:
    """A long utterance must not show its first seconds for ever."""
    longest = max(cuts, key=lambda cut: cut.duration)
    starts = {crop(longest, CONFIG.max_sample_size, 0, epoch).start for epoch in range(8)}
    assert len(starts) > 3


def test_too_short_utterances_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below one frame nothing can be learned; the user hears of it once."""
    source = CutList(make_cuts(tmp_path, [399, 400, 4_000]))
    for epoch in (0, 1):
        kept = {cut.id for cut in EpochCuts(source, CONFIG, epoch, 0, 1)}
        assert kept == {"utt001", "utt002"}
    assert capsys.readouterr().err.count("1 utterances are shorter than min_sample_size") == 1


def test_a_faster_crop_still_fits_and_remembers_its_frames(cuts: list[Cut]) -> None:
    """Changed audio keeps to max_sample_size, or batches would outgrow the memory."""
    config = replace(CONFIG, augment=AugmentConfig(speed=(0.9, 1.0, 1.1)))
    factors = set()
    for cut, epoch in itertools.product(cuts, range(4)):
        changed = vary(cut, config, epoch)
        factors.add((changed.custom or {}).get(FACTOR_FIELD, 1.0))
        assert len(load_waveform(changed)) <= config.max_sample_size
    assert factors == {0.9, 1.0, 1.1}
