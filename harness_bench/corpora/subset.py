"""Lists of utterances by hours and seed: subsets, disjoint pieces, languages in given shares.

Hours are drawn exact to one utterance, the same for any order of the input. Drawn cuts are written
as they came, prepared or sharded, with id lists, rule, seed and digests.
"""

from __future__ import annotations

import heapq
import re
from contextlib import ExitStack
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, resolved
from harness_bench.core.files import digest_strings, read_settings
from harness_bench.core.log import bar
from harness_bench.core.own_files import FILES, UNFINISHED, own_files, refusal, replacing
from harness_bench.core.rng import chance
from harness_bench.core.workdir import PROVENANCE, write_provenance
from harness_bench.corpora.splits import (
    ID_FILES,
    SPLIT_FILE,
    SplitRule,
    files_of_splits,
    list_files,
    write_split,
)
from harness_bench.cuts import shar, store
from harness_bench.cuts.fields import UNKNOWN, field_of, language_of
from harness_bench.cuts.store import REPORT
from harness_bench.cuts.table import Categories, Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.cuts.fields import Row

USUAL_SPLIT = "train"
_ALWAYS = (SPLIT_FILE, PROVENANCE)
_WRITTEN = (store.CUTS_FILES, ID_FILES, *_ALWAYS)
SECOND = 1_000_000  # lengths are whole microseconds, so that every machine agrees on sums
HOUR = 3600 * SECOND
NONE = -1  # the piece of what is not drawn
_MOST = 100
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it becomes part of a file's name
type _Amount = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wanted:
    """What is to be drawn.

    Attributes:
        split: of the prepared folders; of shards it names the piece alone.
        hours: piece -> hours; pieces are drawn one after the other.
        share: share of all hours, in percent, in place of hours; the piece is named as the split.
        by: field that keeps cuts together, such as cluster or speaker: two pieces share none.
        languages: language -> weight: each has its part of the hours.
        seed: another one draws others.
    """

    split: str = USUAL_SPLIT
    hours: dict[str, _Amount] = Field(default_factory=dict)
    share: float | None = Field(default=None, gt=0, le=100)
    by: str | None = None
    languages: dict[str, _Amount] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)

    def __post_init__(self) -> None:
        """Check that it is said once how much is wanted."""
        if self.hours and self.share is not None:
            raise ValueError("give either hours or a share, not both")
        if not self.hours and self.share is None and not self.languages:
            raise ValueError("say how much is wanted: --hours 300 or --share 30%")
        odd = [name for name in self.pieces if not _NAME.fullmatch(name)]
        if odd or len(self.pieces) > _MOST:
            raise ValueError(
                f"up to {_MOST} pieces are named by letters, digits, _ and -; got {odd or 'more'}"
            )
        if self.languages and (len(self.hours) > 1 or self.share is not None):
            raise ValueError("languages are balanced in one piece of so many hours")

    @property
    def pieces(self) -> list[str]:
        """The names of the pieces, in the order in which they are drawn."""
        return list(self.hours) or [self.split]

    def rule(self, *, sharded: bool = False) -> str:
        """Say in words how the pieces are drawn, complete enough to do it again."""
        order = f"{self.by}', those of one {self.by} in the order of the digest of 'seed/id"
        amounts = ", ".join(f"{name} {hours:g} h" for name, hours in self.hours.items())
        much = amounts or (f"{self.share:g} % of all hours" if self.share else "all that balances")
        end = f"; the rest of a {self.by} that a piece ends in is left out" if self.by else ""
        weights = ", ".join(f"{name} {self.languages[name]:g}" for name in sorted(self.languages))
        balance = f"; each language is drawn by itself, in the parts {weights}" if weights else ""
        return (
            f"{'All shards' if sharded else f'Split {self.split}'}. Cuts stand in the order of the "
            f"BLAKE2b-128 digest of 'seed/{order if self.by else 'id'}'. Each piece takes them one "
            "after the other until no other number of them comes nearer to its hours "
            f"({much}){end}{balance}."
        )


