"""The paper's classification head."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness_bench.probing.head.dropout import FrameDropout

if TYPE_CHECKING:
    from harness_bench.models.frozen import ModelShape
    from harness_bench.probing.head.config import HeadConfig


class CnnAttentionHead(nn.Module):
    """Projector, temporal CNN, self-attention pooling, FF layer and output layer.

    The order of layers is that of s3prl's `CNNSelfAttention`: dropout before every convolution,
    ReLU between them and none behind the last. On the same weights the logits are those that
    s3prl's gives an utterance alone; here they are the same padded in a batch.
    """

    def __init__(self, upstream_dim: int, classes: int, config: HeadConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.kernel_size, self.average = config.kernel_size, config.average
        self.norm = nn.BatchNorm1d(upstream_dim) if config.input_norm == "batch" else None
        self.projector = nn.Linear(upstream_dim, hidden)
        self.convs = nn.ModuleList(
            nn.Conv1d(hidden, hidden, config.kernel_size, padding="same")
            for _ in range(config.conv_layers)
        )
        self.dropout = FrameDropout(config.dropout)
        self.attention = nn.Linear(hidden, 1)
        self.feed_forward = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, classes)

    @override
    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """Return (B, classes) logits.

        Args:
            features: (B, F, D) float; what stands behind an utterance's frames is ignored.
            frames: (B,) int64, valid frames of each utterance, at least 1.
        """
        valid = torch.arange(features.shape[1], device=features.device) < frames[:, None]
        if self.norm is not None:
            features = self._normalised(features, valid)
        x = self.projector(features).transpose(1, 2)  # (B, hidden, F)
        if self.average:
            x, valid = self._averaged(x, valid, frames)
        for number, conv in enumerate(self.convs):
            # Silent padding, as the convolution pads an utterance that stands alone.
            x = conv(self.dropout(x.relu() if number else x, valid))
        x = x.transpose(1, 2)
        scores = self.attention(x).squeeze(-1).masked_fill(~valid, -torch.inf)
        pooled = (scores.softmax(dim=1)[..., None] * x).sum(dim=1)
        logits: Tensor = self.output(self.feed_forward(pooled).relu())
        return logits

    def _normalised(self, features: Tensor, valid: Tensor) -> Tensor:
        """Standardise features (B, F, D) by statistics of valid frames (B, F) alone."""
        assert self.norm is not None
        # By rows: the gradient through a mask of numbers costs a quarter of a training step.
        rows, flat = valid.flatten().nonzero().squeeze(1), features.flatten(0, 1)
        normed = self.norm(flat.index_select(0, rows))
        return torch.zeros_like(flat).index_copy_(0, rows, normed).view_as(features)

    def _averaged(self, x: Tensor, valid: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Average x (B, hidden, F) over `kernel_size` frames, once every `average` of them.

        Returns (B, hidden, F') and, (B, F'), which averages begin inside the utterance.
        """
        padding = self.kernel_size // 2
        x = F.avg_pool1d(x * valid[:, None], self.kernel_size, self.average, padding)
        left = (frames + 2 * padding - self.kernel_size) // self.average + 1
        return x, torch.arange(x.shape[2], device=x.device) < left[:, None]


def valid_frames(lengths: list[int], samples: list[int], shape: ModelShape) -> list[int]:
    """Count the frames of each utterance that really lie inside it.

    s3prl gives `lengths` = round(samples / rate) frames, one or two more than a 25 ms window has
    room for; where the batch is padded, these hold another utterance's padding.
    """
    return [
        max(1, min(given, shape.frames(count)))
        for given, count in zip(lengths, samples, strict=True)
    ]
