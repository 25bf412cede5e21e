"""How prepared and sharded folders and [data] tables are opened as audio to train on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.audio.batching import pick_hours
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.distributed import world
from harness_bench.core.files import digest_strings, stamp
from harness_bench.core.workdir import OldNote, WorkDir
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.fields import UNKNOWN, spoken
from harness_bench.cuts.shar import Shard, is_sharded, open_shards, read_metadata
from harness_bench.cuts.store import read_cuts, splits
from harness_bench.leakage.held_out import (
    exclude,
    read_exclusions,
    refuse_excluded,
    refuse_held_out,
    tell,
)
from harness_bench.pretrain.config import PREPARED, SHARDED
from harness_bench.pretrain.data.cut_source import CutList, CutSource, ShardedCuts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lhotse.cut import Cut

    from harness_bench.pretrain.config import PretrainConfig, SourceConfig, TrainingDataConfig

VALID_SEED = 0  # of dev utterances, crops and masks: runs of any seed are measured on the same


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
    weights = _weights(chosen)
    cuts: list[Cut] = []
    origin: dict[str, str] = {}
    for source in chosen:
        read = _read(source, out)
        cuts += read
        origin |= {str(cut.id): source.title for cut in read} if weights else {}
    sifted = exclude(cuts, excluded)
    tell(sifted, "data.exclude")
    if not sifted.kept:
        raise ValueError("data.exclude leaves no utterance to train on.")
    if not allow_test_data:
        refuse_held_out(
            sifted.kept, [*(each.found_in(out) for each in chosen), *protected], "[data]"
        )
    _refuse_twins(sifted.kept)
    return CutList(sifted.kept, origin, weights)


def _weights(sources: Sequence[SourceConfig]) -> dict[str, float] | None:
    """Return source -> weight; None where none has one."""
    if all(source.weight is None for source in sources):
        return None
    return {source.title: 1.0 if source.weight is None else source.weight for source in sources}


def valid_folders(config: TrainingDataConfig, out: Path, names: Sequence[str] = ()) -> list[Path]:
    """List the folders of a [data] table that may hold dev sets, once `open_data` was called.

    They are those of prepared sources, and the protected ones: training touches none of their dev
    sets.
    """
    prepared = (each for each in _chosen(config, names) if each.corpus != SHARDED)
    return [*(each.found_in(out) for each in prepared), *map(Path, config.protect)]


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
    sources: Sequence[SourceConfig], excluded: set[str], protected: Sequence[Path]
) -> ShardedCuts:
    shards: list[Shard] = []
    for source in sources:
        folder = Path(source.folder)
        found = open_shards(folder)
        if excluded:
            refuse_excluded(read_metadata(found), excluded, str(folder))
        if protected:
            refuse_held_out(read_metadata(found), protected, str(folder))
        shards += [_of_source(shard, source) for shard in found]
    return ShardedCuts(shards, weights=_weights(sources))


def _of_source(shard: Shard, source: SourceConfig) -> Shard:
    """Return a shard that knows its source and the language of cuts that do not say."""
    hours, language = dict(shard.hours), source.language
    if language is not None and UNKNOWN in hours:
        hours[language] = hours.pop(UNKNOWN) + hours.get(language, 0.0)
    return replace(shard, hours=hours, language=language, source=source.title)


def _read(source: SourceConfig, out: Path) -> list[Cut]:
    folder = source.found_in(out)
    if source.corpus != PREPARED:
        _prepare_once(source, Path(source.folder), folder)
    return [spoken(cut, source.language) for cut in read_cuts(folder, source.split)]


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
                f"Two sources hold an utterance {name!r}; their labels could not be distinguished. "
                "Leave one of the sources out, or prepare it with other ids."
            )
