"""Training audio as labelling and training see it: cuts in memory, or shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple, override

import numpy as np

from harness_bench.audio.batching import pick_hours
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.files import digest_strings
from harness_bench.cuts.fields import identity, language_of, spoken
from harness_bench.cuts.shar import ShardReader, labels_path, read_metadata, read_shards
from harness_bench.pretrain.data.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.cuts.shar import Shard

PART_CUTS = 2000
OPEN_SHARDS = 128  # by one process; a block draws from more where a scarce language is in all
READ_AHEAD = 0.25  # of a shard, or more, in the language of an utterance: all of it will be read


class Part(NamedTuple):
    """A piece of the audio that one rank labels and one file of labels belongs to."""

    number: int
    load: Callable[[], list[Cut]]


type Located = tuple[Cut, tuple[int, int] | None]  # a cut and where its audio lies in shards


class Pool(NamedTuple):
    """Audio that every stretch of a training hears a fixed share of."""

    name: str  # its language and source; empty where all audio is one pool
    share: float  # those of all pools sum to 1
    seconds: NDArray[np.float64]  # (U,) of each unit: a cut, or what a shard has of the pool
    load: Callable[[int], list[Located]]  # the cuts of a unit without audio


class DrawnAudio(NamedTuple):
    """A random subset of a pool, or of all audio."""

    name: str
    share: float  # of the pool
    hours: float  # over all ranks, about
    load: Callable[[], Iterable[Cut]]  # one rank's part of it


class CutSource(ABC):
    """Utterances to label and to train on, in memory or in shards.

    `weights`, source -> weight, say how sources share a language, or all audio.
    """

    digest: str  # of everything that decides which utterances there are, and how often they come
    utterances: int
    weights: Mapping[str, float] | None = None

    @property
    def hours(self) -> float:
        """Return the hours of all languages."""
        return sum(self.hours_by_language().values())

    @abstractmethod
    def hours_by_language(self) -> dict[str, float]:
        """Return language -> hours."""

    @property
    @abstractmethod
    def resampled(self) -> bool:
        """Whether some audio is not at 16 kHz; of sharded folders the first shard is looked at."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Return all cuts once, cut into parts; the same for any number of ranks."""

    @abstractmethod
    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> Iterable[Cut]:
        """Return this rank's share of a random subset of about so many hours in all."""

    @abstractmethod
    def shuffled(self, seed: int) -> Iterator[Cut]:
        """Yield all cuts with their audio in an order drawn by the seed."""

    @abstractmethod
    def pools(self, balance: Mapping[str, float] | None) -> list[Pool]:
        """Return the audio as a training draws from it: `balance` is language -> weight.

        Languages and weights that do not fit are a `ValueError`.
        """

    @abstractmethod
    def read(self, window: Window) -> Cut:
        """Return the cut of a window with what is needed to load audio and labels."""

    def drawn(
        self, hours: float, seed: int, rank: int, ranks: int, balance: Mapping[str, float] | None
    ) -> list[DrawnAudio]:
        """Draw about so many hours in all, pools in their shares or, where they have less, whole.

        `balance` as in `pools`; without it and without weights of sources all audio is one pool.
        """
        if balance is None and self.weights is None:
            all_of_it = partial(self.subset, hours, seed, rank, ranks)
            return [DrawnAudio("", 1.0, min(hours, self.hours), all_of_it)]
        found = []
        for number, pool in enumerate(self.pools(balance)):
            order = np.random.default_rng([seed, number]).permutation(len(pool.seconds))
            heard = np.cumsum(pool.seconds[order])
            count = 1 + int(np.searchsorted(heard, 3600 * hours * pool.share))
            load = partial(self._units, pool, order[:count][rank::ranks])
            found.append(DrawnAudio(pool.name, pool.share, heard[:count][-1] / 3600, load))
        return found

    def _units(self, pool: Pool, units: Iterable[int]) -> Iterator[Cut]:
        for unit in units:
            for cut, place in pool.load(unit):
                yield self.read(Window(cut, 0, place=place))


