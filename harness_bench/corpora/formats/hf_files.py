"""Which files of a dataset hold what: configs, splits and shards, as `datasets` finds them.

The card's list of configs (README.md) counts first, then the names of folders and files:
`data/train-00000-of-00005.parquet`, `CONFIG/train/0000.parquet`, or what `save_to_disk` writes.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

TABLES = (".parquet", ".arrow")
METADATA = ("metadata.csv", "metadata.jsonl")  # of a folder of audio
CARD = "README.md"
ALL = "all"  # as the name of a config
# What datasets' users call their splits, and what it is here; other names stay.
_OURS = {
    "train": "train", "training": "train", "dev": "dev", "validation": "dev", "valid": "dev",
    "val": "dev", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
_NO_CONFIG = ("data", "default")  # folders that name none
_SHARD = re.compile(
    r"(?P<base>.*?)-(?P<number>\d{5,9})-of-(?P<total>\d{5,9})(-\w+)?\.\w+", re.ASCII
)
_PARTIAL = "partial-"  # begins the folders of the Hub's own conversions that are not whole
_ARCHIVES = re.compile(r"\.(tar|zip|tgz|tar\.(gz|xz|bz2|zst))$")
_SHOWN = 5


@dataclass(frozen=True, order=True)
class TableFile:
    """One file of rows."""

    config: str  # "" where there is only one
    split: str  # as it is called there
    name: str  # of the file, relative to the dataset


def our_split(name: str) -> str:
    """Return what a split of theirs is here: `validation` is `dev`.

    >>> our_split("validation"), our_split("train_clean")
    ('dev', 'train_clean')
    """
    return _OURS.get(name.lower(), name)


def split_in(folders: Sequence[str]) -> str | None:
    """Return the innermost folder that is called like a split, such as `dev`; None without."""
    return next((name for name in reversed(folders) if name.lower() in _OURS), None)


def find_shards(
    names: Collection[str],  # of all files, relative to the dataset, with /
    card: Mapping[str, Any],  # the metadata of its README.md
    *,
    configs: Sequence[str] = (),  # none: the only one, or the default
    files: Sequence[str] = (),  # patterns of files to take instead
    where: str,  # what the dataset is called in messages
) -> list[TableFile]:
    """List the shards of some configs, by config, split and name; [] where there is no table.

    A config that is not there, several of which none is the default, and shards that are missing
    between others are a `ValueError`.
    """
    if files:
        found = [_by_name(name, names) for like in files for name in _matching(like, names)]
        if not found:
            raise ValueError(f"{where} has no file of rows that fits files={','.join(files)}.")
    else:
        found = _of_card(names, card) or [_by_name(name, names) for name in _tables(names)]
        found = _of_configs(found, configs, where)
    partial = sorted({each.split for each in found if f"{_PARTIAL}{each.split}/" in each.name})
    if partial:
        say(f"{where}: the Hub converted only the first part of {', '.join(partial)}")
    _refuse_gaps([each.name for each in found], where)
    return sorted({*found})


def take_splits(found: Sequence[TableFile], wanted: Sequence[str], where: str) -> dict[str, str]:
    """Return split -> its name here, of all splits there are or of those wanted.

    `wanted` are names, or `theirs:ours`. What is not there, and two that would become one unasked,
    are a `ValueError`.
    """
    there = {each.split for each in found}
    pairs = [
        (theirs, ours) for theirs, _, ours in (each.partition(":") for each in wanted or there)
    ]
    for theirs, _ in pairs:
        if theirs not in there:
            shown = ", ".join(sorted(there))
            raise ValueError(
                f"{where} has no split {theirs!r}; it has {shown}.{_near(theirs, there)}"
            )
    unasked = defaultdict[str, list[str]](list)
    for theirs in sorted(theirs for theirs, ours in pairs if not ours):
        unasked[our_split(theirs)].append(theirs)
    for ours, both in unasked.items():
        if len(both) > 1:
            told = ",".join(f"{theirs}:{ours}" for theirs in both)
            raise ValueError(
                f"{where} has the splits {' and '.join(both)}, and all of them would be {ours} "
                f"here. Choose with the option splits=, such as {both[0]}; {told} joins them."
            )
    return {theirs: ours or our_split(theirs) for theirs, ours in pairs}


def refusal(names: Collection[str], where: str) -> str:
    """Say that a dataset has no table that can be read, and what it has instead."""
    archives = [name for name in names if _ARCHIVES.search(name)]
    scripts = [name for name in names if name.endswith(".py") and "/" not in name]
    held = "archives" if archives else "a script" if scripts else ""
    if held:
        shown = ", ".join([*scripts, *sorted(archives)][:_SHOWN])
        return (
            f"{where} keeps its data in {held} ({shown}), which are not run or unpacked here. On "
            "the Hub, the revision refs/convert/parquet may hold the same as parquet files; or "
            "unpack a copy, and give its folder to the corpus tsv."
        )
    shown = ", ".join(sorted(names)[:_SHOWN]) or "nothing"
    return (
        f"{where} holds no dataset: expected parquet files such as "
        "data/train-00000-of-00005.parquet or CONFIG/train/0000.parquet, a folder of "
        "`save_to_disk`, or metadata.csv or metadata.jsonl beside audio. It holds "
        f"{shown}. Audio alone is read by the corpus folder, or here by the option pattern."
    )


def _tables(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.endswith(TABLES) and not _hidden(name)]


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _by_name(name: str, names: Collection[str]) -> TableFile:
    """Read config and split off the name of a file."""
    *folders, file = PurePosixPath(name).parts
    shard = _SHARD.fullmatch(file)
    base = shard["base"] if shard else PurePosixPath(file).stem
    words = re.split(r"[^a-z0-9]+", base.lower())
    if _saved(folders, names):  # one folder for each split
        split = folders.pop()
    elif (keyword := next((word for word in words if word in _OURS), None)) is not None:
        split = base if re.fullmatch(r"\w+", base) and shard else keyword
    elif (found := split_in([name.removeprefix(_PARTIAL) for name in folders])) is not None:
        folders = [name for name in folders if name.removeprefix(_PARTIAL) != found]
        split = found
    elif shard and folders[-1:] == ["data"] and re.fullmatch(r"[\w.]+", base):
        split = base
    else:
        split = "train"
    config = "/".join(folder for folder in folders if folder not in _NO_CONFIG)
    return TableFile(config, split, name)


def _saved(folders: Sequence[str], names: Collection[str]) -> bool:
    """Whether a folder is a split that `DatasetDict.save_to_disk` wrote."""
    return bool(folders) and "/".join([*folders[:-1], "dataset_dict.json"]) in names


def _of_card(names: Collection[str], card: Mapping[str, Any]) -> list[TableFile]:
    """Find what the configs of a card name; [] where it has none, or none of tables."""
    tables = _tables(names)
    return [
        TableFile(config, split, name)
        for entry in _listed(card.get("configs"))
        if isinstance(entry, dict)
        for config in [str(entry.get("config_name", "default"))]
        for split, like in _patterns(entry.get("data_files"))
        for name in _matching(like, tables)
    ]


def _patterns(files: Any) -> Iterator[tuple[str, str]]:
    """Yield split and pattern of what a card says of a config's files, in any of its forms."""
    if isinstance(files, dict) and not files.keys() >= {"split", "path"}:
        files = [{"split": split, "path": path} for split, path in files.items()]
    for part in _listed(files):
        split, paths = "train", part
        if isinstance(part, dict):
            split, paths = str(part.get("split", split)), part.get("path")
        yield from ((split, str(like)) for like in _listed(paths))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _matching(like: str, names: Iterable[str]) -> list[str]:
    """List the tables that fit a pattern, in which `*` stays in its folder and `**` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", like.removeprefix("./"))
    return [name for name in _tables(names) if _fits(name, parts)]


def _fits(name: str, parts: Sequence[str]) -> bool:
    """Whether a name fits the parts of a pattern; no pattern takes long, as a card's `re` might."""
    places = {0}  # up to which the parts so far may fit
    for part in parts:
        if part == "*":
            ends = {place: (name + "/").index("/", place) for place in places}
            places = {place for first, end in ends.items() for place in range(first, end + 1)}
        elif part == "**":
            places = {*range(min(places), len(name) + 1)}
        elif part == "**/":
            first = min(places)
            places |= {place + 1 for place in range(first, len(name)) if name[place] == "/"}
        elif part == "?":
            places = {place + 1 for place in places if name[place : place + 1] not in ("", "/")}
        else:
            places = {place + len(part) for place in places if name.startswith(part, place)}
        if not places:
            return False
    return len(name) in places


