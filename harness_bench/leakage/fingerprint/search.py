"""Find the same sound in several sets by fingerprints, all audio read once.

The largest set streams past the others, which alone stand in memory: about 160 landmarks of 12
bytes for each second of theirs, 7 MB an hour, and 21 MB while they are sorted.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.core.log import bar
from harness_bench.leakage.compare import Hit
from harness_bench.leakage.fingerprint.cache import Fingerprints
from harness_bench.leakage.fingerprint.index import Builder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lhotse.cut import Cut

    from harness_bench.cuts.table import Table
    from harness_bench.leakage.audit_sets import AuditSet
    from harness_bench.leakage.fingerprint.index import Index, Match
    from harness_bench.leakage.fingerprint.landmarks import Landmarks

_BATCH = 64  # utterances handed to the workers at a time; of shards, with their audio


class Unread(NamedTuple):
    """An utterance whose audio could not be read, so that its sound was not compared."""

    set: str
    id: str
    reason: str


class Heard(NamedTuple):
    """What fingerprints told."""

    hits: dict[tuple[int, int], list[Hit]]  # of each two sets, the one that comes first first
    unread: list[Unread]


class _Looked(NamedTuple):
    found: Landmarks
    matches: list[list[Match]]  # of each index
    reason: str  # why it could not be read; empty where it could


def hear(
    sets: Sequence[AuditSet],
    tables: Sequence[Table],
    jobs: int = 0,
    fingerprints: Fingerprints | None = None,
) -> Heard:
    """Find the same sound between any two sets.

    Args:
        sets: as opened; bare lists of ids have no sound.
        tables: of the same sets.
        jobs: files read at a time; 0 takes all cores.
        fingerprints: where they are kept; None computes all.
    """
    fingerprints = fingerprints or Fingerprints()
    order = sorted(
        (number for number, each in enumerate(sets) if each.has_cuts),
        key=lambda number: tables[number].hours,
    )
    heard = Heard({}, [])
    known: dict[int, Index] = {}
    for number in order:
        builder = Builder() if number != order[-1] else None
        looked = _looked_up(sets[number], list(known.values()), jobs, fingerprints)
        for place, each in enumerate(
            bar(looked, title=f"listening to {sets[number].name}", total=len(tables[number]))
        ):
            if each.reason:
                name, uid = sets[number].name, tables[number].id(place)
                heard.unread.append(Unread(name, uid, each.reason))
            if builder is not None:
                builder.add(each.found)
            for other, matches in zip(known, each.matches, strict=True):
                _keep(heard, number, place, other, matches)
        if builder is not None:
            known[number] = builder.build()
    return heard


def _keep(heard: Heard, number: int, place: int, other: int, matches: list[Match]) -> None:
    """Put the matches of one utterance where its two sets stand in order."""
    pair = (min(number, other), max(number, other))
    for match in matches:
        swapped = number > other
        heard.hits.setdefault(pair, []).append(
            Hit(
                first=match.row if swapped else place,
                second=place if swapped else match.row,
                votes=match.votes,
                offset=match.offset if swapped else -match.offset,
                seconds=match.seconds,
            )
        )


def _looked_up(
    found: AuditSet, indexes: list[Index], jobs: int, fingerprints: Fingerprints
) -> Iterator[_Looked]:
    """Fingerprint a set and look every utterance up, in order, with several threads."""

    def look(cut: Cut) -> _Looked:
        sound, reason = fingerprints.of(cut)
        return _Looked(sound, [index.matches(sound) for index in indexes], reason)

    # Threads suffice: decoding, transforms, filters and sorting release the interpreter lock.
    with ThreadPoolExecutor(jobs or os.cpu_count()) as workers:
        for batch in batched(found.cuts(), _BATCH):
            yield from workers.map(look, batch)
