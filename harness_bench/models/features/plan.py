"""Which utterances a pass over a data folder has, in which shards, and how large they are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.cache import MEBIBYTE
from harness_bench.models.features.quantise import HEAD_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BYTES = 2  # of an int16
_SAMPLES = "utt2num_samples"
_SPARE = 1 << 26  # bytes left free for tables and for what else runs


@dataclass(frozen=True)
class Utterance:
    """One line of wav.scp."""

    id: str
    path: str
    samples: int
    rows: int  # frames of features

    @property
    def stored(self) -> int:
        """Rows in a shard, with the head."""
        return self.rows + HEAD_ROWS if self.rows else 0

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / SAMPLE_RATE


@dataclass(frozen=True)
class Shard:
    """A file of features: the rows of some utterances, one behind the other."""

    number: int
    utterances: tuple[Utterance, ...]
    dim: int

    @property
    def name(self) -> str:
        """File name."""
        return f"feats-{self.number:05d}.npy"

    @property
    def rows(self) -> int:
        """Rows of all utterances together, with their heads."""
        return sum(utterance.stored for utterance in self.utterances)

    @property
    def nbytes(self) -> int:
        """Size of the rows in bytes."""
        return self.rows * self.dim * BYTES

    def firsts(self) -> Iterator[tuple[Utterance, int]]:
        """Yield every utterance with its first row, that of its head."""
        first = 0
        for utterance in self.utterances:
            yield utterance, first
            first += utterance.stored


def divide(utterances: Sequence[Utterance], dim: int, shard_mb: float) -> list[Shard]:
    """Divide utterances, in their order, into shards of at most `shard_mb` MiB.

    The same for any number of processes and whatever is already there, so that an interrupted
    pass gives the same bytes. An utterance larger than a shard gets one of its own.
    """
    limit = shard_mb * MEBIBYTE / (dim * BYTES)
    groups: list[list[Utterance]] = [[]]
    rows = 0
    for utterance in utterances:
        if groups[-1] and rows + utterance.stored > limit:
            groups.append([])
            rows = 0
        groups[-1].append(utterance)
        rows += utterance.stored
    return [Shard(number, tuple(group), dim) for number, group in enumerate(groups)]


def estimate(shards: Sequence[Shard]) -> str:
    """Say how large some shards will be."""
    total = sum(shard.nbytes for shard in shards)
    hours = sum(each.duration for shard in shards for each in shard.utterances) / 3600
    count = sum(len(shard.utterances) for shard in shards)
    rate = total / hours / 1e6 if hours else 0.0
    return (
        f"{count} utterances, {hours:.2f} h: {_size(total)} "
        f"({shards[0].dim} numbers of 16 bits every 20 ms, {rate:.0f} MB per hour)"
    )


def check_room(folder: Path, missing: Sequence[Shard], freed: int) -> None:
    """Refuse a pass that the disk has no room for.

    Args:
        folder: where the shards go; it exists.
        missing: the shards to write.
        freed: bytes of older shards that will be deleted first.

    Raises:
        ValueError: too little room.
    """
    needed = sum(shard.nbytes for shard in missing) + _SPARE
    free = shutil.disk_usage(folder).free + freed
    if missing and needed > free:
        raise ValueError(
            f"{folder} needs {_size(needed)} more for features, but its disk has "
            f"{_size(free)}. Free some, name a folder on another disk, or train "
            "without cached features (the frontend then computes them in every epoch)."
        )


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.2f} MB"  # noqa: PLR2004
