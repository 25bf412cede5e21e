"""The sets of an audit: prepared folders, Shar folders, files of cuts, lists of ids.

Cuts are read line by line and never held: a set may have millions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness_bench.core.files import read_ids, read_json
from harness_bench.cuts.shar import is_sharded, open_shards, read_metadata, read_shards
from harness_bench.cuts.store import REPORT, cuts_path, read_rows, splits
from harness_bench.cuts.table import LONG_TEXT, Facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lhotse.cut import Cut


def gather(found: AuditSet, long_text: int = LONG_TEXT) -> Facts:
    """Read a set once and keep its facts.

    Raises:
        ValueError: the set has no utterances, or its manifest is broken.
    """
    facts = Facts(found.name, found.origin, has_cuts=found.has_cuts)
    for row in found.rows():
        facts.add(row, long_text)
    if not len(facts):
        raise ValueError(f"{found.name} holds no utterances; was another set meant?")
    return facts


_CUTS = ".jsonl.gz"


class AuditSet(Protocol):
    """Utterances of one name."""

    @property
    def name(self) -> str:
        """Return what reports call it."""
        ...

    @property
    def origin(self) -> str:
        """Return what tells its corpus from others; empty where that is unknown."""
        ...

    @property
    def has_cuts(self) -> bool:
        """Whether it is more than a bare list of ids."""
        ...

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what the manifest says of each utterance, as lhotse writes a cut."""
        ...

    def cuts(self) -> Iterator[Cut]:
        """Yield the utterances in the same order, ready to load their audio."""
        ...


@dataclass(frozen=True)
class CutsFile:
    """A file of cuts, such as one split of a prepared folder; `only` picks some of its ids."""

    name: str
    path: Path
    origin: str = ""
    only: frozenset[str] | None = None
    has_cuts: bool = True

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the manifest's lines; a broken one is a `ValueError` with its number."""
        only = self.only
        return (row for row in read_rows(self.path) if only is None or row["id"] in only)

    def cuts(self) -> Iterator[Cut]:
        """Yield lhotse cuts; their audio is read when it is asked for."""
        from lhotse.serialization import deserialize_item  # noqa: PLC0415 - imports torch

        return (deserialize_item(row) for row in self.rows())


@dataclass(frozen=True)
class SharFolder:
    """A folder of lhotse Shar."""

    name: str
    path: Path
    origin: str = ""
    has_cuts: bool = True

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the cuts of all shards without their audio."""
        return (cut.to_dict() for cut in read_metadata(open_shards(self.path)))

    def cuts(self) -> Iterator[Cut]:
        """Yield the cuts with their audio."""
        return read_shards(open_shards(self.path))


@dataclass(frozen=True)
class IdList:
    """Ids of utterances or recordings, one a line; nothing else is known of them."""

    name: str
    path: Path
    origin: str = ""
    has_cuts: bool = False

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one id each."""
        return ({"id": uid} for uid in _ids(self.path))

    def cuts(self) -> Iterator[Cut]:
        """Yield nothing: there is no audio."""
        return iter(())


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
    return [*found]


def _ids(path: Path) -> list[str]:
    """Read a list of ids; one without any is a `ValueError`."""
    if not (ids := read_ids(path)):
        raise ValueError(f"{path} holds no ids; was another file meant?")
    return ids


def _open(text: str) -> list[CutsFile] | list[SharFolder] | list[IdList]:
    """Open what one argument names."""
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
        return [IdList(given or path.name, path)]
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


def _splits(folder: Path, split: str, given: str, only: frozenset[str] | None) -> list[CutsFile]:
    """Open one split of a prepared folder, or each."""
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
