"""Waveforms to frames of 20 ms by log-mel bins and one linear layer, in place of convolutions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, override

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.config import MEL_BINS, MEL_HOP, MEL_STACK, MEL_WINDOW

if TYPE_CHECKING:
    from harness_bench.models.config import HubertConfig

# Digital silence must have a logarithm; some 65 dB below white noise of unit variance.
MEL_FLOOR = 1e-6


class MelExtractor(nn.Module):
    """Log-mel bins of windows every 10 ms, two of them a frame, then layer norm and linear layer.

    Frame j starts at sample 320 j and there are as many frames as the convolutions give, so labels
    and heads fit either extractor. The second window of the last frame may reach behind the end of
    the utterance, into the zeros that stand there alone as in a batch. See MelHuBERT (Lin 2023).
    """

    per_utterance = False  # padding changes nothing

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(MEL_STACK * MEL_BINS)
        self.linear = nn.Linear(MEL_STACK * MEL_BINS, config.conv_dim[-1])

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Map waveforms (B, T), zero behind each end -> frames (B, F, C)."""
        mels = stacked_mels(waveforms).to(self.linear.weight.dtype)
        out: Tensor = F.gelu(self.linear(self.layer_norm(mels)))
        return out


def stacked_mels(waveforms: Tensor) -> Tensor:
    """Map waveforms (B, T) at 16 kHz -> log-mel bins of two windows a frame (B, F, 160) float32."""
    step = MEL_STACK * MEL_HOP
    frames = max(0, (waveforms.shape[1] - MEL_WINDOW) // step + 1)
    if frames == 0:
        return torch.zeros(len(waveforms), 0, MEL_STACK * MEL_BINS, device=waveforms.device)
    window, filters = mel_constants(waveforms.device)
    with torch.autocast(waveforms.device.type, enabled=False):
        padded = F.pad(waveforms.float(), (0, step))
        windows = padded.unfold(1, MEL_WINDOW, MEL_HOP)[:, : MEL_STACK * frames]
        power = torch.fft.rfft(windows * window).abs().square()
        mels: Tensor = (power @ filters).clamp(min=MEL_FLOOR).log()
    return mels.reshape(len(waveforms), frames, MEL_STACK * MEL_BINS)


@cache
def mel_constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return window (400,) and filters (201, 80); no buffers, or a cast model would round them."""
    from torchaudio.functional import melscale_fbanks  # noqa: PLC0415 - raw models open without it

    filters = melscale_fbanks(
        MEL_WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, MEL_BINS, SAMPLE_RATE,
        norm="slaney", mel_scale="slaney",
    )  # fmt: skip
    return torch.hann_window(MEL_WINDOW, device=device), filters.to(device)
