"""What one update is made of: its batches, fetched ahead, and the step, whose flags are read late.

A GPU works through what it was told while the CPU tells it more. It stands still whenever the CPU
waits for a number from it, so none is asked for before it is long there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from harness_bench.core.distributed import sum_over_ranks, together
from harness_bench.pretrain.data.batches import NO_BATCH
from harness_bench.pretrain.objectives.base import Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from harness_bench.pretrain.data.batches import MaskedBatch
    from harness_bench.pretrain.monitor import Guard
    from harness_bench.pretrain.state import Run


class Underway:
    """A small tensor on its way to the CPU, which goes on meanwhile."""

    def __init__(self, tensor: Tensor) -> None:
        self.event: Any = None
        self.value = tensor.detach()
        if tensor.is_cuda:
            pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self.value = pinned.copy_(self.value, non_blocking=True)
            self.event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.event.record()

    def read(self) -> Tensor:
        """Return it on the CPU, once it is there."""
        if self.event is not None:
            self.event.synchronize()
        return self.value


class Group(NamedTuple):
    """The batches of one update."""

    batches: list[MaskedBatch]
    totals: Tensor  # (n,) the loss's denominators, over batches and ranks
    stop: bool  # a rank was asked to stop
    waited: float  # seconds for the batches


class Groups:
    """The batches of each update; those of the next are fetched, and counted over the ranks, ahead.

    `signals` that ask to stop travel with the counts: ranks that stopped at different updates would
    wait for each other. Where a rank has no batch for an error, all end with it.
    """

    def __init__(self, run: Run, batches: Iterator[MaskedBatch], signals: list[int]) -> None:
        self.run, self.batches, self.signals = run, batches, signals
        self.ahead: tuple[Group, Underway, Exception | None] | None = None

    def fetch(self) -> None:
        """Fetch the batches of the next update."""
        if self.ahead is not None:
            return
        run, error = self.run, None
        begun = time.perf_counter()
        try:
            group = [next(self.batches) for _ in range(run.config.update_freq)]
        except Exception as caught:  # noqa: BLE001 - raised by `take`, on all ranks
            group, error = [NO_BATCH], caught
        waited = time.perf_counter() - begun
        counts = torch.stack([run.objective.counts(batch) for batch in group]).sum(0)
        flags = counts.new_tensor([int(bool(self.signals)), int(error is not None)])
        summed = sum_over_ranks(torch.cat([counts, flags]).to(run.fabric.device))
        made = Group(group, summed[:-2], stop=False, waited=waited)
        self.ahead = made, Underway(summed[-2:]), error

    def take(self) -> Group:
        """Return the batches of an update; from here on the run stands behind them."""
        self.fetch()
        assert self.ahead is not None
        group, flags, error = self.ahead
        asked, failed = flags.read().tolist()
        if failed:
            with together():
                if error is not None:
                    raise error
        self.ahead = None
        last, progress = group.batches[-1], self.run.progress
        progress.epoch, progress.position = last.epoch, last.position
        return group._replace(stop=asked > 0)


class MadeUpdate(NamedTuple):
    """An update whose gradients are there."""

    group: Group
    sums: list[dict[str, Tensor]]
    norm: Tensor


class Steps:
    """Steps of the optimizer; those whose gradients are not finite are left out.

    With `late` the device leaves them out by itself, and the CPU learns of it before the next step:
    the schedule and the count of updates wait for that. `done` is told of updates that were made.
    """

    def __init__(
        self,
        run: Run,
        guard: Guard,
        done: Callable[[MadeUpdate], None],
        *,
        late: bool | None = None,
    ) -> None:
        self.run, self.guard, self.done = run, guard, done
        self.waiting: tuple[MadeUpdate, Underway] | None = None
        if late is None:
            steady = type(run.objective).after_update is Objective.after_update
            late = steady and run.fabric.device.type == "cuda"
        self.late = late

    @property
    def update(self) -> int:
        """Return the number of updates, one that is not known to be good yet included."""
        return self.run.progress.update + (self.waiting is not None)

    def make(self, made: MadeUpdate, *, known: bool) -> bool:
        """Make a step; tell whether it is known to be made. `known`: it has to be, one or other."""
        if not self.late:
            good = self.guard.is_finite(made.norm, made.group.batches)
            if good:
                self.run.optimizer.step()
                self._count(made)
            return good
        assert self.waiting is None, "the step before is not settled"
        bad = ~torch.isfinite(made.norm)
        # Fused AdamW reads it on the device, as loss scaling has it.
        self.run.optimizer.optimizer.found_inf = bad.to(torch.float32)
        self.run.optimizer.step()
        self.waiting = made, Underway(made.norm)
        return self.settle() if known else False

    def settle(self) -> bool:
        """Learn whether the last step was made, and count it."""
        if self.waiting is None:
            return False
        made, norm = self.waiting
        self.waiting = None
        good = self.guard.is_finite(norm.read(), made.group.batches)
        if good:
            self._count(made)
        return good

    def _count(self, made: MadeUpdate) -> None:
        self.run.objective.after_update()
        self.run.schedule.step()
        self.run.progress.update += 1
        self.done(made)
