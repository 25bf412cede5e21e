"""Validation in training: held-out utterances, always the same crops and masks, no random state."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from harness_bench.audio.batching import by_duration
from harness_bench.audio.frames import SAMPLE_RATE, frame_count
from harness_bench.core.distributed import together
from harness_bench.core.log import cpu_seconds, say
from harness_bench.pretrain.config import AugmentConfig
from harness_bench.pretrain.data.batches import NO_LABEL, BatchMaker, MaskedBatch
from harness_bench.pretrain.data.loader import BatchList, make_loader
from harness_bench.pretrain.data.sources import VALID_SEED
from harness_bench.pretrain.data.windows import draw_windows
from harness_bench.pretrain.exports import keep_best
from harness_bench.pretrain.labels.quality import choose_units
from harness_bench.pretrain.labels.units import UnitCounts
from harness_bench.pretrain.monitor import tally, totalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from harness_bench.core.skipped import SkipList
    from harness_bench.pretrain.data.cut_source import CutList
    from harness_bench.pretrain.data.windows import Window
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
            run.config, seed=VALID_SEED, augment=AugmentConfig(), mask_channel_prob=0.0,
            pad_audio=True,
        )  # fmt: skip
        windows = [each for cut in valid.cuts.cuts for each in draw_windows(cut, config, epoch=0)]
        self.hours = sum(window.duration for window in windows) / 3600
        self.units = self._known_units(valid, windows)
        batches = [*by_duration(windows, config.max_seconds)]
        rank, ranks = run.fabric.global_rank, run.fabric.world_size
        # With fewer batches than ranks each rank takes all: figures are shares, and no rank waits.
        mine = batches if len(batches) < ranks else batches[rank::ranks]
        data = BatchList(BatchMaker(valid.cuts, valid.labels, config), mine)
        self.batches = partial(make_loader, data, run.config.num_workers)
        self._check_metric()

    def once(self) -> None:
        """Validate if the last update asks for it and no line of the log has it yet."""
        update, last = self.run.progress.update, self.run.config.max_update
        if self.every is None or update in self.log.validated or update == 0:
            return
        if update % self.every == 0 or update == last:
            begun, cpu = time.perf_counter(), cpu_seconds()
            row = self._figures(self.batches()) | {"hours": self.hours}
            with together():  # a full disk
                if self.run.fabric.global_rank == 0:
                    keep_best(self.run, row)  # first: what the log has is not validated again
            times = {"seconds": time.perf_counter() - begun, "cpu_seconds": cpu_seconds() - cpu}
            self.log.add_validation(row | times)

    def _check_metric(self) -> None:
        """Refuse a `best_checkpoint_metric` that validations do not have."""
        metric = self.run.config.best_checkpoint_metric
        if metric is None:
            return
        known = [*self._figures(()), *(self.units.names if self.units is not None else ())]
        if metric not in known:
            raise ValueError(
                f"best_checkpoint_metric = {metric!r} is no figure of these validations; they "
                f"have {', '.join(known)}."
            )

    def _known_units(self, valid: ValidSet, windows: Sequence[Window]) -> UnitCounts | None:
        """Look for what predictions can be compared with: an alignment, else the text."""
        objective = self.run.objective
        with self._watching():
            _, named = objective.evaluate(self._silence())
        reader = choose_units(valid.cuts.cuts, None) if named else None
        if reader is None:
            return None
        say(f"PNMI on {self.run.config.valid_subset} is measured against {reader.note}")
        return UnitCounts(reader, valid.cuts.cuts, valid.labels, windows, objective.clusters)

    def _figures(self, batches: Iterable[MaskedBatch]) -> dict[str, float]:
        objective, device = self.run.objective, self.run.fabric.device
        with self._watching():
            # A rank whose utterances cannot be read adds nothing, under the names of the others.
            sums, named = objective.evaluate(self._silence())
            total = torch.zeros_like(tally(objective, sums, self._silence()), dtype=torch.float64)
            if self.units is not None:
                self.units.start(named, device)
            # Not through the wrapped model, whose ranks would wait for one another at every batch.
            with together():  # unreadable audio
                for batch in batches:
                    self.alive()
                    self.skips.add(len(batch.ids), batch.skipped)
                    if not batch.ids:
                        continue
                    moved = batch.to(device)
                    sums, named = objective.evaluate(moved)
                    total += tally(objective, sums, moved)
                    if self.units is not None:
                        self.units.add(moved, named)
            figures, _ = totalled(self.run, [*sums], total)
        return figures if self.units is None else figures | self.units.figures()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Put the model into eval mode; what is drawn at random within the block is undone."""
        run, device = self.run, self.run.fabric.device
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(cuda), torch.no_grad(), run.fabric.autocast():
            run.objective.eval()
            yield
            run.model.train()

    def _silence(self) -> MaskedBatch:
        """Return a batch without a label: all of its sums have names, and none counts."""
        frames = torch.full((2, frame_count(SAMPLE_RATE)), NO_LABEL)
        lengths = torch.full((2,), SAMPLE_RATE)
        silent = MaskedBatch([], torch.zeros(2, SAMPLE_RATE), lengths, frames, frames > NO_LABEL)
        return silent.to(self.run.fabric.device)