class ShardedCuts(CutSource):
    """Cuts in shards."""

    def __init__(
        self, shards: Sequence[Shard], label_folder: Path | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.shards, self.label_folder, self.weights = list(shards), label_folder, weights
        self.digest = _weighted(digest_strings(shard.digest for shard in self.shards), weights)
        self.utterances = sum(shard.utterances for shard in self.shards)
        self.readers: dict[int, ShardReader] = {}

    @override
    def hours_by_language(self) -> dict[str, float]:
        return _sums(item for shard in self.shards for item in shard.hours.items())

    @property
    @override
    def resampled(self) -> bool:
        firsts = {shard.folder: shard for shard in reversed(self.shards)}
        return any(_at_other_rate(cut) for cut in read_metadata(firsts.values()))

    @override
    def parts(self) -> list[Part]:
        return [Part(n, partial(_shard_cuts, shard)) for n, shard in enumerate(self.shards)]

    def with_labels(self, folder: Path) -> ShardedCuts:
        """Return the same cuts, each with its labels as the field `labels`."""
        return ShardedCuts(self.shards, folder, self.weights)

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
    def shuffled(self, seed: int) -> Iterator[Cut]:
        order = np.random.default_rng([seed, 0]).permutation(len(self.shards))
        chosen = [self.shards[index] for index in order]
        if self.label_folder is None:
            return read_shards(chosen)
        parts = {shard.place: part for part, shard in enumerate(self.shards)}
        return read_shards(chosen, (self.label_folder, parts))

    @override
    def pools(self, balance: Mapping[str, float] | None) -> list[Pool]:
        """Return pools whose units are shards, or what shards have of a language."""
        rows = [
            (name, shard.source, seconds, number)
            for number, shard in enumerate(self.shards)
            for name, seconds in _parted(shard.hours, parted=balance is not None)
        ]
        return _pools(rows, balance, self.weights, self._load)

    def _load(self, shard: int, language: str | None) -> list[Located]:
        found = self.shards[shard]
        cuts = (spoken(cut, found.language) for cut in read_metadata([found]))
        return [
            (cut, (shard, place))
            for place, cut in enumerate(cuts)
            if language is None or language_of(cut) == language
        ]

    @override
    def read(self, window: Window) -> Cut:
        """Read the audio of one utterance, and its labels; what is torn is a `ValueError`."""
        assert window.place is not None, f"{window.id} lies in no shard"
        shard, place = window.place
        reader = self.readers.pop(shard, None)
        if reader is None:
            folder = self.label_folder
            labels = None if folder is None else labels_path(folder, shard)
            hours = self.shards[shard].hours
            share = hours.get(language_of(window.cut), 0.0) / max(sum(hours.values()), 1e-9)
            reader = ShardReader(self.shards[shard], labels, ahead=share >= READ_AHEAD)
        self.readers[shard] = reader  # last, for the first is closed
        while len(self.readers) > OPEN_SHARDS:
            self.readers.pop(next(iter(self.readers))).close()
        return reader.read(window.cut, place)


class CutList(CutSource):
    """Cuts in memory; `origin` is utterance -> source, where sources have weights."""

    def __init__(
        self, cuts: Sequence[Cut], origin: Mapping[str, str] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.cuts = sorted(cuts, key=lambda cut: str(cut.id))
        self.origin, self.weights = origin or {}, weights
        self.digest = _weighted(digest_strings(map(identity, self.cuts)), weights)
        self.utterances = len(self.cuts)

    @property
    @override
    def hours(self) -> float:
        return float(sum(cut.duration for cut in self.cuts)) / 3600

    @override
    def hours_by_language(self) -> dict[str, float]:
        return _sums((language_of(cut), cut.duration / 3600) for cut in self.cuts)

    @property
    @override
    def resampled(self) -> bool:
        return any(map(_at_other_rate, self.cuts))

    @override
    def parts(self) -> list[Part]:
        return [
            Part(n, partial(list, cuts)) for n, cuts in enumerate(batched(self.cuts, PART_CUTS))
        ]

    @override
    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> list[Cut]:
        return pick_hours(self.cuts, hours, seed)[rank::ranks]

    @override
    def shuffled(self, seed: int) -> Iterator[Cut]:
        order = np.random.default_rng([seed, 0]).permutation(len(self.cuts))
        return (self.cuts[index] for index in order)

    @override
    def pools(self, balance: Mapping[str, float] | None) -> list[Pool]:
        """Return pools whose units are cuts."""
        rows = [
            (language_of(cut) if balance is not None else None,
             self.origin.get(str(cut.id)), cut.duration, number)
            for number, cut in enumerate(self.cuts)
        ]  # fmt: skip
        return _pools(rows, balance, self.weights, self._load)

    def _load(self, number: int, _language: str | None) -> list[Located]:
        return [(self.cuts[number], None)]

    @override
    def read(self, window: Window) -> Cut:
        return window.cut


def _at_other_rate(cut: Cut) -> bool:
    return bool(cut.sampling_rate != SAMPLE_RATE)


def _weighted(digest: str, weights: Mapping[str, float] | None) -> str:
    if weights is None:
        return digest
    return digest_strings([digest, *(f"{name}={each:g}" for name, each in sorted(weights.items()))])


def _parted(hours: Mapping[str, float], *, parted: bool) -> list[tuple[str | None, float]]:
    """Return the seconds of a shard by language, or of all of it."""
    if not parted:
        return [(None, 3600 * sum(hours.values()))]
    return [(name, 3600 * each) for name, each in hours.items() if each > 0]


def _pools(
    rows: Iterable[tuple[str | None, str | None, float, int]],
    balance: Mapping[str, float] | None,
    weights: Mapping[str, float] | None,
    load: Callable[[int, str | None], list[Located]],
) -> list[Pool]:
    """Sort units (language, source, seconds, number) into pools and give these their shares."""
    units: dict[tuple[str | None, str | None], list[tuple[float, int]]] = defaultdict(list)
    for language, source, seconds, number in rows:
        units[language, source if weights else None].append((seconds, number))
    if balance is not None and set(balance) != {language for language, _ in units}:
        raise ValueError(
            f"pretrain.balance names {', '.join(sorted(balance))}, but the audio is in "
            f"{', '.join(sorted(str(language) for language, _ in units))}; give each of these a "
            "weight and no other. Utterances without a language are "
            '"unknown": set `language` of their source.'
        )
    parts = {key: (weights or {}).get(key[1] or "", 1.0) for key in units}
    found = []
    for (language, source), members in sorted(units.items(), key=lambda item: str(item[0])):
        own = (balance or {}).get(language or "", 1.0) / sum((balance or {"": 1.0}).values())
        of_language = sum(part for key, part in parts.items() if key[0] == language)
        numbers = [number for _, number in members]
        found.append(
            Pool(
                " ".join(filter(None, (language, source))),
                own * parts[language, source] / of_language,
                np.array([seconds for seconds, _ in members]),
                partial(_load_unit, load, numbers, language),
            )
        )
    return found


def _load_unit(
    load: Callable[[int, str | None], list[Located]], numbers: Sequence[int],
    language: str | None, unit: int,
) -> list[Located]:  # fmt: skip
    return load(numbers[unit], language)


def as_source(cuts: Sequence[Cut] | CutSource) -> CutSource:
    """Take a list of cuts for what it is."""
    return cuts if isinstance(cuts, CutSource) else CutList(cuts)


def _shard_cuts(shard: Shard) -> list[Cut]:
    return list(read_shards([shard]))


def _sums(items: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for name, value in items:
        sums[name] += value
    return dict(sums)
