"""What two ranks do in tests/pretrain/test_ranks.py; started by torchrun with a folder."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from lhotse import CutSet

from harness_bench.core.fabric import make_fabric
from harness_bench.pretrain import trainer
from harness_bench.pretrain.config import load_family
from harness_bench.pretrain.data.batches import epoch_batches
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.family import train_family
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain.trainer import build_run
from tests.pretrain.conftest import at_batch, small_step

if TYPE_CHECKING:
    from harness_bench.pretrain.state import Run

GRADIENT_STEP = small_step(features_pen_weight=3.0, max_update=4)


def gradients(
    run: Run, source: CutList, labels: LabelStore, ranks: list[int]
) -> dict[str, torch.Tensor]:
    """Return the gradients of one update whose batches are the first of these ranks, of two."""
    group = [
        next(epoch_batches(source, labels, run.config, epoch=0, skip=0, rank=rank, ranks=2))
        for rank in ranks
    ]
    counts = torch.stack([batch.counts for batch in group]).sum(0)
    frames = run.fabric.all_reduce(counts, reduce_op="sum")
    for batch in group:
        trainer._backward(run, batch, frames, last=batch is group[-1])
    return {
        name: parameter.grad.clone()
        for name, parameter in run.objective.named_parameters()
        if parameter.grad is not None
    }


class StoppedError(Exception):
    """Stands for a machine that goes down, on all ranks at the same update."""


def stop() -> None:
    raise StoppedError


def main(folder: Path) -> None:
    """Save gradients of an update, then make a family at a stretch and once interrupted."""
    torch.set_num_threads(1)
    fabric = make_fabric(accelerator="cpu")
    cuts = list(CutSet.from_file(folder / "cuts.jsonl"))
    source, labels = CutList(cuts), LabelStore(folder / "labels")
    run = build_run(GRADIENT_STEP, "key", folder / "unused", fabric, None, source.hours)
    run.model.eval()  # no dropout: ranks draw it apart
    found = gradients(run, source, labels, [fabric.global_rank])
    if fabric.global_rank == 0:
        torch.save(found, folder / "gradients.pt")
    family = load_family(folder / "family.toml")

    def make(out: Path) -> None:
        train_family(family, cuts, out, accelerator="cpu")

    make(folder / "straight")
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(StoppedError):
        at_batch(8, stop, patch)
        make(folder / "resumed")
    fabric.barrier()
    make(folder / "resumed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
