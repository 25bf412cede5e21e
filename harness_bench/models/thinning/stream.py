"""The thin stream of a student: which channels or directions of its teacher's stream it keeps.

Modules of a transformer read from and write to a stream of D channels. A basis (D, d) of d
orthonormal columns says what a thin stream keeps: thin = basis^T wide. Readers become W basis,
writers basis^T W. For "slice" the basis picks channels, and readers grow by sqrt(D / d) to make up
for the channels that are gone (measured on a trained teacher: CKA with its last state 0.95, without
0.89). For "svd" the basis spans the strongest subspace of all that is read or written.

Layer norms. A layer norm takes away the mean channel and divides by the spread. The "svd" basis
holds the mean channel and gives it an equal part in every thin channel, so that the thin norm takes
away the same thing; its spread is sqrt(D / d) of the wide one, and that factor and the norm's own
scale and shift move into the readers. As long as the stream lies in the subspace this is exact.
Where no reader can take the scale (norms behind the residual sum, the last norm), the thin scale is
the diagonal of basis^T diag(scale) basis: an approximation.

The positional convolution knows channels by its groups and its GELU. So the "svd" basis is turned
within its subspace towards single channels (orthogonal Procrustes), as many of each group. A
student as wide as its extractor has no projection: its basis is turned towards the images of the
features instead, which are its stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness_bench.models.config import HubertConfig
    from harness_bench.models.hubert import Block, Hubert


class Affine(NamedTuple):
    """A linear map with its shift."""

    weight: Tensor  # (n, m)
    bias: Tensor  # (n,)


@dataclass(frozen=True)
class Stream:
    """What a thin stream keeps of a wide one."""

    basis: Tensor  # (D, d) float64, orthonormal columns
    dense: bool  # mixes channels, holds the mean channel, and folds the norms into readers

    @property
    def gain(self) -> float:
        """Return sqrt(D / d): what sums over the thin stream's normalised channels lack."""
        wide, thin = self.basis.shape
        return math.sqrt(wide / thin)

    def write(self, linear: Affine) -> Affine:
        """Map a writer (D, n), (D,) -> (d, n), (d,)."""
        return Affine(self.basis.T @ linear.weight, self.basis.T @ linear.bias)

    def read(self, linear: nn.Linear, norm: nn.LayerNorm | None) -> Affine:
        """Map a reader (n, D), (n,), and the norm before it if it folds, -> (n, d), (n,)."""
        weight: Tensor = linear.weight
        bias: Tensor = linear.bias
        if norm is not None:
            weight, bias = weight * norm.weight, bias + weight @ norm.bias
        scaled = norm is not None or not self.dense
        return Affine(weight @ self.basis * (self.gain if scaled else 1.0), bias)

    def norm(self, target: nn.LayerNorm, source: nn.LayerNorm, *, folded: bool) -> None:
        """Set a thin layer norm: neutral where its scale and shift moved into the readers."""
        if folded:
            nn.init.ones_(target.weight)
            nn.init.zeros_(target.bias)
            return
        gain = self.gain if self.dense else 1.0
        target.weight.copy_(gain * (self.basis.square().T @ source.weight))
        target.bias.copy_(self.basis.T @ source.bias)


