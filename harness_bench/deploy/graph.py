"""Frozen models as graphs: the same features from operations that every runtime has.

Our HuBERT is written anew for it: no complex numbers, no strided views and no decisions on values,
so that one graph serves any length and any batch. Convolutions are matrix products over taps side
by side, channels last, which runtimes quantise to int8 as they do linear layers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, override

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness_bench.models.config import MEL_BINS, MEL_HOP, MEL_STACK, MEL_WINDOW
from harness_bench.models.extractor import ConvFeatureExtractor
from harness_bench.models.hubert import Hubert, normalize_waveforms
from harness_bench.models.mel import MEL_FLOOR, MelExtractor, mel_constants

if TYPE_CHECKING:
    from harness_bench.models.extractor import ConvLayer
    from harness_bench.models.frozen import FrozenModel
    from harness_bench.models.hubert import Block, Encoder, PositionalConv

_EPSILON = 1e-5  # of layer norm in torch


def graph_of(model: FrozenModel) -> HubertGraph | TracedGraph:
    """Return the graph of a frozen model: written for it, or what tracing makes of it."""
    hubert = getattr(model, "hubert", None)
    return (HubertGraph(hubert) if isinstance(hubert, Hubert) else TracedGraph(model)).eval()


class TracedGraph(nn.Module):
    """Any frozen model on one utterance: decisions on values are fixed by the traced one."""

    batched = False
    precise: tuple[str, ...] = ()

    def __init__(self, model: FrozenModel) -> None:
        super().__init__()
        self.model = model

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Map (1, T) float at 16 kHz and (1,) int64 -> all hidden states (1, F, D), frames (1,)."""
        states, frames = self.model(waveforms, lengths)
        return (*states, frames)


