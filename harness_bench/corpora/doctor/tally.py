"""Count a split: lengths, speakers, programmes and classes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.core.files import digest_strings
from harness_bench.cuts.fields import TAG_FIELDS, field_of
from harness_bench.cuts.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from harness_bench.cuts.fields import Row

CLASS_FIELDS = ("label", *TAG_FIELDS)
MOST_CLASSES = 200  # a field of more values, such as a word list, is no class to be tabled


@dataclass(frozen=True)
class Share:
    """A part of a split, such as the cuts of one dialect."""

    utterances: int = 0
    seconds: float = 0.0
    speakers: frozenset[int] = frozenset()  # hashes
    clusters: frozenset[int] = frozenset()

    @property
    def hours(self) -> float:
        """Length of all cuts."""
        return self.seconds / 3600

    def figures(self) -> dict[str, float]:
        """Return its utterances, hours, speakers and clusters, all but the hours whole numbers."""
        return {
            "utterances": self.utterances,
            "hours": self.hours,
            "speakers": len(self.speakers),
            "clusters": len(self.clusters),
        }

    def merged(self, other: Share) -> Share:
        """Return both parts together."""
        return Share(
            self.utterances + other.utterances,
            self.seconds + other.seconds,
            self.speakers | other.speakers,
            self.clusters | other.clusters,
        )


class Tally:
    """One split, counted; `references` are fields of annotators' texts, for `having`."""

    def __init__(self, rows: Iterable[Row], references: Iterable[str] = ()) -> None:
        categories: dict[str, int | None] = dict.fromkeys(CLASS_FIELDS, MOST_CLASSES)
        self._table = Table(
            kinds=("speaker", "cluster"), categories=categories | dict.fromkeys(references, 0)
        )
        self.rates: Counter[int] = Counter()  # Hz of the files -> cuts
        self.mixed_down = self.transcribed = 0
        for row in rows:
            self._table.add(row)
            self.rates[int(row["recording"]["sampling_rate"])] += 1
            self.mixed_down += isinstance(row.get("channel"), list)
            self.transcribed += field_of(row, "text") is not None

    @cached_property
    def digest(self) -> str:
        """BLAKE2b-128 of the ids in the order they came, as in a prepared folder's report."""
        return digest_strings(self._table.ids())

    @cached_property
    def whole(self) -> Share:
        """All cuts."""
        return self._share(np.ones(len(self._table), dtype=bool))

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """Return the lengths in seconds, to 0.01 s, (cuts,) ascending."""
        return np.sort(np.rint(self._table.seconds() * 100)) / 100

    @cached_property
    def classes(self) -> dict[str, dict[str, Share]]:
        """Return field -> value -> its cuts; of a field of too many values, none."""
        columns = {field: self._table.categories[field] for field in CLASS_FIELDS}
        return {
            field: {
                name: self._share(column.numbers == number)
                for number, name in enumerate([] if column.crowded else column.names, 1)
            }
            for field, column in columns.items()
        }

    def having(self, reference: str) -> Share:
        """Return the cuts that have one annotator's text."""
        return self._share(self._table.categories[reference].numbers > 0)

    def quantile(self, share: float) -> float:
        """Return the length in seconds that this share of the cuts does not exceed."""
        place = max(0, math.ceil(share * len(self.lengths)) - 1)
        return float(self.lengths[place]) if len(self.lengths) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        names = ("shortest", "median", "longest")
        columns = self._table.categories
        return {
            **_rounded(self.whole),
            "transcribed": self.transcribed,
            "seconds": dict(zip(names, map(self.quantile, (0, 0.5, 1)), strict=True)),
            "sampling_rates": {str(rate): self.rates[rate] for rate in sorted(self.rates)},
            "mixed_down": self.mixed_down,
            "digest": self.digest,
            "classes": {
                name: {value: _rounded(known[value]) for value in sorted(known)}
                for name, known in self.classes.items()
                if known
            },
            "fields_of_too_many_values": sorted(
                name for name in CLASS_FIELDS if columns[name].crowded
            ),
        }

    def _share(self, chosen: NDArray[np.bool_]) -> Share:
        speakers, clusters = (
            frozenset(np.unique(self._table.hashes(kind)[chosen]).tolist()) - {0}
            for kind in ("speaker", "cluster")
        )
        seconds = float(self._table.seconds()[chosen].sum())
        return Share(int(chosen.sum()), seconds, speakers, clusters)


def _rounded(share: Share) -> dict[str, float]:
    return {**share.figures(), "hours": round(share.hours, 4)}
