"""The log of a pretraining run, and the guard that stops one that diverges."""

from __future__ import annotations

import json
import resource
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import save_file

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.distributed import sum_over_ranks, together
from harness_bench.core.files import append_jsonl, atomic_path, write_jsonl
from harness_bench.core.log import cpu_seconds, say
from harness_bench.models.config import bf16_peak, training_per_second
from harness_bench.pretrain.boards import open_boards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from harness_bench.pretrain.data.batches import MaskedBatch
    from harness_bench.pretrain.objectives.base import Objective
    from harness_bench.pretrain.state import Run

DIVERGED = "diverged"  # folder of the batch that a run went wrong on


class Diverged(RuntimeError):  # noqa: N818 - what happened, not an error of the program
    """A training went wrong beyond what leaving updates out can mend."""


class Guard:
    """Watches the gradient norm of every update and the loss of every line of the log.

    Updates whose gradients are not finite are left out, `max_bad_updates` of them in a row. A loss
    of `divergence` times that of guessing is too much; where guessing has none, the gradients
    alone are watched. The last batch that went wrong is kept, and a line of each.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.config = run, run.config

    def is_finite(self, norm: Tensor, group: list[MaskedBatch]) -> bool:
        """Tell whether an update may be made; `Diverged` after too many that may not."""
        progress = self.run.progress
        if bool(torch.isfinite(norm)):
            progress.bad = 0
            return True
        progress.bad += 1
        what = f"Update {progress.update + 1}: the gradient norm is {float(norm)}."
        self._keep(what, group, {"grad_norm": str(float(norm))})
        if progress.bad > self.config.max_bad_updates:
            raise Diverged(f"{what} {self._where(group)}")
        say(f"{what} Weights are unchanged: its batch is left out. {self._where(group)}")
        return False

    def check_loss(self, row: dict[str, Any] | None, group: list[MaskedBatch]) -> None:
        """Raise `Diverged` where the masked loss is far above that of guessing."""
        chance = self.run.objective.chance
        if row is None or chance is None:
            return
        if row["loss_masked"] > self.config.divergence * chance:
            what = (
                f"Update {row['update']}: the masked loss is {row['loss_masked']:.1f} bits, and "
                f"guessing costs {chance:.1f} (pretrain.divergence)."
            )
            self._keep(what, group, row)
            raise Diverged(f"{what} {self._where(group)}")

    def _where(self, group: list[MaskedBatch]) -> str:
        held = ", ".join([name for batch in group for name in batch.ids][:8])
        return f"The batch is in {self.run.out / DIVERGED}. It held {held}."

    def _keep(self, what: str, group: list[MaskedBatch], facts: dict[str, Any]) -> None:
        folder, rank = self.run.out / DIVERGED, self.run.fabric.global_rank
        with together():  # all ranks come here, and one's disk may be full
            for number, batch in enumerate(group):
                tensors = {name: each.cpu().contiguous() for name, each in batch.tensors.items()}
                with atomic_path(folder / f"batch-{rank}-{number}.safetensors") as partial:
                    save_file(tensors, partial, metadata={"ids": json.dumps(batch.ids)})
            ids = [name for batch in group for name in batch.ids]
            append_jsonl(folder / f"reports-{rank}.jsonl", {"what": what, "ids": ids, **facts})


LOG_FILE, VALID_FILE = "train.jsonl", "valid.jsonl"


def tally(objective: Objective, sums: Mapping[str, Tensor], batch: MaskedBatch) -> Tensor:
    """Put what is said of a batch into a row: sums, counts, samples, those with padding, and 1.

    It stays on the device, so that adding rows waits for nothing.
    """
    samples = batch.lengths.sum()[None]
    scalars = [value[None] for value in sums.values()]
    held = torch.full_like(samples, batch.samples.numel())
    counts = objective.counts(batch).to(samples.device)
    parts = [*scalars, counts, samples, held, torch.ones_like(samples)]
    return torch.cat([part.float() for part in parts])


class HeardAudio(NamedTuple):
    """What some batches held."""

    samples: float
    padding: float  # share of what was computed


def totalled(run: Run, names: Sequence[str], totals: Tensor) -> tuple[dict[str, float], HeardAudio]:
    """Add rows of `tally` over ranks; return the objective's figures and what was heard."""
    summed = sum_over_ranks(totals.clone()).tolist()
    *counts, samples, held, batches = summed[len(names) :]
    figures = run.objective.figures(dict(zip(names, summed, strict=False)), counts, batches)
    return figures, HeardAudio(samples, 1 - samples / max(held, 1))