class FeaturesGraph(nn.Module):
    """A sum of hidden states, one of them, or their mean."""

    def __init__(
        self, upstream: HubertGraph | TracedGraph, shares: list[float], *, normalize: bool = False
    ) -> None:
        """`shares`: of each hidden state in the sum; `normalize`: each frame before, as s3prl."""
        super().__init__()
        self.upstream, self.normalize = upstream, normalize
        self.shares = {at: share for at, share in enumerate(shares) if share}
        if isinstance(upstream, HubertGraph):  # blocks that nothing takes
            upstream.encoder.layers = upstream.encoder.layers[: max(self.shares)]

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, T) float at 16 kHz and (B,) int64 -> (B, F, D) and (B,) frames."""
        *states, frames = self.upstream(waveforms, lengths)
        parts = []
        for at, share in self.shares.items():
            state = states[at]
            if self.normalize:
                centred = state - state.mean(-1, keepdim=True)
                variance = centred.square().mean(-1, keepdim=True)
                state = centred * torch.rsqrt(variance + _EPSILON)
            parts.append(share * state)
        return torch.stack(parts).sum(0), frames


class HubertGraph(nn.Module):
    """Our HuBERT: an utterance gets the same features alone and in a batch."""

    batched = True

    def __init__(self, hubert: Hubert) -> None:
        super().__init__()
        config = hubert.config
        self.field, self.shift = config.receptive_field, config.downsample_rate
        self.normalize, self.projection = config.normalize, hubert.feature_projection
        own = hubert.feature_extractor
        self.extractor = MelGraph(own) if isinstance(own, MelExtractor) else ConvsGraph(own)
        # Names of products that int8 leaves alone: the spectrum's or the first convolution's; of an
        # extractor without layer norms all, or rounding adds up to a fifth of the features.
        self.precise: tuple[str, ...] = ("/extractor/power/MatMul", "/extractor/MatMul")
        if isinstance(own, ConvFeatureExtractor):
            normed = any(isinstance(each, nn.LayerNorm) for each in own.modules())
            self.precise = ("/extractor/layers.0/" if normed else "/extractor/",)
        self.encoder = EncoderGraph(hubert.encoder)

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Map (B, T) float at 16 kHz and (B,) int64 -> all hidden states (B, F, D), frames (B,)."""
        frames = ((lengths - self.field) // self.shift + 1).clamp(min=0)
        if self.normalize:
            waveforms = normalize_waveforms(waveforms, lengths)
        x = self.extractor(waveforms, lengths)
        valid = torch.arange(x.shape[1], device=x.device) < frames[:, None]
        return (*self.encoder(self.projection(x), valid), frames)


class ConvsGraph(nn.Module):
    """The stack of convolutions."""

    def __init__(self, extractor: ConvFeatureExtractor) -> None:
        super().__init__()
        layers: list[Any] = [*extractor.conv_layers]
        self.layers = nn.ModuleList(ConvGraph(layer) for layer in layers)

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Map waveforms (B, T) and lengths (B,) -> frames (B, F, C)."""
        x = waveforms[..., None]
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        return x


class ConvGraph(nn.Module):
    """One temporal convolution with its norm and GELU."""

    def __init__(self, layer: ConvLayer) -> None:
        super().__init__()
        weight = layer.conv.weight  # (C', C, K)
        self.taps, self.stride = weight.shape[2], layer.stride
        self.product = nn.Linear(weight.shape[1] * self.taps, len(weight), bias=False)
        self.product.weight.data = weight.permute(0, 2, 1).flatten(1).detach().clone()
        self.bias = layer.conv.bias
        self.norm = layer.layer_norm

    @override
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, T, C) and lengths (B,) -> (B, T', C') and the lengths that come of them."""
        lengths = (lengths - self.taps) // self.stride + 1
        x = self.product(_taps(x, self.taps, self.stride))
        x = x if self.bias is None else x + self.bias
        if isinstance(self.norm, nn.GroupNorm):
            x = _standardised(x, lengths, self.norm)
        elif self.norm is not None:
            x = self.norm(x)
        return F.gelu(x), lengths


def _taps(x: Tensor, taps: int, stride: int) -> Tensor:
    """Lay the taps of every step side by side: (B, T, C) -> (B, T', taps * C)."""
    batch, length, channels = x.shape
    steps = (length - taps) // stride + 1
    parts = []
    for first in range(0, taps, stride):
        if (count := min(stride, taps - first)) == 1:
            parts.append(x[:, first : first + (steps - 1) * stride + 1 : stride])
            continue
        # Rows of whole strides; the last may lack some that no step has.
        whole = x if count == stride else F.pad(x, (0, 0, 0, stride))
        rows = whole[:, first : first + steps * stride].reshape(batch, steps, stride * channels)
        parts.append(rows if count == stride else rows[..., : count * channels])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _standardised(x: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Apply a group norm of one channel a group over each utterance's own steps."""
    valid = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
    count = lengths[:, None, None].to(x.dtype)
    centred = (x - (x * valid).sum(1, keepdim=True) / count) * valid
    variance = centred.square().sum(1, keepdim=True) / count
    return centred * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias


class MelGraph(nn.Module):
    """Our log-mel bins, two windows a frame, and what stands behind them."""

    def __init__(self, extractor: MelExtractor) -> None:
        super().__init__()
        window, filters = mel_constants(torch.device("cpu"))
        self.power = PowerGraph(window, MEL_HOP)
        self.register_buffer("filters", filters)
        self.layer_norm, self.linear = extractor.layer_norm, extractor.linear

    filters: Tensor  # (201, 80)

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Map waveforms (B, T), zero behind each end -> frames (B, F, C)."""
        del lengths
        batch, length = waveforms.shape
        step = MEL_STACK * MEL_HOP
        frames = (length - MEL_WINDOW) // step + 1
        # A window of zeros more, for the last frame's second one.
        power = self.power(F.pad(waveforms, (0, step)))[:, : MEL_STACK * frames]
        mels = (power @ self.filters).clamp(min=MEL_FLOOR).log()
        stacked = mels.reshape(batch, frames, MEL_STACK * MEL_BINS)
        return F.gelu(self.linear(self.layer_norm(stacked)))


class PowerGraph(nn.Module):
    """The power spectrum by a product with the discrete Fourier transform's matrix."""

    transform: Tensor  # (N, 2 * (N / 2 + 1)), the window in it

    def __init__(self, window: Tensor, hop: int) -> None:
        """`window` is (N,)."""
        super().__init__()
        self.size, self.hop = len(window), hop
        angles = 2 * math.pi / self.size * torch.outer(
            torch.arange(self.size, dtype=torch.float64),
            torch.arange(self.size // 2 + 1, dtype=torch.float64),
        )  # fmt: skip
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        self.register_buffer("transform", (window.double()[:, None] * waves).float())

    @override
    def forward(self, waveforms: Tensor) -> Tensor:
        """Map waveforms (B, T) -> (B, windows, N / 2 + 1)."""
        real, imaginary = (_taps(waveforms[..., None], self.size, self.hop) @ self.transform).chunk(
            2, dim=2
        )
        return real.square() + imaginary.square()


class EncoderGraph(nn.Module):
    """The transformer, always with a mask of the valid frames."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.positions = PositionsGraph(encoder.pos_conv_embed)
        layers: list[Any] = [*encoder.layers]
        self.layers = nn.ModuleList(BlockGraph(layer) for layer in layers)
        self.norm = nn.Identity() if encoder.norm_first else encoder.layer_norm

    @override
    def forward(self, x: Tensor, valid: Tensor) -> list[Tensor]:
        """Map x (B, F, D) and valid (B, F) bool -> the hidden states."""
        x = x * valid[..., None]
        x = self.norm(x + self.positions(x))
        # Finite, so that a row without any valid frame is no NaN.
        mask = (~valid).to(x.dtype)[:, None, None, :] * torch.finfo(torch.float32).min
        states = [x]
        for layer in self.layers:
            x = layer(x, mask)
            states.append(x)
        return states


class BlockGraph(nn.Module):
    """One transformer block; queries, keys and values are one product."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        own = block.attention
        dim, self.heads, self.norm_first = own.q_proj.in_features, own.heads, block.norm_first
        parts = (own.q_proj, own.k_proj, own.v_proj)
        self.together = nn.Linear(dim, 3 * dim)
        self.together.weight.data = torch.cat([part.weight for part in parts]).detach()
        self.together.bias.data = torch.cat([part.bias for part in parts]).detach()
        self.out_proj, self.feed_forward = own.out_proj, block.feed_forward
        self.layer_norm, self.final_layer_norm = block.layer_norm, block.final_layer_norm
        self.scale = (dim // own.heads) ** -0.5

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, F, D) and a mask (B, 1, 1, F) to add to scores -> (B, F, D)."""
        if self.norm_first:
            x = x + self._attend(self.layer_norm(x), mask)
            changed: Tensor = x + self.feed_forward(self.final_layer_norm(x))
            return changed
        x = self.layer_norm(x + self._attend(x, mask))
        normed: Tensor = self.final_layer_norm(x + self.feed_forward(x))
        return normed

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, frames, dim = x.shape
        parts = self.together(x).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)  # (B, heads, F, D / heads)
        shares = (query * self.scale @ key.transpose(2, 3) + mask).softmax(-1)
        mixed = (shares @ value).transpose(1, 2).reshape(batch, frames, dim)
        out: Tensor = self.out_proj(mixed)
        return out


class PositionsGraph(nn.Module):
    """The positional convolution with its weight as a plain tensor."""

    weight: Tensor

    def __init__(self, positions: PositionalConv) -> None:
        super().__init__()
        conv = positions.conv
        self.register_buffer("weight", conv.weight.detach().clone())
        self.bias = conv.bias
        self.padding, self.groups, self.surplus = conv.padding, conv.groups, positions.surplus

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, F, D) -> (B, F, D)."""
        out = F.conv1d(
            x.transpose(1, 2), self.weight, self.bias, padding=self.padding, groups=self.groups
        )
        return F.gelu(out[..., : out.shape[-1] - self.surplus]).transpose(1, 2)
