"""Make the weights of a wide model fit a thin one: slices of it, or projections by SVD.

See `stream` for what becomes of the residual stream and of layer norms.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness_bench.models.thinning.stream import (
    Affine,
    Stream,
    blocks_of,
    choose_stream,
    into_stream,
    strongest_of_groups,
)

if TYPE_CHECKING:
    from harness_bench.models.config import HubertConfig
    from harness_bench.models.hubert import Attention, Block, FeedForward, Hubert, PositionalConv


def check_widths(config: HubertConfig, teacher: HubertConfig, how: str) -> None:
    """Check that parts of a teacher can fill a student; `how` is "slice" or "svd".

    Raises:
        ValueError: the student is wider, or has more or wider heads, than the teacher; or it has
            no projection into its stream and "slice" would need one.
    """
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
                "gives a projection to one of them alone; set it alike."
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
    stream see `stream.choose_stream`.

    Args:
        model: is written; its config decides the shapes.
        teacher: a model with as many layers, the same extractor and positional kernel.
        how: "slice" or "svd".

    Raises:
        ValueError: the widths do not fit, see `check_widths`.
    """
    check_widths(model.config, teacher.config, how)
    wide = deepcopy(teacher).double()
    stream = choose_stream(model.config, wide, how)
    model.masked_spec_embed.copy_(stream.basis.T @ wide.masked_spec_embed)
    _projection(model, wide, stream)
    _positions(model.encoder.pos_conv_embed, wide.encoder.pos_conv_embed, stream)
    stream.norm(model.encoder.layer_norm, wide.encoder.layer_norm, folded=False)
    folded = stream.dense and teacher.config.layer_norm_first
    for target, source in zip(blocks_of(model), blocks_of(wide), strict=True):
        _block(target, source, stream, folded=folded)


def _block(target: Block, source: Block, stream: Stream, *, folded: bool) -> None:
    stream.norm(target.layer_norm, source.layer_norm, folded=folded)
    stream.norm(target.final_layer_norm, source.final_layer_norm, folded=folded)
    before = source.layer_norm if folded else None
    _attention(target.attention, source.attention, stream, before)
    before = source.final_layer_norm if folded else None
    _feed_forward(target.feed_forward, source.feed_forward, stream, before)


def _attention(
    target: Attention, source: Attention, stream: Stream, norm: nn.LayerNorm | None
) -> None:
    """Keep the strongest heads and reduce each; attention as wide as the teacher's is copied."""
    wide, thin = stream.basis.shape
    query, key, value = (
        stream.read(linear, norm) for linear in (source.q_proj, source.k_proj, source.v_proj)
    )
    output = stream.write(Affine(source.out_proj.weight, source.out_proj.bias))
    if wide != thin:
        heads, size = source.heads, thin // target.heads
        kept = _strong_heads(value, output, heads, target.heads)
        if stream.dense:
            query, key = _score_factors(query, key, heads, kept, size)
            value, output = _value_factors(value, output, heads, kept, size)
        else:
            rows = _strong_rows(query.weight, key.weight, heads, kept, size)
            query, key = (Affine(each.weight[rows], each.bias[rows]) for each in (query, key))
            rows = _strong_rows(value.weight, output.weight.T, heads, kept, size)
            value = Affine(value.weight[rows], value.bias[rows])
            output = Affine(output.weight[:, rows], output.bias)
    _set(target.q_proj, query)
    _set(target.k_proj, key)
    _set(target.v_proj, value)
    _set(target.out_proj, output)


def _strong_heads(value: Affine, output: Affine, heads: int, count: int) -> Tensor:
    """Return the `count` heads whose maps from values to the output have the largest norms."""
    read = _by_head(value.weight, heads)  # (heads, D / heads, d)
    written = _by_head(output.weight.T, heads)
    norms = (written @ written.mT * (read @ read.mT)).sum((1, 2))  # squared, (heads,)
    return strongest_of_groups(norms, 1, count)


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
    """Keep the units with the largest product of input and output norm."""
    inner = stream.read(source.intermediate_dense, norm)
    outer = stream.write(Affine(source.output_dense.weight, source.output_dense.bias))
    strength = inner.weight.norm(dim=1) * outer.weight.norm(dim=0)
    kept = strongest_of_groups(strength, 1, target.intermediate_dense.out_features)
    _set(target.intermediate_dense, Affine(inner.weight[kept], inner.bias[kept]))
    _set(target.output_dense, Affine(outer.weight[:, kept], outer.bias))


def _projection(model: Hubert, wide: Hubert, stream: Stream) -> None:
    """Set the way into the stream; without a projection, the norm's scale is all there is."""
    target, source = model.feature_projection, wide.feature_projection
    into = into_stream(wide)
    if isinstance(target.projection, nn.Linear):
        target.layer_norm.load_state_dict(source.layer_norm.state_dict())
        _set(target.projection, stream.write(into))
    elif stream.basis.shape[0] == stream.basis.shape[1]:
        target.layer_norm.load_state_dict(source.layer_norm.state_dict())
    else:
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


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """Map (D, n) -> (heads, D / heads, n)."""
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
