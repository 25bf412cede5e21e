"""The audit: open the sets, compare every two, listen to their audio; report what leaks."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_ids, write_text
from harness_bench.core.log import bar
from harness_bench.core.tables import columns, markdown_table
from harness_bench.leakage.audit_sets import open_sets
from harness_bench.leakage.compare import ALL_KINDS, LONG_TEXT, MEANING, compare
from harness_bench.leakage.fingerprints import Fingerprints, Heard, hear
from harness_bench.leakage.index import SPEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness_bench.cuts.table import Table
    from harness_bench.leakage.compare import Pair, SharedFinding
    from harness_bench.leakage.fingerprints import Unread

_FEWEST = 2
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_SETS_HEAD = ("set", "utterances", "hours")
_HEAD = ("first", "second", "shared", "verdict", "values", "utterances", "hours of second")
_UNREAD_SHOWN = 20


def audit(
    names: Sequence[str | Path],
    *,
    listen: bool = True,
    long_text: int = LONG_TEXT,
    allow: Sequence[str] = (),
    jobs: int = 0,
    cache: Fingerprints | str | Path | None = None,
    speeds: tuple[float, float] | None = SPEEDS,
) -> AuditReport:
    """Find speakers, recordings, audio or texts that any two sets share.

    Args:
        names: sets as `[NAME=]PATH[:SPLIT][@IDS]`, see `open_sets`.
        listen: read all audio and compare acoustic fingerprints.
        long_text: number of words from which an equal text is a leak.
        allow: kinds that are reported but do not count as a leak, such as speaker.
        jobs: audio files read in parallel; 0: one per CPU core.
        cache: folder that caches fingerprints for later audits; None: no cache.
        speeds: slowest and fastest speed factor at which copies are found; None: only 1.

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
    heard = hear(sets, tables, jobs, known, speeds) if listen else Heard({}, [])
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
        sets=tuple(
            AuditedSet(each.name, len(each), round(each.hours, 4), _leaked(each, pairs))
            for each in tables
        ),
        pairs=pairs,
        heard=listen,
        unread=tuple(heard.unread),
        long_text=long_text,
        allowed=tuple(allow),
        speeds=speeds if listen else None,
    )


def _leaked(table: Table, pairs: Sequence[Pair]) -> dict[str, str]:
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
    return {table.id(place): ", ".join(why[place]) for place in sorted(why)}