class Candidates:
    """Columns over all cuts of some files, in the files' order."""

    def __init__(
        self, files: Sequence[Path], seed: int, by: str | None, *, languages: bool
    ) -> None:
        self._table = table = Table(kinds=())
        together, spoken = Categories(), Categories()
        ends = []  # of the files
        for path in files:
            for row in bar(store.read_rows(path), title=f"reading {path.parent.name}", unit="utt"):
                table.add(row)
                together.add(by and _group(row, by, path))
                spoken.add(language_of(row) if languages else UNKNOWN)
            ends.append(len(table))
        self.lengths = np.rint(table.seconds() * SECOND).astype(np.int64)  # us, (cuts,)
        # 128 bits of BLAKE2b of seed and id, (2, cuts) uint64, the first most significant; the
        # same of seed and the value of the field that keeps cuts together.
        self.chances = _chances(seed, table.ids())
        self.groups = _chances(seed, together.names)[:, together.numbers - 1] if by else None
        self.languages, self.names = spoken.numbers - 1, spoken.names  # (cuts,) int32, by number
        order = np.lexsort(self.chances[::-1])
        same = (self.chances[:, order[1:]] == self.chances[:, order[:-1]]).all(axis=0)
        if same.any():
            twin = int(order[1:][same].min())  # the first cut whose id came before
            path = files[int(np.searchsorted(ends, twin, side="right"))]
            raise ValueError(
                f"The id {table.id(twin)!r} occurs twice ({path} and before). A list could not "
                "distinguish them: leave one folder out, or prepare it with other ids."
            )

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, chosen: NDArray[np.bool_]) -> list[str]:
        """Return the ids of some cuts, chosen by a mask, (cuts,)."""
        return [self._table.id(int(place)) for place in np.flatnonzero(chosen)]

    def order(self) -> NDArray[np.int64]:
        """Return all places by chance: groups first, then cuts; whatever the files' order."""
        groups = () if self.groups is None else self.groups[::-1]
        return np.lexsort((*self.chances[::-1], *groups))

    def taken(self, order: NDArray[np.int64], amounts: Mapping[str, int]) -> NDArray[np.int8]:
        """Give cuts in an order to pieces of so many microseconds; return their numbers."""
        ends = np.concatenate([[0], np.cumsum(self.lengths[order])])
        first, numbers = 0, np.full(len(order), NONE, dtype=np.int8)
        for number, (name, amount) in enumerate(amounts.items()):
            there = int(ends[-1] - ends[first])
            if amount > there:
                raise ValueError(
                    f"Piece {name!r} wants {amount / HOUR:.4f} h, and {there / HOUR:.4f} h are "
                    f"there{' beside the pieces before it' if first else ''}. Ask for less."
                )
            last = first + int(np.argmin(np.abs(ends[first:] - ends[first] - amount)))
            if last == first:
                raise ValueError(
                    f"Piece {name!r} wants {amount / HOUR:g} h: nearer to none than to one "
                    "utterance."
                )
            numbers[first:last] = number
            first = last
            if self.groups is not None:  # The next piece begins behind the group that this ends in.
                same = self.groups[:, order[last:]] == self.groups[:, order[last - 1], None]
                first += int(np.count_nonzero(same.all(axis=0)))
        return numbers

    def digest(self) -> str:
        """Return the digest of which ids there are, whatever their order."""
        order = np.lexsort(self.chances[::-1])
        return digest_strings([self.chances[:, order].astype("<u8").tobytes().hex()])


def _group(row: Row, name: str, path: Path) -> str:
    if (value := field_of(row, name)) is None:
        raise ValueError(
            f"Cut {row['id']!r} of {path} has no {name}, so it cannot be kept together with its "
            f"like. Prepare the corpus with `--require {name}`, or take another field."
        )
    return value


def _chances(seed: int, names: Iterable[str]) -> NDArray[np.uint64]:
    """Return 16 bytes of chance each as two whole numbers in the bytes' order, (2, names)."""
    data = b"".join(chance(seed, name) for name in names)
    return np.frombuffer(data, dtype=">u8").reshape(-1, 2).T.astype(np.uint64)


def draw(candidates: Candidates, wanted: Wanted) -> NDArray[np.int8]:
    """Draw the pieces; return the number of each cut's piece, `NONE` for those left, (cuts,).

    A piece of more hours holds all of one of fewer (the first piece, and each language's part).
    Hours that are not there and languages without cuts or without a weight are a `ValueError`.
    """
    order = candidates.order()
    pieces = np.full(len(candidates), NONE, dtype=np.int8)
    amounts = {name: round(hours * HOUR) for name, hours in wanted.hours.items()}
    if wanted.languages:
        for name, amount in _by_language(candidates, wanted).items():
            own = order[candidates.languages[order] == candidates.names.index(name)]
            pieces[own] = candidates.taken(own, {f"{wanted.pieces[0]}, language {name}": amount})
        return pieces
    if wanted.share is not None:
        amounts = {wanted.split: round(int(candidates.lengths.sum()) * wanted.share / 100)}
    pieces[order] = candidates.taken(order, amounts)
    return pieces


