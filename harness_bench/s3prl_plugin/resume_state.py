"""What a checkpoint of s3prl's lacks, in types that load without running code.

The states of the random generators, and the records that a task gathers between two logs.
"""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import torch

from harness_bench.progress import say

State = dict[str, Any]


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
    """Set all generators to a state that `random_state` gave.

    Generators of GPUs are set where their number is the same.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["cuda"])


def to_bytes(state: State) -> bytes:
    """Write a state as bytes, to send it to another process."""
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def from_bytes(data: bytes) -> State:
    """Read what `to_bytes` wrote; runs no code."""
    return dict(torch.load(io.BytesIO(data), weights_only=True))


def storable(records: dict[str, Any]) -> dict[str, Any]:
    """Return records as a checkpoint can hold them and read them back without running code.

    Lists of tensors, numbers and texts become (values, whether they were on a GPU). What a task
    of s3prl's gathers in other types is left out, and said.
    """
    found = {}
    for name, values in records.items():
        plain = [_plain(value) for value in values]
        if all(isinstance(value, torch.Tensor | str | int | float) for value in plain):
            on_gpu = any(isinstance(value, torch.Tensor) and value.is_cuda for value in plain)
            found[name] = (plain, on_gpu)
        else:
            say(f"Record {name!r} of this task cannot be kept: resumed from here, it is not exact.")
    return found


def moved(stored: dict[str, Any], device: str) -> dict[str, list[Any]]:
    """Give records back as they were; checkpoints are read onto the CPU."""
    return {
        name: [
            value.to(device) if on_gpu and isinstance(value, torch.Tensor) else value
            for value in values
        ]
        for name, (values, on_gpu) in stored.items()
    }


def _plain(value: Any) -> Any:
    """Turn a numpy number into Python's."""
    return value.item() if isinstance(value, np.generic) else value
