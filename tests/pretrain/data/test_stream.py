"""The stream of batches: every utterance once an epoch, shares at any moment, resumed at once."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut, SupervisionSegment
from lhotse.cut import Cut
from numpy.typing import NDArray

from harness_bench.cuts.fields import language_of
from harness_bench.cuts.shar import open_shards, write_shards
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.data import stream as module
from harness_bench.pretrain.data.cut_source import CutList, ShardedCuts
from harness_bench.pretrain.data.stream import AudioStream, Position
from harness_bench.pretrain.data.windows import Window
from tests.pretrain.conftest import small_step
from tests.pretrain.labels.conftest import make_cuts

CONFIG = PretrainConfig(max_update=10, max_seconds=60.0, max_sample_size=250_000)


def silent(seconds: NDArray[np.float64], language: str = "ar") -> list[Cut]:
    """Make cuts whose audio nobody reads."""
    return [
        MonoCut(
            f"{language}{number:05d}", 0.0, float(each), channel=0,
            supervisions=[
                SupervisionSegment(
                    f"{language}{number:05d}", "r", 0.0, float(each), language=language
                )
            ],
        )
        for number, each in enumerate(seconds)
    ]  # fmt: skip


def lengths(count: int, mean: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).gamma(4, mean / 4, size=count).clip(1, 15).round(3)


def run(stream: AudioStream, batches: int, start: Position | None = None) -> list[list[Window]]:
    """Return so many batches."""
    position = start or stream.start()
    found: list[list[Window]] = []
    while len(found) < batches:
        block = stream.block(position)
        found += block.batches
        position = block.after
    return found[:batches]


def names(batches: list[list[Window]]) -> list[str]:
    return [window.utterance for batch in batches for window in batch]


@given(
    count=st.integers(1, 60), ranks=st.integers(1, 5), seed=st.integers(0, 9),
    block=st.sampled_from([2, 5, 400]),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_all_ranks_hear_every_utterance_once_an_epoch(
    count: int, ranks: int, seed: int, block: int
) -> None:
    """Whatever the sizes; batches keep to their limit, padding included."""
    config = replace(CONFIG, seed=seed, max_seconds=20.0)
    source = CutList(silent(lengths(count, 4.0, seed)))
    heard: Counter[tuple[int, str]] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BATCHES", block)
        for rank in range(ranks):
            stream = AudioStream(source, config, rank, ranks)
            position = stream.start()
            while position.pools[0].unit < 2 * count:
                made = stream.block(position)
                for batch in made.batches:
                    longest = max(window.duration for window in batch)
                    assert longest * len(batch) <= 20.0
                    heard.update((window.epoch, window.utterance) for window in batch)
                position = made.after
    expected = {(epoch, str(cut.id)) for epoch in (0, 1) for cut in source.cuts}
    assert {key for key in heard if key[0] < 2} == expected
    assert set(heard.values()) == {1}


def shares(batches: list[list[Window]], width: int) -> NDArray[np.float64]:
    """Return the share of English in every stretch of so many batches."""
    english = [sum(w.duration for w in b if language_of(w.cut) == "en") for b in batches]
    total = [sum(w.duration for w in b) for b in batches]
    ends = [np.concatenate([[0.0], np.cumsum(each)]) for each in (english, total)]
    part, whole = (each[width:] - each[:-width] for each in ends)
    return np.asarray(part / whole)


@pytest.mark.parametrize("mean", [6.0, 3.0])
def test_shares_hold_in_every_stretch(mean: float) -> None:
    """A language of a ninth of the audio and its half of the weight, of like or other durations."""
    cuts = silent(lengths(9000, 6.0), "ar") + silent(lengths(round(6000 / mean), mean, 1), "en")
    config = replace(CONFIG, balance={"ar": 0.5, "en": 0.5})
    batches = run(AudioStream(CutList(cuts), config, 0, 1), 2400)
    found = shares(batches, 200)
    assert abs(found - 0.5).max() < 0.01, "the goal is 0.05"
    rare = Counter(name for name in names(batches) if name.startswith("en"))
    assert max(rare.values()) - min(rare.values()) <= 2, "it is read anew as a whole"
    common = [name for name in names(batches) if name.startswith("ar")]
    first = len(common) // 2
    assert len(set(common[:first])) == len(common[:first]) < 9000, "the other is not"
    for batch in batches:
        assert len({window.utterance for window in batch}) == len(batch)


def test_sources_share_a_language() -> None:
    """Weights of sources part what the language has."""
    cuts = {name: silent(lengths(count, 5.0)) for name, count in (("a", 300), ("b", 900))}
    both = [*cuts["a"], *(replace_id(cut) for cut in cuts["b"])]
    origin = {str(cut.id): "b" if str(cut.id).startswith("b") else "a" for cut in both}
    source = CutList([*both, *silent(lengths(600, 5.0), "en")], {**origin, **english(600)},
                     {"a": 3.0, "b": 1.0, "c": 7.0})  # fmt: skip
    pools = {pool.name: pool.share for pool in source.pools({"ar": 1.0, "en": 1.0})}
    assert pools == pytest.approx({"ar a": 0.375, "ar b": 0.125, "en c": 0.5})
    assert sum(pool.share for pool in source.pools(None)) == pytest.approx(1)
    plain = CutList(both, origin)
    assert len(plain.pools(None)) == 1
    assert plain.digest != CutList(both, origin, {"a": 3.0, "b": 1.0}).digest
    assert plain.digest == CutList(both).digest


def english(count: int) -> dict[str, str]:
    return {f"en{number:05d}": "c" for number in range(count)}


def replace_id(cut: Cut) -> Cut:
    changed = cut.with_id(f"b{cut.id}")
    changed.supervisions[0].id = changed.id
    return changed


def test_weights_that_do_not_fit_are_refused() -> None:
    source = CutList(silent(lengths(9, 5.0)) + silent(lengths(9, 5.0), "en"))
    with pytest.raises(ValueError, match="names ar, but the audio is in ar, en"):
        AudioStream(source, replace(CONFIG, balance={"ar": 1.0}), 0, 1)


def test_ranks_wait_little_for_each_other() -> None:
    """Batches of one update are of like durations on all ranks."""
    source = CutList(silent(lengths(20_000, 6.0)))
    longest = [
        [max(w.duration for w in batch) for batch in run(AudioStream(source, CONFIG, rank, 4), 450)]
        for rank in range(4)
    ]
    apart = np.ptp(np.array(longest)[:, :350], axis=0)
    assert np.median(apart) < 0.5
    rng = np.random.default_rng(0)
    drawn = np.ptp([rng.permutation(row) for row in longest], axis=0)
    assert np.median(apart) < np.median(drawn) / 4


def test_a_position_says_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that begins at a position goes on as the one that came there."""
    monkeypatch.setattr(module, "BLOCK_BATCHES", 6)
    cuts = silent(lengths(400, 6.0)) + silent(lengths(40, 3.0), "en")
    for balance in (None, {"ar": 1.0, "en": 1.0}):
        config = replace(CONFIG, balance=balance)
        stream = AudioStream(CutList(cuts), config, 1, 3)
        position = stream.start()
        for _ in range(40):
            position = stream.block(position).after
        numbers = Position.of(position._replace(taken=2).numbers())
        assert numbers == position._replace(taken=2)
        again = AudioStream(CutList(cuts[::-1]), config, 1, 3)
        assert names(run(again, 30, position)) == names(run(stream, 30, position))