def _by_language(candidates: Candidates, wanted: Wanted) -> dict[str, int]:
    """Return language -> microseconds, by name; without hours as much as the scarcest allows."""
    there = {
        name: int(candidates.lengths[candidates.languages == number].sum())
        for number, name in enumerate(candidates.names)
    }
    weights = wanted.languages
    if set(weights) != set(there):
        raise ValueError(
            f"The weights name {', '.join(sorted(weights))}, and the cuts are in "
            f"{', '.join(sorted(there))}; give each of these a weight and no other. Cuts that do "
            f"not say their language are {UNKNOWN!r}: prepare them with --option language=..."
        )
    scarcest = min(weights, key=lambda name: there[name] / weights[name])
    most = there[scarcest] / weights[scarcest] * sum(weights.values())
    total = wanted.hours[wanted.pieces[0]] * HOUR if wanted.hours else most
    if total > most:
        raise ValueError(
            f"{total / HOUR:.2f} h in these parts need more {scarcest} than the "
            f"{there[scarcest] / HOUR:.2f} h there are; at most {most / HOUR:.4f} h balance. A "
            "list holds no cut twice: ask for less, or let pretraining repeat the scarce language "
            "(`balance` in [pretrain])."
        )
    return {
        name: min(round(total * weights[name] / sum(weights.values())), there[name])
        for name in sorted(weights)
    }


def files_of(folders: Sequence[Path], split: str) -> list[Path]:
    """Return the files of one split of prepared folders, or all files of cuts of Shar folders."""
    if sharded(folders):
        if split != USUAL_SPLIT:
            raise ValueError(f"{folders[0]} holds shards, which have no splits; leave --split out.")
        return [shard.field(shar.CUTS) for folder in folders for shard in shar.open_shards(folder)]
    for folder in folders:
        if split not in (known := store.splits(folder)):
            raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}.")
    return [store.cuts_path(folder, split) for folder in folders]


def sharded(folders: Sequence[Path]) -> bool:
    """Tell whether folders hold shards and no prepared cuts; both kinds are a `ValueError`."""
    kinds = {shar.is_sharded(folder): folder for folder in folders}
    if len(kinds) > 1:
        raise ValueError(
            f"{kinds[True]} holds shards and {kinds[False]} does not: a subset is one or the "
            "other. Shard the rest too (`harness-bench shard`), or name prepared folders alone."
        )
    return True in kinds


# A drawn cut: the share of its folder that comes before it, its id, its piece's number, itself.
type _Drawn = tuple[float, str, int, Cut]


def copy_shards(
    folders: Sequence[Path], numbers: NDArray[np.int8], pieces: Sequence[str], out: Path
) -> None:
    """Write each piece as shards in a folder of its name; `numbers` are of the pieces, (cuts,).

    One cut of each folder stands in memory with its audio. Shards of which nothing is drawn are
    not read. One that is torn or has changed since the cuts were drawn is a `ValueError`.
    """
    shards = [shar.open_shards(folder) for folder in folders]
    counts = [sum(shard.utterances for shard in each) for each in shards]
    if sum(counts) != len(numbers):
        raise ValueError(
            f"{', '.join(map(str, folders))}: the index names {sum(counts)} cuts, and "
            f"{len(numbers)} are there. Shard the corpus again."
        )
    parts = np.split(numbers, np.cumsum(counts)[:-1])
    drawn = heapq.merge(*map(_drawn_of_shards, shards, parts), key=lambda item: item[:2])
    with ExitStack() as stack:
        writers = [stack.enter_context(shar.writing_shards(out / name)) for name in pieces]
        total = int(np.count_nonzero(numbers >= 0))
        for *_, number, cut in bar(drawn, title="copying", total=total, unit="utt"):
            writers[number](cut)


def _drawn_of_shards(shards: list[shar.Shard], numbers: NDArray[np.int8]) -> Iterator[_Drawn]:
    first = 0
    for shard in shards:
        own = numbers[first : first + shard.utterances]
        if (own >= 0).any():
            for at, cut in enumerate(shar.read_shards([shard])):
                if own[at] >= 0:
                    yield (first + at) / len(numbers), str(cut.id), int(own[at]), cut
        first += shard.utterances


