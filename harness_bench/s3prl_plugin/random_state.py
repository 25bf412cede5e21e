"""The states of all random generators that a training on s3prl's runner may draw from."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import torch

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


def _plain(value: Any) -> Any:
    """Turn a numpy number into Python's."""
    return value.item() if isinstance(value, np.generic) else value
