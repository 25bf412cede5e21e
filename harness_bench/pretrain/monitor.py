"""The log of a pretraining run: one JSON line every `log_interval` updates, and TensorBoard's."""

from __future__ import annotations

import json
import math
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.files import atomic_path, read_jsonl, write_json, write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.fabric import Fabric
    from torch import Tensor

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.batches import MaskedBatch
    from harness_bench.pretrain.objectives.hubert import Sums

FOLDER = "diverged"


class Guard:
    """Watches the gradient norm of every update and the loss of every line of the log."""

    def __init__(self, out: Path, clusters: int, divergence: float, rank: int) -> None:
        self.out, self.rank = out, rank
        # In bits, as the log has it: guessing among all clusters costs log2 of their number.
        self.chance = math.log2(clusters)
        self.limit = divergence * self.chance

    def check_gradients(self, norm: Tensor, group: list[MaskedBatch], update: int) -> None:
        """Raise `RuntimeError` where the norm is not finite; the weights are untouched then."""
        if not bool(torch.isfinite(norm)):
            what = f"Update {update + 1}: the gradient norm is {float(norm)}."
            self._stop(f"{what} Weights are unchanged.", group, {"grad_norm": str(float(norm))})

    def check_loss(self, row: dict[str, Any] | None, group: list[MaskedBatch]) -> None:
        """Raise `RuntimeError` where the masked loss is far above that of guessing."""
        if row is None or row["loss_masked"] <= self.limit:
            return
        what = (
            f"Update {row['update']}: the masked loss is {row['loss_masked']:.1f} bits, and "
            f"guessing costs {self.chance:.1f} (pretrain.divergence)."
        )
        self._stop(what, group, row)

    def _stop(self, what: str, group: list[MaskedBatch], facts: dict[str, Any]) -> None:
        """Write this rank's batches and end the run."""
        folder = self.out / FOLDER
        for number, batch in enumerate(group):
            tensors = {name: getattr(batch, name).cpu().contiguous() for name in batch._fields[1:]}
            with atomic_path(folder / f"batch-{self.rank}-{number}.safetensors") as partial:
                save_file(tensors, partial, metadata={"ids": json.dumps(batch.ids)})
        ids = [name for batch in group for name in batch.ids]
        write_json(folder / f"report-{self.rank}.json", {"what": what, "ids": ids, **facts})
        raise RuntimeError(
            f"{what} The batch is in {folder}; the last saved state is in {self.out}. It held "
            f"{', '.join(ids[:8])}. Lower lr or clip_norm (a new run then: --restart), or look at "
            "these utterances."
        )


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
        self,
        progress: Progress,
        sums: list[Sums],
        group: list[MaskedBatch],
        norm: Tensor,
        lr: float,
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


@dataclass
class Progress:
    """Where a rank stands."""

    update: int = 0  # optimizer updates done
    epoch: int = 0
    batches: int = 0  # of this epoch, taken on this rank