def shard_pieces(out: Path) -> list[Path]:
    """List the folders of shards in a folder."""
    return sorted(path for path in out.glob("*") if path.is_dir() and shar.is_sharded(path))


def remove_pieces(out: Path, replaced: Collection[str]) -> None:
    """Remove the shards of an earlier subset; other files and other folders of shards stay.

    Those of the names `replaced` are left to what writes them, which keeps what else is there.
    """
    for piece in shard_pieces(out):
        if piece.name in replaced or not _is_piece(out, piece):
            continue
        shar.remove_shards(piece)
        (piece / UNFINISHED).unlink(missing_ok=True)
        if not any(piece.iterdir()):
            piece.rmdir()


def _is_piece(out: Path, folder: Path) -> bool:
    """Whether shards are of an earlier subset: by a list of ids, or as they were cut off."""
    listed = (out / ID_FILES.replace("*", folder.name)).is_file()
    return listed or (folder / UNFINISHED).exists()


@plain_dataclass(frozen=True)
class Piece:
    """One piece as it was drawn."""

    name: str
    utterances: int
    hours: float
    digest: str  # of the sorted ids
    languages: dict[str, float]  # language -> hours; empty where none were asked for


@plain_dataclass(frozen=True)
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

    Of shards each piece is a folder of shards in `out`, its audio copied (16 bits, as shards
    have). The ids are the same in any order; the cuts stay in the order of their shards, and
    several folders are mixed evenly. Cuts of an earlier subset in `out` are replaced.

    Raises:
        ValueError: no such split, too little audio, one id twice, shards beside prepared folders,
            or `out` is a prepared corpus.
    """
    earlier = _check_out(folders, out)
    files = files_of(folders, wanted.split)
    candidates = Candidates(files, wanted.seed, wanted.by, languages=bool(wanted.languages))
    numbers = draw(candidates, wanted)
    in_shards = sharded(folders)
    if in_shards and (others := _others(out, wanted.pieces)):
        raise ValueError(refusal(out, others))
    rule = SplitRule(_name(wanted), wanted.rule(sharded=in_shards), wanted.seed)
    ids = {name: candidates.ids(numbers == at) for at, name in enumerate(wanted.pieces)}
    remove_pieces(
        out, wanted.pieces if in_shards else ()
    )  # before the lists of ids, which tell which they are
    written = [*list_files(ids), PROVENANCE]
    if not in_shards:
        written += [store.cuts_path(out, name).name for name in ids]
    with replacing(out, earlier, written):
        if in_shards:
            copy_shards(folders, numbers, wanted.pieces, out)
        else:
            _copy_cuts(files, numbers, ids, out)
        lists = write_split(out, rule, ids)
        pieces = _pieces(lists, wanted, candidates, numbers)
        write_provenance(
            out,
            config={"folders": [str(folder.absolute()) for folder in folders], **resolved(wanted)},
            seed=wanted.seed,
            inputs={"ids": candidates.digest()},
            extra={"pieces": [asdict(piece) for piece in pieces], FILES: sorted(written)},
        )
    hours = _hours(candidates.lengths)
    return Drawn(out, rule.rule, wanted.seed, len(candidates), hours, pieces)


def _copy_cuts(
    files: Sequence[Path], numbers: NDArray[np.int8], ids: Mapping[str, list[str]], out: Path
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


def _check_out(folders: Sequence[Path], out: Path) -> list[Path]:
    """Refuse to write where cuts would be lost; return what an earlier subset wrote there."""
    sources = {folder.resolve() for folder in folders}
    if out.resolve() in sources or (out / REPORT).exists():
        raise ValueError(f"{out} holds a prepared corpus; write the list into another folder.")
    earlier = own_files(out, _WRITTEN, lambda: _of_older(out))
    if pieces := [each for each in shard_pieces(out) if each.resolve() in sources]:
        raise ValueError(
            f"{pieces[0]} is drawn from and would be replaced; write the list into another folder."
        )
    return earlier


def _others(out: Path, pieces: Collection[str]) -> list[Path]:
    """List shards that stand where pieces are to be written, and that no subset wrote."""
    if (out / UNFINISHED).exists():  # which had begun with its pieces, and not with their lists
        return []
    return [p for p in shard_pieces(out) if p.name in pieces and not _is_piece(out, p)]


def _of_older(out: Path) -> list[str]:
    """Return patterns of what versions before, which noted no list of files, wrote there."""
    names = read_settings(out / SPLIT_FILE).get("splits") or ()
    return [*_ALWAYS, *files_of_splits(names)]
