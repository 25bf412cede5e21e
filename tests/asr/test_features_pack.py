"""Sixteen bits for a feature: how far from it, at any size and for any number of frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.models.features.quantise import HEAD_ROWS, pack, unpack

SCALES = st.sampled_from([1e-6, 1e-3, 1.0, 300.0, 1e6])


@given(frames=st.integers(1, 30), scale=SCALES, offset=SCALES, seed=st.integers(0, 99))
def test_a_feature_is_within_half_a_step(
    frames: int, scale: float, offset: float, seed: int
) -> None:
    """A step is a 65534th of the dimension's own range, whatever the others' are."""
    noise = torch.randn(frames, 8, generator=torch.Generator().manual_seed(seed))
    features = noise * scale * torch.logspace(-2, 2, 8) + offset
    packed = pack(features)
    assert packed.shape == (HEAD_ROWS + frames, 8)
    assert packed.dtype == np.int16
    error = np.abs(unpack(packed) - features.numpy())
    reach = (features.amax(0) - features.amin(0)).numpy()
    assert (error <= 0.51 * reach / 65_534 + 4e-7 * features.abs().amax(0).numpy()).all()


def test_what_never_moves_is_kept_exactly() -> None:
    """One frame, or a dimension that the checkpoint does not use: no division by zero."""
    for features in (torch.tensor([[0.1, -3.0, 0.0]]), torch.full((5, 3), 0.3)):
        np.testing.assert_array_equal(unpack(pack(features)), features.numpy())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    """It would make every loss NaN, epochs later."""
    with pytest.raises(ValueError, match="infinite or NaN"):
        pack(torch.tensor([[1.0, value], [2.0, 3.0]]))
