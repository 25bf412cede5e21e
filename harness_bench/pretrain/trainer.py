"""The training loop: CPU, one GPU or many ranks, through Lightning Fabric."""

from __future__ import annotations

import shutil
import signal
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tqdm import tqdm

from harness_bench.core.config import resolved
from harness_bench.core.files import atomic_path, digest_strings
from harness_bench.core.log import say
from harness_bench.core.workdir import OldNote, WorkDir
from harness_bench.models.checkpoint import FACTS, load_hubert, save_checkpoint
from harness_bench.models.frozen import CONFIG, checkpoint_digest
from harness_bench.models.initialization import initialise
from harness_bench.pretrain.config import checkpoint_of
from harness_bench.pretrain.data.batches import epoch_batches
from harness_bench.pretrain.data.cut_source import as_source
from harness_bench.pretrain.monitor import Guard, Progress, TrainLog
from harness_bench.pretrain.objectives.hubert import PretrainModel, combine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from lhotse.cut import Cut
    from lightning.fabric import Fabric
    from torch import Tensor

    from harness_bench.pretrain.config import IterationConfig, PretrainConfig
    from harness_bench.pretrain.data.batches import MaskedBatch
    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.labels.store import Labels
    from harness_bench.pretrain.objectives.hubert import Sums


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
    work, folder = run_dir(out, step, source, labels, teacher), checkpoint_of(out)
    if work.finished and (folder / CONFIG).is_file():
        return folder
    if not restart:
        work.refuse_others(ADVICE)
    run = build_run(step, work.digest, out, fabric, teacher, source.hours)
    restore(run, restart=restart)
    work.begin(config=step, seed=step.pretrain.seed)
    _loop(run, source, labels)
    if fabric.global_rank == 0:
        export(run, folder)
    work.finish()
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


def _agree(run: Run, group: list[MaskedBatch], *, asked: bool) -> tuple[Tensor, bool]:
    """Sum the frames of an update over batches and ranks; tell whether any rank is to stop.

    One message for both: ranks that stopped at different updates would wait for each other.
    """
    counts = torch.stack([batch.counts for batch in group]).sum(0)
    both = torch.cat([counts, counts.new_tensor([int(asked)])])
    both = run.fabric.all_reduce(both, reduce_op="sum")
    return both[:2], bool(both[2] > 0)


def _stream(run: Run, source: CutSource, labels: Labels) -> Iterator[MaskedBatch]:
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


def _backward(run: Run, batch: MaskedBatch, frames: Tensor, *, last: bool) -> Sums:
    """Add one batch's gradients; ranks synchronise at the last batch of an update."""
    with run.fabric.no_backward_sync(run.model, enabled=not last):
        sums: Sums = run.model(batch)
        loss = combine(sums, batch.counts, frames, run.config, run.fabric.world_size)
        run.fabric.backward(loss)
    return type(sums)(*(value.detach() for value in sums))


ADVICE = "Give a new folder, or --restart if that run is not needed."
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


def run_dir(
    out: Path, step: IterationConfig, source: CutSource, labels: Labels, teacher: Path | None
) -> WorkDir:
    """Name all that decides the weights; intervals, workers and logs do not."""
    config = step.pretrain
    fixed = replace(
        config, save_interval_updates=1, log_interval=1, num_workers=0, keep_interval_updates=1,
        export_interval_updates=None, tensorboard=True, divergence=3.0, allow_test_data=False,
    )  # fmt: skip
    settings = resolved(replace(step, pretrain=fixed))
    inputs: dict[str, Any] = {"config": settings}
    if teacher is not None and config.init != "random":
        inputs["teacher"] = checkpoint_digest(teacher)
    inputs |= {"labels": labels.digest, "cuts": source.digest}
    key = digest_strings([str(value) for value in inputs.values()])
    exported = checkpoint_of(out).name
    # A checkpoint from elsewhere has no key, so it counts as another run's and is not trained over.
    older = tuple(OldNote(f"{exported}/{name}", "key") for name in (FACTS, CONFIG))
    return WorkDir(out, inputs, key=key, older=older)


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


def restore(run: Run, *, restart: bool) -> None:
    """Take up an interrupted run where its state was saved.

    Args:
        run: as `build_run` made it.
        restart: delete another run instead of refusing.

    Raises:
        ValueError: the folder holds another run's state.
    """
    state = load_state(run.out, run.key, restart=restart)
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


STATES = "state-*.pt"


def state_path(folder: Path, update: int) -> Path:
    """Return where the state after an update is saved."""
    return folder / f"state-{update:08d}.pt"


def states(folder: Path) -> list[Path]:
    """List the saved states, oldest first."""
    return sorted(folder.glob(STATES))


def save_state(
    folder: Path, key: str, update: int, parts: dict[str, Any], ranks: list[Any], keep: int
) -> None:
    """Write the state atomically, then delete all but the last `keep` states.

    Args:
        folder: the run folder.
        key: digest of the config and inputs; another run's state is never resumed.
        update: updates done.
        parts: name -> state_dict of the model, the optimizer and the scheduler.
        ranks: of every rank, its progress and the states of its random generators.
        keep: how many states stay.
    """
    with atomic_path(state_path(folder, update)) as partial:
        torch.save({"key": key, "ranks": ranks, **parts}, partial)
    # A killed save leaves its unfinished file, as large as a state.
    for old in (*states(folder)[:-keep], *folder.glob(".partial-*.pt")):
        old.unlink()


def load_state(folder: Path, key: str, *, restart: bool) -> dict[str, Any] | None:
    """Read the last state of an interrupted run; None where there is none.

    Args:
        folder: the run folder.
        key: digest of the config and inputs of the run that is to go on.
        restart: delete another run's states instead of refusing.

    Raises:
        ValueError: the folder holds a run with another config or other inputs.
    """
    found = states(folder)
    if not found:
        return None
    # Mapped, not read: on each rank the tensors go straight to where they belong.
    state = torch.load(found[-1], map_location="cpu", weights_only=True, mmap=True)
    if state["key"] == key:
        return dict(state)
    if not restart:
        raise ValueError(f"{folder} holds a run with another config or other inputs. {ADVICE}")
    return None


def forget_states(folder: Path) -> None:
    """Delete the states of a run that is not wanted any more."""
    for old in (*states(folder), *folder.glob(".partial-*.pt")):
        old.unlink()


@dataclass
class Request:
    """Whether this process was asked to end."""

    asked: bool = False


@contextmanager
def on_sigterm() -> Iterator[Request]:
    """Take SIGTERM as a request for as long as the block runs, instead of dying of it.

    SLURM and Kubernetes send it some seconds before they kill. Python hands signals to the main
    thread alone; elsewhere nothing is changed.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        request.asked = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
