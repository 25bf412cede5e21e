"""Whole training steps of one model by different hands: ours, transformers', fairseq's."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, override

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import HubertModel
from transformers.utils import logging

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.config import HubertConfig
from harness_bench.models.hubert import normalize_waveforms
from harness_bench.models.size import FAIRSEQ_SPECIAL_SYMBOLS
from harness_bench.pretrain.config import PretrainConfig, load_preset
from harness_bench.pretrain.data.batches import MaskedBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.fairseq_peer import FairseqPeer
    from harness_bench.pretrain.objectives.hubert import HubertObjective

CLUSTERS = 1000
SETTINGS = PretrainConfig(max_update=1, num_workers=0)
# HuBERT BASE, as fairseq's hubert_base_librispeech.yaml has it.
BASE = HubertConfig(
    encoder_layers=12, encoder_embed_dim=768, encoder_ffn_embed_dim=3072,
    encoder_attention_heads=12, extractor_mode="default", layer_norm_first=False, normalize=False,
)  # fmt: skip


def shape(size: str, *, tiny: bool) -> HubertConfig:
    """Return the shape of HArnESS-ST ("hst") or HuBERT BASE ("base"); `tiny` tries the code."""
    config = load_preset("harness_st").model if size == "hst" else BASE
    if not tiny:
        return config
    return HubertConfig(
        encoder_layers=1, encoder_embed_dim=64, encoder_ffn_embed_dim=64, encoder_attention_heads=4,
        conv_dim=(32,) * 7, extractor_mode=config.extractor_mode,
        layer_norm_first=config.layer_norm_first, normalize=config.normalize,
    )  # fmt: skip


def crops(config: HubertConfig, seconds: float, count: int = 1) -> MaskedBatch:
    """Make a batch of crops of noise with random labels, half of the frames masked in spans."""
    samples = 0.1 * torch.randn(count, int(seconds * SAMPLE_RATE))
    frames = config.frames(samples.shape[1])
    mask = torch.arange(frames) % 20 < 10  # noqa: PLR2004 - spans of 10, as fairseq's
    masks = mask.expand(count, -1).contiguous()
    lengths = torch.full((count,), samples.shape[1])
    labels = torch.randint(CLUSTERS, (count, frames))
    return MaskedBatch([f"noise{n}" for n in range(count)], samples, lengths, labels, masks)


class OurStep(nn.Module):
    """The step of pretrain.loop on one rank."""

    def __init__(self, model: HubertObjective, settings: PretrainConfig) -> None:
        super().__init__()
        self.model, self.settings = model.train(), settings

    @override
    def forward(self, batch: MaskedBatch) -> Tensor:
        return self.model.loss(self.model(batch), batch.counts, batch.counts, 1)


class TransformersStep(nn.Module):
    """transformers' HubertModel with the same weights, and the same loss as one matrix product."""

    def __init__(self, ours: HubertObjective, settings: PretrainConfig) -> None:
        super().__init__()
        self.settings, self.normalize = settings, ours.hubert.config.normalize
        final_dim, dim = ours.head.final_proj.weight.shape
        self.final_proj = nn.Linear(dim, final_dim)
        self.final_proj.load_state_dict(ours.head.final_proj.state_dict())
        self.embeddings = nn.Parameter(ours.head.label_embs_concat.detach().clone())
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder), ours.hubert)
            self.hubert = HubertModel.from_pretrained(
                folder, apply_spec_augment=True, mask_time_prob=settings.mask_prob
            ).train()
        self.features = torch.empty(0)
        self.hubert.feature_extractor.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _given: object, out: Tensor) -> None:
        self.features = out

    @override
    def forward(self, batch: MaskedBatch) -> Tensor:
        waves = batch.samples
        if self.normalize:
            waves = normalize_waveforms(waves, batch.lengths)
        out = self.hubert(waves, mask_time_indices=batch.mask).last_hidden_state
        projected = F.normalize(self.final_proj(out[batch.mask]).float(), dim=-1)
        with torch.autocast(projected.device.type, enabled=False):
            logits = projected @ F.normalize(self.embeddings, dim=-1).T / self.settings.logit_temp
        loss = F.cross_entropy(logits, batch.labels[batch.mask] + FAIRSEQ_SPECIAL_SYMBOLS)
        return loss + self.settings.features_pen_weight * self.features.float().square().mean()


class FairseqStep(nn.Module):
    """fairseq's model and criterion."""

    def __init__(self, peer: FairseqPeer, *, normalize: bool) -> None:
        super().__init__()
        self.peer, self.normalize, self.model = peer, normalize, peer.model.train()

    @override
    def forward(self, batch: MaskedBatch) -> Tensor:
        waves = batch.samples
        if self.normalize:
            waves = normalize_waveforms(waves, batch.lengths)
        return self.peer.loss(batch, waves)


def updates(
    step: nn.Module, batch: MaskedBatch, settings: PretrainConfig, *, bf16: bool
) -> Callable[[], float]:
    """Return a function that makes one update and gives its loss: autocast where `bf16`.

    The step's weights lie where the batch does. On a GPU the optimizer is fused; the loss is given
    once all of the update is done.
    """
    device = batch.samples.device.type
    optimizer = torch.optim.AdamW(
        step.parameters(), lr=1e-6, betas=settings.adam_betas, eps=settings.adam_eps,
        weight_decay=settings.weight_decay, fused=device == "cuda",
    )  # fmt: skip

    def update() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            loss = step(batch)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return update


def require_equal_losses(ours: float, peer: float, tolerance: float) -> None:
    """Times of two steps compare only where both compute the same.

    Raises:
        ValueError: the losses differ by more than `tolerance`, relatively.
    """
    if not math.isclose(ours, peer, rel_tol=tolerance):
        raise ValueError(f"The losses differ: ours {ours}, the peer's {peer}; no times compared.")
