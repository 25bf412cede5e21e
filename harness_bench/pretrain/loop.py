"""The training loop: CPU, one GPU or many ranks, through Lightning Fabric."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tqdm import tqdm

from harness_bench.batches import total_hours
from harness_bench.config import resolved
from harness_bench.files import digest_strings
from harness_bench.models.checkpoint import (
    CONFIG,
    checkpoint_digest,
    load_hubert,
    read_facts,
    save_checkpoint,
)
from harness_bench.models.initialization import initialise
from harness_bench.pretrain.data import epoch_batches, usable
from harness_bench.pretrain.family import checkpoint_of
from harness_bench.pretrain.log import TrainLog, trim_log
from harness_bench.pretrain.objective import PretrainModel, combine
from harness_bench.pretrain.state import Progress, load_state, save_state
from harness_bench.progress import say
from harness_bench.provenance import write_provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from lightning.fabric import Fabric
    from torch import Tensor

    from harness_bench.iteration import IterationConfig, PretrainConfig
    from harness_bench.labels.store import LabelStore
    from harness_bench.pretrain.data import Batch
    from harness_bench.pretrain.objective import Sums


class Run(NamedTuple):
    """What the loop works on."""

    fabric: Fabric
    config: PretrainConfig
    model: Any  # a PretrainModel as Fabric wraps it
    optimizer: Any
    schedule: torch.optim.lr_scheduler.LambdaLR
    progress: Progress


def pretrain(
    step: IterationConfig,
    cuts: Sequence[Cut],
    labels: LabelStore,
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
        out: the run folder (state.pt, train.jsonl, provenance.json, checkpoint/).
        fabric: launched; decides device, precision and ranks.
        teacher: checkpoint folder for initialisations other than random.
        restart: replace a different run that `out` holds instead of refusing.

    Raises:
        ValueError: nothing to train on, or `out` holds a different run.
        RuntimeError: the loss is not finite.
    """
    kept, short = usable(cuts, step.pretrain)
    if not kept:
        raise ValueError(f"None of {len(cuts)} utterances reaches min_sample_size.")
    if short:
        say(f"{step.name}: {len(short)} too short utterances left out, first {short[0].id!r}")
    key = _key(step, kept, labels, teacher)
    folder = checkpoint_of(out)
    if (folder / CONFIG).is_file() and read_facts(folder).get("key") == key:
        return folder
    run = _prepare(step, fabric, teacher)
    _restore(run, out, key, restart=restart)
    if fabric.global_rank == 0:
        inputs = {"cuts": digest_strings(cut.id for cut in kept), "key": key}
        write_provenance(out, config=resolved(step), seed=step.pretrain.seed, inputs=inputs)
    _loop(run, kept, labels, out, key, step.name)
    if fabric.global_rank == 0:
        _export(run, step, folder, key, total_hours(kept))
    fabric.barrier()
    return folder


def _loop(
    run: Run, cuts: Sequence[Cut], labels: LabelStore, out: Path, key: str, title: str
) -> None:
    """Update until max_update: the one loop of the trainer."""
    config, progress = run.config, run.progress
    batches = _stream(run, cuts, labels)
    log = TrainLog(out, config, run.fabric)
    quiet = run.fabric.global_rank > 0
    with tqdm(
        total=config.max_update, initial=progress.update, desc=title, unit="update",
        mininterval=1, maxinterval=10, disable=quiet or None, leave=False,
    ) as display:  # fmt: skip
        while progress.update < config.max_update:
            group = [next(batches) for _ in range(config.update_freq)]
            frames = run.fabric.all_reduce(
                torch.stack([batch.counts for batch in group]).sum(0), reduce_op="sum"
            )
            sums = [_backward(run, batch, frames, last=batch is group[-1]) for batch in group]
            norm = run.fabric.clip_gradients(
                run.model, run.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
            )
            _check_finite(norm, group, progress.update, out)
            run.optimizer.step()
            run.optimizer.zero_grad()
            run.schedule.step()
            progress.update += 1
            display.update()
            log.add(progress, sums, group, norm, float(run.schedule.get_last_lr()[0]))
            if progress.update % config.save_interval_updates == 0:
                _save(run, out, key)
    if progress.update % config.save_interval_updates:
        _save(run, out, key)


