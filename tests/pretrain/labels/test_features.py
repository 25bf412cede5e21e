"""MFCC frames must stand exactly where the extractor's frames stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.compliance import kaldi

from harness_bench.audio.batching import Waveforms
from harness_bench.audio.frames import frame_count
from harness_bench.models.checkpoint import save_random
from harness_bench.pretrain.labels.features import HiddenSource, mfcc39
from harness_bench.pretrain.labels.labeler import Labeler
from tests.models.conftest import small_config

if TYPE_CHECKING:
    from pathlib import Path


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


def test_cropped_mfcc_labels_equal_recomputed_ones() -> None:
    """Training crops labels with the audio; labels made of the crop itself must be the same.

    The first and last two frames alone may differ: their differences look beyond the crop.
    """
    wave = torch.from_numpy(np.random.default_rng(3).standard_normal(48_000).astype("f4"))
    wave *= 0.3 * torch.sin(torch.arange(48_000) / 2_000).abs()
    whole = mfcc39(wave)
    labeler = Labeler(whole[::5], None, 0.0)
    labels = labeler(whole)
    for start, frames in ((1, 30), (17, 80), (60, 89)):
        crop = wave[320 * start : 320 * (start + frames) + 80]
        again = labeler(mfcc39(crop))
        assert len(again) == frames
        assert torch.equal(again[2:-2], labels[start + 2 : start + frames - 2])


def test_cropped_hidden_labels_stand_at_their_frames(tmp_path: Path) -> None:
    """A teacher sees the whole utterance, so a crop's own states differ, but never their place.

    Labels made of the crop agree with the cropped labels far more than with labels one frame off.
    """
    save_random(tmp_path, small_config(), seed=0)
    source = HiddenSource(tmp_path, 1, torch.device("cpu"))
    wave = torch.from_numpy(np.random.default_rng(4).standard_normal(48_000).astype("f4"))
    wave *= torch.sin(torch.arange(48_000) / 900).abs()

    def frames(samples: torch.Tensor) -> torch.Tensor:
        return source.frames(Waveforms(["u"], samples[None], torch.tensor([len(samples)])))[0]

    whole, start = frames(wave), 40
    labeler = Labeler(whole[::7], None, 0.0)
    labels, again = labeler(whole), labeler(frames(wave[320 * start : 320 * start + 24_080]))
    agree = [
        float((labels[start + shift :][: len(again)] == again).float().mean())
        for shift in (-1, 0, 1)
    ]
    assert len(again) == 75
    assert agree[1] > 0.7
    assert max(agree[0], agree[2]) < 0.4
