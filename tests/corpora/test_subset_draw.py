"""Drawing hours: exact to one utterance, the same list for anybody, more hours hold fewer."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.core.config import build
from harness_bench.corpora.subset import SECOND, Candidates, Wanted, draw
from harness_bench.cuts import store
from tests.cut_files import row, write

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

HOUR = 3600
BY = st.sampled_from([None, "cluster"])
# Of each language enough that half an utterance more or less is no more than a part of it.
ENOUGH = [(4000, 0, spoken) for spoken in ("ar", "en") for _ in range(8)]
ROWS = st.lists(
    st.tuples(st.integers(100, 9000), st.integers(0, 5), st.sampled_from(["ar", "en"])),
    min_size=1,
    max_size=60,
).map(
    lambda drawn: [
        row(
            f"u{n:03d}",
            ms / 1000,
            cluster=f"p{group if n > len(ENOUGH) else n % 6}",
            language=spoken,
        )
        for n, (ms, group, spoken) in enumerate([*ENOUGH, *drawn])
    ]
)


def drawn(files: Sequence[Iterable[dict[str, Any]]], **wanted: Any) -> dict[str, set[str]]:
    """Write rows as files, draw from them; return piece -> ids."""
    config = build(Wanted, wanted, source="test")
    lists = [list(rows) for rows in files]
    with tempfile.TemporaryDirectory() as place:
        paths = [
            store.cuts_path(write(Path(place) / str(n), "train", rows), "train")
            for n, rows in enumerate(lists)
        ]
        candidates = Candidates(paths, config.seed, config.by, languages=bool(config.languages))
        numbers = draw(candidates, config)
    ids = [each["id"] for rows in lists for each in rows]
    pieces = config.pieces
    found: dict[str, set[str]] = {name: set() for name in pieces}
    for uid, number in zip(ids, numbers, strict=True):
        if number >= 0:
            found[pieces[number]].add(uid)
    return found


def seconds(rows: list[dict[str, Any]], ids: Iterable[str]) -> float:
    known: dict[str, float] = {each["id"]: each["duration"] for each in rows}
    return sum(known[uid] for uid in ids)


def expected(rows: list[dict[str, Any]], hours: float, seed: int, by: str | None) -> set[str]:
    """The rule of a single piece by its words, in plain Python: the oracle."""

    def chance(text: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=16).digest()

    def place(each: dict[str, Any]) -> tuple[bytes, ...]:
        own = chance(each["id"])
        group = each["supervisions"][0]["custom"]["cluster"]
        return (chance(group), own) if by else (own,)

    ordered = sorted(rows, key=place)
    lengths = [round(each["duration"] * SECOND) for each in ordered]
    target = round(hours * HOUR * SECOND)
    count = min(range(len(rows) + 1), key=lambda n: abs(sum(lengths[:n]) - target))
    return {each["id"] for each in ordered[:count]}


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, part=st.floats(0.3, 1), seed=st.integers(0, 99), by=BY)
def test_exact_to_one_utterance_and_by_the_rule(
    rows: list[dict[str, Any]], part: float, seed: int, by: str | None
) -> None:
    """Nearer than half the longest utterance, and what another program of the rule finds."""
    hours = part * seconds(rows, [each["id"] for each in rows]) / HOUR
    found = drawn([rows], hours={"train": hours}, seed=seed, by=by)["train"]
    longest = max(each["duration"] for each in rows)
    assert abs(seconds(rows, found) - hours * HOUR) <= longest / 2 + 1e-3
    assert found == expected(rows, hours, seed, by)


@settings(deadline=None, max_examples=25)
@given(rows=ROWS, seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_the_same_list_for_any_order(
    rows: list[dict[str, Any]], seed: int, shuffle: random.Random
) -> None:
    """Folders may come in any order, and so may the cuts in them and how they are parted."""
    mixed = shuffle.sample(rows, len(rows))
    middle = shuffle.randrange(len(rows) + 1)
    for wanted in ({"share": 40.0}, {"share": 60.0, "by": "cluster"}):
        once = drawn([rows], seed=seed, **wanted)
        assert drawn([mixed[middle:], mixed[:middle]], seed=seed, **wanted) == once


@settings(deadline=None, max_examples=25)
@given(rows=ROWS, seed=st.integers(0, 99), by=BY)
def test_more_hours_hold_all_of_fewer(
    rows: list[dict[str, Any]], seed: int, by: str | None
) -> None:
    """Curves over amounts of data then differ by what was added alone."""
    lists = [
        drawn([rows], share=share, seed=seed, by=by)["train"] for share in (30.0, 55.0, 80.0, 100.0)
    ]
    assert all(few <= many for few, many in itertools.pairwise(lists))
    assert lists[-1] == {each["id"] for each in rows}


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, seed=st.integers(0, 99), by=BY)
def test_pieces_share_no_programme(rows: list[dict[str, Any]], seed: int, by: str | None) -> None:
    """A programme in train and dev makes dev easier than any test; without `by` it may be."""
    total = seconds(rows, [each["id"] for each in rows]) / HOUR
    hours = {"train": 0.3 * total, "dev": 0.2 * total}
    if by:  # The rest of a programme that train ends in is lost for dev.
        hours = dict.fromkeys(hours, 12 / HOUR)
    pieces = drawn([rows], hours=hours, seed=seed, by=by)
    cluster = {each["id"]: each["supervisions"][0]["custom"]["cluster"] for each in rows}
    train, dev = ({cluster[uid] for uid in pieces[name]} for name in ("train", "dev"))
    assert not (by and train & dev)
    assert not pieces["train"] & pieces["dev"]
    longest = max(each["duration"] for each in rows)
    for name, ids in pieces.items():
        assert abs(seconds(rows, ids) - hours[name] * HOUR) <= longest / 2 + 1e-3


@settings(deadline=None, max_examples=25)
@given(rows=ROWS, weight=st.integers(1, 5), seed=st.integers(0, 99))
def test_languages_have_their_parts(rows: list[dict[str, Any]], weight: int, seed: int) -> None:
    """Each language to one utterance; the scarcer one is used up where no hours are said."""
    spoken = {each["id"]: each["supervisions"][0]["language"] for each in rows}
    there = Counter[str]()
    for each in rows:
        there[spoken[each["id"]]] += each["duration"]
    found = drawn([rows], languages={"ar": weight, "en": 1}, seed=seed)["train"]
    longest = max(each["duration"] for each in rows)
    sums = {name: seconds(rows, (u for u in found if spoken[u] == name)) for name in ("ar", "en")}
    assert abs(sums["ar"] - weight * sums["en"]) <= longest * (weight + 1) / 2 + 1e-3
    assert any(sums[name] == pytest.approx(there[name]) for name in sums)


def made(count: int = 40) -> list[dict[str, Any]]:
    return [row(f"u{n}", 2.0, cluster=f"p{n % 4}", language="ar") for n in range(count)]


def test_another_seed_draws_others() -> None:
    assert drawn([made()], share=50.0, seed=1) != drawn([made()], share=50.0, seed=2)


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "too much": ({"hours": {"train": 1}}, "wants 1.0000 h, and 0.0222 h are there"),
    "too much beside": ({"hours": {"train": 0.02, "dev": 0.02}}, "beside the pieces before it"),
    "too little": ({"hours": {"train": 0.0001}}, "nearer to none than to one utterance"),
    "no such field": ({"share": 50.0, "by": "speaker"}, "has no speaker"),
    "a language less": ({"languages": {"ar": 1, "en": 1}}, "speak of ar, en, and the cuts are in"),
    "too much of a language": ({"hours": {"train": 1}, "languages": {"ar": 1}}, "at most 0.0222"),
    "nothing said": ({}, "say how much is wanted"),
    "said twice": ({"hours": {"train": 1}, "share": 3.0}, "not both"),
    "less than nothing": ({"hours": {"train": -1}}, "hours.train = -1: .*greater than 0"),
    "more than all": ({"share": 101.0}, "share = 101.0"),
    "a weight of nothing": ({"languages": {"ar": 0}}, "languages.ar = 0: .*greater than 0"),
    "balanced pieces": ({"hours": {"a": 1, "b": 1}, "languages": {"ar": 1}}, "in one piece"),
    "a piece like a path": ({"hours": {"../x": 1}}, "named by letters"),
}


@pytest.mark.parametrize("case", sorted(ERRORS))
def test_what_cannot_be_drawn_is_said(case: str) -> None:
    wanted, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        drawn([made()], **wanted)


def test_one_id_twice_is_refused() -> None:
    """Labels and predictions are found by it."""
    with pytest.raises(ValueError, match=r"The id 'u7' comes twice"):
        drawn([made(), [row("v"), row("u7")]], share=50.0)


def test_millions_fit_into_memory(tmp_path: Path) -> None:
    """Some 60 bytes a cut at most: 1.6 million, QASR's size, are below 100 MB."""
    count = 20_000
    folder = write(
        tmp_path, "train", (row(f"u{n}", 2.0, cluster=f"p{n // 9}") for n in range(count))
    )
    tracemalloc.start()
    candidates = Candidates([store.cuts_path(folder, "train")], 0, "cluster", languages=True)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(candidates) == count
    assert kept < 100 * count
