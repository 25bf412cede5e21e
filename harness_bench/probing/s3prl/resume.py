"""Exact resume for s3prl's runner, from outside: `Runner.train` runs inside `Continuation`.

s3prl saves weights, optimizer, scheduler, step and epoch. A run resumed from these restarts its
epoch with other random numbers. Here a checkpoint also holds the position in the epoch, the random
states of every rank and the records since the last log; a resumed loop continues the loader where
it stopped. A checkpoint replaces the one before only once it is whole on the disk.
"""

import functools
import inspect
import io
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed import distributed_c10d

from harness_bench.core.distributed import world
from harness_bench.core.files import atomic_path
from harness_bench.core.log import say
from harness_bench.probing.head.config import PATIENCE
from harness_bench.probing.s3prl.checkpoints import prune
from harness_bench.probing.s3prl.past import DATA, KEY, UPSTREAM, cuts_of, upstream_of

NOT_EXACT = (
    "This checkpoint was written by s3prl alone, without the place in the epoch and the random "
    "states: the epoch starts anew, and the run will differ from an unbroken one."
)
_TRAININGS = itertools.count()  # numbers the trainings of a process, alike on all ranks
State = dict[str, Any]


def make_exact(runner_module: Any) -> None:
    """Let the runner of an imported `s3prl.downstream.runner` train exactly; twice is once."""
    stock = runner_module.Runner.train
    if hasattr(stock, "__wrapped__"):
        return

    @functools.wraps(stock)
    def train(runner: Any) -> None:
        with Continuation(runner).active():
            stock(runner)

    runner_module.Runner.train = train


class _Finished(Exception):  # noqa: N818 - no error
    """Ends a loop of s3prl's: it counts steps on the first rank alone, and knows no patience."""


