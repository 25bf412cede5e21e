"""The log of a pretraining run: one JSON line every `log_interval` updates, and TensorBoard's."""

from __future__ import annotations

import json
import math
import resource
import time
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.files import read_jsonl, write_jsonl
from harness_bench.frames import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.fabric import Fabric
    from torch import Tensor

    from harness_bench.iteration import PretrainConfig
    from harness_bench.pretrain.data import Batch
    from harness_bench.pretrain.objective import Sums
    from harness_bench.pretrain.state import Progress

LOG_FILE = "train.jsonl"
BOARD = "tensorboard"


class TrainLog:
    """Averages over the updates since the last line, over all ranks."""

    def __init__(self, out: Path, config: PretrainConfig, fabric: Fabric, update: int) -> None:
        """`update` is the last one that is in the log already; later lines are dropped."""
        self.path, self.config, self.fabric = out / LOG_FILE, config, fabric
        self.board: Any = None
        if fabric.global_rank == 0:
            out.mkdir(parents=True, exist_ok=True)
            _trim(self.path, update)
            if config.tensorboard:
                from tensorboardX import SummaryWriter  # noqa: PLC0415 - slow to import

                self.board = SummaryWriter(str(out / BOARD), purge_step=update + 1)
        self._reset()

    def _reset(self) -> None:
        # masked and unmasked loss, penalty, right masked and unmasked predictions, masked and
        # unmasked frames, samples, batches: on the device, so that adding waits for nothing.
        self.sums = torch.zeros(9, device=self.fabric.device)
        self.since = time.perf_counter()

    def add(
        self, progress: Progress, sums: list[Sums], group: list[Batch], norm: Tensor, lr: float
    ) -> dict[str, Any] | None:
        """Add one update's sums; write a line when it is time, and at the end, and return it."""
        for each, batch in zip(sums, group, strict=True):
            losses = torch.stack([each.masked, each.unmasked, each.features_pen])
            samples = batch.lengths.sum()[None]
            one = torch.ones_like(samples)
            self.sums += torch.cat([losses, each.correct, batch.counts, samples, one])
        interval, last = self.config.log_interval, self.config.max_update
        if progress.update % interval and progress.update != last:
            return None
        row = self._row(progress, float(norm), lr)
        if self.fabric.global_rank == 0:
            self._write(row)
        self._reset()
        return row

    def _row(self, progress: Progress, norm: float, lr: float) -> dict[str, Any]:
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
            "memory_gib": peak_memory(self.fabric.device) / 2**30,
        }
        if self.config.pred_nomask_weight > 0:
            row["loss_unmasked"] = unmasked / max(rest, 1) / math.log(2)
            row["accuracy_unmasked"] = right_rest / max(rest, 1)
        return row

    def _write(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        if self.board is not None:
            for name, value in row.items():
                if name != "update":
                    self.board.add_scalar(name, value, row["update"])

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self.board is not None:
            self.board.close()


def peak_memory(device: torch.device) -> int:
    """Return the most memory used so far: of the GPU, or of this process on CPU; bytes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _trim(path: Path, update: int) -> None:
    """Drop log lines of updates that will be done again after a resume."""
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