def _of_configs(found: Sequence[TableFile], wanted: Sequence[str], where: str) -> list[TableFile]:
    """Keep the shards of the wanted configs, or of the only or the default one."""
    known = sorted({each.config for each in found})
    if not wanted:
        usual = known if len(known) == 1 else [name for name in known if name in ("", "default")]
        if found and not usual:
            raise ValueError(
                f"{where} has {len(known)} configs: {', '.join(known)}. Choose with the option "
                f"config=NAME, several as config=A,B, or config={ALL}."
            )
        return [replace(each, config="") for each in found if each.config in usual]
    if list(wanted) == [ALL]:
        return list(found)
    last = {name.rpartition("/")[2]: name for name in known}
    chosen = {name if name in known else last.get(name, name): name for name in wanted}
    for theirs, name in chosen.items():
        if theirs not in known:
            shown = ", ".join(filter(None, known)) or "none by name"
            raise ValueError(f"{where} has no config {name!r}; it has {shown}.{_near(name, last)}")
    return [replace(each, config=chosen[each.config]) for each in found if each.config in chosen]


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _refuse_gaps(names: Iterable[str], where: str) -> None:
    """Refuse a dataset of which shards are missing: 4 of 5 would be a smaller corpus, unsaid."""
    numbers: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for name in names:
        folder, _, file = name.rpartition("/")
        if (found := _SHARD.fullmatch(file)) is not None:
            numbers[folder, found["base"], int(found["total"])].add(int(found["number"]))
    for (folder, base, total), there in numbers.items():
        if len(there) < total:
            first = next(number for number in range(total) if number not in there)
            name = f"{folder}/{base}".lstrip("/")
            raise ValueError(
                f"{where}: {total - len(there)} of {total} shards of {name} are missing, first "
                f"{name}-{first:05d}-of-{total:05d}. Download the dataset again."
            )
