"""The state of a pretraining run: all that makes a resumed run equal to an unbroken one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

STATE_FILE = "state.pt"


@dataclass
class Progress:
    """Where a run stands."""

    update: int = 0  # optimizer updates done
    epoch: int = 0
    batches: int = 0  # of this epoch, taken on every rank


def save_state(
    folder: Path, key: str, progress: Progress, parts: dict[str, Any], rng: list[Tensor]
) -> None:
    """Write the state atomically.

    Args:
        folder: the run folder.
        key: digest of the config and inputs; another run's state is never resumed.
        progress: where the run stands.
        parts: name -> state_dict of the model, the optimizer and the scheduler.
        rng: the CPU generator's state of every rank.
    """
    state = {"key": key, "progress": vars(progress), "rng": rng, **parts}
    with atomic_path(folder / STATE_FILE) as partial:
        torch.save(state, partial)


def load_state(folder: Path, key: str, *, restart: bool) -> dict[str, Any] | None:
    """Read the state of an interrupted run; None where there is none.

    Args:
        folder: the run folder.
        key: digest of the config and inputs of the run that is to go on.
        restart: pass over another run's state instead of refusing.

    Raises:
        ValueError: the folder holds a run with another config or other inputs.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["key"] != key:
        if restart:
            return None
        raise ValueError(
            f"{folder} holds a run with another config or other inputs. Give a new folder, or "
            "--restart if that run is not needed."
        )
    return dict(state)
