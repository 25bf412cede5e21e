"""Smaller starts from larger models: the weights of a wide model made to fit a thin one.

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
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness_bench.models.config import HubertConfig
    from harness_bench.models.hubert import Attention, Block, FeedForward, Hubert, PositionalConv


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

    def write(self, linear: nn.Linear | Affine) -> Affine:
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
    """Choose what a student of a config keeps of the stream of its teacher `wide` (float64).

    "slice": from every group of the positional convolution the channels with the largest weight
    norms (evenly spaced ones would carry no more than chance). "svd": the leading right singular
    vectors of all readers and all writers, stacked; each side weighs the same, for layer norms
    stand between their scales.
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


def into_stream(wide: Hubert) -> nn.Linear | Affine:
    """Return the projection (D, C), (D,) from features; the identity where there is none."""
    projection = wide.feature_projection.projection
    if isinstance(projection, nn.Linear):
        return projection
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


def check_widths(config: HubertConfig, teacher: HubertConfig, how: str) -> None:
    """Check that parts of a teacher can fill a student; what does not fit is a ValueError."""
    for name in ("encoder_embed_dim", "encoder_ffn_embed_dim"):
        ours, theirs = getattr(config, name), getattr(teacher, name)
        if ours > theirs:
            raise ValueError(
                f"The student's {name} is {ours}, more than the teacher's {theirs}; "
                f'init = "{how}" only makes thinner. Use init = "copy_extractor" or "random".'
            )
    if config.encoder_embed_dim == teacher.encoder_embed_dim:
        if config.has_projection != teacher.has_projection:
            raise ValueError(
                f"Teacher and student are {config.encoder_embed_dim} wide, and post_extract_proj "
                "gives a projection to only one of them; set it the same for both."
            )
        return
    ours, theirs = config.encoder_attention_heads, teacher.encoder_attention_heads
    size, full = config.encoder_embed_dim // ours, teacher.encoder_embed_dim // theirs
    if ours > theirs or size > full:
        raise ValueError(
            f"The student has {ours} heads of {size} channels, the teacher {theirs} of {full}; "
            f'init = "{how}" takes heads of the teacher and makes them thinner, so there can be '
            "neither more nor wider ones. Change encoder_attention_heads."
        )
    if how == "slice" and not config.has_projection:
        raise ValueError(
            f'init = "slice" keeps channels of the teacher\'s stream, but a student as wide as '
            f"its extractor ({config.encoder_embed_dim}) has no projection to make them from the "
            'features. Use init = "svd", or post_extract_proj = "always".'
        )


@torch.no_grad()
def copy_reduced(model: Hubert, teacher: Hubert, how: str) -> None:
    """Fill a thin model, but for its extractor, from a wider one with as many blocks.

    Widths that are equal are copied as they are. Of the attention the strongest heads stay, by the
    energy of what they can write; of the FFN the units with the largest product of the norms of
    their input and output weights.

    "slice": inside a head the channels with the largest products of norms. "svd": the best
    approximations of lower rank of a head's query-key form and of its value-output map. For the
    stream see `choose_stream`. `check_widths` says which widths fit.
    """
    wide = deepcopy(teacher).double()
    stream = choose_stream(model.config, wide, how)
    model.masked_spec_embed.copy_(stream.basis.T @ wide.masked_spec_embed)
    _projection(model, wide, stream)
    _positions(model.encoder.pos_conv_embed, wide.encoder.pos_conv_embed, stream)
    stream.norm(model.encoder.layer_norm, wide.encoder.layer_norm, folded=False)
    folded = stream.dense and teacher.config.layer_norm_first
    for target, source in zip(blocks_of(model), blocks_of(wide), strict=True):
        norms = source.layer_norm, source.final_layer_norm
        for thin, norm in zip((target.layer_norm, target.final_layer_norm), norms, strict=True):
            stream.norm(thin, norm, folded=folded)
        first, second = norms if folded else (None, None)
        _attention(target.attention, source.attention, stream, first)
        _feed_forward(target.feed_forward, source.feed_forward, stream, second)


def _attention(
    target: Attention, source: Attention, stream: Stream, norm: nn.LayerNorm | None
) -> None:
    wide, thin = stream.basis.shape
    query, key, value = (
        stream.read(linear, norm) for linear in (source.q_proj, source.k_proj, source.v_proj)
    )
    output = stream.write(source.out_proj)
    if wide != thin:
        heads, size = source.heads, thin // target.heads
        # The heads whose maps from values to the output have the largest norms.
        read, written = _by_head(value.weight, heads), _by_head(output.weight.T, heads)
        norms = (written @ written.mT * (read @ read.mT)).sum((1, 2))  # squared, (heads,)
        kept = strongest_of_groups(norms, 1, target.heads)
        if stream.dense:
            query, key = _score_factors(query, key, heads, kept, size)
            value, output = _value_factors(value, output, heads, kept, size)
        else:
            rows = _strong_rows(query.weight, key.weight, heads, kept, size)
            query, key = (Affine(each.weight[rows], each.bias[rows]) for each in (query, key))
            rows = _strong_rows(value.weight, output.weight.T, heads, kept, size)
            value = Affine(value.weight[rows], value.bias[rows])
            output = Affine(output.weight[:, rows], output.bias)
    linears = target.q_proj, target.k_proj, target.v_proj, target.out_proj
    for linear, found in zip(linears, (query, key, value, output), strict=True):
        _set(linear, found)


