"""The convolutional feature extractor, channels last: one matrix product per layer."""

from __future__ import annotations

from typing import Literal, override

import torch.nn.functional as F
from torch import Tensor, nn

from harness_bench.models.convolution import convolve

type Norm = Literal["layer", "group", "none"]


class ConvLayer(nn.Module):
    """One temporal convolution with optional layer or group norm and GELU."""

    def __init__(self, size: tuple[int, int, int, int], norm: Norm, *, bias: bool) -> None:
        """`size` is (channels in, channels out, kernel, stride)."""
        super().__init__()
        channels_in, channels, kernel, self.stride = size
        # The parameters keep nn.Conv1d's names and shapes; its forward is not used.
        self.conv = nn.Conv1d(channels_in, channels, kernel, self.stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        self.layer_norm: nn.Module | None = None
        if norm == "layer":
            self.layer_norm = nn.LayerNorm(channels)
        elif norm == "group":
            self.layer_norm = nn.GroupNorm(channels, channels)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, T, C) -> (B, T', C')."""
        x = convolve(x, self.conv.weight, self.conv.bias, self.stride)
        if isinstance(self.layer_norm, nn.GroupNorm):
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        elif self.layer_norm is not None:
            x = self.layer_norm(x)
        return F.gelu(x)


class ConvFeatureExtractor(nn.Module):
    """Waveforms to frames: seven convolutions, 320 samples a frame with the paper's strides."""

    def __init__(
        self,
        dims: tuple[int, ...],
        kernels: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        mode: Literal["layer_norm", "default"],
        bias: bool,
    ) -> None:
        super().__init__()
        # Whether padding would change the result; False lets it, as other toolkits do.
        self.per_utterance = mode != "layer_norm"
        sizes = zip((1, *dims[:-1]), dims, kernels, strides, strict=True)
        self.conv_layers = nn.ModuleList(
            ConvLayer(size, _norm_kind(mode, index), bias=bias) for index, size in enumerate(sizes)
        )

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Run all layers: waveforms (B, T), lengths (B,) -> frames (B, F, C).

        A group norm looks over the whole length, so padding would change its result: such
        extractors run every utterance alone (a tested property: alone = in a batch).
        """
        if not self.per_utterance or bool((lengths == waveforms.shape[1]).all()):
            return self._run(waveforms)
        alone = [
            self._run(wave[None, : int(length)])[0]
            for wave, length in zip(waveforms, lengths, strict=True)
        ]
        return nn.utils.rnn.pad_sequence(alone, batch_first=True)

    def _run(self, waveforms: Tensor) -> Tensor:
        x = waveforms[..., None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


def _norm_kind(mode: str, index: int) -> Norm:
    if mode == "layer_norm":
        return "layer"
    return "group" if index == 0 else "none"
