"""The state of a training: what is saved while it runs, and how an interrupted one goes on."""

from __future__ import annotations

import shutil
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.core.distributed import together
from harness_bench.core.files import atomic_path, read_json
from harness_bench.core.log import say
from harness_bench.core.skipped import PATTERN
from harness_bench.core.workdir import PROVENANCE
from harness_bench.models.checkpoint import read_facts
from harness_bench.models.frozen import CONFIG
from harness_bench.pretrain.config import CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lightning.fabric import Fabric

    from harness_bench.pretrain.config import IterationConfig, PretrainConfig
    from harness_bench.pretrain.objectives.base import Objective

ADVICE = (
    "Give a new folder, --restart if that run is not needed, or --adapt to go on with it where lr, "
    "warmup_updates, clip_norm or max_update alone differ."
)
# What may change while a run goes on, as its note names it.
ADAPTABLE = {
    f"config.pretrain.{name}" for name in ("lr", "warmup_updates", "clip_norm", "max_update")
}
EXPORTS = "checkpoints"  # exports on the way, one folder each
WANDB_FILE = "wandb.json"  # which run of Weights & Biases shows this one
PROBE_FILE = "probe.jsonl"  # what linear probes say of them; the verb `probe-exports` writes it


@dataclass
class Progress:
    """Where a rank stands."""

    update: int = 0  # optimizer updates done
    epoch: int = 0  # how often all audio was heard
    position: tuple[int, ...] = ()  # in the stream of batches; empty at the beginning
    bad: int = 0  # updates in a row that were left out
    rewinds: int = 0  # since a state was saved
    left_by: list[tuple[int, ...]] = field(default_factory=list)  # positions of other ranks


@dataclass(frozen=True)
class Run:
    """A training in progress."""

    fabric: Fabric
    step: IterationConfig
    key: str  # digest of the config and inputs; another run's state is never resumed
    out: Path
    hours: float  # of training audio
    objective: Objective  # the weights
    model: Any  # the same as Fabric wraps it
    optimizer: Any
    schedule: torch.optim.lr_scheduler.LambdaLR
    progress: Progress = field(default_factory=Progress)
    writer: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1))
    writing: list[Future[None]] = field(default_factory=list)  # the state on its way to disk

    @property
    def config(self) -> PretrainConfig:
        """Return the settings of the training."""
        return self.step.pretrain


def state_path(folder: Path, update: int) -> Path:
    """Return where the state after an update is saved."""
    return folder / f"state-{update:08d}.pt"


def states(folder: Path) -> list[Path]:
    """List the saved states, oldest first."""
    return sorted(folder.glob("state-*.pt"))


def exports(folder: Path) -> dict[int, Path]:
    """List the whole checkpoints of a run, unfinished or not, by their update."""
    found = [*sorted((folder / EXPORTS).glob("[0-9]*")), folder / CHECKPOINT]
    return {int(read_facts(each)["update"]): each for each in found if (each / CONFIG).is_file()}


def save_state(run: Run) -> None:
    """Write the state of all ranks on rank 0, atomically; the last `keep_interval_updates` stay.

    A copy is taken at once and written by a thread while training goes on; `wait_for_state` waits.
    An earlier state that could not be written is an error here.
    """
    wait_for_state(run)
    run.progress.rewinds = 0
    ranks = _gathered(run)
    if run.fabric.global_rank > 0:
        return
    state = {
        "key": run.key,
        "ranks": ranks,
        "model": _copied(run.objective.state_dict()),
        "optimizer": _copied(run.optimizer.state_dict()),
        "schedule": run.schedule.state_dict(),
    }
    path = state_path(run.out, run.progress.update)
    run.writing.append(run.writer.submit(_write, state, path, run.config.keep_interval_updates))


def wait_for_state(run: Run) -> None:
    """Wait until the state is on disk; raise on all ranks what kept it from getting there."""
    with together():
        while run.writing:
            run.writing.pop().result()


def _write(state: dict[str, Any], path: Path, keep: int) -> None:
    try:
        with atomic_path(path) as unfinished:
            torch.save(state, unfinished)
    except (OSError, RuntimeError) as error:  # of a full disk torch says "unexpected pos"
        size = 3 * sum(value.nbytes for value in state["model"].values())  # and Adam's moments
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            f"The state {path} could not be written ({error}). It takes some {size / 1e6:.3g} MB, "
            f"and its disk has {free / 1e6:.3g} MB left. Free some space and start again: the run "
            "resumes from the previous state."
        ) from error
    _delete(path.parent, states(path.parent)[:-keep])


def _copied(value: Any) -> Any:
    """Copy all tensors of nested dicts and lists to memory of their own, on the CPU."""
    if torch.is_tensor(value):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _delete(folder: Path, old: list[Path]) -> None:
    """Delete states, and the unfinished file of a killed save."""
    for path in (*old, *folder.glob(".partial-*.pt")):
        path.unlink()


def _gathered(run: Run) -> list[dict[str, Any]]:
    """Return progress and random states of every rank, rank by rank."""
    progress, fabric = run.progress, run.fabric
    own = {
        "rng": torch.get_rng_state(),
        "progress": torch.tensor([progress.update, progress.epoch, progress.bad]),
        "position": torch.tensor(progress.position),
    }
    if progress.left_by and not progress.position:
        own["left_by"] = torch.tensor(progress.left_by)
    if fabric.device.type == "cuda":
        own["cuda_rng"] = torch.cuda.get_rng_state(fabric.device)
    if fabric.world_size == 1:
        return [own]
    every = {name: fabric.all_gather(value).cpu() for name, value in own.items()}
    return [
        {name: value[rank].clone() for name, value in every.items()}
        for rank in range(fabric.world_size)
    ]


