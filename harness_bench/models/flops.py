"""Operations of a training step by formula, without torch: what a plan's GPU-hours rest on.

A multiply-add counts as two operations; a backward pass costs twice its forward pass. Norms,
activations and the optimizer are left out: they are under 2 % of all sizes of the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from harness_bench.models.config import HubertConfig

# Dense bf16 operations per second of one H100 SXM, from its data sheet.
H100_BF16_PEAK = 989e12
# Shares of that peak: what a published trainer of this kind reaches, and what this one aims at.
USUAL_UTILISATION, GOAL_UTILISATION = 0.10, 0.40


def forward_per_second(
    config: HubertConfig,
    *,
    clusters: int = 0,
    final_dim: int = 0,
    utterance_seconds: float = 10.0,
    predicted: float = 0.5,
) -> float:
    """Count the operations of one forward pass per second of audio.

    Args:
        config: the model's shape.
        clusters: size of the prediction head's output; 0 leaves the head out.
        final_dim: width of its projection.
        utterance_seconds: attention grows with the length of an utterance.
        predicted: share of the frames that the head sees.
    """
    frames = SAMPLE_RATE / config.downsample_rate
    dim, ffn = config.encoder_embed_dim, config.encoder_ffn_embed_dim
    block = 2 * (4 * dim * dim + 2 * dim * ffn)
    attention = 2 * 2 * dim * frames * utterance_seconds
    positions = 2 * dim * dim // config.conv_pos_groups * config.conv_pos
    projection = 2 * config.conv_dim[-1] * dim if config.has_projection else 0
    head = 2 * final_dim * (dim + clusters) * predicted if clusters else 0.0
    per_frame = config.encoder_layers * (block + attention) + positions + projection + head
    return extractor_per_second(config) + frames * per_frame


def extractor_per_second(config: HubertConfig) -> float:
    """Count the operations of the convolutional extractor's forward pass per second of audio."""
    rate, channels, total = float(SAMPLE_RATE), 1, 0.0
    shapes = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    for width, kernel, stride in shapes:
        rate /= stride
        total += 2 * channels * width * kernel * rate
        channels = width
    return total


def training_per_second(
    config: HubertConfig, *, clusters: int, final_dim: int, utterance_seconds: float = 10.0
) -> float:
    """Count forward and backward pass per second of audio, head included."""
    forward = forward_per_second(
        config, clusters=clusters, final_dim=final_dim, utterance_seconds=utterance_seconds
    )
    return 3 * forward


def gpu_hours(operations: float, utilisation: float, peak: float = H100_BF16_PEAK) -> float:
    """Return the hours one GPU needs at a share of its peak."""
    return operations / (peak * utilisation) / 3600
