"""Write drawn cuts as they came, prepared or sharded, with id lists, rule, seed and digests."""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness_bench.core.config import resolved
from harness_bench.core.log import bar
from harness_bench.core.workdir import PROVENANCE, write_provenance
from harness_bench.corpora.splits import ID_FILES, SPLIT_FILE, SplitRule, write_split
from harness_bench.corpora.subset.draw import SECOND, USUAL_SPLIT, Candidates, draw
from harness_bench.cuts import store
from harness_bench.cuts.shar import (
    CUTS,
    is_sharded,
    open_shards,
    read_shards,
    remove_shards,
    writing_shards,
)
from harness_bench.cuts.store import REPORT, UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.corpora.subset.draw import Wanted
    from harness_bench.cuts.shar import Shard


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
        if split not in (known := store.splits(folder)):
            raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}.")
    return [store.cuts_path(folder, split) for folder in folders]


def sharded(folders: Sequence[Path]) -> bool:
    """Tell whether folders hold shards and no prepared cuts; both kinds are a `ValueError`."""
    kinds = {is_sharded(folder): folder for folder in folders}
    if len(kinds) > 1:
        raise ValueError(
            f"{kinds[True]} holds shards and {kinds[False]} does not: a subset is one or the "
            "other. Shard the rest too (`harness-bench shard`), or name prepared folders alone."
        )
    return True in kinds


class _Drawn(NamedTuple):
    """A drawn cut; sorts by the share of its folder that comes before it, then by id."""

    before: float
    id: str
    number: int  # of its piece
    cut: Cut


