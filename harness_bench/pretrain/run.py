"""What a training loop works on: built, saved, taken up again and exported."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

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
from harness_bench.pretrain.family import checkpoint_of
from harness_bench.pretrain.objective import PretrainModel
from harness_bench.pretrain.state import Progress, forget_states, load_state, save_state
from harness_bench.progress import say

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.fabric import Fabric

    from harness_bench.data.sources import CutSource
    from harness_bench.iteration import IterationConfig, PretrainConfig
    from harness_bench.labels.store import Labels

EXPORTS = "checkpoints"  # exports on the way, one folder each


class Run(NamedTuple):
    """A model in training."""

    fabric: Fabric
    step: IterationConfig
    key: str
    out: Path
    plain: PretrainModel  # its weights
    model: Any  # the same as Fabric wraps it
    optimizer: Any
    schedule: torch.optim.lr_scheduler.LambdaLR
    progress: Progress
    hours: float

    @property
    def config(self) -> PretrainConfig:
        """Return the settings of the training."""
        return self.step.pretrain


def run_key(step: IterationConfig, source: CutSource, labels: Labels, teacher: Path | None) -> str:
    """Digest all that decides the weights; intervals, workers and logs do not."""
    config = step.pretrain
    fixed = replace(
        config, save_interval_updates=1, log_interval=1, num_workers=0, keep_interval_updates=1,
        export_interval_updates=None, tensorboard=True, divergence=3.0, allow_test_data=False,
    )  # fmt: skip
    parts = [str(resolved(replace(step, pretrain=fixed)))]
    if teacher is not None and config.init != "random":
        parts.append(checkpoint_digest(teacher))
    return digest_strings([*parts, labels.digest, source.digest])


def build_run(
    step: IterationConfig, key: str, out: Path, fabric: Fabric, teacher: Path | None, hours: float
) -> Run:
    """Build model, optimizer and schedule; equal on every rank."""
    config = step.pretrain
    source = load_hubert(teacher) if teacher is not None and config.init != "random" else None
    hubert = initialise(step.model, config.init, source, config.seed)
    torch.manual_seed(config.seed + 1)
    plain = PretrainModel(hubert, step.labels.clusters, config)
    if config.compile:
        _compile(plain)
    torch.manual_seed(config.seed + 2 + fabric.global_rank)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in plain.parameters() if parameter.requires_grad],
        lr=config.lr, betas=config.adam_betas, eps=config.adam_eps,
        weight_decay=config.weight_decay,
    )  # fmt: skip
    model, wrapped = fabric.setup(plain, optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: learning_rate_share(update, config)
    )
    model.train()
    return Run(fabric, step, key, out, plain, model, wrapped, schedule, Progress(), hours)


def _compile(model: PretrainModel) -> None:
    """Compile the parts that take the time; blocks share their code, so it is compiled once."""
    for module in (model.hubert.feature_extractor, *model.hubert.encoder.layers):
        module.compile(dynamic=True)


def learning_rate_share(update: int, config: PretrainConfig) -> float:
    """Return the share of the peak rate at an update: linear warm-up, then linearly to 0."""
    if update < config.warmup:
        return (update + 1) / config.warmup
    left = config.max_update - update
    return max(0.0, left / max(1, config.max_update - config.warmup))


def save(run: Run) -> None:
    """Gather what each rank has of its own and write the state on rank 0; export where due."""
    ranks = _gathered(run)
    update, every = run.progress.update, run.config.export_interval_updates
    if run.fabric.global_rank == 0:
        parts = {
            "model": run.plain.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "schedule": run.schedule.state_dict(),
        }
        save_state(run.out, run.key, update, parts, ranks, run.config.keep_interval_updates)
        if every is not None and update % every == 0:
            export(run, run.out / EXPORTS / f"{update:08d}")
    run.fabric.barrier()


def _gathered(run: Run) -> list[dict[str, Any]]:
    """Return progress and random states of every rank, rank by rank."""
    progress, fabric = run.progress, run.fabric
    own = {
        "rng": torch.get_rng_state(),
        "progress": torch.tensor([progress.update, progress.epoch, progress.batches]),
    }
    if fabric.device.type == "cuda":
        own["cuda_rng"] = torch.cuda.get_rng_state(fabric.device)
    if fabric.world_size == 1:
        return [own]
    every = {name: fabric.all_gather(value).cpu() for name, value in own.items()}
    return [
        {name: value[rank].clone() for name, value in every.items()}
        for rank in range(fabric.world_size)
    ]


def finished_key(folder: Path) -> str | None:
    """Return the key of the run that left a checkpoint there: None without one, "" if untold."""
    return str(read_facts(folder).get("key", "")) if (folder / CONFIG).is_file() else None


def restore(run: Run, finished: str | None, *, restart: bool) -> None:
    """Take up an interrupted run where its state was saved.

    Args:
        run: as `build_run` made it.
        finished: `finished_key` of its checkpoint folder.
        restart: delete another run instead of refusing.

    Raises:
        ValueError: the folder holds another run, unfinished or finished (a finished one's states
            may have been deleted).
    """
    state = load_state(run.out, run.key, restart=restart)
    if finished not in (None, run.key) and not restart:
        raise ValueError(
            f"{checkpoint_of(run.out)} is what a run with another config or other inputs left. "
            "Give a new folder, or --restart if that run is not needed."
        )
    run.fabric.barrier()  # Every rank has looked before rank 0 deletes.
    if state is None:
        if run.fabric.global_rank == 0:
            forget_states(run.out)
            for stale in (checkpoint_of(run.out), run.out / EXPORTS):
                shutil.rmtree(stale, ignore_errors=True)
        return
    run.plain.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.schedule.load_state_dict(state["schedule"])
    ranks = state["ranks"]
    own = ranks[run.fabric.global_rank % len(ranks)]
    torch.set_rng_state(own["rng"])
    if "cuda_rng" in own and run.fabric.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda_rng"], run.fabric.device)
    update, epoch, batches = own["progress"].tolist()
    progress = run.progress
    progress.update, progress.epoch = update, epoch
    if len(ranks) == run.fabric.world_size:
        progress.batches = batches
    else:
        say(
            f"{run.out} was saved by {len(ranks)} ranks and goes on with "
            f"{run.fabric.world_size}: epoch {epoch} begins anew."
        )
    say(f"resumed {run.out} at update {update}")


def export(run: Run, folder: Path) -> None:
    """Write the checkpoint folder that everything downstream opens."""
    facts = {
        "key": run.key,
        "name": run.step.name,
        "update": run.progress.update,
        "hours": run.hours,
        "config": resolved(run.step),
    }
    save_checkpoint(folder, run.plain.hubert, head=run.plain.head.state_dict(), facts=facts)
