"""Masks: fairseq's statistics, and nothing but seed, epoch and utterance behind them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.rng import utterance_rng
from harness_bench.pretrain.data.batches import span_mask


def test_about_half_of_the_frames_are_masked() -> None:
    """Span 10 and probability 0.8 mask 50 to 58 % (spans overlap), for usual lengths."""
    rng = np.random.default_rng(0)
    for frames in (200, 500, 780):
        share = np.mean([span_mask(frames, 0.8, 10, rng).mean() for _ in range(300)])
        assert 0.50 < share < 0.58


def test_share_equals_fairseqs_rule() -> None:
    """The expected coverage of n distinct starts, computed independently by simulation."""
    frames, spans = 500, 40
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        mask = np.zeros(frames, bool)
        for start in rng.permutation(frames - 10)[:spans]:
            mask[start : start + 10] = True
        covered.append(mask.mean())
    ours = np.mean([span_mask(frames, 0.8, 10, rng).mean() for _ in range(400)])
    assert ours == pytest.approx(np.mean(covered), abs=0.01)


@given(st.integers(0, 400), st.floats(0.01, 1.0), st.integers(1, 30), st.integers(0, 9))
def test_something_is_masked_and_something_seen(
    frames: int, prob: float, length: int, seed: int
) -> None:
    """Any length: a mask of the right size, never everything; from 2 frames on, never nothing."""
    mask = span_mask(frames, prob, length, np.random.default_rng(seed))
    assert mask.shape == (frames,)
    if frames >= 2:
        assert 0 < mask.sum() < frames


def test_masks_depend_on_seed_epoch_and_utterance_alone() -> None:
    """Any number of workers, ranks or resumes must see the same mask."""

    def draw(seed: int, epoch: int, name: str) -> tuple[bool, ...]:
        return tuple(span_mask(300, 0.8, 10, utterance_rng(seed, epoch, name, "mask")))

    np.random.seed(3)  # noqa: NPY002 - the global generator must not matter
    first = draw(0, 0, "a")
    np.random.seed(4)  # noqa: NPY002
    assert draw(0, 0, "a") == first
    assert len({first, draw(1, 0, "a"), draw(0, 1, "a"), draw(0, 0, "b")}) == 4
