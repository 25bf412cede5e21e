"""From a [data] table, or a folder on the command line, to training audio."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.distributed import world
from harness_bench.core.files import digest_strings, stamp
from harness_bench.core.workdir import OldNote, WorkDir
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts.fields import UNKNOWN, spoken
from harness_bench.cuts.shar import Shard, is_sharded, open_shards, read_metadata
from harness_bench.cuts.store import read_cuts
from harness_bench.leakage.held_out import (
    exclude,
    read_exclusions,
    refuse_excluded,
    refuse_held_out,
    tell,
)
from harness_bench.pretrain.config import PREPARED, SHARDED
from harness_bench.pretrain.data.cut_source import CutList, ShardedCuts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lhotse.cut import Cut

    from harness_bench.pretrain.config import SourceConfig, TrainingDataConfig
    from harness_bench.pretrain.data.cut_source import CutSource


def open_folder(folder: Path, split: str) -> CutSource:
    """Open a prepared folder's split, or a sharded folder; a `ValueError` if it is neither."""
    if is_sharded(folder):
        return ShardedCuts(open_shards(folder))
    return CutList(read_cuts(folder, split))


def open_training(folder: Path, split: str, *, allow_test_data: bool) -> CutSource:
    """Open a folder to train on; its dev and test sets are refused unless that is allowed.

    Raises:
        ValueError: as `open_folder`, or the split holds audio of a dev or test set.
    """
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
            sifted.kept, [*(_folder(each, out) for each in chosen), *protected], "[data]"
        )
    _refuse_twins(sifted.kept)
    return CutList(sifted.kept)


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
    """Take the audio that does not say its language for the source's."""
    if language is None:
        return shard
    hours = dict(shard.hours)
    if UNKNOWN in hours:
        hours[language] = hours.pop(UNKNOWN) + hours.get(language, 0.0)
    return replace(shard, hours=hours, language=language)


def _read(source: SourceConfig, out: Path) -> list[Cut]:
    folder = _folder(source, out)
    if source.corpus != PREPARED:
        _prepare_once(source, Path(source.folder), folder)
    return [spoken(cut, source.language) for cut in read_cuts(folder, source.split)]


def _folder(source: SourceConfig, out: Path) -> Path:
    """Return where a source's cuts are, or will be once it is prepared."""
    return Path(source.folder) if source.corpus == PREPARED else out / source.title


def _prepare_once(source: SourceConfig, root: Path, folder: Path) -> None:
    """Prepare a corpus unless that was done and nothing has changed since."""
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