class Continuation:
    """One training of s3prl's `Runner`: where it stands, and from where it resumes."""

    def __init__(self, runner: Any) -> None:
        self.runner, self.model = runner, runner.downstream.model
        self.expert = getattr(self.model, "module", self.model)  # wrapped for several processes
        self.settings: dict[str, Any] = runner.config["runner"]
        self.split = self.settings.get("train_dataloader", "train")
        self.accumulate = int(self.settings.get("gradient_accumulate_steps") or 1)
        self.rank, self.ranks = world()
        self.patience = self._patience()
        self.upstream = upstream_of(runner.args) if self.rank == 0 else {}
        self.cuts = cuts_of(runner.config) if self.rank == 0 else ""
        saved = runner.init_ckpt
        self.step = int(saved.get("Step", 0))  # optimizer steps done
        self.resumed = bool(runner.args.past_exp and "Step" in saved)
        # Where to begin and the records gathered before; each None once it has been used.
        self.place: dict[str, Any] | None = saved.get(KEY) if self.resumed else None
        self.gathered: dict[str, Any] | None = self.place["records"] if self.place else None
        self.drawn = 0  # batches of this epoch
        self.since_start = 0  # batches of this process
        self.records: dict[str, Any] = {}
        self.name = f"harness_bench/random/{next(_TRAININGS)}"
        self.told: str | None = None  # under which key this rank last told its random state

    def _patience(self) -> int | None:
        """Return after how many evaluations of dev without a better one the training ends."""
        given = self.settings.get(PATIENCE)
        if given is None:
            return None
        if (
            not isinstance(given, int)
            or given < 1
            or self.ranks > 1
            or not hasattr(self.expert, "stale")
        ):
            raise ValueError(
                f"config.runner.{PATIENCE} = {given!r}: expected a whole number, 1 or more, a task "
                f"of this project, and one process (here: {self.ranks}). Leave it out otherwise."
            )
        return given

    @contextmanager
    def active(self) -> Iterator[None]:
        """Intercept the loader, the records and the saving while the runner trains."""
        if self.resumed and self.place is None:
            say(NOT_EXACT)
        if self.resumed and hasattr(self.expert, "resume_at"):
            self.expert.resume_at(self.step)
        forward = self.model.register_forward_pre_hook(self._before_forward, with_kwargs=True)
        with ExitStack() as stack:
            stack.callback(forward.remove)
            loaders = functools.partial(self._loader, self.model.get_dataloader)
            stack.enter_context(_replaced(self.model, "get_dataloader", loaders))
            if self.resumed:
                scheduler = functools.partial(self._scheduler, self.runner._get_scheduler)  # noqa: SLF001
                stack.enter_context(_replaced(self.runner, "_get_scheduler", scheduler))
            save = functools.partial(self._save, torch.save)
            stack.enter_context(_replaced(torch, "save", save))
            if "max_keep" in self.settings:
                # s3prl deletes the old checkpoint before it writes the new one; we do it after.
                self.keep = int(self.settings["max_keep"])
                stack.callback(self.settings.update, max_keep=self.settings["max_keep"])
                self.settings["max_keep"] = sys.maxsize
            stack.enter_context(suppress(_Finished))
            yield

    def _scheduler(self, stock: Callable[[Any], Any], optimizer: Any) -> Any:
        """Make the scheduler, then undo that it sets the learning rates of step 0."""
        scheduler = stock(optimizer)
        saved = self.runner.init_ckpt["Optimizer"]["param_groups"]
        for group, before in zip(optimizer.param_groups, saved, strict=True):
            group["lr"] = before["lr"]
        return scheduler

    def _loader(self, stock: Callable[..., Any], split: str, *args: Any, **kwargs: Any) -> Any:
        """Return a split's loader; that of training counts batches and starts where it must."""
        if split != self.split or not self.model.training:
            return stock(split, *args, **kwargs)
        if self.place is None:
            self.epoch_start = random_state()
            return _Epoch(stock(split, *args, **kwargs), self)
        # The loader draws random numbers when it is made and started.
        self.epoch_start = self.place["epoch_start"][self.rank]
        set_random_state(self.epoch_start)
        batches = self.place["batches"]
        if "skip" in inspect.signature(stock).parameters:
            return _Epoch(stock(split, *args, **kwargs, skip=batches), self, unlisted=batches)
        return _Epoch(stock(split, *args, **kwargs), self, unread=batches)

    def begun(self) -> None:
        """Note that an epoch's loader runs and has skipped the batches done before."""
        place, self.place, self.drawn = self.place, None, 0
        if place is not None:
            self.drawn = place["batches"]
            set_random_state(place["now"][self.rank])

    def before_batch(self) -> None:
        """On all ranks but the first: publish the random state, stop after the last step.

        Alone: stop where dev gets no better.
        """
        if self.patience is not None and self.expert.stale >= self.patience:
            say(f"dev was no better at {self.patience} evaluations (runner.patience): stopping.")
            raise _Finished
        if self.rank == 0 or self.since_start % self.accumulate:
            return
        step = self.step + self.since_start // self.accumulate
        periods = (self.settings["eval_step"], self.settings["save_step"])
        if self.since_start and any(step % period == 0 for period in periods):
            self._tell(step)
        if step >= self.settings["total_steps"]:
            raise _Finished

    def _tell(self, step: int) -> None:
        """Publish this rank's random states for the first rank.

        The first alone knows whether it saves, so no collective can be used. The other ranks are
        ahead of it by less than one step: the next needs its gradients.
        """
        store = distributed_c10d._get_default_store()  # noqa: SLF001 - torch gives no other way
        if self.told is not None:
            store.delete_key(self.told)
        self.told = f"{self.name}/{self.rank}/{step}"
        stream = io.BytesIO()
        torch.save({"epoch_start": self.epoch_start, "now": random_state()}, stream)
        store.set(self.told, stream.getvalue())  # type: ignore[arg-type]

    def _told(self, rank: int, step: int) -> State:
        store = distributed_c10d._get_default_store()  # noqa: SLF001 - as above
        data = store.get(f"{self.name}/{rank}/{step}")
        return dict(torch.load(io.BytesIO(data), weights_only=True))

    def _before_forward(self, model: Any, _: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not model.training or "records" not in kwargs:
            return
        self.records = kwargs["records"]
        if self.gathered is not None:
            self.records.update(_moved(self.gathered, self.runner.args.device))
            self.gathered = None

    def _save(
        self, stock: Callable[..., None], states: Any, path: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Write a checkpoint of the runner atomically, with our part in it; pass on all else."""
        if not (isinstance(states, dict) and states.get("Args") is self.runner.args):
            stock(states, path, *args, **kwargs)
            return
        settings = dict(self.settings)
        if "max_keep" in settings:
            settings["max_keep"] = self.keep
        config = {**self.runner.config, "runner": settings}
        whole = {**states, "Config": config, KEY: self._state(states["Step"])}
        with atomic_path(Path(path)) as partial:
            stock(whole, partial, *args, **kwargs)
        if "max_keep" in settings:
            prune(Path(path).parent, self.keep)

    def _state(self, step: int) -> dict[str, Any]:
        mine = {"epoch_start": self.epoch_start, "now": random_state()}
        ranks = [mine, *(self._told(rank, step) for rank in range(1, self.ranks))]
        logged = step % self.settings["log_step"] == 0  # then s3prl has emptied them
        return {
            UPSTREAM: self.upstream,
            DATA: self.cuts,
            "batches": self.drawn,
            "epoch_start": [each["epoch_start"] for each in ranks],
            "now": [each["now"] for each in ranks],
            "records": {} if logged else _storable(self.records),
        }


class _Epoch:
    """An epoch's loader, started where a checkpoint stopped; all else is the loader's own.

    Of the batches done before, `unread` are to be read and discarded; `unlisted` ones the loader
    itself has left out.
    """

    def __init__(
        self, loader: Any, continuation: Continuation, *, unread: int = 0, unlisted: int = 0
    ) -> None:
        self._loader, self._continuation = loader, continuation
        self._unread, self._unlisted = unread, unlisted

    def __len__(self) -> int:
        return len(self._loader) + self._unlisted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)
        for _ in itertools.islice(batches, self._unread):
            pass
        self._continuation.begun()
        self._continuation.before_batch()
        for batch in batches:
            self._continuation.drawn += 1
            self._continuation.since_start += 1
            yield batch
            self._continuation.before_batch()


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def random_state() -> State:
    """Return the states of Python's, numpy's and torch's generators, in types that load safely."""
    numpy_name, keys, *numpy_rest = np.random.get_state()  # noqa: NPY002 - the one s3prl draws from
    version, words, gauss = random.getstate()
    return {
        "python": (version, torch.tensor(words), gauss),
        "numpy": (str(numpy_name), torch.tensor(keys.astype(np.int64)), *map(_plain, numpy_rest)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: State) -> None:
    """Set all generators to a state of `random_state`; GPUs' where their number is the same."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["cuda"])


def _storable(records: dict[str, Any]) -> dict[str, Any]:
    """Return records as a checkpoint can hold them and read them back without running code.

    Lists of tensors, numbers and texts become (values, whether they were on a GPU). Records of
    other types, which a task of s3prl's may gather, are left out with a warning.
    """
    found = {}
    for name, values in records.items():
        plain = [_plain(value) for value in values]
        if all(isinstance(value, torch.Tensor | str | int | float) for value in plain):
            on_gpu = any(isinstance(value, torch.Tensor) and value.is_cuda for value in plain)
            found[name] = (plain, on_gpu)
        else:
            say(f"Record {name!r} of this task cannot be saved: a resume from here is not exact.")
    return found


def _moved(stored: dict[str, Any], device: str) -> dict[str, list[Any]]:
    """Restore records to their device; checkpoints are read onto the CPU."""
    return {
        name: [
            value.to(device) if on_gpu and isinstance(value, torch.Tensor) else value
            for value in values
        ]
        for name, (values, on_gpu) in stored.items()
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
