"""The objective: cosine similarity to label embeddings as one matrix product, cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, override

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness_bench.models.size import FAIRSEQ_SPECIAL_SYMBOLS
from harness_bench.pretrain.data.batches import NO_LABEL

if TYPE_CHECKING:
    from harness_bench.models.hubert import Hubert
    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.batches import MaskedBatch


class Sums(NamedTuple):
    """Sums over the frames of one batch; dividing them is the loop's business."""

    masked: Tensor  # scalar, cross-entropy in nats over masked frames
    unmasked: Tensor  # scalar, over unmasked frames (0 where their weight is 0)
    features_pen: Tensor  # scalar, mean square of the extractor's output
    correct: Tensor  # (2,) int64, masked and unmasked frames whose label ranks first


class PretrainHead(nn.Module):
    """Final projection and label embeddings, with fairseq's names and its four special rows."""

    def __init__(self, dim: int, clusters: int, final_dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.final_proj = nn.Linear(dim, final_dim)
        rows = clusters + FAIRSEQ_SPECIAL_SYMBOLS
        self.label_embs_concat = nn.Parameter(torch.empty(rows, final_dim).normal_())

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, clusters + 4) float32 of frames x (N, D): cosine / temperature."""
        projected = F.normalize(self.final_proj(x).float(), dim=-1)
        embeddings = F.normalize(self.label_embs_concat.float(), dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            return projected @ embeddings.T / self.temperature


class PretrainModel(nn.Module):
    """Backbone and head as one module, so that one wrapper synchronises all gradients."""

    def __init__(self, hubert: Hubert, clusters: int, config: PretrainConfig) -> None:
        super().__init__()
        self.hubert = hubert
        hubert.feature_grad_mult = config.feature_grad_mult
        if config.feature_grad_mult == 0:
            # Without gradients AdamW leaves them alone, weight decay included, and so does DDP.
            hubert.feature_extractor.requires_grad_(requires_grad=False)
        self.with_unmasked = config.pred_nomask_weight > 0
        dim = hubert.config.encoder_embed_dim
        self.head = PretrainHead(dim, clusters, config.final_dim, config.logit_temp)

    @override
    def forward(self, batch: MaskedBatch) -> Sums:
        """Return the sums of one batch."""
        channels = batch.channels if batch.channels.shape[1] else None
        out = self.hubert(batch.samples, batch.lengths, batch.mask, channels=channels)
        labelled = batch.labels != NO_LABEL
        masked, right_masked = self._predict(out.output, batch.labels, labelled & batch.mask)
        if self.with_unmasked:
            rest = labelled & ~batch.mask
            unmasked, right_unmasked = self._predict(out.output, batch.labels, rest)
        else:
            unmasked, right_unmasked = masked.new_zeros(()), torch.zeros_like(right_masked)
        correct = torch.stack([right_masked, right_unmasked])
        return Sums(masked, unmasked, out.features_pen, correct)

    def _predict(self, output: Tensor, labels: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return summed cross-entropy and number of right predictions over the chosen frames."""
        logits = self.head(output[chosen])
        # Rows 0 to 3 are fairseq's special symbols; label k is row k + 4.
        targets = labels[chosen] + FAIRSEQ_SPECIAL_SYMBOLS
        loss = F.cross_entropy(logits, targets, reduction="sum")
        return loss, (logits.argmax(-1) == targets).sum()


def combine(sums: Sums, local: Tensor, total: Tensor, config: PretrainConfig, ranks: int) -> Tensor:
    """Return the loss whose gradients, averaged over ranks and added over batches, are exact.

    As fairseq: weighted sums over all frames of all ranks and accumulated batches, divided by the
    number of frames whose weight is not 0, plus the feature penalty.

    Args:
        sums: of this batch on this rank.
        local: (2,) masked and unmasked frames of this batch on this rank.
        total: (2,) the same over all ranks and all batches of the update.
        config: the weights.
        ranks: gradients are averaged over so many ranks.
    """
    weights = (config.pred_masked_weight, config.pred_nomask_weight)
    used = torch.tensor([float(weight > 0) for weight in weights], device=total.device)
    denominator = (total * used).sum().clamp(min=1)
    frames = weights[0] * sums.masked + weights[1] * sums.unmasked
    penalty = config.features_pen_weight * sums.features_pen * (local * used).sum()
    return (frames + penalty) * ranks / denominator
