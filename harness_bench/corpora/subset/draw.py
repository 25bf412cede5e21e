"""Draw hours from candidates: exact to one utterance, the same for any order of the input."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.core.files import digest_strings
from harness_bench.core.log import bar
from harness_bench.core.rng import chance
from harness_bench.cuts.fields import UNKNOWN, field_of, language_of
from harness_bench.cuts.store import read_rows
from harness_bench.cuts.table import Categories, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness_bench.cuts.fields import Row

USUAL_SPLIT = "train"
SECOND = 1_000_000  # lengths are whole microseconds, so that every machine agrees on sums
HOUR = 3600 * SECOND
NONE = -1  # the piece of what is not drawn
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it becomes part of a file's name
_MOST = 100


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
    hours: dict[str, float] = Field(default_factory=dict)
    share: float | None = Field(default=None, gt=0, le=100)
    by: str | None = None
    languages: dict[str, float] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)

    def __post_init__(self) -> None:
        """Check that it is said once how much is wanted."""
        if self.hours and self.share is not None:
            raise ValueError("give either hours or a share, not both")
        if not self.hours and self.share is None and not self.languages:
            raise ValueError("say how much is wanted: --hours 300 or --share 30%")
        if bad := {name: value for name, value in self.hours.items() if value <= 0}:
            raise ValueError(f"hours must be above 0; got {bad}")
        odd = [name for name in self.pieces if not _NAME.fullmatch(name)]
        if odd or len(self.pieces) > _MOST:
            raise ValueError(
                f"up to {_MOST} pieces are named by letters, digits, _ and -; got {odd or 'more'}"
            )
        if bad := {name: value for name, value in self.languages.items() if value <= 0}:
            raise ValueError(f"weights of languages must be above 0; got {bad}")
        if self.languages and (len(self.hours) > 1 or self.share is not None):
            raise ValueError("languages are balanced in one piece of so many hours")

    @property
    def pieces(self) -> list[str]:
        """The names of the pieces, in the order in which they are drawn."""
        return list(self.hours) or [self.split]

    def rule(self, *, sharded: bool = False) -> str:
        """Say in words how the pieces are drawn, complete enough to do it again."""
        units = (
            f"Cuts stand in the order of the BLAKE2b-128 digest of 'seed/{self.by}', those of one "
            f"{self.by} in the order of the digest of 'seed/id'"
            if self.by
            else "Cuts stand in the order of the BLAKE2b-128 digest of 'seed/id'"
        )
        amounts = ", ".join(f"{name} {hours:g} h" for name, hours in self.hours.items())
        much = amounts or (f"{self.share:g} % of all hours" if self.share else "all that balances")
        end = f"the rest of a {self.by} that a piece ends in is left out" if self.by else ""
        weights = ", ".join(f"{name} {self.languages[name]:g}" for name in sorted(self.languages))
        balance = f"each language is drawn by itself, in the parts {weights}" if weights else ""
        more = "".join(f"; {part}" for part in (end, balance) if part)
        whole = "All shards" if sharded else f"Split {self.split}"
        return (
            f"{whole}. {units}. Each piece takes them one after the other until no "
            f"other number of them comes nearer to its hours ({much}){more}."
        )


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
        self._table = table = Table(kinds=())
        together, spoken = Categories(), Categories()
        ends = []  # of the files
        for path in files:
            for row in bar(read_rows(path), title=f"reading {path.parent.name}", unit="utt"):
                table.add(row)
                together.add(_group(row, by, path) if by else None)
                spoken.add(language_of(row) if languages else UNKNOWN)
            ends.append(len(table))
        self.lengths = np.rint(table.seconds() * SECOND).astype(np.int64)
        self.chances = _chances(seed, table.ids())
        self.groups = _chances(seed, together.names)[:, together.numbers - 1] if by else None
        self.languages = spoken.numbers - 1
        self.names = spoken.names
        if (twin := self._twin()) is not None:
            path = files[int(np.searchsorted(ends, twin, side="right"))]
            raise ValueError(
                f"The id {table.id(twin)!r} comes twice ({path} and before). A list could not tell "
                "the two apart: leave one folder out, or prepare it with other ids."
            )

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, chosen: NDArray[np.bool_]) -> list[str]:
        """Return the ids of some cuts, chosen by a mask, (cuts,)."""
        return [self._table.id(int(place)) for place in np.flatnonzero(chosen)]

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

    def _twin(self) -> int | None:
        """Return the place of the first cut whose id came before."""
        order = np.lexsort((self.chances[1], self.chances[0]))
        same = (self.chances[:, order[1:]] == self.chances[:, order[:-1]]).all(axis=0)
        return int(order[1:][same].min()) if same.any() else None


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

    Raises:
        ValueError: not so many hours, or a language without cuts or without a weight.
    """
    order = candidates.order()
    pieces = np.full(len(candidates), NONE, dtype=np.int8)
    if not wanted.languages:
        _take(candidates, order, _amounts(candidates, wanted), pieces)
        return pieces
    for name, amount in _by_language(candidates, wanted).items():
        own = order[candidates.languages[order] == candidates.names.index(name)]
        _take(candidates, own, {f"{wanted.pieces[0]}, language {name}": amount}, pieces)
    return pieces


def _take(
    candidates: Candidates,
    order: NDArray[np.int64],
    amounts: Mapping[str, int],
    pieces: NDArray[np.int8],
) -> None:
    ends = np.concatenate([[0], np.cumsum(candidates.lengths[order])])
    first = 0
    for number, (name, amount) in enumerate(amounts.items()):
        there = int(ends[-1] - ends[first])
        if amount > there:
            raise ValueError(
                f"Piece {name!r} wants {amount / HOUR:.4f} h, and {there / HOUR:.4f} h are there"
                f"{' beside the pieces before it' if first else ''}. Ask for less."
            )
        last = first + int(np.argmin(np.abs(ends[first:] - ends[first] - amount)))
        if last == first:
            raise ValueError(
                f"Piece {name!r} wants {amount / HOUR:g} h: nearer to none than to one utterance."
            )
        pieces[order[first:last]] = number
        first = _next_group(candidates, order, last)


def _next_group(candidates: Candidates, order: NDArray[np.int64], last: int) -> int:
    """Return where the next piece may begin: behind all of the group that the last one ends in."""
    if candidates.groups is None or last == len(order):
        return last
    ended = candidates.groups[:, order[last - 1]]
    same = (candidates.groups[:, order[last:]] == ended[:, None]).all(axis=0)
    return last + int(np.count_nonzero(same))


def _amounts(candidates: Candidates, wanted: Wanted) -> dict[str, int]:
    if wanted.share is not None:
        total = int(candidates.lengths.sum())
        return {wanted.split: round(total * wanted.share / 100)}
    return {name: round(hours * HOUR) for name, hours in wanted.hours.items()}


def _by_language(candidates: Candidates, wanted: Wanted) -> dict[str, int]:
    """Return language -> microseconds, by name; without hours as much as the scarcest allows."""
    there = {
        name: int(candidates.lengths[candidates.languages == number].sum())
        for number, name in enumerate(candidates.names)
    }
    weights = wanted.languages
    if set(weights) != set(there):
        raise ValueError(
            f"The weights speak of {', '.join(sorted(weights))}, and the cuts are in "
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
