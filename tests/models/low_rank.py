"""A wide model that needs no more than a thin one has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness_bench.models.initialization import initialise
from harness_bench.models.thinning import blocks_of

if TYPE_CHECKING:
    from harness_bench.models.hubert import Block, Hubert, HubertConfig


def block_diagonal(parts: list[Tensor]) -> Tensor:
    found: Tensor = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
    return found


def with_mean(thin: int, wide: int, generator: torch.Generator) -> Tensor:
    """Return orthonormal columns (wide, thin) whose sum is the mean channel's direction."""
    random = torch.randn(wide, thin, generator=generator, dtype=torch.float64)
    whole = torch.linalg.qr(torch.cat([torch.ones(wide, 1).double(), random], 1)).Q[:, :thin]
    square = torch.randn(thin, thin, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.cat([torch.ones(thin, 1).double(), square], 1)).Q[:, :thin]
    basis = whole @ turn.T
    signed: Tensor = basis * torch.sign(basis.sum())
    return signed


class LowRank:
    """Draws the weights of a wide teacher that needs no more than a thin student has.

    Its stream lies in a subspace of `thin` directions (those of `basis`), the maps of each head
    have the rank of a thin head, and only `UNITS` units of the FFN do anything.
    """

    UNITS = 48

    def __init__(self, wide: HubertConfig, thin: int) -> None:
        self.generator = torch.Generator().manual_seed(11)
        self.dim, self.thin = wide.encoder_embed_dim, thin
        self.heads, self.ffn = wide.encoder_attention_heads, wide.encoder_ffn_embed_dim
        self.basis = with_mean(thin, self.dim, self.generator)

    def normal(self, *size: int) -> Tensor:
        """Draw float64 values of variance 1 / (last dimension)."""
        values = torch.randn(*size, generator=self.generator, dtype=torch.float64)
        return values / math.sqrt(size[-1])

    def heads_of(self, rank: int) -> Tensor:
        """Return a map (D, thin) from thin heads into wider ones."""
        size = self.dim // self.heads
        turns = [torch.linalg.qr(self.normal(size, rank)).Q for _ in range(self.heads)]
        return block_diagonal(turns)

    def fill(self, block: Block) -> None:
        """Set all weights of one block."""
        for norm in (block.layer_norm, block.final_layer_norm):
            norm.weight.data = 1 + 1.6 * self.normal(self.dim)
            norm.bias.data = self.normal(self.dim)
        attention, ffn, thin = block.attention, block.feed_forward, self.thin
        read = self.basis.T / block.layer_norm.weight.data
        scores, values = (self.heads_of(thin // self.heads) for _ in range(2))
        attention.q_proj.weight.data = scores @ self.normal(thin, thin) @ read * 2
        attention.k_proj.weight.data = scores @ self.normal(thin, thin) @ read * 2
        attention.v_proj.weight.data = values @ self.normal(thin, thin) @ read
        attention.out_proj.weight.data = self.basis @ self.normal(thin, thin) @ values.T
        attention.q_proj.bias.data = scores @ self.normal(thin)
        attention.k_proj.bias.data, attention.v_proj.bias.data = self.normal(2, self.dim)
        units = torch.randperm(self.ffn, generator=self.generator)[: self.UNITS]
        inner, outer = torch.zeros(self.ffn, self.dim), torch.zeros(self.dim, self.ffn)
        read = self.basis.T / block.final_layer_norm.weight.data
        inner[units] = (self.normal(self.UNITS, thin) @ read).float()
        outer[:, units] = (self.basis @ self.normal(thin, self.UNITS)).float()
        ffn.intermediate_dense.weight.data, ffn.output_dense.weight.data = inner, outer
        ffn.intermediate_dense.bias.data = self.normal(self.ffn)
        for bias in (attention.out_proj.bias, ffn.output_dense.bias):
            bias.data = self.basis @ self.normal(thin)

    def teacher(self, wide: HubertConfig, *, features_are_stream: bool) -> Hubert:
        """Build the model; with `features_are_stream` a thin one needs no projection."""
        model = initialise(wide, "random", None, 0)
        for block in blocks_of(model):
            self.fill(block)
        projection = model.feature_projection.projection
        assert isinstance(projection, nn.Linear)
        mixed = self.normal(self.thin, projection.in_features)
        if features_are_stream:
            mixed = 3 * torch.eye(self.thin, dtype=torch.float64)
        projection.weight.data = self.basis @ mixed
        projection.bias.data = self.basis @ self.normal(self.thin)
        model.masked_spec_embed.data = self.basis @ self.normal(self.thin)
        conv = model.encoder.pos_conv_embed.conv  # GELU leaves every subspace: all but silent
        conv.weight = conv.weight.detach() * 1e-6
        return model.float().eval()
