"""All that may be drawn, a few numbers each: millions of utterances fit into memory."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from harness_bench import cut_rows, cuts
from harness_bench.data.shar import CUTS, is_sharded, open_shards
from harness_bench.files import digest_strings
from harness_bench.progress import bar
from harness_bench.seeds import chance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

USUAL_SPLIT = "train"
UNKNOWN = "unknown"  # the language of cuts that do not say, as pretraining calls it
SECOND = 1_000_000  # lengths are whole microseconds, so that every machine agrees on sums


class Candidates:
    """Columns over all cuts of some files, in the files' order.

    Attributes:
        lengths: microseconds, (cuts,) int64.
        chances: 128 bits of BLAKE2b of seed and id, (2, cuts) uint64, the first most significant.
        groups: the same of seed and the value of the field that keeps cuts together; None
            where each is on its own.
        languages: number of the language, (cuts,) int32.
        names: the languages, by number.
    """

    def __init__(
        self, files: Sequence[Path], seed: int, by: str | None, *, languages: bool
    ) -> None:
        self.files = files
        lengths, spoken = array("q"), array("i")
        own, together = bytearray(), bytearray()
        numbers: dict[str, int] = {}
        for path, row in _rows(files):
            lengths.append(round(float(row["duration"]) * SECOND))
            own += chance(seed, row["id"])
            if by is not None:
                together += chance(seed, _value(row, by, path))
            name = (cut_rows.field(row, "language") or UNKNOWN) if languages else ""
            spoken.append(numbers.setdefault(name, len(numbers)))
        self.lengths = np.frombuffer(lengths, dtype=np.int64)
        self.chances = _columns(own)
        self.groups = None if by is None else _columns(together)
        self.languages = np.frombuffer(spoken, dtype=np.int32)
        self.names = list(numbers)
        self._refuse_twins()

    def __len__(self) -> int:
        return len(self.lengths)

    def order(self) -> NDArray[np.int64]:
        """Return all places by chance: groups first, then cuts; whatever the files' order."""
        most, least = self.chances
        if self.groups is None:
            return np.lexsort((least, most))
        return np.lexsort((least, most, self.groups[1], self.groups[0]))

    def digest(self) -> str:
        """Return the digest of which ids there are, whatever their order."""
        order = np.lexsort((self.chances[1], self.chances[0]))
        return digest_strings([self.chances[:, order].astype("<u8").tobytes().hex()])

    def _refuse_twins(self) -> None:
        """Refuse two cuts of one id: a list could not tell them apart."""
        order = np.lexsort((self.chances[1], self.chances[0]))
        same = (self.chances[:, order[1:]] == self.chances[:, order[:-1]]).all(axis=0)
        if same.any():
            place = int(order[1:][same].min())
            name, path = _at(self.files, place)
            raise ValueError(
                f"The id {name!r} comes twice ({path} and before). A list could not tell the two "
                "apart: leave one folder out, or prepare it with other ids."
            )


def _rows(files: Sequence[Path]) -> Iterator[tuple[Path, cut_rows.Row]]:
    for path in files:
        for row in bar(cut_rows.read_rows(path), title=f"reading {path.parent.name}", unit="utt"):
            yield path, row


def _value(row: cut_rows.Row, name: str, path: Path) -> str:
    value = cut_rows.field(row, name)
    if value is None:
        raise ValueError(
            f"Cut {row['id']!r} of {path} has no {name}, so it cannot be kept together with its "
            f"like. Prepare the corpus with `--require {name}`, or take another field."
        )
    return value


def _columns(data: bytearray) -> NDArray[np.uint64]:
    """Turn 16 bytes each into two columns of whole numbers in the bytes' order, (2, cuts)."""
    return np.frombuffer(bytes(data), dtype=">u8").reshape(-1, 2).T.astype(np.uint64)


def _at(files: Sequence[Path], place: int) -> tuple[str, Path]:
    """Return id and file of the cut at a place."""
    for number, (path, row) in enumerate(_rows(files)):
        if number == place:
            return row["id"], path
    raise AssertionError(place)


def files_of(folders: Sequence[Path], split: str) -> list[Path]:
    """Return the files of one split of prepared folders, or all files of cuts of Shar folders.

    Raises:
        ValueError: a folder that lacks the split, or both kinds of folders.
    """
    if sharded(folders):
        if split != USUAL_SPLIT:
            raise ValueError(f"{folders[0]} holds shards, which have no splits; leave --split out.")
        return [shard.field(CUTS) for folder in folders for shard in open_shards(folder)]
    for folder in folders:
        if split not in (known := cuts.splits(folder)):
            raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}.")
    return [cuts.cuts_path(folder, split) for folder in folders]


def sharded(folders: Sequence[Path]) -> bool:
    """Tell whether folders hold shards and no prepared cuts; both kinds are a `ValueError`."""
    kinds = {is_sharded(folder): folder for folder in folders}
    if len(kinds) > 1:
        raise ValueError(
            f"{kinds[True]} holds shards and {kinds[False]} does not: a subset is one or the "
            "other. Shard the rest too (`harness-bench shard`), or name prepared folders alone."
        )
    return True in kinds
