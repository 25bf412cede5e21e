"""Training audio as labelling and training see it, and how folders and [data] tables are opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, override

import numpy as np

from harness_bench.audio.batching import pick_hours
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.distributed import world
from harness_bench.core.files import digest_strings, stamp
from harness_bench.core.workdir import OldNote, WorkDir
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.fields import UNKNOWN, identity, language_of, spoken
from harness_bench.cuts.shar import Shard, is_sharded, open_shards, read_metadata, read_shards
from harness_bench.cuts.store import read_cuts, splits
from harness_bench.leakage.held_out import (
    exclude,
    read_exclusions,
    refuse_excluded,
    refuse_held_out,
    tell,
)
from harness_bench.pretrain.config import PREPARED, SHARDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lhotse.cut import Cut

    from harness_bench.pretrain.config import PretrainConfig, SourceConfig, TrainingDataConfig

# Cuts with their encoded audio that a rank holds to mix shards: near half a gigabyte of FLAC.
BUFFER_CUTS = 4000
PART_CUTS = 2000
VALID_SEED = 0  # of dev utterances, crops and masks: runs of any seed are measured on the same


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
        return [Part(n, partial(_shard_cuts, shard)) for n, shard in enumerate(self.shards)]

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
        """Yield the cuts of this rank's shards; which they are changes with every epoch."""
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
        return [
            Part(n, partial(list, cuts)) for n, cuts in enumerate(batched(self.cuts, PART_CUTS))
        ]

    @override
    def subset(self, hours: float, seed: int, rank: int, ranks: int) -> list[Cut]:
        return pick_hours(self.cuts, hours, seed)[rank::ranks]

    @override
    def epoch(self, seed: int, epoch: int, rank: int, ranks: int) -> Iterator[Cut]:
        order = np.random.default_rng([seed, epoch]).permutation(len(self.cuts))
        return (self.cuts[index] for index in order)


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


def open_folder(folder: Path, split: str) -> CutSource:
    """Open a prepared folder's split, or a sharded folder; a `ValueError` if it is neither."""
    if is_sharded(folder):
        return ShardedCuts(open_shards(folder))
    return CutList(read_cuts(folder, split))


def open_training(folder: Path, split: str, *, allow_test_data: bool) -> CutSource:
    """Open a folder to train on; its dev and test sets are refused unless that is allowed."""
    found = open_folder(folder, split)
    if isinstance(found, CutList) and not allow_test_data:
        refuse_held_out(found.cuts, [folder], f"{folder}, split {split}")
    return found


def open_data(
    config: TrainingDataConfig,
    out: Path,
    names: Sequence[str] = (),
    *,
    allow_test_data: bool = False,
) -> CutSource:
    """Open the sources of a [data] table, preparing what is not prepared yet.

    Args:
        config: the sources and what to exclude of them.
        out: where corpora are prepared, one folder each.
        names: these sources alone; all where empty.
        allow_test_data: train even on dev and test sets of the sources' and protected folders.

    Raises:
        ValueError: an unknown name, lists and shards mixed, excluded recordings inside shards,
            audio of a dev or test set, or nothing left.
    """
    chosen = _chosen(config, names)
    excluded = read_exclusions(config.exclude)
    protected = [] if allow_test_data else [Path(folder) for folder in config.protect]
    kinds = {source.corpus == SHARDED for source in chosen}
    if len(kinds) > 1:
        raise ValueError(
            "data.sources mixes shards with cuts in memory; shard the rest too (`harness-bench "
            "shard`), or give the prepared folders of all."
        )
    if kinds == {True}:
        return _open_shards(chosen, excluded, protected)
    cuts = [cut for source in chosen for cut in _read(source, out)]
    sifted = exclude(cuts, excluded)
    tell(sifted, "data.exclude")
    if not sifted.kept:
        raise ValueError("data.exclude leaves no utterance to train on.")
    if not allow_test_data:
        refuse_held_out(
            sifted.kept, [*(source_folder(each, out) for each in chosen), *protected], "[data]"
        )
    _refuse_twins(sifted.kept)
    return CutList(sifted.kept)


