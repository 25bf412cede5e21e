"""Splits of ours: whoever has the corpus must get the same list, and a fair one."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness_bench.core.files import read_json
from harness_bench.corpora.splits import (
    Item,
    SplitRule,
    choose,
    disjoint,
    draw,
    milliseconds,
    write_split,
)
from harness_bench.leakage.held_out import read_exclusions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SHARES = {"train": 330, "dev": 83, "test": 100}
HOUR = 3_600_000  # ms
LENGTHS = st.integers(0, 20_000)
# Lengths and programmes of broadcasts.
ROWS = st.lists(st.tuples(st.integers(100, 30_000), st.integers(0, 12)), min_size=60, max_size=150)
KINDS = st.tuples(st.sampled_from(["joy", "anger"]), st.sampled_from(["male", "female"]))


@st.composite
def corpora(draw_: st.DrawFn, groups: int = 9) -> list[Item]:
    """Draw utterances of at least three speakers."""
    each = st.tuples(LENGTHS, KINDS, st.integers(0, groups - 1))
    rows = draw_(st.lists(each, min_size=3, max_size=60))
    return [
        Item(f"u{number:03d}", length, kinds, f"s{number if number < 3 else group}")
        for number, (length, kinds, group) in enumerate(rows)
    ]


def weight(item: Item) -> int:
    return max(1, item.milliseconds)


def hours(items: list[Item], split_of: dict[str, str]) -> Counter[str]:
    """Return ms of each split."""
    sums: Counter[str] = Counter()
    for item in items:
        sums[split_of[item.id]] += weight(item)
    return sums


def cost(items: list[Item], dealt: Iterable[dict[str, str]]) -> list[int]:
    """Cost of dealings (group -> split) by the words of `disjoint`, in Python's whole numbers."""
    parts = sum(SHARES.values())
    sums: Counter[tuple[str | None, str]] = Counter()
    for item in items:
        for kind in (None, *item.kinds):
            sums[kind, item.group] += weight(item)
    every = {kind: sum(n for key, n in sums.items() if key[0] == kind) for kind, _ in sums}
    costs = []
    for split_of in dealt:
        there: Counter[tuple[str | None, str]] = Counter()
        for (kind, group), number in sums.items():
            there[kind, split_of[group]] += number
        costs.append(
            sum(
                (50 if kind is None else 1)
                * (abs(there[kind, split] * parts - share * all_) * 10_000 // (share * all_)) ** 2
                for kind, all_ in every.items()
                for split, share in SHARES.items()
            )
        )
    return costs


@given(items=corpora(), seed=st.integers(0, 99), shares=st.sampled_from([SHARES, {"a": 8, "b": 2}]))
def test_a_draw_is_exact_to_one_utterance(
    items: list[Item], seed: int, shares: dict[str, int]
) -> None:
    """Every utterance has a split, and each split its share of time up to one utterance."""
    split_of = draw(items, shares, seed)
    assert split_of.keys() == {item.id for item in items}
    found, total = hours(items, split_of), sum(map(weight, items))
    for split, share in shares.items():
        assert abs(found[split] - total * share / sum(shares.values())) <= max(map(weight, items))


@given(items=corpora(), seed=st.integers(0, 99))
def test_a_draw_takes_of_every_kind(items: list[Item], seed: int) -> None:
    """Each set of kinds gives its share up to two utterances: at its own cut and the whole's."""
    split_of = draw(items, {"train": 8, "rest": 2}, seed)
    longest = max(map(weight, items))
    total = sum(map(weight, items))
    for kinds in {item.kinds for item in items}:
        those = [item for item in items if item.kinds == kinds]
        every = sum(map(weight, those))
        # The cut of the whole may lie off by half an utterance, of which each kind has its share.
        slack = longest + longest * every / total + every * longest / (2 * total)
        assert abs(hours(those, split_of)["train"] - 0.8 * every) <= 2 * slack


@settings(deadline=None, max_examples=8)
@given(items=corpora(), seed=st.integers(0, 99))
def test_disjoint_splits_share_no_group(items: list[Item], seed: int) -> None:
    """A speaker in two splits makes a test easier than it says; no split may be empty either."""
    split_of = disjoint(items, SHARES, seed)
    groups = {item.group for item in items}
    assert len({(item.group, split_of[item.id]) for item in items}) == len(groups)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_a_choice_is_exact_disjoint_and_the_same_in_any_order(
    rows: list[tuple[int, int]], seed: int, order: random.Random
) -> None:
    """Anybody with the corpus must get the same list, and dev must hear other programmes."""
    items = [Item(f"u{n}", length, group=f"p{group}") for n, (length, group) in enumerate(rows)]
    total, programmes = sum(length for length, _ in rows), Counter[int]()
    for length, group in rows:
        programmes[group] += length
    assume(max(programmes.values()) <= 0.5 * total)
    wanted = {"dev": 0.1 * total / HOUR, "train": 0.3 * total / HOUR}
    found = choose(items, wanted, seed)
    assert choose(order.sample(items, len(items)), wanted, seed) == found
    chosen = {split: [item for item in items if found.get(item.id) == split] for split in wanted}
    train, dev = ({item.group for item in chosen[split]} for split in ("train", "dev"))
    assert not train & dev
    for split, part in chosen.items():
        off = abs(sum(map(weight, part)) - wanted[split] * HOUR)
        assert off <= max(length for length, _ in rows)


@pytest.mark.parametrize("deal", [draw, disjoint])
def test_the_same_list_whatever_the_order(deal: Callable[..., dict[str, str]]) -> None:
    """File systems list files in orders of their own."""
    items = made(speakers=6, each=6, seed=1)
    expected = deal(items, SHARES, 3)
    for number in range(3):
        shuffled = random.Random(str(number)).sample(items, len(items))
        assert deal(shuffled, SHARES, 3) == expected
    # Several draws show how much of a figure is the draw's.
    assert deal is disjoint or deal(items, SHARES, 4) != expected


def made(speakers: int, each: int, seed: int) -> list[Item]:
    """Make utterances of several speakers, who differ in gender, rate and emotions."""
    rng, items = random.Random(f"made {seed}"), []
    for speaker, number in product(range(speakers), range(each)):
        kinds = (rng.choice(["joy", "anger", "rest"]), "male" if speaker % 2 else "female")
        length = rng.randint(2000, 9000)
        items.append(Item(f"{speaker}-{number}", length, kinds, f"s{speaker:02d}"))
    return items


@pytest.mark.parametrize("seed", range(4))
def test_disjoint_finds_the_best_there_is(seed: int) -> None:
    """All 3^8 dealings of eight speakers as the oracle: none is cheaper than the one found."""
    items = made(speakers=8, each=5, seed=seed)
    groups = sorted({item.group for item in items})
    split_of = disjoint(items, SHARES, seed)
    found = {item.group: split_of[item.id] for item in items}
    every = (dict(zip(groups, dealt, strict=True)) for dealt in product(SHARES, repeat=8))
    assert cost(items, [found]) == [min(cost(items, every))]


def test_the_official_shape_comes_near_the_papers_hours() -> None:
    """23 speakers, 10 of them men, five emotions in two phases: hours within 2 %, all kinds."""
    items = ksuemotions_like()
    split_of = disjoint(items, SHARES, seed=0)
    found, total = hours(items, split_of), sum(map(weight, items))
    for split, share in SHARES.items():
        assert found[split] == pytest.approx(total * share / sum(SHARES.values()), rel=0.02)
        for kind in {kind for item in items for kind in item.kinds}:
            those = [item for item in items if kind in item.kinds]
            wanted = sum(map(weight, those)) * share / sum(SHARES.values())
            assert hours(those, split_of)[split] == pytest.approx(wanted, rel=0.3)


def ksuemotions_like() -> list[Item]:
    """Make utterances in the numbers that KSUEmotions is published with, lengths made up."""
    rng, items = random.Random("ksuemotions"), []
    men, women = [f"0{n:02d}" for n in range(1, 11)], [f"1{n:02d}" for n in range(1, 14)]
    phases = [(men + women[:10], "01234", 16), (men[:7] + women[6:], "01235", 24)]
    for phase, (speakers, emotions, sentences) in enumerate(phases):
        for speaker, emotion, number in product(speakers, emotions, range(sentences)):
            kinds = (emotion, "female" if speaker[0] == "1" else "male")
            length = rng.randint(3500, 7500) + 80 * int(speaker)
            items.append(Item(f"{phase}-{speaker}-{emotion}-{number}", length, kinds, speaker))
    return items


def test_a_split_never_changes() -> None:
    """Results rest on these lists: another order of chance would be another benchmark."""
    items = [
        Item(f"u{n}", 1000 + 37 * n, (("joy", "anger")[n % 2],), f"s{n // 2}") for n in range(10)
    ]
    drawn, dealt = draw(items, SHARES, 0), disjoint(items, SHARES, 0)
    words = [" ".join(found[item.id] for item in items) for found in (drawn, dealt)]
    assert words[0] == "train train train dev train train train test test train"
    assert words[1] == "dev dev train train test test train train train train"


def test_too_few_groups_and_repeated_ids_are_told() -> None:
    """A corpus unpacked in part cannot be split, and must not seem to be."""
    items = made(speakers=2, each=3, seed=0)
    with pytest.raises(ValueError, match=r"2 speakers .*s00, s01.* 3 splits train, dev, test"):
        disjoint(items, SHARES, 0)
    with pytest.raises(ValueError, match=r"twice: \['0-0'\]"):
        draw([*items, items[0]], SHARES, 0)
    with pytest.raises(ValueError, match=r"above 0; got \{'train': 0\}"):
        draw(items, {"train": 0}, 0)


def test_lengths_are_read_of_headers(tmp_path: Path) -> None:
    """What cannot be read counts as the median, so that it hardly moves a split."""
    soundfile.write(tmp_path / "a.flac", np.zeros(12_345), 16_000)
    soundfile.write(tmp_path / "b.wav", np.zeros(4_000), 8_000)
    (tmp_path / "c.wav").write_bytes(b"RIFF no audio")
    soundfile.write(tmp_path / "d.wav", np.zeros(10_000), 16_000)
    names = ("a.flac", "b.wav", "c.wav", "d.wav", "none.wav", "n" * 300)
    paths = [tmp_path / name for name in names]
    assert milliseconds(paths, "test") == [771, 500, 625, 625, 625, 625]
    assert milliseconds(paths[2:3], "test") == [0]


def test_lists_are_written_with_rule_and_digest(tmp_path: Path) -> None:
    """The lists serve as exclusions too; the digest tells whether two people have the same."""
    rule = SplitRule("ours", "by hand", 7)
    write_split(tmp_path / "0", rule, {"train": ["b", "a"], "test": ["c"]})
    write_split(tmp_path / "1", rule, {"test": {"c"}, "train": {"a", "b"}})
    for name in ("split.json", "ids.train.txt", "ids.test.txt"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    about = read_json(tmp_path / "0" / "split.json")
    assert (about["name"], about["rule"], about["seed"]) == ("ours", "by hand", 7)
    assert about["splits"]["train"]["utterances"] == 2
    text = (tmp_path / "0" / "ids.train.txt").read_text(encoding="utf-8")
    head, *ids = text.splitlines()
    assert ids == ["a", "b"]
    assert head == f"# ours, split train, seed 7, digest {about['splits']['train']['digest']}"
    assert read_exclusions([str(tmp_path / "0" / "ids.train.txt")]) == {"a", "b"}