def _stream(run: Run, cuts: Sequence[Cut], labels: LabelStore) -> Iterator[Batch]:
    """Yield batches for ever, counting epochs and batches in the run's progress."""
    progress, fabric = run.progress, run.fabric
    while True:
        came = 0
        for batch in epoch_batches(
            cuts, labels, run.config, epoch=progress.epoch, skip=progress.batches,
            rank=fabric.global_rank, ranks=fabric.world_size,
        ):  # fmt: skip
            progress.batches += 1
            came += 1
            yield batch.to(fabric.device)
        if came == 0 and progress.batches == 0:
            raise ValueError("An epoch has no batch: too few utterances for the number of ranks.")
        progress.epoch, progress.batches = progress.epoch + 1, 0


def _backward(run: Run, batch: Batch, frames: Tensor, *, last: bool) -> Sums:
    """Add one batch's gradients; ranks synchronise at the last batch of an update."""
    with run.fabric.no_backward_sync(run.model, enabled=not last):
        sums: Sums = run.model(batch)
        loss = combine(sums, batch.counts, frames, run.config, run.fabric.world_size)
        run.fabric.backward(loss)
    return type(sums)(*(value.detach() for value in sums))


def _check_finite(norm: Tensor, group: list[Batch], update: int, out: Path) -> None:
    """Stop before a broken update spoils the weights; the last saved state stays good."""
    if not bool(torch.isfinite(norm)):
        ids = [name for batch in group for name in batch.ids]
        raise RuntimeError(
            f"Update {update + 1}: the gradient norm is {float(norm)}. Weights are unchanged; the "
            f"state before is in {out}. Batch: {', '.join(ids[:8])}. Lower lr or clip_norm, or "
            "look at these utterances."
        )


def _prepare(step: IterationConfig, fabric: Fabric, teacher: Path | None) -> Run:
    """Build model, optimizer and schedule; equal on every rank."""
    config = step.pretrain
    source = load_hubert(teacher) if teacher is not None and config.init != "random" else None
    hubert = initialise(step.model, config.init, source, config.seed)
    torch.manual_seed(config.seed + 1)
    model = PretrainModel(hubert, step.labels.clusters, config)
    torch.manual_seed(config.seed + 2 + fabric.global_rank)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, betas=config.adam_betas, eps=config.adam_eps,
        weight_decay=config.weight_decay,
    )  # fmt: skip
    wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: learning_rate_share(update, config)
    )
    wrapped.train()
    return Run(fabric, config, wrapped, wrapped_optimizer, schedule, Progress())


def learning_rate_share(update: int, config: PretrainConfig) -> float:
    """Return the share of the peak rate at an update: linear warm-up, then linearly to 0."""
    if update < config.warmup:
        return (update + 1) / config.warmup
    left = config.max_update - update
    return max(0.0, left / max(1, config.max_update - config.warmup))


def _key(
    step: IterationConfig, cuts: Sequence[Cut], labels: LabelStore, teacher: Path | None
) -> str:
    """Digest all that decides the weights; intervals and workers do not."""
    fixed = replace(step.pretrain, save_interval_updates=1, log_interval=1, num_workers=0)
    parts = [str(resolved(replace(step, pretrain=fixed)))]
    if teacher is not None and step.pretrain.init != "random":
        parts.append(checkpoint_digest(teacher))
    return digest_strings([*parts, labels.digest, *sorted(cut.id for cut in cuts)])


def _save(run: Run, out: Path, key: str) -> None:
    """Gather the ranks' generators and write the state on rank 0."""
    rng = run.fabric.all_gather(torch.get_rng_state())
    if run.fabric.global_rank == 0:
        parts = {
            "model": run.model.module.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "schedule": run.schedule.state_dict(),
        }
        states = list(rng.cpu()) if run.fabric.world_size > 1 else [rng.cpu()]
        save_state(out, key, run.progress, parts, states)
    run.fabric.barrier()


def _restore(run: Run, out: Path, key: str, *, restart: bool) -> None:
    """Take up an interrupted run where its state was saved."""
    state = load_state(out, key, restart=restart)
    if run.fabric.global_rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        trim_log(out, state["progress"]["update"] if state else 0)
    if state is None:
        return
    run.model.module.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["rng"][run.fabric.global_rank % len(state["rng"])])
    for name, value in state["progress"].items():
        setattr(run.progress, name, value)
    say(f"resumed {out} at update {run.progress.update}")


def _export(run: Run, step: IterationConfig, folder: Path, key: str, hours: float) -> None:
    """Write the checkpoint folder that everything downstream opens."""
    model: PretrainModel = run.model.module
    facts = {"key": key, "name": step.name, "hours": hours, "config": resolved(step)}
    save_checkpoint(folder, model.hubert, head=model.head.state_dict(), facts=facts)
