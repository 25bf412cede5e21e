"""What gets clustered: 39-dim MFCC (iteration 1) or a teacher's hidden states (later ones)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torchaudio.compliance import kaldi

from harness_bench.audio.batching import pad
from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE, frame_count
from harness_bench.models.frozen import checkpoint_digest, load_backbone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.models.frozen import ModelShape

COEFFICIENTS = 13
_BINS, _FFT = 23, 512  # Kaldi's defaults at 16 kHz
# Windows computed at a time, at least: they stay in cache, and share what a call costs.
# Some 30 or fewer would take other kernels, whose sums differ in the last bit.
_CHUNK = 256
BF16 = "-bf16"


class MfccSource:
    """Kaldi-compatible 13 MFCC with first and second differences (paper, section 2; HuBERT)."""

    dim = 3 * COEFFICIENTS
    digest = "mfcc39-kaldi-v1"
    device = torch.device("cpu")

    @staticmethod
    def inputs(waves: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        """Compute, where audio is read, every utterance alone: (sum of F_i, 39) and F_i (B,)."""
        rows = [mfcc39(torch.from_numpy(wave)) for wave in waves]
        counts = torch.tensor([len(each) for each in rows], dtype=torch.int64)
        return torch.cat(rows) if rows else torch.zeros(0, MfccSource.dim), counts

    def frames(self, inputs: Tensor, counts: Tensor) -> list[Tensor]:
        """Return (F_i, 39) float32 per utterance."""
        return [*torch.split(inputs, counts.tolist())]


def mfcc39(wave: Tensor) -> Tensor:
    """Return (F, 39) MFCC + delta + delta-delta of a waveform (samples,) at 16 kHz.

    25 ms windows every 10 ms without padding at the edges and without dither, so window 2j covers
    exactly the 400 samples of the extractor's frame j: every second window is kept. Equal, to the
    bit, to torchaudio's `kaldi.mfcc` and `compute_deltas`, at half of their cost.
    """
    frames = frame_count(wave.shape[-1])
    if frames == 0:
        return wave.new_zeros(0, MfccSource.dim)
    static = _mfcc(wave.contiguous())
    delta = _slope(static)
    return torch.cat([static[::2], delta[::2], _slope(delta)[::2]], 1)[:frames].contiguous()


def _mfcc(wave: Tensor) -> Tensor:
    """Return (windows, 13) Kaldi MFCC of a window of 400 samples every 160."""
    window, bins, cosines, lifter, floor = _constants()
    windows = wave.unfold(0, FRAME_FIELD, FRAME_SHIFT // 2)
    # Chunks of nearly one size, none of which is small.
    parts = max(1, len(windows) // _CHUNK)
    bounds = [len(windows) * part // parts for part in range(parts + 1)]
    energies = [
        _spectrum(windows[begin:end], window).abs().square_() @ bins
        for begin, end in pairwise(bounds)
    ]
    mfcc: Tensor = (torch.cat(energies).clamp_(min=floor).log_() @ cosines).mul_(lifter)
    return mfcc


def _spectrum(windows: Tensor, window: Tensor) -> Tensor:
    """Centre, pre-emphasise and window (W, 400) -> (W, 257) complex64."""
    centred = windows - windows.mean(1, keepdim=True)
    before = centred * 0.97
    padded = centred.new_zeros(len(windows), _FFT)
    torch.sub(centred[:, 1:], before[:, :-1], out=padded[:, 1:FRAME_FIELD])
    torch.sub(centred[:, 0], before[:, 0], out=padded[:, 0])
    padded[:, :FRAME_FIELD] *= window
    spectrum: Tensor = torch.fft.rfft(padded)
    return spectrum


@cache
def _constants() -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Return window (400,), bins (257, 23), cosines (23, 13), lifter (13,) and least energy."""
    banks, _ = kaldi.get_mel_banks(_BINS, _FFT, SAMPLE_RATE, 20.0, 0.0, 100.0, -500.0, 1.0)
    return (
        torch.hann_window(FRAME_FIELD, periodic=False).pow(0.85),  # Povey's
        F.pad(banks, (0, 1)).T,
        kaldi._get_dct_matrix(COEFFICIENTS, _BINS),  # noqa: SLF001 - Kaldi's scale of the first
        kaldi._get_lifter_coeffs(COEFFICIENTS, 22.0),  # noqa: SLF001 - as above
        torch.finfo(torch.float32).eps,
    )


def _slope(rows: Tensor) -> Tensor:
    """Return the regression slope over five rows (W, D), the outer ones repeated at the ends."""
    padded = torch.cat([rows[:1], rows[:1], rows, rows[-1:], rows[-1:]])
    # Products with 1 and 2 are exact: only the order of the sums decides about the last bit.
    slope = padded[:-4] * -2
    slope -= padded[1:-3]
    slope += padded[3:-1]
    return slope.add_(padded[4:], alpha=2).div_(10)


class HiddenSource:
    """One layer of a teacher, fairseq's convention (hidden_states[L] is block L's output)."""

    def __init__(
        self, folder: Path, layer: int, device: torch.device, *, bf16: bool = False
    ) -> None:
        self.model = load_backbone(folder).to(device)
        layers = self.model.shape.num_layers
        if layer > layers:
            raise ValueError(
                f"Layer {layer} was requested of {folder}, which has {layers}; give 0 to {layers}."
            )
        self.layer, self.device, self.bf16 = layer, device, bf16
        self.dim = self.model.shape.hidden_size
        self.weights = checkpoint_digest(folder)

    @property
    def digest(self) -> str:
        """Return what decides the frames beside the audio."""
        return f"hidden-{self.layer}-of-{self.weights}{BF16 if self.bf16 else ''}"

    @staticmethod
    def inputs(waves: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        """Pad, where audio is read: (B, T) float32 and (B,) samples."""
        return pad(waves)

    @torch.inference_mode()
    def frames(self, inputs: Tensor, lengths: Tensor) -> list[Tensor]:
        """Run the blocks up to the layer: (F_i, D) float32 per utterance, a row per frame of ours.

        A teacher of other frames gives each of ours the one whose centre is nearest.
        """
        shape = self.model.shape
        # Counted here: asking the device for them would wait for it.
        counts = [frame_count(length) for length in lengths.tolist()]
        if int(lengths.min()) < shape.receptive_field:
            inputs = F.pad(inputs, (0, max(0, shape.receptive_field - inputs.shape[1])))
            lengths = lengths.clamp(min=shape.receptive_field)
        own = [shape.frames(length) for length in lengths.tolist()]
        samples, lengths = (each.to(self.device, non_blocking=True) for each in (inputs, lengths))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            states, _ = self.model(samples, lengths, max_layer=self.layer)
        rows = states[self.layer].float()
        return [
            row[:count]
            if mine == count and shape.downsample_rate == FRAME_SHIFT
            else row[nearest_frames(shape, count, mine).to(row.device)]
            for row, count, mine in zip(rows, counts, own, strict=True)
        ]


def nearest_frames(shape: ModelShape, count: int, frames: int) -> Tensor:
    """Return for each of `count` frames of ours which of a model's is nearest: (count,) int64."""
    centres = FRAME_SHIFT * torch.arange(count) + FRAME_FIELD / 2
    places = (centres - shape.receptive_field / 2) / shape.downsample_rate
    return (places + 0.5).floor().long().clamp(0, frames - 1)


type FeatureSource = MfccSource | HiddenSource