def valid_folders(config: TrainingDataConfig, out: Path, names: Sequence[str] = ()) -> list[Path]:
    """List the folders of a [data] table that may hold dev sets, once `open_data` was called.

    They are those of prepared sources, and the protected ones: training touches none of their dev
    sets.
    """
    prepared = (each for each in _chosen(config, names) if each.corpus != SHARDED)
    return [*(source_folder(each, out) for each in prepared), *map(Path, config.protect)]


def open_valid(folders: Sequence[Path], config: PretrainConfig) -> CutList:
    """Open what a training validates on: `valid_hours` of the split `valid_subset` of folders.

    Raises:
        ValueError: no folder has that split, or none of its utterances is long enough.
    """
    subset, least = config.valid_subset, config.min_sample_size / SAMPLE_RATE
    prepared = [each for each in dict.fromkeys(folders) if not is_sharded(each)]
    cuts = [
        cut
        for folder in prepared
        if subset in splits(folder)
        for cut in read_cuts(folder, subset)
        if cut.duration >= least
    ]
    if not cuts:
        raise ValueError(
            f"validate_interval_updates = {config.validate_interval_updates} needs utterances of "
            f"split {subset!r} (valid_subset), and {', '.join(map(str, prepared)) or 'nothing'} "
            "holds any. Prepare that split beside the training audio; where this is in shards, "
            "name the prepared folder in `protect` of the family's [data]."
        )
    _refuse_twins(cuts)
    return CutList(pick_hours(cuts, config.valid_hours, VALID_SEED))


def _chosen(config: TrainingDataConfig, names: Sequence[str]) -> list[SourceConfig]:
    known = {source.title: source for source in config.sources}
    for name in names:
        if name not in known:
            raise ValueError(f"There is no data source {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in names or known]


def _open_shards(
    sources: Iterable[SourceConfig], excluded: set[str], protected: Sequence[Path]
) -> ShardedCuts:
    shards: list[Shard] = []
    for source in sources:
        folder = Path(source.folder)
        found = open_shards(folder)
        if excluded:
            refuse_excluded(read_metadata(found), excluded, str(folder))
        if protected:
            refuse_held_out(read_metadata(found), protected, str(folder))
        shards += [_in_language(shard, source.language) for shard in found]
    return ShardedCuts(shards)


def _in_language(shard: Shard, language: str | None) -> Shard:
    if language is None:
        return shard
    hours = dict(shard.hours)
    if UNKNOWN in hours:
        hours[language] = hours.pop(UNKNOWN) + hours.get(language, 0.0)
    return replace(shard, hours=hours, language=language)


def _read(source: SourceConfig, out: Path) -> list[Cut]:
    folder = source_folder(source, out)
    if source.corpus != PREPARED:
        _prepare_once(source, Path(source.folder), folder)
    return [spoken(cut, source.language) for cut in read_cuts(folder, source.split)]


def source_folder(source: SourceConfig, out: Path) -> Path:
    """Return where the cuts or shards of a source are; `out` holds what was prepared on the way."""
    ready = source.corpus in (PREPARED, SHARDED)
    return Path(source.folder) if ready else out / source.title


def _prepare_once(source: SourceConfig, root: Path, folder: Path) -> None:
    options = [f"{name}={value}" for name, value in sorted(source.options.items())]
    files = list(_tree(root))
    work = WorkDir(
        folder,
        {"corpus": source.corpus, "root": str(root), "options": dict(source.options),
         "files": digest_strings(files)},
        key=digest_strings([source.corpus, str(root), *options, *files]),
        older=(OldNote("key.json"),),
    )  # fmt: skip
    with work.lock():  # two families may begin at a time
        if not work.finished:
            work.begin()
            if world()[0] == 0:
                prepare(source.corpus, root, folder, PrepareConfig(options=dict(source.options)))
            work.finish()


def _tree(root: Path) -> Iterator[str]:
    """Yield name, size and time of every file: a cheap sign that a corpus is as it was."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        size, time = stamp(path)
        yield f"{path.relative_to(root)} {size} {time}"


def _refuse_twins(cuts: Sequence[Cut]) -> None:
    """Refuse two utterances of one id: labels are found by it."""
    for name, count in Counter(str(cut.id) for cut in cuts).items():
        if count > 1:
            raise ValueError(
                f"Two sources hold an utterance {name!r}; labels could not tell them apart. "
                "Leave one of the sources out, or prepare it with other ids."
            )
