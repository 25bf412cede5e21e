"""One split or set of utterances as columns: some 150 bytes each, so that millions fit in memory.

Whatever asks about many cuts at once (`prepare`'s report, the audit, the doctor, `subset`) reads
them once into such a table, asking for the columns that it needs.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Self

import numpy as np

from harness_bench.core.files import digest_strings
from harness_bench.cuts.fields import digest_of, field_of, member, source_of, span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.cuts.fields import Row

type Span = tuple[float, float]  # start and end in seconds

NAMED = ("speaker", "cluster")  # few and telling: their names are kept
LABEL_FIELDS = ("label", "emotion", "dialect")
PLACED = ("recording", "cluster")  # kinds of things in which a cut has a place in time

# Kind of thing that sets may share -> an utterance's value, None or empty where it has none.
_VALUES: dict[str, Callable[[Cut | Row], str | None]] = {
    "id": lambda cut: member(cut, "id"),
    "speaker": lambda cut: field_of(cut, "speaker"),
    "cluster": lambda cut: field_of(cut, "cluster"),
    # Its file, or its id where the audio lies in shards.
    "recording": lambda cut: (
        member(member(cut, "recording"), "id") if (file := source_of(cut)) is None else file
    ),
    "audio": digest_of,
    "text": lambda cut: field_of(cut, "text"),
    "recording id": lambda cut: member(member(cut, "recording"), "id"),
    "supervision id": lambda cut: member((member(cut, "supervisions") or [None])[0], "id"),
}
SPAN = "span"  # not a value but a place in time, in each of `PLACED`
KINDS = ("id", "speaker", "cluster", "recording", "audio", "text", SPAN)


def value_of(cut: Cut | Row, kind: str) -> str | None:
    """Return a cut's value of one kind of thing that sets may share."""
    return _VALUES[kind](cut)


