"""When words were said: the alignment against all paths, the frames against their arithmetic."""

from __future__ import annotations

import itertools
import math
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.asr.transcribe.align import (
    FrameGrid,
    TokenSpan,
    align,
    confidence,
    measure_grid,
    words_of,
)


def best_path(log_probs: torch.Tensor, tokens: list[int], blank: int) -> float:
    """Try every path; return the best log-probability of those that read as the tokens."""
    frames, size = log_probs.shape
    scores = (
        sum(float(log_probs[f, t]) for f, t in enumerate(path))
        for path in itertools.product(range(size), repeat=frames)
        if [t for t, _ in groupby(path) if t != blank] == tokens
    )
    return max(scores, default=-math.inf)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 6),
    tokens=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    blank=st.integers(0, 3),
)
def test_the_alignment_is_the_best_of_all_paths(
    seed: int, frames: int, tokens: list[int], blank: int
) -> None:
    """The oracle knows no dynamic programming: it reads all paths."""
    tokens = [token for token in tokens if token != blank] or [(blank + 1) % 4]
    log_probs = torch.randn(frames, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(1)
    expected = best_path(log_probs, tokens, blank)
    spans = align(log_probs, tokens, blank)
    if spans is None:
        assert expected == -math.inf
        return
    assert [a.end <= b.start for a, b in itertools.pairwise(spans)] == [True] * (len(tokens) - 1)
    path = [blank] * frames
    for token, span in zip(tokens, spans, strict=True):
        path[span.start : span.end] = [token] * (span.end - span.start)
    assert sum(float(log_probs[f, t]) for f, t in enumerate(path)) == pytest.approx(
        expected, abs=1e-4
    )
    own = sum(span.score * (span.end - span.start) for span in spans)
    said = sum(float(log_probs[f, t]) for f, t in enumerate(path) if t != blank)
    assert own == pytest.approx(said, abs=1e-4)


def test_known_places() -> None:
    """Log-probabilities made by hand: token 2 at frames 3 and 4, 1 at 7, 1 again at 9."""
    path = [0, 0, 0, 2, 2, 0, 0, 1, 0, 1, 0]
    log_probs = torch.full((len(path), 3), -6.0)
    log_probs[range(len(path)), path] = -0.1
    spans = align(log_probs, [2, 1, 1], blank=0)
    assert spans is not None
    assert [(span.start, span.end) for span in spans] == [(3, 5), (7, 8), (9, 10)]
    assert confidence(spans) == pytest.approx(math.exp(-0.1), abs=1e-6)


def test_more_tokens_than_frames_have_no_places() -> None:
    """An attention decoder may write such text; equal neighbours need a blank between."""
    log_probs = torch.zeros(3, 4).log_softmax(1)
    assert align(log_probs, [1, 2, 3], blank=0) is not None
    assert align(log_probs, [1, 1, 2], blank=0) is None
    assert align(log_probs, [], blank=0) == []


@given(
    shift=st.sampled_from([160, 320, 480, 640, 960, 1280]),
    field=st.integers(0, 4000),
)
def test_the_grid_of_any_stack_of_layers_is_measured(shift: int, field: int) -> None:
    """The shift exactly, the first centre to an eighth of a frame; no frame is named by hand."""
    grid = measure_grid(lambda samples: max((samples - field) // shift + 1, 0))
    assert grid.shift == shift
    assert abs(grid.first - field / 2) <= shift / 16
    assert grid.seconds(0, 3, 16_000)[1] == pytest.approx((grid.first + 2.5 * shift) / 16_000)


def test_a_model_without_frames_in_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no frames in time"):
        measure_grid(lambda _: 1)


WORDS = {
    "char": (["<space>", "ا", "ب", "<space>", "<space>", "ت"], [[1, 2], [5]]),
    "bpe": (["▁ا", "ب", "▁", "ت", "ث", "▁ج"], [[0, 1], [2, 3, 4], [5]]),
    "word": (["اب", "ت"], [[0], [1]]),
}


@pytest.mark.parametrize("kind", sorted(WORDS))
def test_tokens_make_words(kind: str) -> None:
    tokens, groups = WORDS[kind]
    assert words_of(tokens, kind) == groups


def test_confidence_is_weighted_by_frames() -> None:
    """A word is as sure as its frames, not as its tokens."""
    spans = [TokenSpan(0, 3, math.log(0.9)), TokenSpan(5, 6, math.log(0.1))]
    assert confidence(spans) == pytest.approx((0.9**3 * 0.1) ** 0.25)
    assert FrameGrid(640, 480).seconds(0, 1, 16_000) == pytest.approx((0.01, 0.05))
