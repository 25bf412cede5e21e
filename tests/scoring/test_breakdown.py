"""Breakdowns: every slice scored by itself, nobody lost between the slices."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from harness_bench.results.predictions import ClassPrediction, TextPrediction
from harness_bench.scoring.breakdown import breakdown
from harness_bench.scoring.classes.score import score_classes
from harness_bench.scoring.registry import metric_names
from harness_bench.scoring.texts.score import score_texts
from tests.scoring.conftest import class_rows, text_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.results.record import Metric


def tagged[P: (ClassPrediction, TextPrediction)](rows: list[P]) -> list[P]:
    """Give two rows of three a genre, and every row a gender."""
    genres: tuple[dict[str, str], ...] = ({"genre": "news"}, {"genre": "comedy"}, {})
    return [
        row.model_copy(update={"tags": genres[n % 3] | {"gender": "fm"[n % 2]}})
        for n, row in enumerate(rows)
    ]


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

    def score(some: list[ClassPrediction]) -> dict[str, Metric]:
        return score_classes(some, resamples=1)

    for name, of in (
        ("group", lambda row: row.group),
        ("genre", lambda row: row.tags.get("genre", "(none)")),
        ("gender", lambda row: row.tags["gender"]),
    ):
        expected = by_hand(rows, of, score, metric)
        assert {one.value: (one.utterances, one.figure) for one in found[name]} == expected
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
    expected = by_hand(
        rows,
        lambda row: row.tags.get("genre", "(none)"),
        lambda some: score_texts(some, profile="mgb3", resamples=1),
        "wer",
    )
    assert {one.value: (one.utterances, one.figure) for one in found["genre"]} == expected
    assert [(one.value, one.utterances) for one in found["code-switched"]] == [
        ("no", 39),
        ("yes", 1),
    ]


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
        TextPrediction(id="a", ref="قال", hyp="قال", group="g", tags={"noise": "no"}),
        TextPrediction(id="b", ref="", hyp="في", group="g", tags={"noise": "yes"}),
    ]
    found = {one.value: one.figure for one in breakdown(rows, metric="wer")["noise"]}
    assert found["no"] == 0
    assert math.isnan(found["yes"])


def test_refused() -> None:
    """A tag must not hide a breakdown, and a metric must fit the rows."""
    rows = class_rows(count=3, seed=0)
    named = [row.model_copy(update={"tags": {"class": "x"}}) for row in rows]
    with pytest.raises(ValueError, match="tag 'class' has the name of a breakdown"):
        breakdown(named, metric="accuracy")
    with pytest.raises(ValueError, match="measures text predictions"):
        breakdown(rows, metric="wer")
    with pytest.raises(ValueError, match="holds 'u0000' twice"):
        breakdown([*rows, rows[0]], metric="uar")