class Categories:
    """A field of few values as a column: of each cut the number of its value, 0 for none.

    The names of `most` values are kept; all beyond are the number `most` + 1.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._numbers, self._known = array("i"), {"": 0}

    def add(self, value: str | None) -> None:
        """Take in the value of the next cut."""
        number = self._known.get(value or "")
        if number is None:
            number = len(self._known)
            if self.most is None or number <= self.most:
                self._known[value or ""] = number
        self._numbers.append(number)

    @property
    def numbers(self) -> NDArray[np.int32]:
        """The numbers, (cuts,)."""
        return np.frombuffer(self._numbers, dtype=np.int32)

    @property
    def names(self) -> list[str]:
        """The values, in the order of their numbers from 1 on."""
        return list(self._known)[1:]

    @property
    def crowded(self) -> bool:
        """Whether there are more than `most` values."""
        return self.most is not None and bool((self.numbers > self.most).any())


class Table:
    """Of each utterance its id, length, place in time, and a hash per kind of thing.

    Args:
        name: what reports call the set.
        origin: what tells its corpus from others; empty where that is unknown.
        has_cuts: whether it is more than a bare list of ids.
        kinds: of what, such as `KINDS`, a hash is kept.
        categories: fields of few values -> of how many the names are kept (None: of all).
    """

    def __init__(
        self,
        name: str = "",
        *,
        origin: str = "",
        has_cuts: bool = True,
        kinds: Sequence[str] = KINDS,
        categories: dict[str, int | None] | None = None,
    ) -> None:
        self.name, self.origin, self.has_cuts = name, origin, has_cuts
        self.names: dict[int, str] = {}  # hash -> speaker or cluster
        self.categories = {field: Categories(most) for field, most in (categories or {}).items()}
        self._hashes = {kind: array("q") for kind in kinds if kind != SPAN}
        placed = [kind for kind in PLACED if kind in kinds and SPAN in kinds]
        self._places = {kind: (array("q"), array("q")) for kind in placed}
        self._seconds, self._words = array("d"), array("i")
        self._ids, self._ends = bytearray(), array("q")

    def add(self, cut: Cut | Row) -> None:
        """Take in one utterance; foreign ones may say nothing but their id."""
        self._ids += str(member(cut, "id")).encode()
        self._ends.append(len(self._ids))
        self._seconds.append(float(member(cut, "duration") or 0.0))
        for kind, hashes in self._hashes.items():
            value = str(_VALUES[kind](cut) or "")
            if kind == "text":
                words = value.split()
                value = " ".join(words)
                self._words.append(len(words))
            known = _hash(value) if value else 0
            hashes.append(known)
            if known and kind in NAMED:
                self.names.setdefault(known, value)
        for field, column in self.categories.items():
            column.add(field_of(cut, field))
        for kind, (starts, ends) in self._places.items():
            start, end = (
                (field_of(cut, "video_start"), field_of(cut, "video_end"))
                if kind == "cluster"
                else span_of(cut)
            )
            starts.append(_milliseconds(start))
            ends.append(_milliseconds(end))

    def extend(self, cuts: Iterable[Cut | Row]) -> Self:
        """Take in utterances; return the table."""
        for cut in cuts:
            self.add(cut)
        return self

    def __len__(self) -> int:
        return len(self._ends)

    def id(self, place: int) -> str:
        """Return the id of one utterance."""
        first = self._ends[place - 1] if place else 0
        return self._ids[first : self._ends[place]].decode()

    def ids(self) -> Iterator[str]:
        """Yield all ids in the order they came."""
        return map(self.id, range(len(self)))

    def order(self) -> list[int]:
        """Return the places of all utterances, by id."""
        return sorted(range(len(self)), key=list(self.ids()).__getitem__)

    def digest(self) -> str:
        """Return the digest of the sorted ids."""
        return digest_strings(sorted(self.ids()))

    @property
    def placed(self) -> tuple[str, ...]:
        """The kinds of things in which places in time are kept."""
        return tuple(self._places)

    def hashes(self, kind: str) -> NDArray[np.int64]:
        """Return 64 bits of BLAKE2b of each value of a kind, 0 where there is none, (cuts,)."""
        return np.frombuffer(self._hashes[kind], dtype=np.int64)

    def words(self) -> NDArray[np.int32]:
        """Return the lengths of the texts in words, (cuts,)."""
        return np.frombuffer(self._words, dtype=np.int32)

    def seconds(self) -> NDArray[np.float64]:
        """Return the durations, (cuts,)."""
        return np.frombuffer(self._seconds, dtype=np.float64)

    def spans(self, kind: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return starts and ends in recording or cluster (by the file's name), in ms."""
        starts, ends = self._places[kind]
        return np.frombuffer(starts, dtype=np.int64), np.frombuffer(ends, dtype=np.int64)

    @property
    def hours(self) -> float:
        """The hours of all utterances."""
        return float(self.seconds().sum()) / 3600

    def describe(self) -> SplitReport:
        """Put the split in figures; needs `LABEL_FIELDS` as categories."""
        columns = (self.categories[name] for name in LABEL_FIELDS)
        labels = next((column for column in columns if column.names), Categories())
        counts = Counter(labels.numbers.tolist())
        return SplitReport(
            utterances=len(self),
            hours=round(self.hours, 4),
            speakers=distinct(self.hashes("speaker")),
            transcribed=int(np.count_nonzero(self.hashes("text"))),
            digest=self.digest(),
            labels=dict(sorted((name, counts[at]) for at, name in enumerate(labels.names, 1))),
        )


@dataclass(frozen=True)
class SplitReport:
    """One split in figures."""

    utterances: int
    hours: float
    speakers: int
    transcribed: int
    digest: str  # of the sorted utterance ids
    labels: dict[str, int]  # label -> utterances, of the first of `LABEL_FIELDS` there is


def distinct(hashes: NDArray[np.int64]) -> int:
    """Count the different values among hashes; 0 is none."""
    return int(np.count_nonzero(np.unique(hashes)))


def _milliseconds(seconds: float | str | None) -> int:
    try:
        return round(float(seconds or 0) * 1000)
    except (ValueError, OverflowError):
        return 0


def _hash(value: str) -> int:
    """Return 64 bits that are the same in every process; never 0."""
    return int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), signed=True) or 1
