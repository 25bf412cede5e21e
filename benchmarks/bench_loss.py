"""The prediction loss as one matrix product against frames x classes x dimensions in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from benchmarks.measure import in_turn, lower_is_better, versus
from harness_bench.models.counts import FAIRSEQ_SPECIAL_SYMBOLS
from harness_bench.pretrain.objective import PretrainHead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from benchmarks.measure import Row

DIM, FINAL_DIM, TEMPERATURE = 512, 768, 0.1


def measure(*, tiny: bool = False) -> Iterator[Row]:
    """Yield CPU seconds of loss and gradients on one thread."""
    count, clusters, repeats = (8, 20, 1) if tiny else (32, 1000, 3)
    torch.manual_seed(0)
    head = PretrainHead(DIM, clusters, FINAL_DIM, TEMPERATURE)
    frames = torch.randn(count, DIM)
    targets = torch.randint(clusters, (count,)) + FAIRSEQ_SPECIAL_SYMBOLS

    def ours() -> float:
        return _step(head, F.cross_entropy(head(frames), targets))

    def theirs() -> float:
        return _step(head, F.cross_entropy(_class_by_class(head, frames), targets))

    if not math.isclose(ours(), theirs(), rel_tol=1e-4):
        raise ValueError(f"The two losses differ: {ours()} and {theirs()}.")
    what = f"prediction loss and gradients, {count} frames, {clusters} clusters, one matrix product"
    times = in_turn(ours, theirs, repeats=repeats)
    yield lower_is_better(versus(f"{what} against cosine_similarity", "torch"), *times, "CPU s")


def _step(head: PretrainHead, loss: Tensor) -> float:
    head.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _class_by_class(head: PretrainHead, frames: Tensor) -> Tensor:
    """Return the same logits (N, classes) with every frame beside every class: (N, classes, D)."""
    projected = head.final_proj(frames)[:, None]
    classes = head.label_embs_concat[None].expand(len(frames), -1, -1)
    return torch.cosine_similarity(projected, classes, dim=-1) / head.temperature
