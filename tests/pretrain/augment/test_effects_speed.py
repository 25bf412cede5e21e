"""Changed speed: labels go with the audio, frame by frame."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.audio.io import load_waveform
from harness_bench.pretrain.augment import effects
from harness_bench.pretrain.augment.config import AugmentConfig
from tests.pretrain.augment.conftest import Wave, noise

if TYPE_CHECKING:
    from pathlib import Path


LENGTHS = st.integers(1, 20_000)
SEEDS = st.integers(0, 2**32)


def test_speeds_are_those_of_the_config(rng: np.random.Generator) -> None:
    assert effects.speed_factor(AugmentConfig(), rng) == 1.0
    config = AugmentConfig(speed=(0.9, 1.0, 1.1))
    drawn = [effects.speed_factor(config, rng) for _ in range(300)]
    assert {*drawn} == {0.9, 1.0, 1.1}
    assert min(drawn.count(factor) for factor in config.speed) > 60


def nearest(known: int, factor: Fraction, frame: int) -> int:
    """Find by trying all, in exact arithmetic, the clean frame whose centre is nearest."""
    centre = (320 * frame + 200) * factor
    return min(range(known), key=lambda index: abs(320 * index + 200 - centre))


@given(
    known=st.integers(1, 120), hundredths=st.integers(50, 200), frames=st.integers(0, 150)
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_labels_follow_speed(known: int, hundredths: int, frames: int) -> None:
    labels = torch.arange(known)
    found = effects.labels_at_speed(labels, hundredths / 100, frames)
    factor = Fraction(hundredths, 100)
    assert found.tolist() == [nearest(known, factor, frame) for frame in range(frames)]
    assert found.dtype == torch.int64


def test_speed_one_is_the_identity() -> None:
    labels = torch.randint(500, (70_000,))
    assert torch.equal(effects.labels_at_speed(labels, 1.0, len(labels)), labels)


def test_frames_without_labels_teach() -> None:
    with pytest.raises(ValueError, match=r"5 frames at speed 1\.1 were to be labelled"):
        effects.labels_at_speed(torch.empty(0, dtype=torch.int64), 1.1, 5)


def loudness_labels(wave: Wave) -> torch.Tensor:
    """Label each frame of 400 samples, one every 320: whether it is more loud than quiet."""
    frames = torch.from_numpy(wave).unfold(0, 400, 320)
    return (frames.square().mean(dim=1) > 0.5 * 0.3**2).long()


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_labels_of_sped_audio_are_those_recomputed(factor: float, tmp_path: Path) -> None:
    """The truth: speed the audio as training does (lhotse), then label that audio anew."""
    import soundfile as sf  # noqa: PLC0415 - here alone
    from lhotse import Recording  # noqa: PLC0415

    wave = noise(16_000 * 20, level=0.3)
    rng = np.random.default_rng(1)
    for start in range(0, len(wave), 16_000):  # a quiet stretch in every second
        first = start + int(rng.integers(1000, 6000))
        wave[first : first + int(rng.integers(3000, 9000))] *= 0.02
    sf.write(tmp_path / "steps.wav", wave, 16_000, subtype="FLOAT")
    clean = Recording.from_file(tmp_path / "steps.wav").to_cut()
    sped = load_waveform(clean.perturb_speed(factor))
    expected = loudness_labels(sped)
    found = effects.labels_at_speed(loudness_labels(wave), factor, len(expected))
    naive = loudness_labels(wave).repeat(2)[: len(expected)]
    assert (found == expected).float().mean() >= 0.98
    assert (naive == expected).float().mean() < 0.8, "the test could not fail"
