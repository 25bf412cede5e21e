"""The log of a pretraining run: one JSON line every `log_interval` updates."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.audio import SAMPLE_RATE
from harness_bench.files import read_jsonl, write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.fabric import Fabric
    from torch import Tensor

    from harness_bench.iteration import PretrainConfig
    from harness_bench.pretrain.data import Batch
    from harness_bench.pretrain.objective import Sums
    from harness_bench.pretrain.state import Progress

LOG_FILE = "train.jsonl"


class TrainLog:
    """Averages over the updates since the last line, over all ranks."""

    def __init__(self, out: Path, config: PretrainConfig, fabric: Fabric) -> None:
        self.path, self.config, self.fabric = out / LOG_FILE, config, fabric
        self._reset()

    def _reset(self) -> None:
        # masked and unmasked loss, penalty, right masked and unmasked predictions, masked and
        # unmasked frames, samples, batches: on the device, so that adding waits for nothing.
        self.sums = torch.zeros(9, device=self.fabric.device)
        self.since = time.perf_counter()

    def add(
        self, progress: Progress, sums: list[Sums], group: list[Batch], norm: Tensor, lr: float
    ) -> None:
        """Add one update's sums; write a line when it is time, and at the end."""
        for each, batch in zip(sums, group, strict=True):
            losses = torch.stack([each.masked, each.unmasked, each.features_pen])
            samples = batch.lengths.sum()[None]
            one = torch.ones_like(samples)
            self.sums += torch.cat([losses, each.correct, batch.counts, samples, one])
        interval, last = self.config.log_interval, self.config.max_update
        if progress.update % interval == 0 or progress.update == last:
            self._write(progress, float(norm), lr)
            self._reset()

    def _write(self, progress: Progress, norm: float, lr: float) -> None:
        values = self.fabric.all_reduce(self.sums, reduce_op="sum").tolist()
        masked, unmasked, penalty, right, right_rest, frames, rest, samples, batches = values
        row = {
            "update": progress.update,
            "epoch": progress.epoch,
            "loss_masked": masked / max(frames, 1) / math.log(2),  # bits, as fairseq logs them
            "accuracy_masked": right / max(frames, 1),
            "features_pen": penalty / max(batches, 1),
            "grad_norm": norm,
            "lr": lr,
            "audio_seconds_per_second": samples / SAMPLE_RATE / (time.perf_counter() - self.since),
        }
        if self.config.pred_nomask_weight > 0:
            row["loss_unmasked"] = unmasked / max(rest, 1) / math.log(2)
            row["accuracy_unmasked"] = right_rest / max(rest, 1)
        if self.fabric.global_rank == 0:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


def trim_log(folder: Path, update: int) -> None:
    """Drop log lines of updates that will be done again after a resume."""
    path = folder / LOG_FILE
    if path.is_file():
        rows = [row for row in _whole_rows(path) if row["update"] <= update]
        write_jsonl(path, rows)


def _whole_rows(path: Path) -> list[dict[str, Any]]:
    """Read the log up to a last line that a kill may have cut off."""
    rows: list[dict[str, Any]] = []
    try:
        rows.extend(read_jsonl(path))
    except ValueError:
        return rows
    return rows
