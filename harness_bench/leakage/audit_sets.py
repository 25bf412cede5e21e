"""The sets of an audit: prepared folders, Shar folders, files of cuts, lists of ids.

Cuts are read line by line and never held: a set may have millions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, override

from harness_bench.core.files import read_ids, read_json
from harness_bench.cuts.shar import is_sharded, open_shards, read_metadata, read_shards
from harness_bench.cuts.store import REPORT, cuts_path, read_rows, splits
from harness_bench.cuts.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lhotse.cut import Cut

    from harness_bench.cuts.fields import Row

_CUTS = ".jsonl.gz"


@dataclass(frozen=True)
class AuditSet:
    """Utterances of one name; this one is a list of ids, of which nothing else is known.

    Attributes:
        name: what reports call it.
        path: the file or folder.
        origin: what tells its corpus from others; empty where that is unknown.
    """

    name: str
    path: Path
    origin: str = ""

    @property
    def has_cuts(self) -> bool:
        """Whether it is more than a bare list of ids."""
        return False

    def rows(self) -> Iterator[Cut | Row]:
        """Yield what the manifest says of each utterance."""
        return ({"id": uid} for uid in _ids(self.path))

    def cuts(self) -> Iterator[Cut]:
        """Yield the utterances in the same order, ready to load their audio."""
        return iter(())

    def table(self) -> Table:
        """Read the set once.

        Raises:
            ValueError: the set has no utterances, or its manifest is broken.
        """
        found = Table(self.name, origin=self.origin, has_cuts=self.has_cuts).extend(self.rows())
        if not len(found):
            raise ValueError(f"{self.name} holds no utterances; was another set meant?")
        return found


@dataclass(frozen=True)
class CutsFile(AuditSet):
    """A file of cuts, such as one split of a prepared folder; `only` picks some of its ids."""

    only: frozenset[str] | None = None

    @property
    @override
    def has_cuts(self) -> bool:
        return True

    @override
    def rows(self) -> Iterator[Row]:
        only = self.only
        return (row for row in read_rows(self.path) if only is None or row["id"] in only)

    @override
    def cuts(self) -> Iterator[Cut]:
        from lhotse.serialization import deserialize_item  # noqa: PLC0415 - imports torch

        return (deserialize_item(row) for row in self.rows())


@dataclass(frozen=True)
class SharFolder(AuditSet):
    """A folder of lhotse Shar."""

    @property
    @override
    def has_cuts(self) -> bool:
        return True

    @override
    def rows(self) -> Iterator[Cut]:
        return read_metadata(open_shards(self.path))

    @override
    def cuts(self) -> Iterator[Cut]:
        return read_shards(open_shards(self.path))


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


def _ids(path: Path) -> list[str]:
    """Read a list of ids; one without any is a `ValueError`."""
    if not (ids := read_ids(path)):
        raise ValueError(f"{path} holds no ids; was another file meant?")
    return ids


def _open(text: str) -> list[AuditSet]:
    given, rest = _name(text)
    if Path(rest).exists():
        place, ids, split = rest, "", ""
    else:
        place, _, ids = rest.partition("@")
        split = ""
        if not Path(place).exists():
            place, _, split = place.rpartition(":")
    path = Path(place)
    if not place or not path.exists():
        raise ValueError(
            f"{text}: there is no such folder or file. A set is [NAME=]PATH[:SPLIT][@IDS]: a "
            "prepared folder, a Shar folder, a file of cuts or a list of ids."
        )
    if path.is_dir() and is_sharded(path):
        _refuse(text, "a Shar folder", split, ids)
        return [SharFolder(given or path.name, path)]
    if not path.is_dir() and not path.name.endswith(_CUTS):
        _refuse(text, "a list of ids", split, ids)
        return [AuditSet(given or path.name, path)]
    only = frozenset(_ids(_file(ids, text))) if ids else None
    if not path.is_dir():
        _refuse(text, "a file of cuts", split, "")
        return [CutsFile(given or path.name, path, only=only)]
    return _splits(path, split, given, only)


def _name(text: str) -> tuple[str, str]:
    """Part a set's name, which has no slash, from the rest."""
    name, found, rest = text.partition("=")
    return (name, rest) if found and "/" not in name and not Path(text).exists() else ("", text)


def _file(place: str, text: str) -> Path:
    if not Path(place).is_file():
        raise ValueError(f"{text}: there is no list of ids {place}.")
    return Path(place)


def _refuse(text: str, what: str, split: str, ids: str) -> None:
    if split or ids:
        raise ValueError(
            f"{text}: {what} has no splits and takes no @IDS; name it alone, or the prepared folder"
            " it came from."
        )


def _splits(folder: Path, split: str, given: str, only: frozenset[str] | None) -> list[AuditSet]:
    known = splits(folder)
    if split and split not in known:
        raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}.")
    report = read_json(folder / REPORT) if (folder / REPORT).is_file() else {}
    origin = f"{report['corpus']} {report['root']}" if "root" in report else ""
    base = given or folder.name
    return [
        CutsFile(
            given if given and split else f"{base}:{each}", cuts_path(folder, each), origin, only
        )
        for each in ([split] if split else known)
    ]