class TrainLog:
    """One JSON line every `log_interval` updates, shown on boards too: means over all ranks.

    Validations have a file of their own. Lines behind the last update done are dropped from both:
    those updates will be done again.
    """

    def __init__(self, run: Run) -> None:
        self.run, update = run, run.progress.update
        kept = {
            path: [row for row in read_log(path) if row["update"] <= update]
            for path in (run.out / LOG_FILE, run.out / VALID_FILE)
            if path.is_file()
        }
        self.validated = {row["update"] for row in kept.get(run.out / VALID_FILE, [])}
        if run.fabric.global_rank == 0:
            run.out.mkdir(parents=True, exist_ok=True)
            for path, rows in kept.items():
                write_jsonl(path, rows)
        self.boards = open_boards(run)
        self._reset()

    def _reset(self) -> None:
        self.totals: Tensor | None = None
        self.waited = 0.0
        self.since, self.cpu_since = time.perf_counter(), cpu_seconds()

    def add(
        self, sums: list[dict[str, Tensor]], group: list[MaskedBatch], norm: Tensor,
        waited: float = 0.0,
    ) -> dict[str, Any] | None:  # fmt: skip
        """Add one update's sums; write a line when it is time, and at the end, and return it.

        `waited`: seconds for the batches.
        """
        self.waited += waited
        for each, batch in zip(sums, group, strict=True):
            row = tally(self.run.objective, each, batch)
            self.totals = row if self.totals is None else self.totals + row
        update, config = self.run.progress.update, self.run.config
        if update % config.log_interval and update != config.max_update:
            return None
        line = self._line(list(sums[0]), float(norm))
        self._write(LOG_FILE, line)
        self._reset()
        return line

    def add_validation(self, figures: Mapping[str, float]) -> None:
        """Write what held-out utterances gave after the last update, and the time it took.

        The time counts for nothing else: speeds of updates compare with those of other runs.
        """
        progress = self.run.progress
        self.validated.add(progress.update)
        self.since += figures["seconds"]
        self.cpu_since += figures["cpu_seconds"]
        row = {"update": progress.update, "epoch": progress.epoch, **figures}
        self._write(VALID_FILE, row, group="valid/")

    def _write(self, name: str, line: Mapping[str, float], group: str = "") -> None:
        with together():  # a full disk
            if self.run.fabric.global_rank == 0:
                append_jsonl(self.run.out / name, line)
        figures = {group + key: line[key] for key in line if key != "update"}
        for board in self.boards:
            board.add(figures, int(line["update"]))

    def _line(self, names: list[str], norm: float) -> dict[str, Any]:
        run = self.run
        assert self.totals is not None
        figures, heard = totalled(run, names, self.totals)
        seconds = time.perf_counter() - self.since
        return {
            "update": run.progress.update,
            "epoch": run.progress.epoch,
            **figures,
            "grad_norm": norm,
            "lr": float(run.schedule.get_last_lr()[0]),
            "seconds": seconds,  # since the line before
            "audio_seconds_per_second": heard.samples / SAMPLE_RATE / seconds,
            "padding": heard.padding,
            "data_wait": self.waited / seconds,  # of this rank
            **_utilisation(run, heard.samples / SAMPLE_RATE / seconds),
            "cpu_seconds": cpu_seconds() - self.cpu_since,  # of this rank, running workers aside
            "memory_gib": _peak_memory(run.fabric.device) / 2**30,
        }

    def close(self) -> None:
        """Write out what boards still hold."""
        for board in self.boards:
            board.close()


def _utilisation(run: Run, audio: float) -> dict[str, float]:
    """Return the operations by formula for so many seconds of audio a second, of the GPUs' peak."""
    device = run.fabric.device
    peak = bf16_peak(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if peak is None:
        return {}
    step, final_dim = run.step, run.config.final_dim
    each = training_per_second(step.model, clusters=step.labels.clusters, final_dim=final_dim)
    return {"mfu": audio * each / run.fabric.world_size / peak}


def _peak_memory(device: torch.device) -> int:
    """Return the most bytes used so far: of the GPU, or of this process on CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a log; a last line that a kill cut off is left out, with a message.

    Raises:
        ValueError: another line is broken.
    """
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}:{number} is not valid JSON ({error.msg}).") from error
            say(f"{path}: the last line is incomplete and was removed")
    return rows
