"""Count a split: lengths, speakers, programmes and classes, one cut at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness_bench.corpora.base import REFERENCE
from harness_bench.cuts import store
from harness_bench.cuts.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness_bench.cuts.store import Row

CLASS_FIELDS = ("label", *FIELDS)
MOST_CLASSES = 200  # a field of more values, such as a word list, is no class to be tabled
_UNKNOWN = hash(None)
_STEP = 100  # lengths are counted in hundredths of a second


@dataclass
class Share:
    """A part of a split, such as the cuts of one dialect."""

    utterances: int = 0
    seconds: float = 0.0
    speakers: set[int] = field(default_factory=set)  # hashes
    clusters: set[int] = field(default_factory=set)

    @property
    def hours(self) -> float:
        """Length of all cuts."""
        return self.seconds / 3600

    def add(self, seconds: float, speaker: int, cluster: int) -> None:
        """Take in one cut, with the hashes of its speaker and cluster."""
        self.utterances += 1
        self.seconds += seconds
        if speaker != _UNKNOWN:
            self.speakers.add(speaker)
        if cluster != _UNKNOWN:
            self.clusters.add(cluster)

    def merged(self, other: Share) -> Share:
        """Return both parts together."""
        return Share(
            self.utterances + other.utterances,
            self.seconds + other.seconds,
            self.speakers | other.speakers,
            self.clusters | other.clusters,
        )


class Tally:
    """One split, counted. Memory grows with speakers, programmes and classes, not with cuts."""

    def __init__(self) -> None:
        self.whole = Share()
        self.lengths: Counter[int] = Counter()  # hundredths of a second -> cuts
        self.rates: Counter[int] = Counter()  # Hz of the files -> cuts
        self.mixed_down = 0
        self.transcribed = 0
        self.having: dict[str, Share] = {}  # field of one annotator's text -> cuts that have it
        self.classes: dict[str, dict[str, Share]] = {name: {} for name in CLASS_FIELDS}
        self.no_classes: set[str] = set()  # fields of too many values
        self._ids = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """BLAKE2b-128 of the ids in the order they came, as in a prepared folder's report."""
        return self._ids.hexdigest()

    def add(self, row: Row) -> None:
        """Take in one cut."""
        seconds, known = float(row["duration"]), store.fields(row)
        about = hash(known.get("speaker")), hash(known.get("cluster"))
        self._ids.update(row["id"].encode() + b"\0")
        self.whole.add(seconds, *about)
        self.lengths[round(seconds * _STEP)] += 1
        self.rates[int(row["recording"]["sampling_rate"])] += 1
        self.mixed_down += isinstance(row.get("channel"), list)
        self.transcribed += "text" in known
        for name, value in known.items():
            if name in self.classes:
                self._classify(name, value, seconds, about)
            elif name.startswith(REFERENCE):
                _share(self.having, name).add(seconds, *about)

    def _classify(self, name: str, value: str, seconds: float, about: tuple[int, int]) -> None:
        known = self.classes[name]
        if name in self.no_classes:
            return
        if value not in known and len(known) == MOST_CLASSES:
            self.no_classes.add(name)
            known.clear()
            return
        _share(known, value).add(seconds, *about)

    def quantile(self, share: float) -> float:
        """Return the length in seconds, to 0.01 s, that this share of the cuts does not exceed."""
        wanted, seen = share * self.whole.utterances, 0
        for length in sorted(self.lengths):
            seen += self.lengths[length]
            if seen >= wanted:
                return length / _STEP
        return 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        names = ("shortest", "median", "longest")
        lengths = zip(names, map(self.quantile, (0, 0.5, 1)), strict=True)
        return {
            **_figures(self.whole),
            "transcribed": self.transcribed,
            "seconds": dict(lengths),
            "sampling_rates": {str(rate): self.rates[rate] for rate in sorted(self.rates)},
            "mixed_down": self.mixed_down,
            "digest": self.digest,
            "classes": {
                name: {value: _figures(known[value]) for value in sorted(known)}
                for name, known in self.classes.items()
                if known
            },
            "fields_of_too_many_values": sorted(self.no_classes),
        }


def count(rows: Iterable[Row]) -> Tally:
    """Count the cuts of one split."""
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally


def _share(known: dict[str, Share], name: str) -> Share:
    """Return the part of a name, a new one where there is none."""
    if (share := known.get(name)) is None:
        share = known[name] = Share()
    return share


def _figures(share: Share) -> dict[str, float]:
    return {
        "utterances": share.utterances,
        "hours": round(share.hours, 4),
        "speakers": len(share.speakers),
        "clusters": len(share.clusters),
    }
