"""The state of a pretraining run: all that makes a resumed run equal to an unbroken one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

STATES = "state-*.pt"


@dataclass
class Progress:
    """Where a rank stands."""

    update: int = 0  # optimizer updates done
    epoch: int = 0
    batches: int = 0  # of this epoch, taken on this rank


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
        raise ValueError(
            f"{folder} holds a run with another config or other inputs. Give a new folder, or "
            "--restart if that run is not needed."
        )
    return None


def forget_states(folder: Path) -> None:
    """Delete the states of a run that is not wanted any more."""
    for old in (*states(folder), *folder.glob(".partial-*.pt")):
        old.unlink()
