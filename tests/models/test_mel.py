"""Models on log-mel bins: librosa's filters, frames as the convolutions', their own folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import librosa
import numpy as np
import pytest
import torch
from transformers import HubertModel

from harness_bench.audio.frames import frame_count
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.config import extractor_per_second
from harness_bench.models.frozen import load_backbone, shape_of
from harness_bench.models.hubert import Hubert
from harness_bench.models.mel import MEL_FLOOR, stacked_mels
from tests.models.conftest import MEL, padded, small_config

if TYPE_CHECKING:
    from pathlib import Path


def mel_hubert() -> Hubert:
    torch.manual_seed(1)
    return Hubert(small_config(**MEL)).eval()


def test_bins_equal_librosas() -> None:
    """Filters and power of librosa, windows j at sample 160 j: an independent oracle."""
    samples, _ = padded([16_000])
    theirs = librosa.feature.melspectrogram(
        y=samples[0].numpy(), sr=16_000, n_fft=400, hop_length=160, n_mels=80, center=False
    )  # (80, windows)
    expected = np.log(np.maximum(theirs.T, MEL_FLOOR))
    ours = stacked_mels(samples)[0].reshape(-1, 80)  # windows in order, two a frame
    assert torch.allclose(ours[: len(expected)], torch.from_numpy(expected), atol=2e-4)


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 719, 720, 721, 16_000, 16_079, 16_080])
def test_as_many_frames_as_the_convolutions_give(samples: int) -> None:
    assert stacked_mels(torch.ones(1, samples)).shape == (1, frame_count(samples), 160)


def test_frame_j_starts_at_sample_320_j() -> None:
    """A change of one sample reaches the frames whose two windows hold it, and no other."""
    samples, _ = padded([16_000])
    changed = samples.clone()
    changed[0, 3_200] += 1.0
    differ = (stacked_mels(samples) != stacked_mels(changed)).any(-1)[0].nonzero().flatten()
    # Frame j holds samples 320 j to 320 j + 559; a Hann window is 0 at its first sample.
    assert differ.tolist() == [9]


@torch.inference_mode()
def test_alone_equals_padded() -> None:
    model = mel_hubert()
    samples, lengths = padded([16_000, 9_137, 4_561])
    together = model(samples, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(samples[row : row + 1, :length], lengths[row : row + 1])
        count = int(alone.frames)
        assert count == int(together.frames[row]) == frame_count(length)
        for ours, theirs in zip(alone.hidden_states, together.hidden_states, strict=True):
            assert torch.allclose(ours[0], theirs[row, :count], atol=1e-5)


def test_a_cast_model_computes_its_bins_in_float32() -> None:
    """In bf16 a logarithm near the floor would keep two digits."""
    model = mel_hubert().bfloat16()
    samples, lengths = padded([16_000])
    out = model(samples.bfloat16(), lengths).output
    assert out.dtype == torch.bfloat16
    assert torch.isfinite(out).all()
    assert stacked_mels(samples.bfloat16()).dtype == torch.float32


def test_the_folder_is_a_type_of_its_own(tmp_path: Path) -> None:
    """Opened as HuBERT its weights would be taken for missing, and replaced by random ones."""
    model = mel_hubert()
    save_checkpoint(tmp_path, model)
    opened = load_backbone(tmp_path)
    assert shape_of(tmp_path) == opened.shape
    assert (opened.shape.downsample_rate, opened.shape.receptive_field) == (320, 400)
    samples, lengths = padded([16_000, 9_137])
    with torch.inference_mode():
        states, _ = opened(samples, lengths)
        assert torch.equal(states[-1], model(samples, lengths).hidden_states[-1])
    with pytest.raises(ValueError, match="feat_extract_norm"):
        HubertModel.from_pretrained(tmp_path)


def test_other_windows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"conv_kernel = \[10, .*set conv_dim"):
        small_config(extractor_mode="mel")


def test_it_costs_a_hundredth_of_the_convolutions() -> None:
    """With the paper's 512 channels: the reason why mel students are cheap."""
    mel = extractor_per_second(small_config(**{**MEL, "conv_dim": (512,)}))
    raw = extractor_per_second(small_config(conv_dim=(512,) * 7))
    assert mel < raw / 100
