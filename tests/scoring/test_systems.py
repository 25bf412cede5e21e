"""Many systems are compared as pair by pair, ranks say what data say, slices score like sets."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from harness_bench.results.predictions import ClassPrediction, TextPrediction
from harness_bench.scoring import systems
from harness_bench.scoring.classes import score_classes
from harness_bench.scoring.registry import MetricPlugin, get_metric, metric_names
from harness_bench.scoring.statistics import PREDICTED, TRUE
from harness_bench.scoring.systems import SIGNIFICANT, Slice, Systems, breakdown, compare_systems
from harness_bench.scoring.texts.score import score_texts
from tests.scoring.conftest import class_rows, compare_pair, text_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.results.record import Metric
    from harness_bench.scoring.bootstrap import PairedTest

GROUPS = st.sampled_from([1, 3, 10, 10_000])  # one cluster, few, many, one per utterance


def check_pairs(found: Systems, alone: Callable[[str, str], PairedTest]) -> None:
    """Hold every cell of every table against the comparison of that pair alone."""
    for (i, one), (j, other) in itertools.permutations(enumerate(found.names), 2):
        test = alone(one, other)
        assert found.differences[i, j] == pytest.approx(test.difference)
        ends = test.interval.low, test.interval.high
        assert (found.low[i, j], found.high[i, j]) == pytest.approx(ends)
        assert found.p_values[i, j] == test.p_value
        assert found.p_holm[i, j] >= test.p_value


@given(
    seed=st.integers(0, 1000),
    rights=st.lists(st.floats(0.2, 0.9), min_size=2, max_size=4),
    groups=GROUPS,
    metric=st.sampled_from(metric_names("class")),
)
@settings(deadline=None, max_examples=25)
def test_every_pair_of_classifiers_is_the_paired_test(
    seed: int, rights: list[float], groups: int, metric: str
) -> None:
    """The leaderboard's table and a comparison of two must never say different things."""
    how: dict[str, Any] = {"metric": metric, "seed": seed, "resamples": 300}
    systems = {
        f"s{place}": class_rows(count=60, seed=seed, groups=groups, right=right)
        for place, right in enumerate(rights)
    }
    found = compare_systems(systems, **how)
    check_pairs(found, lambda one, other: compare_pair(systems[one], systems[other], **how))


@given(seed=st.integers(0, 1000), groups=GROUPS, metric=st.sampled_from(metric_names("text")))
@settings(deadline=None, max_examples=10)
def test_every_pair_of_recognisers_is_the_paired_test(seed: int, groups: int, metric: str) -> None:
    """The same for texts, where lower is better."""
    how: dict[str, Any] = {"metric": metric, "profile": "mgb2", "seed": seed, "resamples": 300}
    rows = text_rows(count=30, seed=seed, groups=groups)
    hyps = [row.hyp for row in text_rows(count=30, seed=seed + 1)]
    pairs = zip(rows, hyps, strict=True)
    systems = {
        "drawn": rows,
        "other words": [row.model_copy(update={"hyp": hyp}) for row, hyp in pairs],
        "perfect": [row.model_copy(update={"hyp": row.ref}) for row in rows],
    }
    found = compare_systems(systems, **how)
    assert (found.names[0], found.values[0], found.ranks[0]) == ("perfect", 0, 1)
    check_pairs(found, lambda one, other: compare_pair(systems[one], systems[other], **how))


@given(seed=st.integers(0, 1000), shuffle=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=15)
def test_order_changes_nothing(seed: int, shuffle: Any) -> None:
    """Neither the place of a system nor of an utterance may move a figure."""
    rights = enumerate((0.5, 0.5, 0.6, 0.6, 0.7))
    systems = {f"s{n}": class_rows(count=40, seed=seed, right=right) for n, right in rights}
    mixed = {name: shuffle.sample(systems[name], 40) for name in shuffle.sample([*systems], 5)}
    first, second = (compare_systems(each, metric="uar") for each in (systems, mixed))
    assert (first.names, first.ranks) == (second.names, second.ranks)
    for table in ("values", "differences", "low", "high", "p_values", "p_holm"):
        assert np.array_equal(getattr(first, table), getattr(second, table))


def test_ranks_count_the_systems_that_are_surely_better() -> None:
    """Twins share a rank; who is behind both is third, as in sport."""
    good = class_rows(count=600, seed=1, groups=60, right=0.8)
    near = [good[0].model_copy(update={"pred": "never heard"}), *good[1:]]
    bad = class_rows(count=600, seed=1, groups=60, right=0.3)
    found = compare_systems({"bad": bad, "near": near, "good": good}, metric="accuracy")
    assert found.names == ("good", "near", "bad")
    assert found.ranks == (1, 1, 3)
    assert found.p_values[0, 1] > SIGNIFICANT
    assert (found.p_values[:2, 2] < SIGNIFICANT).all()
    assert (found.low[:2, 2] > 0).all()
    assert (np.diag(found.p_values) == 1).all()
    assert not np.diag(found.low).any()