def _score_factors(
    query: Affine, key: Affine, heads: int, kept: Tensor, size: int
) -> tuple[Affine, Affine]:
    """Return rank-`size` queries and keys whose scores are nearest to the kept heads'.

    The keys' bias adds the same to all scores of a query, which the softmax takes away again.
    """
    form = torch.cat([query.weight, query.bias[:, None]], 1)  # (D, d + 1)
    form, keys = _by_head(form, heads)[kept], _by_head(key.weight, heads)[kept]
    left, right = _low_rank(form.mT, keys, size)
    # Scores are divided by the root of the head's width, which is smaller now.
    scale = (size / keys.shape[1]) ** 0.25
    queries = (left.mT * scale).flatten(0, 1)  # (heads * size, d + 1)
    right = (right * scale).flatten(0, 1)
    return Affine(queries[:, :-1], queries[:, -1]), Affine(right, right.new_zeros(len(right)))


def _value_factors(
    value: Affine, output: Affine, heads: int, kept: Tensor, size: int
) -> tuple[Affine, Affine]:
    """Return rank-`size` values and outputs nearest to the kept heads' product.

    Attention weights sum to 1, so the values' bias of all heads goes into the output's.
    """
    left = _by_head(output.weight.T, heads)[kept].mT  # (kept, d, D / heads)
    left, right = _low_rank(left, _by_head(value.weight, heads)[kept], size)
    bias = output.bias + output.weight @ value.bias
    values = right.flatten(0, 1)
    return Affine(values, values.new_zeros(len(values))), Affine(left.mT.flatten(0, 1).T, bias)


def _feed_forward(
    target: FeedForward, source: FeedForward, stream: Stream, norm: nn.LayerNorm | None
) -> None:
    inner = stream.read(source.intermediate_dense, norm)
    outer = stream.write(source.output_dense)
    strength = inner.weight.norm(dim=1) * outer.weight.norm(dim=0)
    kept = strongest_of_groups(strength, 1, target.intermediate_dense.out_features)
    _set(target.intermediate_dense, Affine(inner.weight[kept], inner.bias[kept]))
    _set(target.output_dense, Affine(outer.weight[:, kept], outer.bias))


def _projection(model: Hubert, wide: Hubert, stream: Stream) -> None:
    target, source = model.feature_projection, wide.feature_projection
    into = into_stream(wide)
    if isinstance(target.projection, nn.Linear):
        target.layer_norm.load_state_dict(source.layer_norm.state_dict())
        _set(target.projection, stream.write(into))
    elif stream.basis.shape[0] == stream.basis.shape[1]:
        target.layer_norm.load_state_dict(source.layer_norm.state_dict())
    else:  # The norm's scale is all there is.
        mapped = stream.write(into).weight * source.layer_norm.weight
        target.layer_norm.weight.copy_(mapped.diagonal())
        shift = into.weight @ source.layer_norm.bias + into.bias
        target.layer_norm.bias.copy_(stream.basis.T @ shift)


def _positions(target: PositionalConv, source: PositionalConv, stream: Stream) -> None:
    """Project the grouped kernel and keep its diagonal blocks."""
    wide, thin = stream.basis.shape
    if wide == thin:
        target.load_state_dict(source.state_dict())
        return
    groups = source.conv.groups
    kernel = source.conv.weight.unflatten(0, (groups, -1))  # (G, D/G out, D/G in, K)
    basis = stream.basis.reshape(groups, wide // groups, groups, thin // groups)
    blocks = [
        torch.einsum("goa,goik,gib->abk", part, kernel, part) for part in basis.unbind(2)
    ]  # a block of the thin kernel sums over all groups of the wide one
    target.conv.weight = torch.cat(blocks).to(target.conv.weight)  # weight norm takes it apart
    if target.conv.bias is not None and source.conv.bias is not None:
        target.conv.bias.copy_(stream.basis.T @ source.conv.bias)


def _by_head(rows: Tensor, heads: int) -> Tensor:  # (D, n) -> (heads, D / heads, n)
    return rows.reshape(heads, -1, rows.shape[1])


def _strong_rows(one: Tensor, other: Tensor, heads: int, kept: Tensor, size: int) -> Tensor:
    """Return, for the kept heads, the `size` rows with the largest product of two norms."""
    strength = (one.norm(dim=1) * other.norm(dim=1)).view(heads, -1)
    inside = strongest_of_groups(strength[kept].flatten(), len(kept), size).view(len(kept), size)
    width = strength.shape[1]
    rows: Tensor = inside % width + kept[:, None] * width
    return rows.flatten()


def _low_rank(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the best factors of a given rank of a product.

    left (H, n, r), right (H, r, m) -> (H, n, rank), (H, rank, m). QR first: the SVD is then of
    r x r matrices, however large n and m are.
    """
    outer, inner = torch.linalg.qr(left), torch.linalg.qr(right.mT)
    u, values, v = torch.linalg.svd(outer.R @ inner.R.mT)
    root = values[:, None, :rank].sqrt()
    return outer.Q @ (u[..., :rank] * root), root.mT * v[:, :rank] @ inner.Q.mT


def _set(linear: nn.Linear, value: Affine) -> None:
    linear.weight.copy_(value.weight)
    linear.bias.copy_(value.bias)
