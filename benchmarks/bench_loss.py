"""The prediction loss as one matrix product against frames x classes x dimensions in memory."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from benchmarks.allocations import peak_bytes
from benchmarks.fairseq_peer import FairseqPeer
from benchmarks.measure import in_turn, lower_is_better, versus
from benchmarks.peers import HOW, fairseq_available
from harness_bench.models.config import HubertConfig
from harness_bench.models.size import FAIRSEQ_SPECIAL_SYMBOLS
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.objectives.hubert import PretrainHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from benchmarks.measure import Row

DIM, FINAL_DIM, TEMPERATURE = 512, 768, 0.1


def measure(*, tiny: bool = False) -> Iterator[Row]:
    """Yield CPU seconds and peak memory of loss and gradients on one thread."""
    clusters = 20 if tiny else 1000
    torch.manual_seed(0)
    head = PretrainHead(DIM, clusters, FINAL_DIM, TEMPERATURE)
    count, repeats = (8, 1) if tiny else (32, 2)
    frames, targets = _frames(count, clusters)
    calls = _ours(head, frames, targets), _cosines(head, frames, targets)
    _require_equal(*(call() for call in calls))
    what = f"prediction loss and gradients, {count} frames, {clusters} clusters, one matrix product"
    times = in_turn(*calls, repeats=repeats)
    note = versus(f"{what} against cosine_similarity", "torch")
    yield lower_is_better("loss_vs_torch_cosine_similarity", *times, "CPU s", note=note)
    if not fairseq_available():
        print(f"loss_memory_vs_fairseq is left out: {HOW}.", file=sys.stderr)
        return
    count = 8 if tiny else 150  # of 250 masked frames in 10 s; fairseq's way takes 20 MB for each
    frames, targets = _frames(count, clusters)
    calls = _ours(head, frames, targets), _fairseq(head, frames, targets)
    losses: list[float] = []
    ours, peer = (peak_bytes(partial(_append, losses, call)) for call in calls)
    _require_equal(*losses)
    note = (
        f"peak of live tensors beyond those before, loss and gradients of {count} frames, "
        f"{clusters} clusters, {FINAL_DIM} dimensions; ours holds {ours / peer:.2%} of the peer's"
    )
    sizes = ours / 2**20, peer / 2**20
    name = "loss_memory_vs_fairseq"
    yield lower_is_better(name, *sizes, "MiB", note=versus(note, "fairseq-fixed"))


def _frames(count: int, clusters: int) -> tuple[Tensor, Tensor]:
    targets = torch.randint(clusters, (count,)) + FAIRSEQ_SPECIAL_SYMBOLS
    return torch.randn(count, DIM), targets


def _ours(head: PretrainHead, frames: Tensor, targets: Tensor) -> Callable[[], float]:
    return lambda: _step(head, F.cross_entropy(head(frames), targets))


def _cosines(head: PretrainHead, frames: Tensor, targets: Tensor) -> Callable[[], float]:
    """Return the loss with every frame beside every class: (N, classes, D)."""

    def loss() -> float:
        projected = head.final_proj(frames)[:, None]
        classes = head.label_embs_concat[None].expand(len(frames), -1, -1)
        cosines = torch.cosine_similarity(projected, classes, dim=-1)
        return _step(head, F.cross_entropy(cosines / head.temperature, targets))

    return loss


def _fairseq(head: PretrainHead, frames: Tensor, targets: Tensor) -> Callable[[], float]:
    """Return the loss by fairseq's HubertModel.compute_nce, called as its forward pass does."""
    config = HubertConfig(
        encoder_layers=1, encoder_embed_dim=DIM, encoder_ffn_embed_dim=8, conv_dim=(8,) * 7,
        encoder_attention_heads=1,
    )  # fmt: skip
    settings = PretrainConfig(max_update=1, final_dim=FINAL_DIM, logit_temp=TEMPERATURE)
    model = FairseqPeer(config, clusters=1, pretrain=settings).model

    def loss() -> float:
        projected, classes = head.final_proj(frames), head.label_embs_concat
        negatives = classes.unsqueeze(1).expand(-1, len(frames), -1)
        logits = model.compute_nce(projected, classes.index_select(0, targets), negatives)
        return _step(head, F.cross_entropy(logits.float(), torch.zeros_like(targets)))

    return loss


def _append(losses: list[float], call: Callable[[], float]) -> None:
    losses.append(call())


def _require_equal(ours: float, theirs: float) -> None:
    if not math.isclose(ours, theirs, rel_tol=1e-4):
        raise ValueError(f"The two losses differ: {ours} and {theirs}.")


def _step(head: PretrainHead, loss: Tensor) -> float:
    head.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())
