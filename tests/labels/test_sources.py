"""MFCC frames must stand exactly where the extractor's frames stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.compliance import kaldi

from harness_bench.labels.sources import mfcc39
from harness_bench.models.hubert import frame_count


def test_mfcc_frames_equal_conv_frames_for_thousands_of_lengths() -> None:
    """One label per conv frame: a frame too few or too many would shift or drop targets.

    Kaldi's own window count (snip_edges) decides how many MFCC frames exist, so its formula is
    checked for every length and the real function for some.
    """
    for samples in range(400, 12_000):
        windows = (samples - 400) // 160 + 1
        assert len(range(0, windows, 2)) >= frame_count(samples)
    for samples in (*range(400, 1100, 7), 16_000, 16_079, 47_999):
        assert mfcc39(torch.randn(samples)).shape == (frame_count(samples), 39)
    assert mfcc39(torch.randn(399)).shape == (0, 39)


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=0, max_value=40))
def test_mfcc_frame_sees_the_conv_frames_samples(index: int) -> None:
    """Frame j of both sees samples 320 j to 320 j + 400 (static part; deltas look around)."""
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal(16_000).astype("f4"))
    alone = kaldi.mfcc(
        wave[None, 320 * index : 320 * index + 400],
        num_ceps=13, use_energy=False, dither=0.0, sample_frequency=16_000,
    )  # fmt: skip
    assert torch.allclose(mfcc39(wave)[index, :13], alone[0], atol=1e-4)


def test_crops_on_frame_borders_keep_their_labels_place() -> None:
    """Training crops start on multiples of 320 samples: static MFCC of the crop are the same."""
    wave = torch.from_numpy(np.random.default_rng(1).standard_normal(16_000).astype("f4"))
    whole, crop = mfcc39(wave), mfcc39(wave[320 * 5 : 320 * 5 + 8_000])
    assert torch.allclose(whole[5 : 5 + len(crop), :13], crop[:, :13], atol=1e-4)


@pytest.mark.parametrize("column", [0, 12])
def test_deltas_are_differences_of_the_static_part(column: int) -> None:
    """Columns 13-25 are the slopes of columns 0-12 before every second window is dropped."""
    wave = torch.from_numpy(np.random.default_rng(2).standard_normal(8_000).astype("f4"))
    static = kaldi.mfcc(
        wave[None], num_ceps=13, use_energy=False, dither=0.0, sample_frequency=16_000
    )
    window = static[:, column]
    frame = 6  # window 12, far from the edges
    slope = sum(k * (window[12 + k] - window[12 - k]) for k in (1, 2)) / 10
    assert mfcc39(wave)[frame, 13 + column] == pytest.approx(float(slope), abs=1e-4)