def test_other_ranks_go_on_at_the_blocks_of_the_former() -> None:
    """Between blocks nothing is heard twice before all is heard, and hardly anything is passed."""
    source = CutList(silent(lengths(3000, 6.0)))
    streams = [AudioStream(source, CONFIG, rank, 2) for rank in (0, 1)]
    blocks = [stream.block(stream.start()) for stream in streams]
    begun = names([batch for block in blocks for batch in block.batches])
    moved = [AudioStream(source, CONFIG, rank, 3) for rank in range(3)]
    starts = [stream.moved([block.after for block in blocks]) for stream in moved]
    rest = [
        window.utterance
        for stream, start in zip(moved, starts, strict=True)
        for batch in stream.block(start).batches for window in batch if window.epoch == 0
    ]  # fmt: skip
    assert not set(begun) & set(rest)
    assert len(begun) + len(rest) >= 3000 - 20


def test_shards_are_read_by_language(tmp_path: Path) -> None:
    """A scarce language is read again without the other, out of shards that hold both."""
    made = make_cuts(tmp_path / "audio", [8_000 + 900 * n for n in range(20)])
    for number, cut in enumerate(made):
        cut.supervisions[0].language = "en" if number < 4 else "ar"
    write_shards(made, tmp_path / "shar", shard_cuts=4)
    source = ShardedCuts(open_shards(tmp_path / "shar"))
    config = replace(small_step().pretrain, balance={"ar": 1.0, "en": 1.0})
    for ranks in (1, 7):  # more ranks than shards, too
        batches = run(AudioStream(source, config, 0, ranks), 30)
        heard: Counter[str] = Counter()
        for batch in batches:
            for window in batch:
                heard[language_of(window.cut)] += round(1000 * window.duration)
                assert source.read(window).id == window.cut.id
        assert heard["en"] / heard["ar"] == pytest.approx(1, abs=0.1)


def test_a_torn_shard_is_passed_and_told(tmp_path: Path) -> None:
    """It is a part of what `max_skipped` allows; all torn is an error."""
    made = make_cuts(tmp_path / "audio", [9_000] * 12)
    write_shards(made, tmp_path / "shar", shard_cuts=4)
    shards = open_shards(tmp_path / "shar")
    (tmp_path / "shar" / "cuts.000001.jsonl.gz").write_bytes(b"\x1f\x8b")
    stream = AudioStream(ShardedCuts(shards), small_step().pretrain, 0, 1)
    block = stream.block(stream.start())
    assert len(names(block.batches)) == 8
    assert len([each for each in block.skipped if "cuts.000001" in each.reason]) == 4
    torn = AudioStream(ShardedCuts(shards[1:2]), small_step().pretrain, 0, 1)
    with pytest.raises(ValueError, match="There is no batch"):
        torn.block(torn.start())


def test_an_hour_is_heard_whole() -> None:
    """As windows in batches of others, in every epoch."""
    cuts = silent(np.array([3600.0, *lengths(300, 6.0)]))
    stream = AudioStream(CutList(cuts), CONFIG, 0, 1)
    block = stream.block(stream.start())
    heard = sum(w.duration for b in block.batches for w in b if w.utterance == "ar00000")
    assert heard == pytest.approx(3600, abs=20)
    mixed = [len({w.utterance for w in batch}) for batch in block.batches]
    assert min(mixed) >= 1
    assert all(len({w.utterance for w in batch}) == len(batch) for batch in block.batches)
