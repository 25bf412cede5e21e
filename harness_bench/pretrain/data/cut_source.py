"""Training audio as labelling and training see it: parts to label, epochs to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness_bench.audio.batching import pick_hours
from harness_bench.core.files import digest_strings
from harness_bench.cuts.fields import identity, language_of
from harness_bench.cuts.shar import Shard, read_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut

# Cuts with their encoded audio that a rank holds to mix shards: near half a gigabyte of FLAC.
BUFFER_CUTS = 4000


class ShardedCuts:
    """Cuts in shards; each rank reads shards of its own."""

    splits_ranks: bool = True
    buffer: int | None = BUFFER_CUTS

    def __init__(self, shards: Sequence[Shard], label_folder: Path | None = None) -> None:
        self.shards, self.label_folder = list(shards), label_folder
        self.digest = digest_strings(shard.digest for shard in self.shards)
        self.utterances = sum(shard.utterances for shard in self.shards)
        self.hours = sum(self.hours_by_language().values())

    def hours_by_language(self) -> dict[str, float]:
        """Return language -> hours."""
        hours: dict[str, float] = {}
        for shard in self.shards:
            for name, own in shard.hours.items():
                hours[name] = hours.get(name, 0.0) + own
        return hours

    def parts(self) -> list[Part]:
        """Return one part per shard."""
        return [
            Part(number, lambda shard=shard: list(read_shards([shard])))  # type: ignore[misc]
            for number, shard in enumerate(self.shards)
        ]

    def with_labels(self, folder: Path) -> ShardedCuts:
        """Return the same cuts, each with its labels as the field `labels`."""
        return ShardedCuts(self.shards, folder)

    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Read this rank's share of random shards, exact to one shard: shards are mixtures."""
        chosen: list[Shard] = []
        for index in np.random.default_rng(seed).permutation(len(self.shards)):
            if sum(sum(shard.hours.values()) for shard in chosen) >= hours:
                break
            chosen.append(self.shards[index])
        return read_shards(chosen[rank::ranks])

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


PART_CUTS = 2000


@dataclass(frozen=True)
class Part:
    """A piece of the audio that one rank labels and one file of labels belongs to."""

    number: int
    load: Callable[[], list[Cut]]


class CutSource(Protocol):
    """Utterances to label and to train on, in memory or in shards."""

    digest: str  # of everything that decides which utterances there are
    utterances: int
    hours: float
    # Whether `epoch` gives each rank other cuts; if not, the sampler deals them out.
    splits_ranks: bool
    # How many cuts the sampler may hold; None: as many as it likes, they are in memory anyway.
    buffer: int | None

    def hours_by_language(self) -> Mapping[str, float]:
        """Return language -> hours."""
        ...

    def parts(self) -> list[Part]:
        """Return all cuts once, cut into parts; the same for any number of ranks."""
        ...

    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> Iterable[Cut]:
        """Return this rank's share of a random subset of about so many hours in all."""
        ...

    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Yield the cuts of one epoch in an order that depends on the arguments alone."""
        ...


class CutList:
    """Cuts in memory."""

    splits_ranks: bool = False
    buffer: int | None = None

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self.cuts = sorted(cuts, key=lambda cut: str(cut.id))
        self.digest = digest_strings(map(identity, self.cuts))
        self.utterances = len(self.cuts)
        self.hours = sum(cut.duration for cut in self.cuts) / 3600

    def hours_by_language(self) -> dict[str, float]:
        """Return language -> hours."""
        hours: dict[str, float] = {}
        for cut in self.cuts:
            name = language_of(cut)
            hours[name] = hours.get(name, 0.0) + cut.duration / 3600
        return hours

    def parts(self) -> list[Part]:
        """Return parts of 2,000 cuts by id."""
        starts = range(0, len(self.cuts), PART_CUTS)
        return [
            Part(number, lambda start=start: self.cuts[start : start + PART_CUTS])  # type: ignore[misc]
            for number, start in enumerate(starts)
        ]

    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> list[Cut]:
        """Return every ranks-th utterance of a random subset, exact to one utterance."""
        return pick_hours(self.cuts, hours, seed)[rank::ranks]

    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        """Yield all cuts in a random order that is the same on every rank."""
        del rank, ranks  # The sampler deals the batches out.
        order = np.random.default_rng([seed, epoch]).permutation(len(self.cuts))
        return (self.cuts[index] for index in order)


def as_source(cuts: Sequence[Cut] | CutSource) -> CutSource:
    """Take a list of cuts for what it is."""
    return cuts if hasattr(cuts, "parts") else CutList(cuts)  # type: ignore[return-value]
