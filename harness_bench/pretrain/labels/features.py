"""What gets clustered: 39-dim MFCC (iteration 1) or a teacher's hidden states (later ones)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
import torchaudio
from torchaudio.compliance import kaldi

from harness_bench.audio.frames import SAMPLE_RATE, frame_count
from harness_bench.models.frozen import checkpoint_digest, load_backbone

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from harness_bench.audio.batching import Waveforms
    from harness_bench.pretrain.config import LabelConfig

MFCC_COEFFICIENTS = 13


class FeatureSource(Protocol):
    """Frames to be clustered, one per 20 ms of the paper's extractor."""

    dim: int
    digest: str  # of everything that decides the features

    def frames(self, batch: Waveforms) -> list[Tensor]:
        """Return (F_i, dim) float32 for every utterance of the batch."""
        ...


class MfccSource:
    """Kaldi-compatible 13 MFCC with first and second differences (paper, section 2; HuBERT)."""

    dim = 3 * MFCC_COEFFICIENTS
    digest = "mfcc39-kaldi-v1"

    def frames(self, batch: Waveforms) -> list[Tensor]:
        """Compute every utterance alone: (F_i, 39) float32."""
        pairs = zip(batch.samples, batch.lengths.tolist(), strict=True)
        return [mfcc39(wave[:length]) for wave, length in pairs]


def mfcc39(wave: Tensor) -> Tensor:
    """Return (F, 39) MFCC + delta + delta-delta of a waveform (samples,) at 16 kHz.

    25 ms windows every 10 ms without padding at the edges and without dither, so window 2j covers
    exactly the 400 samples of the extractor's frame j: every second window is kept.
    """
    frames = frame_count(wave.shape[-1])
    if frames == 0:
        return wave.new_zeros(0, MfccSource.dim)
    static = kaldi.mfcc(
        wave[None].cpu(),
        num_ceps=MFCC_COEFFICIENTS,
        use_energy=False,
        dither=0.0,
        sample_frequency=SAMPLE_RATE,
    ).T  # (13, windows)
    delta = torchaudio.functional.compute_deltas(static)
    second = torchaudio.functional.compute_deltas(delta)
    return torch.cat([static, delta, second]).T[::2][:frames].contiguous()


class HiddenSource:
    """One layer of a teacher, fairseq's convention (hidden_states[L] is block L's output)."""

    def __init__(self, folder: Path, layer: int, device: torch.device) -> None:
        self.model = load_backbone(folder).to(device)
        layers = self.model.shape.num_layers
        if layer > layers:
            raise ValueError(
                f"Layer {layer} was asked of {folder}, which has {layers}; give 0 to {layers}."
            )
        self.layer, self.device = layer, device
        self.dim = self.model.shape.hidden_size
        self.digest = f"hidden-{layer}-of-{checkpoint_digest(folder)}"

    @torch.inference_mode()
    def frames(self, batch: Waveforms) -> list[Tensor]:
        """Run the blocks up to the layer: (F_i, D) float32 per utterance."""
        moved = batch.to(self.device)
        states, frames = self.model(moved.samples, moved.lengths, max_layer=self.layer)
        rows = states[self.layer].float()
        return [row[:count] for row, count in zip(rows, frames.tolist(), strict=True)]


def open_source(config: LabelConfig, teacher: Path | None, device: torch.device) -> FeatureSource:
    """Open the feature source a config names.

    Raises:
        ValueError: hidden states without a teacher, or a layer it does not have.
    """
    if config.source == "mfcc":
        return MfccSource()
    if teacher is None or config.layer is None:
        raise ValueError(
            "Labels from hidden states need a teacher checkpoint and a layer; give both, or use "
            'source = "mfcc".'
        )
    return HiddenSource(teacher, config.layer, device)
