"""Sources must give every utterance, to every number of ranks, in an order that can be repeated."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.cuts.fields import language_of, spoken, with_custom
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.data.epoch import repeated, repetitions
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from lhotse.cut import Cut


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    """Twelve utterances: the first three are English, the rest Arabic."""
    made = make_cuts(tmp_path_factory.mktemp("audio"), [16_000 + 800 * n for n in range(12)])
    return [spoken(cut, "en" if n < 3 else "ar") for n, cut in enumerate(made)]


def test_order_of_the_list_changes_nothing(cuts: list[Cut]) -> None:
    """The same corpus listed otherwise must give the same run."""
    one, other = CutList(cuts), CutList(cuts[::-1])
    assert one.digest == other.digest
    assert [c.id for c in one.epoch(0, 1, 0, 1)] == [c.id for c in other.epoch(0, 1, 0, 1)]


def test_other_audio_under_the_same_ids_is_another_corpus(cuts: list[Cut]) -> None:
    """Labels of recordings that were replaced since must not be used again."""
    one, other = (
        [with_custom(cut, audio_digest=digest) for cut in cuts] for digest in ("before", "after")
    )
    assert CutList(one).digest != CutList(other).digest


def test_epochs_are_whole_and_differ(cuts: list[Cut]) -> None:
    source = CutList(cuts)
    orders = [[cut.id for cut in source.epoch(0, epoch, 0, 1)] for epoch in range(3)]
    assert all(sorted(order) == sorted(cut.id for cut in cuts) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_ranks_part_a_subset(cuts: list[Cut]) -> None:
    """k-means over two ranks must see each utterance once."""
    source = CutList(cuts)
    hours = source.hours / 2
    whole = {cut.id for cut in source.subset(hours, 0, 0, 1)}
    shares = [{cut.id for cut in source.subset(hours, 0, rank, 2)} for rank in (0, 1)]
    assert shares[0] | shares[1] == whole
    assert not shares[0] & shares[1]


def test_a_language_said_already_stays(cuts: list[Cut]) -> None:
    """A source's language is for utterances that do not say their own."""
    assert language_of(spoken(cuts[0], "fr")) == "en"


@given(
    hours=st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 1000), min_size=1), data=st.data()
)
def test_shares_come_out(hours: dict[str, float], data: st.DataObject) -> None:
    """Repeated audio has the weights' proportions, and nothing is heard less than once."""
    shares = {name: data.draw(st.floats(0.01, 10)) for name in hours}
    factors = repetitions(shares, hours)
    assert min(factors.values()) == pytest.approx(1)
    heard = {name: hours[name] * factors[name] / shares[name] for name in hours}
    assert max(heard.values()) == pytest.approx(min(heard.values()))


def test_an_epoch_holds_the_shares(cuts: list[Cut]) -> None:
    """Over some epochs the rarer language fills its half; within one, counts are as drawn."""
    source = CutList(cuts)
    hours = source.hours_by_language()
    factors = repetitions({"ar": 1.0, "en": 1.0}, hours)
    heard: Counter[str] = Counter()
    for epoch in range(60):
        for cut in repeated(partial(source.epoch, 0, epoch, 0, 1), factors, 0, epoch):
            heard[language_of(cut)] += cut.duration
    assert heard["en"] / heard["ar"] == pytest.approx(1, abs=0.05)
    first = [cut.id for cut in repeated(partial(source.epoch, 0, 0, 0, 1), factors, 0, 0)]
    assert len(first) == len(set(first))
    assert {cut.id for cut in cuts} <= set(first)


def test_a_language_without_weight_is_refused(cuts: list[Cut]) -> None:
    """A forgotten language would else be heard as it is, or not at all."""
    with pytest.raises(ValueError, match="speaks of ar, but the audio is in ar, en"):
        repetitions({"ar": 1.0}, CutList(cuts).hours_by_language())
