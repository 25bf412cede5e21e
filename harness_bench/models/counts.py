"""Exact parameter counts by formula (tested against built models), without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness_bench.models.config import HubertConfig

# fairseq's dictionary adds <s>, <pad>, </s> and <unk> to the clusters.
FAIRSEQ_SPECIAL_SYMBOLS = 4


def backbone_parameters(config: HubertConfig, *, projection: bool | None = None) -> int:
    """Count the backbone's parameters, mask embedding included.

    Args:
        config: the shape.
        projection: count the extractor-to-transformer projection; None as the config has it.
            The exported transformers folder always has one (an identity where ours has none).
    """
    dim, ffn = config.encoder_embed_dim, config.encoder_ffn_embed_dim
    channels = config.conv_dim[-1]
    attention = 4 * _linear(dim, dim)
    block = attention + _linear(dim, ffn) + _linear(ffn, dim) + 2 * _norm(dim)
    # Weight norm keeps one length per kernel position beside the weight.
    positions = config.conv_pos + dim * dim // config.conv_pos_groups * config.conv_pos + dim
    has_projection = config.has_projection if projection is None else projection
    project = _linear(channels, dim) if has_projection else 0
    total = _extractor(config) + _norm(channels) + project + dim + positions
    return total + config.encoder_layers * block + _norm(dim)


def paper_parameters(config: HubertConfig, clusters: int, final_dim: int) -> int:
    """Count as fairseq does: backbone, final projection and embeddings of all labels."""
    head = _linear(config.encoder_embed_dim, final_dim)
    return backbone_parameters(config) + head + (clusters + FAIRSEQ_SPECIAL_SYMBOLS) * final_dim


def exported_parameters(config: HubertConfig) -> int:
    """Count what stands in the exported folder's model.safetensors."""
    return backbone_parameters(config, projection=True)


def _extractor(config: HubertConfig) -> int:
    total, channels = 0, 1
    for index, (dim, kernel) in enumerate(zip(config.conv_dim, config.conv_kernel, strict=True)):
        normed = config.extractor_mode == "layer_norm" or index == 0
        total += channels * dim * kernel + (dim if config.conv_bias else 0)
        total += _norm(dim) if normed else 0
        channels = dim
    return total


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _norm(dim: int) -> int:
    return 2 * dim
