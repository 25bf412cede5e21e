"""HuBERT in plain torch, with transformers' parameter names and fairseq's layer convention.

The same module pretrains, gives labels and serves as frozen upstream.
"""

from __future__ import annotations

import math
from typing import NamedTuple, override

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from harness_bench.models.config import HubertConfig
from harness_bench.models.extractor import ConvFeatureExtractor
from harness_bench.models.mel import MelExtractor

__all__ = ["Hubert", "HubertConfig", "HubertOutput", "normalize_waveforms"]


class HubertOutput(NamedTuple):
    """What one forward pass gives."""

    hidden_states: list[Tensor]  # (B, F, D) each: the transformer's input, then every block's
    output: Tensor  # (B, F, D), the last one after the final layer norm
    frames: Tensor  # (B,) int64, valid frames of each utterance
    features_pen: Tensor  # scalar: mean square of the extractor's output on valid frames


class Attention(nn.Module):
    """Multi-head self-attention over valid frames."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        dim = config.encoder_embed_dim
        self.heads, self.dropout = config.encoder_attention_heads, config.attention_dropout
        self.k_proj, self.v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.q_proj, self.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)

    @override
    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Map x (B, F, D); valid (B, 1, 1, F) bool or None where all frames are -> (B, F, D)."""
        batch, frames, dim = x.shape
        query, key, value = (
            layer(x).view(batch, frames, self.heads, -1).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, valid, dropout_p=dropout)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, frames, dim))
        return out