def copy_shards(
    folders: Sequence[Path], numbers: NDArray[np.int8], pieces: Sequence[str], out: Path
) -> None:
    """Write each piece as shards in a folder of its name.

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
    shards = [open_shards(folder) for folder in folders]
    counts = [sum(shard.utterances for shard in each) for each in shards]
    if sum(counts) != len(numbers):
        named = ", ".join(map(str, folders))
        raise ValueError(f"{named}: the index speaks of {sum(counts)} cuts, and {len(numbers)} are "
                         "there. Shard the corpus again.")  # fmt: skip
    parts = np.split(numbers, np.cumsum(counts)[:-1])
    drawn = heapq.merge(*map(_drawn_of_shards, shards, parts), key=lambda item: item[:2])
    with ExitStack() as stack:
        writers = [stack.enter_context(writing_shards(out / name)) for name in pieces]
        total = int(np.count_nonzero(numbers >= 0))
        for item in bar(drawn, title="copying", total=total, unit="utt"):
            writers[item.number](item.cut)


def _drawn_of_shards(shards: list[Shard], numbers: NDArray[np.int8]) -> Iterator[_Drawn]:
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


@dataclass(frozen=True)
class Piece:
    """One piece as it was drawn."""

    name: str
    utterances: int
    hours: float
    digest: str  # of the sorted ids
    languages: dict[str, float]  # language -> hours; empty where none were asked for


@dataclass(frozen=True)
class Drawn:
    """What `subset` wrote."""

    out: Path
    rule: str
    seed: int
    of_utterances: int
    of_hours: float
    pieces: list[Piece]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "out": str(self.out)}

    def summary(self) -> str:
        """Say in a few lines what was drawn."""
        lines = [f"of {self.of_utterances:,} utterances, {self.of_hours:.2f} h:"]
        for piece in self.pieces:
            parts = ", ".join(f"{name} {hours:.4f} h" for name, hours in piece.languages.items())
            lines.append(
                f"  {piece.name}: {piece.utterances:,} utterances, {piece.hours:.4f} h"
                f"{f' ({parts})' if parts else ''}, digest {piece.digest}"
            )
        lines.append(f"{self.rule} Seed {self.seed}. Lists: {self.out / ID_FILES}")
        return "\n".join(lines)


def subset(folders: Sequence[Path], out: Path, wanted: Wanted) -> Drawn:
    """Draw from prepared folders and write a folder like them, cuts by id; or from shards.

    The same cuts, seed and amounts give the same bytes, in whatever order folders and cuts come.
    Files are read twice; of each cut some 80 bytes are held in memory.

    Of shards each piece is a folder of shards in `out`, its audio copied (16 bits, as all shards
    have). The ids are the same in any order; the cuts stay in the order of their shards, and
    several folders are mixed evenly.

    Args:
        folders: made by `prepare` (or by this), or all by `harness-bench shard`.
        out: the folder; cuts of an earlier run in it are replaced. Cuts that `prepare` wrote
            there are not.
        wanted: how much of what.

    Raises:
        ValueError: no such split, too little audio, one id twice, shards beside prepared folders,
            or `out` is a prepared corpus.
    """
    _check_out(folders, out)
    files = files_of(folders, wanted.split)
    candidates = Candidates(files, wanted.seed, wanted.by, languages=bool(wanted.languages))
    numbers = draw(candidates, wanted)
    in_shards = sharded(folders)
    rule = SplitRule(_name(wanted), wanted.rule(sharded=in_shards), wanted.seed)
    ids = {name: candidates.ids(numbers == at) for at, name in enumerate(wanted.pieces)}
    remove_pieces(out)  # before the lists of ids, which tell which they are
    with store.replacing_cuts(out, ID_FILES, SPLIT_FILE, PROVENANCE):
        if in_shards:
            copy_shards(folders, numbers, wanted.pieces, out)
        else:
            _copy_cuts(files, numbers, ids, out)
        lists = write_split(out, rule, ids)
        pieces = _pieces(lists, wanted, candidates, numbers)
        found = Drawn(
            out=out,
            rule=rule.rule,
            seed=wanted.seed,
            of_utterances=len(candidates),
            of_hours=_hours(candidates.lengths),
            pieces=pieces,
        )
        write_provenance(
            out,
            config={"folders": [str(folder.absolute()) for folder in folders], **resolved(wanted)},
            seed=wanted.seed,
            inputs={"ids": candidates.digest()},
            extra={"pieces": [asdict(piece) for piece in pieces]},
        )
    return found


def _copy_cuts(
    files: Sequence[Path],
    numbers: NDArray[np.int8],
    ids: Mapping[str, list[str]],
    out: Path,
) -> None:
    """Write the cuts of each piece by id."""
    lines = (line for path in files for line in store.read_lines(path))
    with ExitStack() as stack:
        spools = [stack.enter_context(store.Spool(out)) for _ in ids]
        for number in numbers:
            if (line := next(lines, None)) is None:
                names = ", ".join(map(str, files))
                raise ValueError(f"{names} changed while they were read. Run again.")
            if number >= 0:
                spools[number].add(line.removesuffix(b"\n") + b"\n")
        for spool, (name, own) in zip(spools, ids.items(), strict=True):
            order = sorted(range(len(own)), key=own.__getitem__)
            store.write_lines(out, name, spool.lines(order))


def _pieces(
    lists: Mapping[str, Any], wanted: Wanted, candidates: Candidates, numbers: NDArray[np.int8]
) -> list[Piece]:
    found = []
    for number, name in enumerate(wanted.pieces):
        taken = numbers == number
        languages = {
            language: _hours(candidates.lengths[taken & (candidates.languages == which)])
            for which, language in sorted(enumerate(candidates.names), key=lambda item: item[1])
            if wanted.languages
        }
        hours, about = _hours(candidates.lengths[taken]), lists[name]
        found.append(Piece(name, about["utterances"], hours, about["digest"], languages))
    return found


def _hours(lengths: NDArray[np.int64]) -> float:
    return round(int(lengths.sum()) / SECOND / 3600, 6)


def _name(wanted: Wanted) -> str:
    much = "_".join(f"{name}_{hours:g}h" for name, hours in wanted.hours.items())
    parts = ["subset", much or (f"{wanted.share:g}percent" if wanted.share else "balanced")]
    parts += [f"by_{wanted.by}"] if wanted.by else []
    return "_".join([*parts, *(f"{name}{wanted.languages[name]:g}" for name in wanted.languages)])


def _check_out(folders: Sequence[Path], out: Path) -> None:
    """Refuse to write where cuts would be lost that cannot be drawn again."""
    sources = {folder.resolve() for folder in folders}
    if out.resolve() in sources or (out / REPORT).exists():
        raise ValueError(f"{out} holds a prepared corpus; write the list into another folder.")
    ours = (out / SPLIT_FILE).is_file() or (out / store.UNFINISHED).exists()
    if not ours and (any(store.cuts_files(out)) or any(shard_pieces(out))):
        raise ValueError(f"{out} holds cuts of something else; write the list into another folder.")
    if pieces := [each for each in shard_pieces(out) if each.resolve() in sources]:
        raise ValueError(
            f"{pieces[0]} is drawn from and would be replaced; write the list into another folder."
        )
