"""The training loop: CPU, one GPU or many ranks, through Lightning Fabric."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from harness_bench.config import resolved
from harness_bench.data.sources import as_source
from harness_bench.pretrain.data import epoch_batches
from harness_bench.pretrain.family import checkpoint_of
from harness_bench.pretrain.guard import Guard
from harness_bench.pretrain.log import TrainLog
from harness_bench.pretrain.objective import combine
from harness_bench.pretrain.run import build_run, export, finished_key, restore, run_key, save
from harness_bench.pretrain.stopping import on_sigterm
from harness_bench.provenance import write_provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from lightning.fabric import Fabric
    from torch import Tensor

    from harness_bench.data.sources import CutSource
    from harness_bench.iteration import IterationConfig
    from harness_bench.labels.store import Labels
    from harness_bench.pretrain.data import Batch
    from harness_bench.pretrain.objective import Sums
    from harness_bench.pretrain.run import Run


def pretrain(
    step: IterationConfig,
    cuts: Sequence[Cut] | CutSource,
    labels: Labels,
    out: Path,
    *,
    fabric: Fabric,
    teacher: Path | None = None,
    restart: bool = False,
) -> Path:
    """Train one iteration and export it; return the checkpoint folder.

    An interrupted run goes on where its last saved state is, bit-equal on CPU; a finished one is
    left alone.

    Args:
        step: model shape and settings.
        cuts: the training utterances; those too short are left out and counted.
        labels: labels of all of them.
        out: the run folder (state-*.pt, train.jsonl, provenance.json, checkpoint/, and
            checkpoints/ where exports on the way are asked for).
        fabric: launched; decides device, precision and ranks.
        teacher: checkpoint folder for initialisations other than random.
        restart: replace a different run that `out` holds instead of refusing.

    Raises:
        ValueError: nothing to train on, or `out` holds a different run.
        RuntimeError: the gradients are not finite or the loss went astray; the batch is in
            `out/diverged`.
        KeyboardInterrupt: SIGTERM came; the state is saved.
    """
    source = as_source(cuts)
    key = run_key(step, source, labels, teacher)
    folder = checkpoint_of(out)
    finished = finished_key(folder)
    if finished == key:
        return folder
    run = build_run(step, key, out, fabric, teacher, source.hours)
    restore(run, finished, restart=restart)
    if fabric.global_rank == 0:
        inputs = {"cuts": source.digest, "key": key}
        write_provenance(out, config=resolved(step), seed=step.pretrain.seed, inputs=inputs)
    _loop(run, source, labels)
    if fabric.global_rank == 0:
        export(run, folder)
    fabric.barrier()
    return folder


def _loop(run: Run, source: CutSource, labels: Labels) -> None:
    """Update until max_update: the one loop of the trainer."""
    config, progress = run.config, run.progress
    batches = _stream(run, source, labels)
    log = TrainLog(run.out, config, run.fabric, progress.update)
    guard = Guard(run.out, run.step.labels.clusters, config.divergence, run.fabric.global_rank)
    quiet = run.fabric.global_rank > 0
    with closing(log), on_sigterm() as request, tqdm(
        total=config.max_update, initial=progress.update, desc=run.step.name, unit="update",
        mininterval=1, maxinterval=10, disable=quiet or None, leave=False,
    ) as display:  # fmt: skip
        while progress.update < config.max_update:
            group = [next(batches) for _ in range(config.update_freq)]
            frames, stop = _agree(run, group, asked=request.asked)
            sums = [_backward(run, batch, frames, last=batch is group[-1]) for batch in group]
            norm = run.fabric.clip_gradients(
                run.model, run.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
            )
            guard.check_gradients(norm, group, progress.update)
            run.optimizer.step()
            run.optimizer.zero_grad()
            run.schedule.step()
            progress.update += 1
            display.update()
            row = log.add(progress, sums, group, norm, float(run.schedule.get_last_lr()[0]))
            guard.check_loss(row, group)
            if row is not None:
                display.set_postfix(bits=f"{row['loss_masked']:.2f}", refresh=False)
            if stop or progress.update % config.save_interval_updates == 0:
                save(run)
            if stop:
                raise KeyboardInterrupt
    if progress.update % config.save_interval_updates:
        save(run)


def _agree(run: Run, group: list[Batch], *, asked: bool) -> tuple[Tensor, bool]:
    """Sum the frames of an update over batches and ranks; tell whether any rank is to stop.

    One message for both: ranks that stopped at different updates would wait for each other.
    """
    counts = torch.stack([batch.counts for batch in group]).sum(0)
    both = torch.cat([counts, counts.new_tensor([int(asked)])])
    both = run.fabric.all_reduce(both, reduce_op="sum")
    return both[:2], bool(both[2] > 0)


def _stream(run: Run, source: CutSource, labels: Labels) -> Iterator[Batch]:
    """Yield batches for ever, counting epochs and batches in the run's progress."""
    progress, fabric = run.progress, run.fabric
    while True:
        came = 0
        for batch in epoch_batches(
            source, labels, run.config, epoch=progress.epoch, skip=progress.batches,
            rank=fabric.global_rank, ranks=fabric.world_size,
            channels=run.step.model.encoder_embed_dim,
        ):  # fmt: skip
            progress.batches += 1
            came += 1
            yield batch.to(fabric.device)
        if came == 0 and progress.batches == 0:
            raise ValueError(
                f"An epoch has no batch: {source.utterances} utterances of {source.hours:.3g} h "
                f"are too few for {fabric.world_size} ranks, or none reaches min_sample_size."
            )
        progress.epoch, progress.batches = progress.epoch + 1, 0


def _backward(run: Run, batch: Batch, frames: Tensor, *, last: bool) -> Sums:
    """Add one batch's gradients; ranks synchronise at the last batch of an update."""
    with run.fabric.no_backward_sync(run.model, enabled=not last):
        sums: Sums = run.model(batch)
        loss = combine(sums, batch.counts, frames, run.config, run.fabric.world_size)
        run.fabric.backward(loss)
    return type(sums)(*(value.detach() for value in sums))
