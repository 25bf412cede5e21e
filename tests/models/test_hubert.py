"""The backbone against transformers' HubertModel, and the properties that probes rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import HubertModel

from harness_bench.audio.frames import frame_count
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.extractor import ConvFeatureExtractor
from harness_bench.models.frozen import load_backbone
from harness_bench.models.hubert import Hubert, normalize_waveforms
from tests.models.conftest import padded, small_config

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = [16_000, 12_345, 8_001, 400]


def test_hidden_states_equal_transformers(hubert: Hubert, tmp_path: Path) -> None:
    """The exported folder must mean the same to transformers: every layer, every valid frame."""
    save_checkpoint(tmp_path, hubert)
    reference = HubertModel.from_pretrained(tmp_path).eval()
    samples, lengths = padded(LENGTHS)
    with torch.inference_mode():
        ours = hubert(samples, lengths)
        for row, length in enumerate(LENGTHS):
            wave, one = samples[row : row + 1, :length], lengths[row : row + 1]
            wave = normalize_waveforms(wave, one) if hubert.config.normalize else wave
            theirs = reference(wave, output_hidden_states=True)
            count = int(ours.frames[row])
            pairs = list(zip(ours.hidden_states, theirs.hidden_states, strict=True))
            pairs.append((ours.output, theirs.last_hidden_state))
            for mine, other in pairs:
                assert torch.allclose(mine[row, :count], other[0], atol=2e-5)


def test_alone_equals_padded(hubert: Hubert) -> None:
    """Features of an utterance must not depend on what else is in its batch."""
    samples, lengths = padded(LENGTHS)
    with torch.inference_mode():
        together = hubert(samples, lengths)
        for row, length in enumerate(LENGTHS):
            alone = hubert(samples[row : row + 1, :length], lengths[row : row + 1])
            count = int(alone.frames[0])
            assert count == int(together.frames[row]) == frame_count(length)
            for mine, other in zip(together.hidden_states, alone.hidden_states, strict=True):
                assert torch.allclose(mine[row, :count], other[0], atol=1e-5)


def test_stopping_early_gives_the_same_layer(hubert: Hubert) -> None:
    """Labels from layer N run N blocks only; that must change nothing but the time."""
    samples, lengths = padded(LENGTHS)
    with torch.inference_mode():
        full, early = hubert(samples, lengths), hubert(samples, lengths, max_layer=2)
    assert len(early.hidden_states) == 3
    assert torch.equal(full.hidden_states[2], early.hidden_states[2])


def test_masked_frames_carry_no_input() -> None:
    """A masked frame's own audio must not reach the model, or prediction would be copying."""
    torch.manual_seed(0)
    model = Hubert(small_config()).eval()
    samples, lengths = padded([8_000])
    mask = torch.ones(1, frame_count(8_000), dtype=torch.bool)
    with torch.inference_mode():
        one = model(samples, lengths, mask).output
        other = model(samples.flip(1), lengths, mask).output
    assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("mult", [0.0, 0.1, 1.0])
def test_feature_grad_mult_scales_the_extractors_gradient(mult: float) -> None:
    """Fairseq's feature_grad_mult: forward unchanged, gradient into the CNN scaled, 0 = frozen."""
    torch.manual_seed(0)
    model = Hubert(small_config()).eval().double()  # float32's noise differs by processor
    samples, lengths = padded([4_000])
    grads = []
    for model.feature_grad_mult in (1.0, mult):
        model.zero_grad()
        model(samples.double(), lengths).output.square().mean().backward()
        grads.append(next(model.feature_extractor.parameters()).grad)
    full, scaled = grads
    assert full is not None
    assert (scaled is None) == (mult == 0.0)
    if scaled is not None:
        assert torch.allclose(scaled, full * mult, rtol=1e-9, atol=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=400, max_value=60_000))
def test_extractor_gives_frame_count_frames(samples: int) -> None:
    """Labels are counted by formula; the extractor must give exactly so many frames."""
    config = small_config(conv_dim=(2,) * 7)
    frames = ConvFeatureExtractor(config)(torch.zeros(1, samples), torch.tensor([samples])).shape[1]
    assert frames == frame_count(samples) == config.frames(samples)


def test_formulas_agree_for_thousands_of_lengths() -> None:
    """The closed form stands for seven nested floors: check each length up to 20,000 samples."""
    config = small_config()
    for samples in range(20_000):
        nested = samples
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            nested = (nested - kernel) // stride + 1
        assert frame_count(samples) == config.frames(samples) == max(nested, 0)


def test_backbone_stays_in_eval_and_is_exported_without_dropout(tmp_path: Path) -> None:
    """A dropout left in the config would make frozen features random under some runners."""
    torch.manual_seed(0)
    save_checkpoint(tmp_path, Hubert(small_config(dropout=0.5, encoder_layerdrop=0.5)))
    backbone = load_backbone(tmp_path)
    assert not backbone.training
    backbone.train()
    samples, lengths = padded([6_000])
    (first, _), (second, _) = (backbone(samples, lengths) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
