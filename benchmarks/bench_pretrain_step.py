"""Pretraining steps on 10 s crops: audio seconds a core-second, and their share of the peak.

A whole step of one model by different hands: ours, transformers', fairseq's.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import override

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import HubertModel
from transformers.utils import logging

from benchmarks.fairseq_peer import FairseqPeer, without_fairseq
from benchmarks.measure import TINY_MODEL, Row, Rows, higher_is_better, in_turn, matmul_peak, versus
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.config import FAIRSEQ_SPECIAL_SYMBOLS, HubertConfig, training_per_second
from harness_bench.models.hubert import Hubert, normalize_waveforms
from harness_bench.pretrain.config import PretrainConfig, load_preset
from harness_bench.pretrain.data.batches import NO_LABEL, MaskedBatch
from harness_bench.pretrain.objectives.hubert import HubertObjective

UNIT = "audio s / core-s"
CROP_SECONDS = 10.0
SLOW_PEAK = 30e9  # operations a second: bf16 without instructions, where 10 s would take minutes
# Shape, peer, bf16 and turns of each row; fairseq is measured in fp32 alone.
CASES = {
    "pretrain_step_hst_fp32_vs_transformers": ("hst", "transformers", False, 3),
    "pretrain_step_hst_bf16_vs_transformers": ("hst", "transformers", True, 3),
    "pretrain_step_base_fp32_vs_transformers": ("base", "transformers", False, 2),
    "pretrain_step_hst_vs_fairseq": ("hst", "fairseq-fixed", False, 1),
}
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
    like = {
        name: getattr(config, name) for name in ("extractor_mode", "layer_norm_first", "normalize")
    }
    return replace(TINY_MODEL, **like) if tiny else config


def crops(
    config: HubertConfig, seconds: float, count: int = 1, *, shortest: float = 1.0
) -> MaskedBatch:
    """Make a batch of crops of noise with random labels, half of the frames masked in spans.

    Their lengths fall evenly from `seconds` to that share of it, and the rest is padding.
    """
    shares = torch.linspace(1.0, shortest, count, dtype=torch.float64)
    lengths = (shares * int(seconds * SAMPLE_RATE)).long()
    samples = 0.1 * torch.randn(count, int(lengths[0]))
    samples[torch.arange(samples.shape[1]) >= lengths[:, None]] = 0.0
    frames = config.frames(samples.shape[1])
    inside = torch.arange(frames) < torch.tensor([config.frames(int(n)) for n in lengths])[:, None]
    masks = (torch.arange(frames) % 20 < 10) & inside  # noqa: PLR2004 - spans of 10, as fairseq's
    labels = torch.randint(CLUSTERS, (count, frames)).where(inside, NO_LABEL)
    return MaskedBatch([f"noise{n}" for n in range(count)], samples, lengths, labels, masks)


def operations(config: HubertConfig, seconds: float) -> float:
    """Return the floating-point operations of a step on one crop."""
    return seconds * training_per_second(
        config, clusters=CLUSTERS, final_dim=SETTINGS.final_dim, utterance_seconds=seconds
    )


class OurStep(nn.Module):
    """The step of pretrain.loop on one rank."""

    def __init__(self, model: HubertObjective, settings: PretrainConfig) -> None:
        super().__init__()
        self.model, self.settings = model.train(), settings

    @override
    def forward(self, batch: MaskedBatch) -> Tensor:
        return self.model.loss(self.model(batch), batch.counts, batch.counts, 1)


class TransformersStep(nn.Module):
    """transformers' HubertModel with the same weights, and the same loss as one matrix product.

    Batches of many lengths need `padded`: without it the model attends to the padding.
    """

    padded = False

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
        inside = None
        if self.padded:
            inside = torch.arange(waves.shape[1], device=waves.device) < batch.lengths[:, None]
        out = self.hubert(
            waves, attention_mask=inside, mask_time_indices=batch.mask
        ).last_hidden_state
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
) -> Callable[[], Tensor]:
    """Return a function that makes one update and gives its loss (): autocast where `bf16`.

    The step's weights lie where the batch does. On a GPU the optimizer is fused, and nothing waits
    for the update.
    """
    device = batch.samples.device.type
    optimizer = torch.optim.AdamW(
        step.parameters(), lr=1e-6, betas=settings.adam_betas, eps=settings.adam_eps,
        weight_decay=settings.weight_decay, fused=device == "cuda",
    )  # fmt: skip

    def update() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            loss = step(batch)
        loss.backward()
        optimizer.step()
        found: Tensor = loss.detach()
        return found

    return update


def measure(*, tiny: bool = False) -> Rows:
    """Yield audio seconds per CPU second of forward, backward and AdamW on one thread."""
    for name, (size, peer, bf16, turns) in CASES.items():
        if peer == "transformers" or not without_fairseq(name):
            yield _row(name, shape(size, tiny=tiny), peer, bf16=bf16, turns=0 if tiny else turns)


def _row(name: str, config: HubertConfig, peer: str, *, bf16: bool, turns: int) -> Row:
    """Time a step of ours and the peer's in turn; no turns: one, on sizes that try the code."""
    torch.manual_seed(0)
    peak = matmul_peak(torch.bfloat16 if bf16 else torch.float32, tiny=not turns)
    seconds = CROP_SECONDS if turns and peak > SLOW_PEAK else 0.5
    batch = crops(config, seconds)
    if peer == "transformers":
        model = HubertObjective(Hubert(config), CLUSTERS, SETTINGS)
        step: nn.Module = TransformersStep(model, SETTINGS)
    else:
        fairseq = FairseqPeer(config, CLUSTERS, SETTINGS)
        model, step = fairseq.ours(), FairseqStep(fairseq, normalize=config.normalize)
    calls = [updates(each, batch, SETTINGS, bf16=bf16) for each in (OurStep(model, SETTINGS), step)]
    ours, theirs = in_turn(*calls, repeats=turns or 1, tolerance=1e-2 if bf16 else 1e-4)
    share = operations(config, seconds) / peak
    what = (
        f"step on a crop of {seconds:g} s, {CLUSTERS} clusters, masked frames predicted, "
        f"{'bf16-mixed' if bf16 else 'fp32'}, one thread; the peer reaches "
        f"{share / theirs:.0%} of {peak / 1e9:.3g} GFLOP/s"
    )
    return higher_is_better(
        name, seconds / ours, seconds / theirs, UNIT, note=versus(what, peer), limit=share / ours
    )