class FeedForward(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        dim, inner = config.encoder_embed_dim, config.encoder_ffn_embed_dim
        self.intermediate_dense, self.output_dense = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    @override
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output_dense(self.activation_dropout(F.gelu(self.intermediate_dense(x))))
        return out


class Block(nn.Module):
    """One transformer block, layer norm first (large models) or last (base)."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.norm_first = config.layer_norm_first
        self.attention, self.feed_forward = Attention(config), FeedForward(config)
        self.layer_norm = nn.LayerNorm(config.encoder_embed_dim, eps=config.layer_norm_eps)
        self.final_layer_norm = nn.LayerNorm(config.encoder_embed_dim, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    @override
    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        if self.norm_first:
            x = x + self.dropout(self.attention(self.layer_norm(x), valid))
            change: Tensor = self.dropout(self.feed_forward(self.final_layer_norm(x)))
            return x + change
        x = self.layer_norm(x + self.dropout(self.attention(x, valid)))
        out: Tensor = self.final_layer_norm(x + self.dropout(self.feed_forward(x)))
        return out


class PositionalConv(nn.Module):
    """Grouped convolution as relative positional embedding."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        dim, width = config.encoder_embed_dim, config.conv_pos
        conv = nn.Conv1d(dim, dim, width, padding=width // 2, groups=config.conv_pos_groups)
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (width * dim)))
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # built with a bias
        self.conv = weight_norm(conv, dim=2)
        self.surplus = 1 - width % 2  # An even kernel gives one frame too many.

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, F, D) -> (B, F, D)."""
        out = self.conv(x.transpose(1, 2))
        trimmed: Tensor = out[..., : out.shape[-1] - self.surplus]
        return F.gelu(trimmed).transpose(1, 2)


class Encoder(nn.Module):
    """The transformer."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.norm_first, self.layerdrop = config.layer_norm_first, config.encoder_layerdrop
        self.pos_conv_embed = PositionalConv(config)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(config.encoder_embed_dim, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    @override
    def forward(
        self, x: Tensor, valid: Tensor | None, max_layer: int | None
    ) -> tuple[list[Tensor], Tensor]:
        """Map x (B, F, D) -> the hidden states and the normalised last one.

        `valid` (B, F) bool tells frames from padding; None: there is none.
        """
        if valid is not None:
            # Padding must be silent for the positional convolution, or it reaches valid frames.
            x = x.masked_fill(~valid[..., None], 0.0)
        x = x + self.pos_conv_embed(x)
        if not self.norm_first:
            x = self.layer_norm(x)
        x = self.dropout(x)
        attend = None if valid is None else valid[:, None, None, :]
        states = [x]
        for layer in self.layers[:max_layer]:
            keep = not self.training or float(torch.rand(())) >= self.layerdrop
            x = layer(x, attend) if keep else x
            states.append(x)
        return states, self.layer_norm(x) if self.norm_first else x


class FeatureProjection(nn.Module):
    """Layer norm, then the projection to the transformer's width where there is one."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        dim = config.conv_dim[-1]
        self.layer_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.projection = (
            nn.Linear(dim, config.encoder_embed_dim) if config.has_projection else nn.Identity()
        )
        self.dropout = nn.Dropout(config.dropout_input)

    @override
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.projection(self.layer_norm(x)))
        return out


class Hubert(nn.Module):
    """The backbone: waveforms in, hidden states of every layer out."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_grad_mult = 1.0  # Set by the trainer; 0 freezes the extractor.
        self.feature_extractor = (
            MelExtractor(config) if config.extractor_mode == "mel" else ConvFeatureExtractor(config)
        )
        self.feature_projection = FeatureProjection(config)
        self.masked_spec_embed = nn.Parameter(torch.empty(config.encoder_embed_dim).uniform_())
        self.encoder = Encoder(config)
        self.encoder.layers.apply(_init_linear)

    @override
    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        mask: Tensor | None = None,
        max_layer: int | None = None,
        channels: Tensor | None = None,
        *,
        padded: bool | None = None,
    ) -> HubertOutput:
        """Run the extractor and the transformer, of this as many blocks as `max_layer` says.

        Args:
            waveforms: (B, T) float at 16 kHz, zero behind each utterance's end.
            lengths: (B,) int64 samples.
            mask: (B, F) bool, frames replaced by the mask embedding.
            max_layer: None: all.
            channels: (B, D) bool, channels of the transformer's input to silence.
            padded: whether an utterance is shorter than others; None: it is looked for. Without
                padding attention needs no mask, and faster kernels serve it.
        """
        # As a tensor, so that nothing waits for a GPU; see `frame_count`.
        seen = lengths.to(waveforms.device) - self.config.receptive_field
        frames = (seen // self.config.downsample_rate + 1).clamp(min=0)
        if self.config.normalize:
            waveforms = normalize_waveforms(waveforms, lengths)
        features = self._features(waveforms, lengths)
        valid = torch.arange(features.shape[1], device=features.device) < frames[:, None]
        squares = features.float().square().mean(-1) * valid
        features_pen = squares.sum() / valid.sum().clamp(min=1)
        x = self.feature_projection(features)
        if mask is not None:
            x = torch.where(mask[..., None], self.masked_spec_embed.to(x.dtype), x)
        if channels is not None:
            x = x.masked_fill(channels[:, None], 0.0)
        if padded is None:
            padded = not bool(valid.all())
        states, output = self.encoder(x, valid if padded else None, max_layer)
        return HubertOutput(states, output, frames, features_pen)

    def _features(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.feature_grad_mult > 0):
            features: Tensor = self.feature_extractor(waveforms, lengths)
        mult = self.feature_grad_mult
        if 0 < mult != 1 and features.requires_grad:
            features = features * mult + features.detach() * (1 - mult)
        return features


def normalize_waveforms(waveforms: Tensor, lengths: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Scale each utterance to zero mean and unit variance over its own samples; padding stays 0.

    Shapes (B, T) and (B,) -> (B, T). By default transformers' `do_normalize`.
    """
    valid = torch.arange(waveforms.shape[1], device=waveforms.device) < lengths[:, None]
    count = lengths[:, None].to(waveforms.dtype)
    mean = (waveforms * valid).sum(1, keepdim=True) / count
    centred = (waveforms - mean) * valid
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / torch.sqrt(variance + epsilon)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)  # fairseq's
        nn.init.zeros_(module.bias)
