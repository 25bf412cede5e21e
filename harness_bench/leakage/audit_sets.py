"""The sets of an audit: prepared folders, Shar folders, files of cuts, lists of ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.files import read_ids, read_json
from harness_bench.cuts.shar import is_sharded, open_shards, read_metadata, read_shards
from harness_bench.cuts.store import REPORT, cuts_path, read_rows, splits
from harness_bench.cuts.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lhotse.cut import Cut

    from harness_bench.cuts.fields import Row

_CUTS = ".jsonl.gz"


@dataclass(frozen=True)
class AuditSet:
    """Utterances of one name, read one by one and never held: a set may have millions."""

    name: str  # what reports call it
    rows: Callable[[], Iterable[Cut | Row]]  # what the manifest says of each utterance
    # The same in order, ready to load their audio; None: a bare list of ids.
    cuts: Callable[[], Iterable[Cut]] | None = None
    origin: str = ""  # what tells its corpus from others; empty where that is unknown

    def table(self) -> Table:
        """Read the set once; no utterances, or a broken manifest, are a `ValueError`."""
        found = Table(self.name, origin=self.origin, has_cuts=self.cuts is not None)
        if not len(found.extend(self.rows())):
            raise ValueError(f"{self.name} holds no utterances; was another set meant?")
        return found


def open_sets(texts: Iterable[str]) -> list[AuditSet]:
    """Open the sets that a user names.

    Each is `[NAME=]PATH[:SPLIT][@IDS]`: a prepared folder (a set per split, or the one named), a
    Shar folder, a file of cuts, or a list of ids; `@IDS` keeps the ids of a list alone.

    Raises:
        ValueError: nothing is there, or it is none of these.
    """
    found = [each for text in texts for each in _open(text)]
    seen: Counter[str] = Counter()
    for place, each in enumerate(found):
        seen[each.name] += 1
        if seen[each.name] > 1:
            found[place] = replace(each, name=f"{each.name} ({seen[each.name]})")
    return found


def _open(text: str) -> list[AuditSet]:
    given, named, rest = text.partition("=")
    if not named or "/" in given or Path(text).exists():
        given, rest = "", text
    place, ids, split = rest, "", ""
    if not Path(rest).exists():
        place, _, ids = rest.partition("@")
        if not Path(place).exists():
            place, _, split = place.rpartition(":")
    path = Path(place)
    if not place or not path.exists():
        raise ValueError(
            f"{text}: there is no such folder or file. A set is [NAME=]PATH[:SPLIT][@IDS]: a "
            "prepared folder, a Shar folder, a file of cuts or a list of ids."
        )
    name = given or path.name
    if path.is_dir() and is_sharded(path):
        _refuse(text, "a Shar folder", split or ids)
        return [_shards(name, path)]
    if not path.is_dir() and not path.name.endswith(_CUTS):
        _refuse(text, "a list of ids", split or ids)
        return [AuditSet(name, lambda: ({"id": uid} for uid in _ids(path)))]
    only = frozenset(_ids(Path(ids))) if ids else None
    if not path.is_dir():
        _refuse(text, "a file of cuts", split)
        return [_cuts_file(name, path, only)]
    return _splits(path, split, given, only)


def _ids(path: Path) -> list[str]:
    if not (ids := read_ids(path)):
        raise ValueError(f"{path} holds no ids; was another file meant?")
    return ids


def _refuse(text: str, what: str, more: str) -> None:
    if more:
        raise ValueError(
            f"{text}: {what} has no splits and takes no @IDS; name it alone, or the prepared folder"
            " it came from."
        )


def _shards(name: str, path: Path) -> AuditSet:
    return AuditSet(
        name, lambda: read_metadata(open_shards(path)), lambda: read_shards(open_shards(path))
    )


def _cuts_file(name: str, path: Path, only: frozenset[str] | None, origin: str = "") -> AuditSet:
    def rows() -> Iterator[Row]:
        return (row for row in read_rows(path) if only is None or row["id"] in only)

    def cuts() -> Iterator[Cut]:
        from lhotse.serialization import deserialize_item  # noqa: PLC0415 - imports torch

        return map(deserialize_item, rows())

    return AuditSet(name, rows, cuts, origin)


def _splits(folder: Path, split: str, given: str, only: frozenset[str] | None) -> list[AuditSet]:
    known = splits(folder)
    if split and split not in known:
        raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}.")
    report = read_json(folder / REPORT) if (folder / REPORT).is_file() else {}
    origin = f"{report['corpus']} {report['root']}" if "root" in report else ""
    base = given or folder.name
    return [
        _cuts_file(
            given if given and split else f"{base}:{each}", cuts_path(folder, each), only, origin
        )
        for each in ([split] if split else known)
    ]