def test_memory_stays_bounded() -> None:
    """Signs of all pairs at once would take 190 MB here."""
    systems = {
        f"s{n}": [
            row.model_copy(update={"truth": f"c{place % 10}", "pred": f"c{(place + n) % 10}"})
            for place, row in enumerate(class_rows(count=100, seed=0, groups=24))
        ]
        for n in range(40)
    }
    tracemalloc.start()
    compare_systems(systems, metric="macro_f1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


ROWS = class_rows(count=5, seed=7)
TEXTS = text_rows(count=5, seed=7)
OTHER_TRUTH = [ROWS[0].model_copy(update={"truth": "?"}), *ROWS[1:]]
OTHER_GROUP = [ROWS[0].model_copy(update={"group": "?"}), *ROWS[1:]]
EMPTY = [row.model_copy(update={"ref": ""}) for row in TEXTS]
REFUSED: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "utterances": ({"A": ROWS, "B": ROWS[:-1]}, {}, "'A' and 'B' differ in 1 .*first u0004"),
    "truth": ({"A": ROWS, "C": ROWS, "B": OTHER_TRUTH}, {}, "'A' and 'B' differ .* first u0000"),
    "group": ({"A": ROWS, "B": OTHER_GROUP}, {}, "'A' and 'B' differ in 1 "),
    "twice": ({"A": ROWS, "B": [*ROWS, ROWS[0]]}, {}, "'B' holds 'u0000' twice"),
    "kind": ({"A": ROWS, "B": TEXTS}, {}, "measures class predictions and system 'B'"),
    "metric": ({"A": ROWS, "B": ROWS}, {"metric": "wer"}, "measures text predictions and .* 'A'"),
    "profile": ({"A": ROWS, "B": ROWS}, {"profile": "mgb2"}, "Text profiles apply"),
    "unknown": ({"A": TEXTS, "B": TEXTS}, {"metric": "wer", "profile": "x"}, "Unknown text profil"),
    "none": ({}, {}, "no system"),
    "no rows": ({"A": [], "B": []}, {}, "'A' cannot be computed: there is no utterance"),
    "no words": ({"A": EMPTY, "B": EMPTY}, {"metric": "wer"}, "references are empty"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_compared_is_refused(case: str) -> None:
    """Each of these would give a number that means nothing."""
    systems, how, message = REFUSED[case]
    metric, profile = how.get("metric", "accuracy"), how.get("profile")
    with pytest.raises(ValueError, match=message):
        compare_systems(systems, metric=metric, profile=profile, resamples=20)


def tagged[P: (ClassPrediction, TextPrediction)](rows: list[P]) -> list[P]:
    """Give two rows of three a genre, and every row a gender."""
    genres: tuple[dict[str, str], ...] = ({"genre": "news"}, {"genre": "comedy"}, {})
    return [
        row.model_copy(update={"tags": genres[n % 3] | {"gender": "fm"[n % 2]}})
        for n, row in enumerate(rows)
    ]


def told(slices: list[Slice]) -> dict[str, tuple[int, float]]:
    return {one.value: (one.utterances, one.figure) for one in slices}


def genre(row: ClassPrediction | TextPrediction) -> str:
    return row.tags.get("genre", "(none)")


def by_hand[P: (ClassPrediction, TextPrediction)](
    rows: list[P], of: Callable[[P], str], score: Callable[[list[P]], dict[str, Metric]], name: str
) -> dict[str, tuple[int, float]]:
    """Score the rows of each value as if they were all there is."""
    parts = defaultdict(list)
    for row in rows:
        parts[of(row)].append(row)
    return {value: (len(some), score(some)[name].value) for value, some in parts.items()}


@given(
    seed=st.integers(0, 1000),
    metric=st.sampled_from(metric_names("class")),
    shuffle=st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=25)
def test_slices_of_classes_are_scored_like_whole_sets(seed: int, metric: str, shuffle: Any) -> None:
    """Each figure is what `score_classes` gives for those rows alone; a class's is its recall."""
    rows = tagged(class_rows(count=40, seed=seed))
    found = breakdown(shuffle.sample(rows, len(rows)), metric=metric)
    assert set(found) == {"class", "group", "genre", "gender"}

    score = score_classes
    values = {"group": lambda row: row.group, "genre": genre, "gender": lambda r: r.tags["gender"]}
    for name, of in values.items():
        expected = by_hand(rows, of, score, metric)
        assert told(found[name]) == expected
    labels = [one.value for one in found["class"]]
    recalls = recall_score(
        [row.truth for row in rows], [row.pred for row in rows], labels=labels, average=None
    )
    assert [one.figure for one in found["class"]] == pytest.approx(100 * recalls)


def test_slices_of_texts_are_scored_like_whole_sets() -> None:
    """The same under a text profile, with the script of the reference beside the tags."""
    rows = tagged(text_rows(count=40, seed=1))
    rows[3] = rows[3].model_copy(update={"ref": "قال IBM <UNK>"})
    rows[4] = rows[4].model_copy(update={"ref": "قال <UNK>"})
    found = breakdown(rows, metric="wer", profile="mgb3")
    assert set(found) == {"group", "genre", "gender", "code-switched"}
    score = partial(score_texts, profile="mgb3")
    assert told(found["genre"]) == by_hand(rows, genre, score, "wer")
    sizes = {one.value: one.utterances for one in found["code-switched"]}
    assert sizes == {"no": 39, "yes": 1}


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_nobody_is_lost(seed: int) -> None:
    """Slices of every dimension hold all utterances, the largest first."""
    classes = breakdown(tagged(class_rows(count=30, seed=seed)), metric="uar")
    texts = breakdown(tagged(text_rows(count=30, seed=seed)), metric="cer")
    for slices in (*classes.values(), *texts.values()):
        sizes = [one.utterances for one in slices]
        assert sum(sizes) == 30
        assert sizes == sorted(sizes, reverse=True)


def test_groups_of_one_utterance_are_no_breakdown() -> None:
    """Five thousand lines of one utterance each tell nothing."""
    rows = [row.model_copy(update={"group": row.id}) for row in class_rows(count=20, seed=1)]
    assert set(breakdown(rows, metric="accuracy")) == {"class"}


def test_a_slice_of_empty_references_has_no_figure() -> None:
    """Nothing to divide by is no error rate of 0."""
    rows = [
        TextPrediction(id=ref, ref=ref, hyp="قال", group="g", tags={"ref": ref or "none"})
        for ref in ("", "قال")
    ]
    found = told(breakdown(rows, metric="wer")["ref"])
    assert found == {"none": (1, pytest.approx(math.nan, nan_ok=True)), "قال": (1, 0)}


def test_what_cannot_be_broken_down_is_refused() -> None:
    """A tag must not hide a breakdown, and a metric must fit the rows."""
    rows = class_rows(count=3, seed=0)
    named = [row.model_copy(update={"tags": {"class": "x"}}) for row in rows]
    with pytest.raises(ValueError, match="tag 'class' has the name of a breakdown"):
        breakdown(named, metric="accuracy")
    with pytest.raises(ValueError, match="measures text predictions"):
        breakdown(rows, metric="wer")
    with pytest.raises(ValueError, match="holds 'u0000' twice"):
        breakdown([*rows, rows[0]], metric="uar")


def test_seeds_take_part_in_the_comparison() -> None:
    """Heads of other seeds that are no better: the lead of the first head alone is not sure."""
    right, wrong = (class_rows(count=300, seed=1, groups=20, right=share) for share in (0.95, 0.2))
    middle = class_rows(count=300, seed=1, groups=20, right=0.5)
    lucky = [
        row.model_copy(update={"others": (other.pred,)})
        for row, other in zip(right, wrong, strict=True)
    ]
    found = compare_systems({"lucky": lucky, "steady": middle}, metric="accuracy")
    assert found.names[0] == "lucky"
    assert found.p_values[0, 1] > SIGNIFICANT
    assert found.low[0, 1] < 0 < found.high[0, 1]
    assert "spread of seeds added" in found.method
    single = compare_systems({"lucky": right, "steady": middle}, metric="accuracy")
    assert single.p_values[0, 1] < 0.001


@pytest.mark.parametrize(("groups", "few", "told"), [(5, True, False), (6, False, False)])
def test_what_cannot_be_told_is_said(groups: int, few: bool, told: bool) -> None:  # noqa: FBT001
    """Three systems over 6 clusters: pairs have p-values, and Holm allows no claim."""
    rights = enumerate((0.1, 0.5, 0.95))
    systems = {
        f"s{n}": class_rows(count=120, seed=0, groups=groups, right=right) for n, right in rights
    }
    found = compare_systems(systems, metric="accuracy")
    assert (found.clusters, found.too_few, found.decidable) == (groups, few, told)
    assert found.smallest_p == min(1, 3 * 2 ** (1 - groups))
    assert "no claim is possible" in found.method
    assert (found.ranks, found.last_ranks) == ((1,) * 3, (3,) * 3)
    pair = compare_systems({name: systems[name] for name in ("s0", "s2")}, metric="accuracy")
    assert pair.decidable is not few
    assert pair.ranks == ((1, 1) if few else (1, 2))


def test_a_metric_may_subtract_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are unsigned bytes inside; one of more false than true alarms must not wrap around."""
    bias = MetricPlugin(
        "bias", "class", higher_is_better=True, unit="points",
        value=lambda sums: sums[..., PREDICTED, 0] - sums[..., TRUE, 0],
    )  # fmt: skip
    monkeypatch.setattr(
        systems, "get_metric", lambda name: bias if name == "bias" else get_metric(name)
    )
    rows = [
        row.model_copy(update={"pred": "GLF", "tags": {"file": row.id}})
        for row in class_rows(count=300, seed=1)
    ]
    missed = sum(row.truth == "EGY" for row in rows)
    found = {one.value: one.figure for one in breakdown(rows, metric="bias")["file"]}
    assert found == {row.id: -float(row.truth == "EGY") for row in rows}
    right = [row.model_copy(update={"pred": row.truth}) for row in rows]
    tested = compare_systems({"right": right, "never": rows}, metric="bias")
    one, other = (tested.names.index(name) for name in ("right", "never"))
    assert tested.differences[one, other] == missed
