"""Copy drawn cuts from shards into shards, one file after the other."""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.corpora.splits import ID_FILES
from harness_bench.cuts import UNFINISHED
from harness_bench.data.shar import is_sharded, open_shards, read_shards
from harness_bench.data.shar_writer import remove_shards, writing_shards
from harness_bench.progress import bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.data.shar import Shard


class _Drawn(NamedTuple):
    """A drawn cut; sorts by the share of its folder that comes before it, then by id."""

    before: float
    id: str
    number: int  # of its piece
    cut: Cut


def copy_shards(
    folders: Sequence[Path], numbers: NDArray[np.int8], pieces: Sequence[str], out: Path
) -> list[list[str]]:
    """Write each piece as shards in a folder of its name; return the ids of each.

    One cut of each folder stands in memory with its audio. Shards of which nothing is drawn are
    not read.

    Args:
        folders: of shards.
        numbers: the number of each cut's piece, below 0 for those left, (cuts,), folder by folder.
        pieces: the names.
        out: where the folders of the pieces go.

    Raises:
        ValueError: a shard that is torn or has changed since the cuts were drawn.
    """
    ids: list[list[str]] = [[] for _ in pieces]
    shards = [open_shards(folder) for folder in folders]
    counts = [sum(shard.utterances for shard in each) for each in shards]
    if sum(counts) != len(numbers):
        named = ", ".join(map(str, folders))
        raise ValueError(f"{named}: the index speaks of {sum(counts)} cuts, and {len(numbers)} are "
                         "there. Shard the corpus again.")  # fmt: skip
    parts = np.split(numbers, np.cumsum(counts)[:-1])
    drawn = heapq.merge(*map(_drawn, shards, parts), key=lambda item: item[:2])
    with ExitStack() as stack:
        writers = [stack.enter_context(writing_shards(out / name)) for name in pieces]
        total = int(np.count_nonzero(numbers >= 0))
        for item in bar(drawn, title="copying", total=total, unit="utt"):
            writers[item.number](item.cut)
            ids[item.number].append(item.id)
    return ids


def _drawn(shards: list[Shard], numbers: NDArray[np.int8]) -> Iterator[_Drawn]:
    """Yield what is drawn of one folder, in the order of its shards."""
    first = 0
    for shard in shards:
        own = numbers[first : first + shard.utterances]
        if (own >= 0).any():
            for at, cut in enumerate(read_shards([shard])):
                if own[at] >= 0:
                    yield _Drawn((first + at) / len(numbers), str(cut.id), int(own[at]), cut)
        first += shard.utterances


def shard_pieces(out: Path) -> list[Path]:
    """List the folders of shards in a folder."""
    return sorted(path for path in out.glob("*") if path.is_dir() and is_sharded(path))


def remove_pieces(out: Path) -> None:
    """Remove the shards of an earlier subset; other files and other folders of shards stay.

    Its pieces are those that have a list of ids, or whose writing was cut off.
    """
    for piece in shard_pieces(out):
        listed = (out / ID_FILES.replace("*", piece.name)).is_file()
        if not listed and not (piece / UNFINISHED).exists():
            continue
        remove_shards(piece)
        (piece / UNFINISHED).unlink(missing_ok=True)
        if not any(piece.iterdir()):
            piece.rmdir()
