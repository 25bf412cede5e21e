"""Run an audit: open the sets, compare every two, listen to their audio."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.log import bar
from harness_bench.leakage.audit_sets import open_sets
from harness_bench.leakage.compare import ALL_KINDS, LONG_TEXT, compare
from harness_bench.leakage.fingerprint.cache import Fingerprints
from harness_bench.leakage.fingerprint.search import Heard, hear
from harness_bench.leakage.report import AuditedSet, AuditReport, Leaked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.cuts.table import Table
    from harness_bench.leakage.compare import Pair

_FEWEST = 2


def audit(
    names: Sequence[str | Path],
    *,
    listen: bool = True,
    long_text: int = LONG_TEXT,
    allow: Sequence[str] = (),
    jobs: int = 0,
    cache: Fingerprints | str | Path | None = None,
) -> AuditReport:
    """Find what any two sets share: speakers, recordings, audio, texts.

    Args:
        names: see `open_sets`.
        listen: read all audio and compare its fingerprints.
        long_text: words from which an equal text is a leak.
        allow: kinds that are reported but are no leak, such as speaker.
        jobs: audio files read at a time; 0 takes all cores.
        cache: folder that keeps fingerprints for later audits; None computes all.

    Raises:
        ValueError: an unknown kind, fewer than two sets, or one that cannot be read.
    """
    if unknown := [kind for kind in allow if kind not in ALL_KINDS]:
        raise ValueError(
            f"There is no kind {unknown[0]!r} to allow; known: {', '.join(ALL_KINDS)}."
        )
    given = [*map(str, names)]
    sets = open_sets(given)
    if len(sets) < _FEWEST:
        raise ValueError(
            f"An audit compares two sets or more; {', '.join(given) or 'nothing'} holds "
            f"{len(sets)}."
        )
    tables = [each.table() for each in bar(sets, title="reading", unit="set")]
    known = Fingerprints(Path(cache)) if isinstance(cache, str | Path) else cache
    heard = hear(sets, tables, jobs, known) if listen else Heard({}, [])
    pairs = tuple(
        compare(
            tables[first],
            tables[second],
            long_text=long_text,
            near=heard.hits.get((first, second), ()),
            allow=allow,
        )
        for first, second in combinations(range(len(sets)), 2)
    )
    return AuditReport(
        sets=tuple(AuditedSet(each.name, len(each), round(each.hours, 4)) for each in tables),
        pairs=pairs,
        heard=listen,
        unread=tuple(heard.unread),
        long_text=long_text,
        allowed=tuple(allow),
        leaked=tuple(_leaked(each, pairs) for each in tables),
    )


def _leaked(table: Table, pairs: Sequence[Pair]) -> Leaked:
    why: dict[int, list[str]] = defaultdict(list)
    for pair in pairs:
        if table.name not in (pair.first, pair.second):
            continue
        side = int(table.name == pair.second)
        other = (pair.second, pair.first)[side]
        for finding in pair.findings:
            if finding.leak:
                for place in finding.places[side].tolist():
                    why[place].append(f"{finding.kind} with {other}")
    return Leaked(table.name, {table.id(place): ", ".join(why[place]) for place in sorted(why)})
