"""An audit's outcome as text, Markdown and JSON."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_ids, write_text
from harness_bench.core.tables import columns, markdown_table
from harness_bench.leakage.compare import MEANING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness_bench.leakage.compare import Pair, SharedFinding
    from harness_bench.leakage.fingerprint.search import Unread

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


def write_lists(report: AuditReport, folder: Path) -> list[Path]:
    """Write the ids of each set's utterances that leak into `leaked.<set>.txt`.

    A set of which none leaks has a list without ids, so that an old one never stays. The lists
    are what `prepare --exclude` and `data.exclude` take (the latter refuses one without ids): leave
    out either side of a leak, not both.

    Returns:
        The files, in the order of the sets.

    Raises:
        ValueError: two sets whose names give one file name, or an id that a list cannot hold.
    """
    names = [f"leaked.{_NOT_IN_NAMES.sub('_', each.name)}.txt" for each in report.leaked]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(
                f"Two sets would write {folder / name}; name one of them otherwise (NAME=PATH)."
            )
    for name, each in zip(names, report.leaked, strict=True):
        head = f"# {len(each.reasons)} utterances of {each.name} leak\n"
        rows = [f"# {why}\n{uid}\n" for uid, why in each.reasons.items()]
        write_text(folder / name, head + "".join(rows))
        if lost := each.reasons.keys() - read_ids(folder / name):
            raise ValueError(
                f"{folder / name} cannot hold {len(lost)} ids, first {min(lost)!r}: an id must be "
                "one line, without spaces around it, and not begin with #. Leave these out by hand."
            )
    return [folder / name for name in names]


_HEAD = ("first", "second", "shared", "verdict", "values", "utterances", "hours of second")
_UNREAD_SHOWN = 20


@dataclass(frozen=True)
class AuditedSet:
    """One set in figures."""

    name: str
    utterances: int
    hours: float


@dataclass(frozen=True)
class Leaked:
    """The utterances of one set that leak."""

    name: str
    reasons: Mapping[str, str]  # id -> with which sets by which kinds, in the set's order


@dataclass(frozen=True)
class AuditReport:
    """What an audit compared and found."""

    sets: tuple[AuditedSet, ...]
    pairs: tuple[Pair, ...]
    heard: bool  # whether audio was compared by fingerprints
    unread: tuple[Unread, ...]  # utterances whose audio could not be read
    long_text: int
    allowed: tuple[str, ...]
    leaked: tuple[Leaked, ...]  # of each set, in the order of the sets

    @property
    def leaks(self) -> int:
        """Number of kinds of leaks over all pairs of sets."""
        return sum(finding.leak for pair in self.pairs for finding in pair.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        pairs = [
            {
                "first": pair.first,
                "second": pair.second,
                "leaks": pair.leaks,
                "findings": [_plain(each) for each in pair.findings],
            }
            for pair in self.pairs
        ]
        leaked = {each.name: len(each.reasons) for each in self.leaked}
        unread = [each._asdict() for each in self.unread]
        return {
            "sets": [asdict(each) for each in self.sets],
            "pairs": pairs,
            "heard": self.heard,
            "unread": unread,
            "long_text": self.long_text,
            "allowed": self.allowed,
            "leaked": leaked,
            "leaks": self.leaks,
        }

    def text(self) -> str:
        """Return tables for a terminal."""
        sets = [("set", "utterances", "hours")]
        sets += [(each.name, str(each.utterances), f"{each.hours:.2f}") for each in self.sets]
        lines = [*columns(sets), ""]
        rows = [_cells(pair, finding) for pair, finding in self._findings()]
        if rows:
            lines += [*columns([_HEAD, *rows], texts=True), "", *self._examples(), ""]
        return "\n".join([*lines, *self._notes(), self._verdict()])

    def markdown(self) -> str:
        """Return the same as a Markdown page."""
        sets = ((_cell(each.name), str(each.utterances), f"{each.hours:.2f}") for each in self.sets)
        rows = (map(_cell, _cells(*each)) for each in self._findings())
        parts = [
            "# Leakage audit",
            self._verdict(),
            markdown_table(("set", "utterances", "hours"), sets),
            markdown_table(_HEAD, rows),
            "\n".join(f"- {_cell(line.strip())}" for line in self._examples()),
            *map(_cell, self._notes()),
        ]
        return "\n\n".join(parts) + "\n"

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
        notes = [] if self.heard else ["Audio was not listened to: near-identical sound is unseen."]
        if self.unread:
            notes.append(f"{len(self.unread)} utterances could not be read and were not heard:")
            notes += [
                f"  {each.set} {each.id}: {each.reason}" for each in self.unread[:_UNREAD_SHOWN]
            ]
            if len(self.unread) > _UNREAD_SHOWN:
                notes.append(f"  and {len(self.unread) - _UNREAD_SHOWN} more; --json has them all")
        return notes

    def _verdict(self) -> str:
        pairs = [f"{pair.first} and {pair.second}" for pair in self.pairs if pair.leaks]
        if not pairs:
            return f"No leak between {len(self.sets)} sets."
        touched = ", ".join(f"{each.name} {len(each.reasons)}" for each in self.leaked)
        return (
            f"{self.leaks} leaks between {len(pairs)} pairs of sets: {'; '.join(pairs)}. "
            f"Utterances that leak: {touched}."
        )


def _plain(finding: SharedFinding) -> dict[str, Any]:
    values = {each.name: getattr(finding, each.name) for each in fields(finding)}
    del values["places"], values["names"]
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
