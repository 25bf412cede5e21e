"""Validation in training: held-out utterances, always the same crops and masks, no random state."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.data import DataLoader

from harness_bench.audio.batching import by_duration, total_hours
from harness_bench.core.log import cpu_seconds
from harness_bench.pretrain.config import AugmentConfig
from harness_bench.pretrain.data.batches import PretrainDataset, ignore_sigterm
from harness_bench.pretrain.data.cut_source import VALID_SEED
from harness_bench.pretrain.data.epoch import crop
from harness_bench.pretrain.monitor import tally, totalled

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.core.skipped import SkipList
    from harness_bench.pretrain.data.batches import MaskedBatch
    from harness_bench.pretrain.data.cut_source import CutList
    from harness_bench.pretrain.labels.store import Labels
    from harness_bench.pretrain.monitor import TrainLog
    from harness_bench.pretrain.state import Run


class ValidSet(NamedTuple):
    """What a training validates on."""

    cuts: CutList
    labels: Labels  # of the labeler that made those of training


class Validation:
    """Predicts a `ValidSet` where it is due; the weights and all that is random stay as they were.

    Batches do not depend on the number of ranks, nor crops and masks on the seed of the training.
    """

    def __init__(
        self, run: Run, valid: ValidSet | None, log: TrainLog, skips: SkipList,
        alive: Callable[[], None],
    ) -> None:  # fmt: skip
        self.run, self.log, self.skips, self.alive = run, log, skips, alive
        self.every = run.config.validate_interval_updates
        if self.every is None:
            return
        if valid is None:
            raise ValueError(
                f"validate_interval_updates = {self.every}, and no held-out utterances were given: "
                "a prepared folder or a [data] table has them, a list of utterances has not."
            )
        config = replace(
            run.config, seed=VALID_SEED, augment=AugmentConfig(), mask_channel_prob=0.0
        )
        self.data = PretrainDataset(valid.labels, config, epoch=0, channels=0)
        cuts = [crop(cut, config.max_sample_size, VALID_SEED, 0) for cut in valid.cuts.cuts]
        self.hours = total_hours(cuts)
        batches = [*by_duration(cuts, config.max_seconds)]
        rank, ranks = run.fabric.global_rank, run.fabric.world_size
        # With fewer batches than ranks each rank takes all: figures are shares, and no rank waits.
        self.mine = batches if len(batches) < ranks else batches[rank::ranks]

    def once(self) -> None:
        """Validate if the last update asks for it and no line of the log has it yet."""
        update, last = self.run.progress.update, self.run.config.max_update
        if self.every is None or update in self.log.validated or update == 0:
            return
        if update % self.every == 0 or update == last:
            begun, cpu = time.perf_counter(), cpu_seconds()
            row = self._figures() | {"hours": self.hours}
            times = {"seconds": time.perf_counter() - begun, "cpu_seconds": cpu_seconds() - cpu}
            self.log.add_validation(row | times)

    def _figures(self) -> dict[str, float]:
        run, total, names = self.run, torch.zeros(()), []
        device = run.fabric.device
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(cuda), torch.no_grad(), run.fabric.autocast():
            run.objective.eval()
            # Not through the wrapped model, whose ranks would wait for one another at every batch.
            for batch in self._batches():
                self.alive()
                self.skips.add(len(batch.ids), batch.skipped)
                if not batch.ids:
                    continue
                moved = batch.to(device)
                sums = run.objective(moved)
                names = [*sums]
                total = total.to(device) + tally(run.objective, sums, moved).double()
            figures, _ = totalled(run, names, total)
            run.model.train()
        return figures

    def _batches(self) -> DataLoader[MaskedBatch]:
        return DataLoader(
            self.data, sampler=self.mine, batch_size=None, generator=torch.Generator(),
            num_workers=self.run.config.num_workers, worker_init_fn=ignore_sigterm,
        )  # fmt: skip