@dataclass(frozen=True)
class AuditedSet:
    """One set in figures, and which of its utterances leak."""

    name: str
    utterances: int
    hours: float
    # id -> with which sets by which kinds, in the set's order
    leaked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditReport:
    """What an audit compared and found."""

    sets: tuple[AuditedSet, ...]
    pairs: tuple[Pair, ...]
    heard: bool  # whether audio was compared by fingerprints
    unread: tuple[Unread, ...]  # utterances whose audio could not be read
    long_text: int
    allowed: tuple[str, ...]
    speeds: tuple[float, float] | None  # of copies that were looked for; None: unchanged ones

    @property
    def leaks(self) -> int:
        """Number of kinds of leaks over all pairs of sets."""
        return sum(finding.leak for _, finding in self._findings())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        sets = [asdict(each) for each in self.sets]
        leaked = {each["name"]: len(each.pop("leaked")) for each in sets}
        pairs = [
            {
                "first": pair.first,
                "second": pair.second,
                "leaks": pair.leaks,
                "findings": [_plain(each) for each in pair.findings],
            }
            for pair in self.pairs
        ]
        return {
            "sets": sets,
            "pairs": pairs,
            "heard": self.heard,
            "speeds": self.speeds,
            "unheard": self._unheard(),
            "unread": [each._asdict() for each in self.unread],
            "long_text": self.long_text,
            "allowed": self.allowed,
            "leaked": leaked,
            "leaks": self.leaks,
        }

    def text(self) -> str:
        """Return tables for a terminal."""
        lines = [*columns([_SETS_HEAD, *self._figures()]), ""]
        if rows := [_cells(*each) for each in self._findings()]:
            lines += [*columns([_HEAD, *rows], texts=True), "", *self._examples(), ""]
        return "\n".join([*lines, *self._notes(), self._verdict()])

    def markdown(self) -> str:
        """Return the same as a Markdown page."""
        parts = [
            "# Leakage audit",
            self._verdict(),
            markdown_table(_SETS_HEAD, (map(_cell, row) for row in self._figures())),
            markdown_table(_HEAD, (map(_cell, _cells(*each)) for each in self._findings())),
            "\n".join(f"- {_cell(line.strip())}" for line in self._examples()),
            *map(_cell, self._notes()),
        ]
        return "\n\n".join(parts) + "\n"

    def _figures(self) -> list[tuple[str, str, str]]:
        return [(each.name, str(each.utterances), f"{each.hours:.2f}") for each in self.sets]

    def _findings(self) -> Iterator[tuple[Pair, SharedFinding]]:
        return ((pair, finding) for pair in self.pairs for finding in pair.findings)

    def _examples(self) -> Iterator[str]:
        """Yield a line per kind and pair: what it means, and cases of it."""
        for pair, finding in self._findings():
            cases = "; ".join(
                f"{each.first} and {each.second}{f' ({each.detail})' if each.detail else ''}"
                for each in finding.examples
            )
            why = f" (no leak: {finding.why})" if finding.why else ""
            yield f"{pair.first} and {pair.second}, {MEANING[finding.kind]}{why}: {cases}"

    def _notes(self) -> list[str]:
        notes = []
        if self.unread:
            notes.append(f"{len(self.unread)} utterances could not be read and were not heard:")
            shown = self.unread[:_UNREAD_SHOWN]
            notes += [f"  {each.set} {each.id}: {each.reason}" for each in shown]
            if more := len(self.unread) - len(shown):
                notes.append(f"  and {more} more; --json has them all")
        return notes

    def _unheard(self) -> str:
        """Say which copies were not listened for, or may not be heard (docs/corpora.md)."""
        if not self.heard:
            return "Audio was not listened to: near-identical sound is unseen."
        low, high = self.speeds or (1, 1)
        speeds = f"speeds below {low:g} or above {high:g}" if self.speeds else "another speed"
        return (
            f"Not heard, or not always: copies at {speeds} (--speeds); tempo or pitch changed "
            "alone by more than 2 %; sound under 1.5 s, single words at another speed above all; "
            "speech under noise less than 10 dB below it, or under the echo of a room."
        )

    def _verdict(self) -> str:
        return f"{self._found()} {self._unheard()}"

    def _found(self) -> str:
        pairs = [f"{pair.first} and {pair.second}" for pair in self.pairs if pair.leaks]
        if not pairs:
            return f"No leak between {len(self.sets)} sets."
        touched = ", ".join(f"{each.name} {len(each.leaked)}" for each in self.sets)
        return (
            f"{self.leaks} leaks between {len(pairs)} pairs of sets: {'; '.join(pairs)}. "
            f"Utterances that leak: {touched}."
        )


def _plain(finding: SharedFinding) -> dict[str, Any]:
    left_out = ("places", "names", "examples")
    values = {key: value for key, value in vars(finding).items() if key not in left_out}
    return {**values, "examples": [each._asdict() for each in finding.examples]}


def _cells(pair: Pair, finding: SharedFinding) -> tuple[str, ...]:
    return (
        pair.first,
        pair.second,
        finding.kind,
        "LEAK" if finding.leak else "note",
        str(finding.values),
        f"{finding.first_utterances} / {finding.second_utterances}",
        f"{finding.second_hours:.4f}",
    )


def _cell(text: str) -> str:
    """Escape what Markdown would take for signs of its own."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def write_lists(report: AuditReport, folder: Path) -> list[Path]:
    """Write the ids of each set's utterances that leak into `leaked.<set>.txt`.

    A set of which none leaks has a list without ids, so that an old one never stays. The lists
    are what `prepare --exclude` and `data.exclude` take (the latter refuses one without ids): leave
    out either side of a leak, not both.

    Raises:
        ValueError: two sets whose names give one file name, or an id that a list cannot hold.
    """
    paths = [folder / f"leaked.{_NOT_IN_NAMES.sub('_', each.name)}.txt" for each in report.sets]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise ValueError(
                f"Two sets would write {path}; name one of them otherwise (NAME=PATH)."
            )
    for path, each in zip(paths, report.sets, strict=True):
        head = f"# {len(each.leaked)} utterances of {each.name} leak\n"
        write_text(path, head + "".join(f"# {why}\n{uid}\n" for uid, why in each.leaked.items()))
        if lost := each.leaked.keys() - read_ids(path):
            raise ValueError(
                f"{path} cannot hold {len(lost)} ids, first {min(lost)!r}: an id must be one line, "
                "without spaces around it, and not begin with #. Leave these out by hand."
            )
    return paths
