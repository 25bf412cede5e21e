"""HuBERT: cosine similarity to label embeddings as one matrix product, cross-entropy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal, override

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from harness_bench.core.config import STRICT
from harness_bench.models.config import FAIRSEQ_SPECIAL_SYMBOLS
from harness_bench.pretrain.objectives.base import Objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_bench.models.hubert import HubertOutput
    from harness_bench.pretrain.data.batches import MaskedBatch


class PretrainHead(nn.Module):
    """Final projection and label embeddings, with fairseq's names and its four special rows."""

    def __init__(self, dim: int, clusters: int, final_dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.final_proj = nn.Linear(dim, final_dim)
        rows = clusters + FAIRSEQ_SPECIAL_SYMBOLS
        self.label_embs_concat = nn.Parameter(torch.empty(rows, final_dim).uniform_())

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, clusters + 4) float32 of frames x (N, D): cosine / temperature."""
        projected = F.normalize(self.final_proj(x).float(), dim=-1)
        embeddings = F.normalize(self.label_embs_concat.float(), dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            return projected @ embeddings.T / self.temperature


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HubertOptions:
    """What HuBERT leaves open."""

    label_embeddings: Literal["uniform", "normal"] = "uniform"  # their start; uniform: fairseq's


class HubertObjective(Objective):
    """Predict the label of masked, and where weighted of unmasked, frames (Hsu et al. 2021).

    In eval mode unmasked frames are predicted whatever their weight.
    """

    Options: ClassVar[type] = HubertOptions

    @override
    def build_head(self) -> None:
        dim, config = self.hubert.config.encoder_embed_dim, self.config
        self.head = PretrainHead(dim, self.clusters, config.final_dim, config.logit_temp)
        if self.options.label_embeddings == "normal":
            nn.init.normal_(self.head.label_embs_concat)
        self.weights = (config.pred_masked_weight, config.pred_nomask_weight)

    @property
    def _all_frames(self) -> bool:
        return self.weights[1] > 0 or not self.training

    @override
    def forward(self, batch: MaskedBatch) -> dict[str, Tensor]:
        """Return sums over frames: cross-entropy in nats, right predictions; and the penalty."""
        return self._sums(batch, self._encoded(batch))

    @override
    def evaluate(self, batch: MaskedBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the labels that are predicted and, to compare them with, those that should be."""
        out = self._encoded(batch)
        predicted = self.head(out.output)[..., FAIRSEQ_SPECIAL_SYMBOLS:].argmax(-1)
        return self._sums(batch, out), {"pnmi": predicted, "labels_pnmi": batch.labels}

    def _encoded(self, batch: MaskedBatch) -> HubertOutput:
        channels = batch.channels if batch.channels.shape[1] else None
        out: HubertOutput = self.hubert(
            batch.samples, batch.lengths, batch.mask, channels=channels, padded=batch.padded
        )
        return out

    def _sums(self, batch: MaskedBatch, out: HubertOutput) -> dict[str, Tensor]:
        at, rest = batch.places
        masked, right = self._predict(out.output, batch.labels, at)
        if self._all_frames:
            unmasked, right_rest = self._predict(out.output, batch.labels, rest)
        else:
            unmasked, right_rest = masked.new_zeros(()), torch.zeros_like(right)
        return {
            "masked": masked,
            "unmasked": unmasked,
            "features_pen": out.features_pen,
            "correct_masked": right,
            "correct_unmasked": right_rest,
        }

    def _predict(self, output: Tensor, labels: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(output.flatten(0, 1).index_select(0, places))
        # Rows 0 to 3 are fairseq's special symbols; label k is row k + 4.
        targets = labels.flatten()[places] + FAIRSEQ_SPECIAL_SYMBOLS
        loss = F.cross_entropy(logits, targets, reduction="sum")
        return loss, (logits.argmax(-1) == targets).sum()

    @override
    def loss(self, sums: Mapping[str, Tensor], local: Tensor, total: Tensor, ranks: int) -> Tensor:
        """Divide weighted sums by the frames whose weight is not 0; add fairseq's penalty."""
        used = torch.tensor([float(weight > 0) for weight in self.weights], device=total.device)
        denominator = (total * used).sum().clamp(min=1)
        frames = self.weights[0] * sums["masked"] + self.weights[1] * sums["unmasked"]
        penalty = self.config.features_pen_weight * sums["features_pen"] * (local * used).sum()
        return (frames + penalty) * ranks / denominator

    @override
    def figures(
        self, sums: Mapping[str, float], counts: list[float], batches: float
    ) -> dict[str, float]:
        """Return losses in bits per frame, as fairseq logs them, accuracies and the penalty."""
        found = {"features_pen": sums["features_pen"] / max(batches, 1)}
        kinds = ("masked", "unmasked") if self._all_frames else ("masked",)
        for kind, frames in zip(kinds, counts, strict=False):
            found[f"loss_{kind}"] = sums[kind] / max(frames, 1) / math.log(2)
            found[f"accuracy_{kind}"] = sums[f"correct_{kind}"] / max(frames, 1)
        return found

    @property
    @override
    def chance(self) -> float:
        return math.log2(self.clusters)  # bits of guessing among all clusters

    @override
    def head_tensors(self) -> dict[str, Tensor]:
        return dict(self.head.state_dict())  # under fairseq's names


OBJECTIVE = HubertObjective
