"""Training audio as labelling and training see it: parts to label, epochs to train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, ClassVar, NamedTuple, override

import numpy as np

from harness_bench.audio.batching import pick_hours
from harness_bench.core.files import digest_strings
from harness_bench.cuts.fields import identity, language_of
from harness_bench.cuts.shar import read_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.cuts.shar import Shard

# Cuts with their encoded audio that a rank holds to mix shards: near half a gigabyte of FLAC.
BUFFER_CUTS = 4000
PART_CUTS = 2000


class Part(NamedTuple):
    """A piece of the audio that one rank labels and one file of labels belongs to."""

    number: int
    load: Callable[[], list[Cut]]


class CutSource(ABC):
    """Utterances to label and to train on, in memory or in shards."""

    digest: str  # of everything that decides which utterances there are
    utterances: int
    # Whether `epoch` gives each rank other cuts; if not, the sampler deals them out.
    splits_ranks: ClassVar[bool] = False
    # How many cuts the sampler may hold; None: as many as it likes, they are in memory anyway.
    buffer: ClassVar[int | None] = None

    @property
    def hours(self) -> float:
        """Return the hours of all languages."""
        return sum(self.hours_by_language().values())

    @abstractmethod
    def hours_by_language(self) -> dict[str, float]:
        """Return language -> hours."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Return all cuts once, cut into parts; the same for any number of ranks."""

    @abstractmethod
    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> Iterable[Cut]:
        """Return this rank's share of a random subset of about so many hours in all."""

    @abstractmethod
    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Yield the cuts of one epoch in an order that depends on the arguments alone."""


class ShardedCuts(CutSource):
    """Cuts in shards; each rank reads shards of its own."""

    splits_ranks = True
    buffer = BUFFER_CUTS

    def __init__(self, shards: Sequence[Shard], label_folder: Path | None = None) -> None:
        self.shards, self.label_folder = list(shards), label_folder
        self.digest = digest_strings(shard.digest for shard in self.shards)
        self.utterances = sum(shard.utterances for shard in self.shards)

    @override
    def hours_by_language(self) -> dict[str, float]:
        return _sums(item for shard in self.shards for item in shard.hours.items())

    @override
    def parts(self) -> list[Part]:
        return [Part(n, partial(_read, shard)) for n, shard in enumerate(self.shards)]

    def with_labels(self, folder: Path) -> ShardedCuts:
        """Return the same cuts, each with its labels as the field `labels`."""
        return ShardedCuts(self.shards, folder)

    @override
    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Read this rank's share of random shards, exact to one shard: shards are mixtures."""
        chosen: list[Shard] = []
        for index in np.random.default_rng(seed).permutation(len(self.shards)):
            if sum(sum(shard.hours.values()) for shard in chosen) >= hours:
                break
            chosen.append(self.shards[index])
        return read_shards(chosen[rank::ranks])

    @override
    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Yield the cuts of this rank's shards; which they are changes with every epoch.

        Raises:
            ValueError: fewer shards than ranks.
        """
        if len(self.shards) < ranks:
            raise ValueError(
                f"{len(self.shards)} shards cannot be dealt to {ranks} ranks; write smaller shards "
                "(`harness-bench shard --shard-cuts`)."
            )
        order = np.random.default_rng([seed, epoch]).permutation(len(self.shards))
        mine = [self.shards[index] for index in order[rank::ranks]]
        if self.label_folder is None:
            return read_shards(mine)
        parts = {shard.place: part for part, shard in enumerate(self.shards)}
        return read_shards(mine, (self.label_folder, parts))


class CutList(CutSource):
    """Cuts in memory."""

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self.cuts = sorted(cuts, key=lambda cut: str(cut.id))
        self.digest = digest_strings(map(identity, self.cuts))
        self.utterances = len(self.cuts)

    @property
    @override
    def hours(self) -> float:
        return float(sum(cut.duration for cut in self.cuts)) / 3600

    @override
    def hours_by_language(self) -> dict[str, float]:
        return _sums((language_of(cut), cut.duration / 3600) for cut in self.cuts)

    @override
    def parts(self) -> list[Part]:
        """Return parts of 2,000 cuts by id."""
        return [
            Part(n, partial(list, cuts)) for n, cuts in enumerate(batched(self.cuts, PART_CUTS))
        ]

    @override
    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> list[Cut]:
        """Return every ranks-th utterance of a random subset, exact to one utterance."""
        return pick_hours(self.cuts, hours, seed)[rank::ranks]

    @override
    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Yield all cuts in a random order that is the same on every rank."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self.cuts))
        return (self.cuts[index] for index in order)


def as_source(cuts: Sequence[Cut] | CutSource) -> CutSource:
    """Take a list of cuts for what it is."""
    return cuts if isinstance(cuts, CutSource) else CutList(cuts)


def _read(shard: Shard) -> list[Cut]:
    return list(read_shards([shard]))


def _sums(items: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for name, value in items:
        sums[name] += value
    return dict(sums)
