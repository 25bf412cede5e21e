"""Features on disk as ESPnet's data type `harness_features`: rows of memory-mapped shards.

Rows are 16-bit whole numbers between each dimension's bounds. float16 of the same size has 11 bits
of precision; measured on a trained model, log-probabilities moved by up to 7e-3 with it, and by
4e-4 with this.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, override
from weakref import WeakValueDictionary

import numpy as np
import torch

from harness_bench.core.files import read_json

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FACTS, TABLE, SHAPES = "features.json", "feats.scp", "speech_shape"
DATA_TYPE = "harness_features"
HEAD_ROWS = 4  # two float32 for each dimension, in rows of int16
_STEPS = 65_534  # from -32767 to 32767
# What this process reads features from, for the frontend to look at (`check_sources`): ESPnet
# hands a model bare arrays, which do not tell what made them.
_OPEN: WeakValueDictionary[int, FeatureReader] = WeakValueDictionary()


class Made(NamedTuple):
    """What made some features."""

    checkpoint: str  # digest
    layers: Literal["mean"] | int


class FeatureReader(Mapping[str, Any]):
    """Utterance -> (frames, D) float32, read from shards when it is asked for.

    Args:
        table: feats.scp of a split, lines `utterance shard first_row frames`; shards and
            features.json lie beside it.

    Raises:
        ValueError: no such file, not made by the stage, or a line that is not of this form.
    """

    def __init__(self, table: str | Path) -> None:
        self.table = Path(table)
        folder = self.table.parent
        if not (self.table.is_file() and (folder / FACTS).is_file()):
            raise ValueError(
                f"{folder} has no finished features ({TABLE} and {FACTS}). Run `python -m "
                "harness_bench.asr.features`; it continues an interrupted run."
            )
        facts = read_json(folder / FACTS)
        self.made, self.dim = Made(facts["checkpoint"], facts["layers"]), int(facts["dim"])
        self._rows = dict(_entries(self.table))
        self._shards: dict[str, NDArray[np.int16]] = {}
        _OPEN[id(self)] = self

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps behind: pickled for a spawned worker, they would be whole arrays."""
        return {**self.__dict__, "_shards": {}}

    @override
    def __getitem__(self, name: str) -> NDArray[np.float32]:
        shard, first, frames = self._rows[name]
        if not frames:
            return np.zeros((0, self.dim), np.float32)
        return unpack(self._shard(shard)[first : first + HEAD_ROWS + frames])

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    @override
    def __len__(self) -> int:
        return len(self._rows)

    def _shard(self, name: str) -> NDArray[np.int16]:
        if name not in self._shards:
            path = self.table.parent / name
            if not path.is_file():
                raise ValueError(f"There is no {path}, which {self.table} names. Run the stage.")
            self._shards[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._shards[name]


def check_sources(made: Made) -> None:
    """Check that all features open in this process were made by one checkpoint and choice.

    Raises:
        ValueError: some were made otherwise; names their file.
    """
    if not _foreign(made):
        return
    gc.collect()  # One program of a chain may have left its data behind in a cycle.
    for reader in _foreign(made):
        raise ValueError(
            f"The features in {reader.table} were made of layers = {reader.made.layers!r} of the "
            f"checkpoint with digest {reader.made.checkpoint}, but the frontend is configured for "
            f"layers = {made.layers!r} of {made.checkpoint}. Make the features again, or give "
            "the frontend the checkpoint and layers that they were made with."
        )


def _foreign(made: Made) -> list[FeatureReader]:
    return [reader for reader in list(_OPEN.values()) if reader.made != made]


def _entries(table: Path) -> Iterator[tuple[str, tuple[str, int, int]]]:
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split(" ")
        if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):  # noqa: PLR2004
            raise ValueError(
                f"{table}:{number}: {line!r} is not `utterance shard first_row frames`. Only a "
                f"{TABLE} of harness_bench.asr.features is of type {DATA_TYPE}."
            )
        yield parts[0], (parts[1], int(parts[2]), int(parts[3]))


def pack(features: Tensor) -> NDArray[np.int16]:
    """Return features (F, D) float32, F > 0, as (HEAD_ROWS + F, D) int16.

    Raises:
        ValueError: a feature is infinite or NaN.
    """
    low, high = features.amin(0), features.amax(0)
    # A dimension that never moves is its middle, exactly.
    step = ((high - low) / _STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    middle = low + (high - low) / 2
    head = torch.stack([middle, step])
    if not bool(head.isfinite().all()):
        raise ValueError("a feature is infinite or NaN")
    steps = ((features - middle) / step).round().clamp(-_STEPS // 2, _STEPS // 2)
    rows = torch.cat([head.view(torch.int16).reshape(HEAD_ROWS, -1), steps.to(torch.int16)])
    packed: NDArray[np.int16] = rows.cpu().numpy()
    return packed


def unpack(rows: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the features (F, D) float32 in (HEAD_ROWS + F, D) int16.

    Each is within half a step, 1/131068 of its dimension's range, of what was packed.
    """
    head = rows[:HEAD_ROWS].reshape(-1).view(np.float32).reshape(2, -1)
    features: NDArray[np.float32] = rows[HEAD_ROWS:].astype(np.float32) * head[1] + head[0]
    return features