def restore(run: Run, *, restart: bool, adapt: bool = False) -> None:
    """Load the last saved state of an interrupted run, or clear the folder for a new one.

    With `adapt` that state may be of other settings: those of the run count from here on.

    Raises:
        ValueError: the folder holds another run's state, and no `restart` is to delete it; or the
            run has made `max_update` updates already.
    """
    found = states(run.out)
    state = _read(found[-1]) if found else {}
    other = state.get("key", run.key) != run.key
    if other and not restart and not adapt:
        raise ValueError(f"{run.out} holds a run with another config or other inputs. {ADVICE}")
    run.fabric.barrier()  # Every rank has looked before rank 0 deletes.
    if state and (adapt or not other):
        _load(run, state)
        if adapt:
            _take_rate(run)
    elif run.fabric.global_rank == 0:
        _delete(run.out, found)
        for stale in (run.out / CHECKPOINT, run.out / EXPORTS):
            shutil.rmtree(stale, ignore_errors=True)
        for path in (run.out / PROBE_FILE, run.out / WANDB_FILE, *run.out.glob(PATTERN)):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """Read a state; mapped, so that on each rank the tensors go straight to where they belong."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return state


def _load(run: Run, state: dict[str, Any]) -> None:
    """Go on where the state was saved."""
    _load_weights(run, state)
    ranks, progress = state["ranks"], run.progress
    own = ranks[run.fabric.global_rank % len(ranks)]
    if "position" not in own:
        say(f"{run.out} was started by an older version: its audio is read from the start.")
    else:
        _, progress.epoch, progress.bad = own["progress"].tolist()
        if "left_by" in own:  # saved before a batch was taken
            progress.left_by = [tuple(each) for each in own["left_by"].tolist()]
        elif len(ranks) == run.fabric.world_size or not len(own["position"]):
            progress.position = tuple(own["position"].tolist())
        else:
            say(
                f"{run.out} was saved by {len(ranks)} ranks and resumes with "
                f"{run.fabric.world_size}, at the blocks of batches that those were in."
            )
            progress.left_by = [tuple(each["position"].tolist()) for each in ranks]
    say(f"resumed {run.out} at update {progress.update}")


def _take_rate(run: Run) -> None:
    """Go on with the learning rate of the config, in place of that of the loaded state."""
    done, peak = run.progress.update, run.config.lr
    if done >= run.config.max_update:
        raise ValueError(
            f"{run.out} has made {done} updates and max_update = {run.config.max_update}: nothing "
            "is left to do. Give a larger max_update."
        )
    run.schedule.base_lrs = [peak for _ in run.schedule.base_lrs]
    for group in run.optimizer.param_groups:
        group["initial_lr"] = peak
        group["lr"] = peak * run.schedule.lr_lambdas[0](done)


def note_changes(run: Run, adapted: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return at which updates which settings of the run changed, these ones last."""
    path = run.out / PROVENANCE
    before: list[dict[str, Any]] = read_json(path).get("changes", []) if path.is_file() else []
    if not run.progress.update:  # a new run
        return []
    if not adapted:
        return before
    say(f"Update {run.progress.update}: {'; '.join(adapted.values())}")
    return [*before, {"update": run.progress.update, "changed": list(adapted.values())}]


def _load_weights(run: Run, state: dict[str, Any]) -> None:
    """Take over everything of a state but the place in the data."""
    run.objective.load_state_dict(state["model"])
    saved = state["optimizer"]
    for group, own in zip(saved["param_groups"], run.optimizer.param_groups, strict=True):
        group["fused"] = own["fused"]  # as the device here wants it, not that of the state
    run.optimizer.load_state_dict(saved)
    run.schedule.load_state_dict(state["schedule"])
    own = state["ranks"][run.fabric.global_rank % len(state["ranks"])]
    torch.set_rng_state(own["rng"])
    if "cuda_rng" in own and run.fabric.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda_rng"], run.fabric.device)
    run.progress.update = int(own["progress"][0])


def rewind(run: Run, why: str) -> None:
    """Go back to the last saved state and pass the batches since: they do not come again.

    Each further time, unless a state was saved in between, goes back by one state more.

    Raises:
        RuntimeError: no state is left.
    """
    wait_for_state(run)
    run.fabric.barrier()  # rank 0 alone writes them
    found, progress = states(run.out), run.progress
    left = found[:-1] if progress.rewinds else found
    if not left:
        raise RuntimeError(
            f"{why} No earlier state is left in {run.out}. Lower lr or clip_norm (a new run then: "
            "--restart), or look at these utterances."
        )
    run.fabric.barrier()  # every rank has looked before rank 0 deletes
    _load_weights(run, _read(left[-1]))
    run.optimizer.zero_grad()
    progress.bad, progress.rewinds = 0, progress.rewinds + 1
    run.fabric.barrier()
    if run.fabric.global_rank == 0:
        _delete(run.out, found[len(left) :])
    say(f"{why} Gone back to update {progress.update}; the batches since are passed.")


@contextmanager
def on_sigterm() -> Iterator[list[int]]:
    """Checkpoint on SIGTERM, then exit: within the block the signal is noted and kills nothing.

    SLURM and Kubernetes send it some seconds before they kill. Python hands signals to the main
    thread alone; elsewhere nothing is changed.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.signal(signal.SIGTERM, lambda number, _frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, before)
