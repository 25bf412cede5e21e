"""lhotse Shar: thousands of hours read one file after the other, labels as one more field.

A sharded folder holds `cuts.NNNNNN.jsonl.gz` and `recording.NNNNNN.tar`, and an `index.json` of
ours with what would else need a pass over all cuts. Labels stand in a folder of their own as
`labels.NNNNNN.tar`; the audio is never written again.
"""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import digest_strings, read_json
from harness_bench.core.log import bar
from harness_bench.cuts.fields import identity, language_of, spoken
from harness_bench.cuts.store import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from lhotse.cut import Cut

INDEX = "index.json"
CUTS, AUDIO, LABELS = "cuts", "recording", "labels"
_ROW = {"number": int, "utterances": int, "hours": dict, "digest": str}  # of the index
SHARD_PATTERN = f"{CUTS}.{'[0-9]' * 6}.jsonl.gz"
SHARD_CUTS = 1000
# What lhotse's reader and the libraries below it raise on broken files.
_BROKEN = (tarfile.TarError, zlib.error, OSError, EOFError, AssertionError, RuntimeError,
           ValueError, TypeError, KeyError, AttributeError, IndexError)  # fmt: skip
# What lhotse's reader puts into every cut's `custom`: paths that no manifest can hold.
_READERS = ("shard_origin", "shar_epoch")


@dataclass(frozen=True)
class Shard:
    """One shard and what its cuts amount to."""

    folder: Path
    number: int
    utterances: int
    hours: Mapping[str, float]  # by language
    digest: str  # of its utterances
    language: str | None = None  # of cuts that do not say

    @property
    def place(self) -> tuple[Path, int]:
        """Return what tells it from every other shard."""
        return self.folder, self.number

    def field(self, name: str) -> Path:
        """Return the file of one field."""
        suffix = "jsonl.gz" if name == CUTS else "tar"
        return self.folder / f"{name}.{self.number:06d}.{suffix}"


def labels_path(folder: Path, part: int) -> Path:
    """Return where the labels of a part stand."""
    return folder / f"{LABELS}.{part:06d}.tar"


def read_shards(
    shards: Iterable[Shard], labels: tuple[Path, Mapping[tuple[Path, int], int]] | None = None
) -> Iterator[Cut]:
    """Read shards one after the other: cuts with their audio, and labels where a folder is given.

    Args:
        shards: in the order of reading.
        labels: the folder of labels and the part that each shard is there.

    Raises:
        ValueError: a file that is torn, or does not hold what the shard's cuts say; names it.
    """
    for shard in shards:
        fields = {CUTS: [shard.field(CUTS)], AUDIO: [shard.field(AUDIO)]}
        if labels is not None:
            folder, parts = labels
            fields[LABELS] = [labels_path(folder, parts[shard.place])]
        count = 0
        for cut in _read(fields):
            count += 1
            yield spoken(cut, shard.language)
        # lhotse ends with the shortest of the files, and says nothing.
        if count != shard.utterances:
            raise ValueError(
                f"{_named(fields)} holds {count} utterances where {shard.utterances} are expected. "
                f"{_way_out(fields)}"
            )


def read_metadata(shards: Iterable[Shard]) -> Iterator[Cut]:
    """Read the cuts of shards without their audio."""
    for shard in shards:
        yield from _read({CUTS: [shard.field(CUTS)]})


def _read(fields: Mapping[str, list[Path]]) -> Iterator[Cut]:
    """Read one shard's files side by side; whatever a broken one gives is a `ValueError`."""
    from lhotse.shar.readers.lazy import LazySharIterator  # noqa: PLC0415 - slow to import

    try:
        yield from map(_bare, LazySharIterator(fields=dict(fields)))
    except _BROKEN as error:
        why = f"{_named(fields)} cannot be read ({error}). {_way_out(fields)}"
        raise ValueError(why) from error


def _named(fields: Mapping[str, list[Path]]) -> str:
    """Name the files, of which the reader does not tell which is the broken one."""
    return " or ".join(str(path) for paths in fields.values() for path in paths)


def _way_out(fields: Mapping[str, list[Path]]) -> str:
    own = "Shard the corpus again."
    # Labels that are there are not made again.
    return f"{own} If it is the labels, make them in another folder." if LABELS in fields else own


def _bare(cut: Cut) -> Cut:
    """Take away what the reader adds, so that a cut is as it was written."""
    kept = {key: value for key, value in (cut.custom or {}).items() if key not in _READERS}
    cut.custom = kept or None
    return cut


def is_sharded(folder: Path) -> bool:
    """Tell whether a folder holds shards."""
    return any(folder.glob(SHARD_PATTERN))


def open_shards(folder: Path) -> list[Shard]:
    """List the shards of a folder, from its index or, in a foreign folder, from its cuts.

    Raises:
        ValueError: no shards there, audio missing for some, or writing was cut off.
    """
    if (folder / UNFINISHED).exists():
        raise ValueError(f"{folder}: writing shards was cut off there. Write them again.")
    numbers = sorted(int(path.name.split(".")[1]) for path in folder.glob(SHARD_PATTERN))
    if not numbers:
        raise ValueError(
            f"{folder} holds no shards (cuts.000000.jsonl.gz); write them with `harness-bench "
            "shard`, or name a prepared folder as it is."
        )
    if (folder / INDEX).is_file():
        shards = _indexed(folder)
        if [shard.number for shard in shards] != numbers:
            raise ValueError(
                f"{folder / INDEX} speaks of other shards than lie there; shard again."
            )
    else:
        shards = [
            Shard(folder, **describe_shard(folder, n)) for n in bar(numbers, title=folder.name)
        ]
    lost = [shard.number for shard in shards if not shard.field(AUDIO).is_file()]
    if lost:
        raise ValueError(f"{folder}: no audio for shard {lost[0]:06d} ({len(lost)} in all).")
    return shards


def _indexed(folder: Path) -> list[Shard]:
    rows = read_json(folder / INDEX)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and all(isinstance(row.get(key), kind) for key, kind in _ROW.items())
        for row in rows
    ):
        raise ValueError(f"{folder / INDEX} is no index of shards. Delete it to count them anew.")
    return [Shard(folder=folder, **{key: row[key] for key in _ROW}) for row in rows]


def describe_shard(folder: Path, number: int) -> dict[str, Any]:
    """Count one shard's cuts; return its row of the index."""
    bare = Shard(folder, number, 0, {}, "")
    hours: dict[str, float] = {}
    identities = []
    for cut in read_metadata([bare]):
        name = language_of(cut)
        hours[name] = hours.get(name, 0.0) + cut.duration / 3600
        identities.append(identity(cut))
    digest = digest_strings(identities)
    return {"number": number, "utterances": len(identities), "hours": hours, "digest": digest}