@torch.no_grad()
def choose_stream(config: HubertConfig, wide: Hubert, how: str) -> Stream:
    """Choose what a student's stream keeps of its teacher's.

    Args:
        config: the student's.
        wide: the teacher, in float64.
        how: "slice": from every group of the positional convolution the channels with the largest
            weight norms (evenly spaced ones would carry no more than chance). "svd": the leading
            right singular vectors of all readers and all writers, stacked; each side weighs the
            same, for layer norms stand between their scales.
    """
    dim, thin = wide.config.encoder_embed_dim, config.encoder_embed_dim
    if dim == thin:
        return Stream(torch.eye(dim, dtype=torch.float64), dense=False)
    energy = _energy(wide)
    groups = wide.config.conv_pos_groups
    strongest = strongest_of_groups(energy.diagonal(), groups, thin // groups)
    picks = torch.eye(dim, dtype=torch.float64)[:, strongest]
    if how == "slice":
        return Stream(picks, dense=False)
    towards = picks
    if not config.has_projection:  # The features themselves become the stream.
        towards = into_stream(wide).weight * wide.feature_projection.layer_norm.weight
    return Stream(_turned_basis(energy, towards), dense=True)


def into_stream(wide: Hubert) -> Affine:
    """Return the projection (D, C), (D,) from features; the identity where there is none."""
    projection = wide.feature_projection.projection
    if isinstance(projection, nn.Linear):
        return Affine(projection.weight, projection.bias)
    mask = wide.masked_spec_embed
    return Affine(torch.eye(len(mask)).to(mask), torch.zeros_like(mask))


def strongest_of_groups(strength: Tensor, groups: int, each: int) -> Tensor:
    """Return the indices of the `each` largest of every group of (N,), in their order."""
    found = strength.view(groups, -1).topk(each, dim=1).indices.sort(dim=1).values
    starts = torch.arange(groups) * (len(strength) // groups)
    return (found + starts[:, None]).flatten()


def blocks_of(model: Hubert) -> list[Block]:
    """Return the transformer's blocks."""
    return cast("list[Block]", list(model.encoder.layers))


def _energy(wide: Hubert) -> Tensor:
    """Return how much is read from and written to each direction of the stream: (D, D)."""
    read, written = _conv_energy(wide)
    scale = wide.feature_projection.layer_norm.weight
    writers = [into_stream(wide).weight * scale, wide.masked_spec_embed[:, None]]
    readers: list[Tensor] = []
    for block in blocks_of(wide):
        attention, ffn = block.attention, block.feed_forward
        first = [each.weight for each in (attention.q_proj, attention.k_proj, attention.v_proj)]
        second = ffn.intermediate_dense.weight
        if wide.config.layer_norm_first:  # else the norm's scale is part of the stream
            first = [weight * block.layer_norm.weight for weight in first]
            second = second * block.final_layer_norm.weight
        readers += [*first, second]
        writers += [attention.out_proj.weight, ffn.output_dense.weight]
    rows, columns = torch.cat(readers), torch.cat(writers, 1)
    read, written = read + rows.T @ rows, written + columns @ columns.T
    return read / read.trace() + written / written.trace()


def _conv_energy(wide: Hubert) -> tuple[Tensor, Tensor]:
    """Return what the positional convolution reads from and writes to the stream: (D, D) each."""
    conv = wide.encoder.pos_conv_embed.conv
    dim, size = conv.weight.shape[:2]
    read, written = (torch.zeros(dim, dim).to(conv.weight) for _ in range(2))
    for group in range(conv.groups):
        part = slice(group * size, (group + 1) * size)
        kernel = conv.weight[part]  # (D / G out, D / G in, K)
        read[part, part] = torch.einsum("oik,ojk->ij", kernel, kernel)
        written[part, part] = torch.einsum("oik,pik->op", kernel, kernel)
    return read, written


def _turned_basis(energy: Tensor, towards: Tensor) -> Tensor:
    """Return the leading subspace of energy (D, D), turned near to `towards` (D, d): (D, d).

    The mean channel is one of its directions and has the same part in all columns.
    """
    dim, thin = towards.shape
    mean = torch.full((dim,), dim**-0.5).to(energy)
    part = torch.full((thin,), thin**-0.5).to(energy)
    centre = torch.eye(dim).to(energy) - mean.outer(mean)
    # Below all others, or a direction that nothing uses could mix with the mean.
    centred = centre @ energy @ centre - energy.trace() * mean.outer(mean)
    leading = torch.linalg.eigh(centred).eigenvectors[:, dim - thin + 1 :]
    square = torch.cat([part[:, None], torch.eye(thin).to(energy)[:, 1:]], 1)
    rest = torch.linalg.qr(square).Q[:, 1:]  # (d, d - 1), orthogonal to `part`
    left, _, right = torch.linalg.svd(leading.T @ towards @ rest)
    turned: Tensor = mean.outer(part) + leading @ left @ right @ rest.T
    return turned
