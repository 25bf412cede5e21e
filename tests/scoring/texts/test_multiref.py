"""MR-WER against the figures that its authors' tool printed on real MGB-3 data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.scoring.bootstrap import intervals
from harness_bench.scoring.registry import get_metric
from harness_bench.scoring.texts.multiref import (
    MultiReferenceScores,
    align,
    merge,
    score_multi_reference,
)
from harness_bench.scoring.texts.readers import read_transcripts
from tests.scoring.conftest import ANNOTATORS, naive_alignment

if TYPE_CHECKING:
    from pathlib import Path

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def scored(folder: Path, profile: str) -> MultiReferenceScores:
    """Score the real hypothesis against its four references."""
    names = ("hyp_chainTDNN_MGB2.QCRI", *(f"text_noverlap.{name}" for name in ANNOTATORS))
    hypotheses, *references = (
        read_transcripts(folder / name, kind="text", encoding="buckwalter").texts for name in names
    )
    named = dict(zip(ANNOTATORS, references, strict=True))
    return score_multi_reference(hypotheses, named, profile=profile)


@pytest.fixture(scope="module")
def scores(multiref: Path) -> MultiReferenceScores:
    return scored(multiref, "mgb3")


@pytest.mark.parametrize(("profile", "expected"), [("mgb2", 61.93), ("none", 63.04)])
def test_profiles_move_the_average(multiref: Path, profile: str, expected: float) -> None:
    """The figures of the project's notes, which say why the profile is part of every result."""
    found = scored(multiref, profile)
    mean = sum(map(found.standard_wer, ANNOTATORS)) / 4
    assert mean == pytest.approx(expected, abs=0.006)


def test_oracle(scores: MultiReferenceScores) -> None:
    """Every figure of the authors' own run, counts included."""
    assert len(scores.ids) == 1927
    hits, substitutions, deletions, insertions = scores.merged.sum(axis=0).tolist()
    assert (insertions, deletions, substitutions, hits) == (314, 5946, 11025, 13534)
    assert round(scores.mr_wer, 2) == 56.66
    expected = {"Ali": 62.61, "Omar": 61.79, "Alaa": 62.36, "Mohamed": 61.73}
    assert {name: round(scores.wer(name), 2) for name in expected} == expected
    assert scores.av_wer == pytest.approx(sum(expected.values()) / 4, abs=0.01)


def test_standard_wer(scores: MultiReferenceScores) -> None:
    """Jiwer's costs give other figures, which must not be mixed up with the authors'."""
    expected = {"Ali": 62.43, "Omar": 61.60, "Alaa": 62.13, "Mohamed": 61.57}
    assert {name: round(scores.standard_wer(name), 2) for name in expected} == expected
    assert scores.best_of < min(expected.values())


def test_clusters_matter_on_real_data(scores: MultiReferenceScores) -> None:
    """The 24 programmes give an interval six times as wide as by utterance."""
    programmes = ["_".join(key.split("_")[:2]) for key in scores.ids]
    found = intervals(scores.standard["Ali"], programmes, {"wer": get_metric("wer")})
    by_programme, by_utterance = found["wer"]
    assert "over 24 clusters" in by_programme.method
    assert (by_programme.low, by_programme.high) == pytest.approx((56.2, 69.3), abs=0.1)
    assert (by_utterance.low, by_utterance.high) == pytest.approx((61.4, 63.4), abs=0.1)


@given(reference=WORDS, hypothesis=WORDS)
def test_alignment_is_a_cheapest_path(reference: list[str], hypothesis: list[str]) -> None:
    """With substitution 2 the cost is len + len - 2 x longest common subsequence."""
    from rapidfuzz.distance import LCSseq  # noqa: PLC0415 - comes with jiwer.

    path = align(reference, hypothesis)
    cost = 2 * path.count("s") + path.count("d") + path.count("i")
    common = LCSseq.similarity(reference, hypothesis)
    assert cost == len(reference) + len(hypothesis) - 2 * common
    assert len(path) - path.count("i") == len(reference)
    assert len(path) - path.count("d") == len(hypothesis)


@given(reference=WORDS, hypothesis=WORDS)
def test_alignment_is_the_authors_among_equally_cheap_ones(
    reference: list[str], hypothesis: list[str]
) -> None:
    """Which of them is taken decides where deletions stand, and so MR-WER."""
    assert align(reference, hypothesis) == naive_alignment(reference, hypothesis)


@given(hypothesis=WORDS, references=st.lists(WORDS, min_size=1, max_size=4))
def test_merging_bounds(hypothesis: list[str], references: list[list[str]]) -> None:
    """More references only help: hits never fall, deletions and insertions never rise."""
    paths = [align(reference, hypothesis) for reference in references]
    hits, substitutions, deletions, insertions = merge(paths)
    assert hits + substitutions + insertions == len(hypothesis)
    assert hits >= max(path.count("c") for path in paths)
    assert deletions <= min(path.count("d") for path in paths)
    assert insertions <= min(path.count("i") for path in paths)


def test_one_reference_is_plain_wer() -> None:
    """With one reference the multi-reference rule must change nothing."""
    scores = score_multi_reference({"u": "قال في"}, {"A": {"u": "قال بيت في"}})
    assert scores.mr_wer == pytest.approx(scores.wer("A"))


def test_ids_left_out_are_listed() -> None:
    """Utterances that one annotator skipped are not scored, and are told; none left is an error."""
    scores = score_multi_reference({"u": "قال", "v": "في"}, {"A": {"u": "قال", "w": "بيت"}})
    assert (scores.ids, scores.left_out) == (("u",), ("v", "w"))
    with pytest.raises(ValueError, match="share 0 utterance ids"):
        score_multi_reference({"u": "قال"}, {"A": {"w": "بيت"}})
