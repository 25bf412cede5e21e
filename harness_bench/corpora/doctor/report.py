"""Write an examination for people: Markdown with tables and plots, and a few lines to print."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import resolved
from harness_bench.core.sanitize import shorten
from harness_bench.core.tables import columns, markdown_table
from harness_bench.corpora.doctor.listen import FINDINGS, NOTES, Findings, Listening
from harness_bench.corpora.doctor.plot import CLASSES, DURATIONS
from harness_bench.cuts.store import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from harness_bench.corpora.doctor.tally import Share, Tally
    from harness_bench.corpora.doctor.verdicts import Line


@dataclass(frozen=True)
class LeftOut:
    """What `prepare` left out for one reason."""

    reason: str
    utterances: int
    first: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Examination:
    """All that was found of one prepared folder."""

    folder: Path
    corpus: str | None
    tallies: dict[str, Tally]
    lines: list[Line]
    left_out: list[LeftOut]
    findings: Findings
    listening: Listening
    known: str  # what the known figures are from; empty where there are none

    @property
    def sound(self) -> bool:
        """Whether no figure differs and no audio has a fault; notes do not count."""
        return not self.findings.faults and all(line.verdict != "differs" for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "folder": str(self.folder),
            "corpus": self.corpus,
            "sound": self.sound,
            "known": self.known,
            "figures": [asdict(line) for line in self.lines],
            "splits": {split: tally.to_dict() for split, tally in self.tallies.items()},
            "left_out": [asdict(item) for item in self.left_out],
            "listening": resolved(self.listening),
            "heard": self.findings.heard,
            "faults": self.findings.faults,
            "findings": dict(sorted(self.findings.counts.items())),
            "first_findings": {
                kind: [asdict(finding) for finding in found]
                for kind, found in sorted(self.findings.first.items())
            },
        }


_MARKS = "\\`*_[]<>|#"
_LONGEST = 160  # characters of a cell
_LINE_HEAD = ("figure", "known", "counted", "verdict", "source of the known")


def render(found: Examination) -> str:
    """Return the whole report as Markdown; what corpora say of themselves is escaped."""
    parts = [
        f"# Corpus doctor: {_text(found.corpus or found.folder.name)}",
        _verdict(found) + f"\n\nFolder: `{found.folder}`",
        "## Against what is known\n\n" + _lines(found),
        "## Splits\n\n" + _splits(found.tallies),
        *(f"## {_text(field)}\n\n" + table for field, table in _classes(found.tallies)),
        f"## Plots\n\n![Lengths of utterances]({DURATIONS})\n\n![Classes]({CLASSES})",
        "## Audio\n\n" + _audio(found),
        f"## What `prepare` left out\n\n{_left_out(found)}",
    ]
    return "\n\n".join(parts) + "\n"


def summary(found: Examination) -> str:
    """Return the verdict, every figure's line and what was found, to be printed."""
    rows = [_LINE_HEAD[:-1], *(_cells(line)[:-1] for line in found.lines)]
    lines = columns(rows, texts=True) if found.lines else []
    for split, tally in found.tallies.items():
        whole = tally.whole
        lines.append(
            f"{split}: {whole.utterances:,} utterances, {whole.hours:.2f} h, "
            f"{len(whole.speakers)} speakers, {len(whole.clusters)} programmes or videos"
        )
    lines += [
        f"{_kind(kind)}, {kind}: {count:,}" for kind, count in sorted(found.findings.counts.items())
    ]
    lines += [f"left out by prepare, {item.reason}: {item.utterances:,}" for item in found.left_out]
    return "\n".join([*lines, _verdict(found)])


def _verdict(found: Examination) -> str:
    differing = sum(line.verdict == "differs" for line in found.lines)
    unknown = f"({sum(line.verdict == 'cannot tell' for line in found.lines)} not checkable)"
    verdict = (
        f"PASS: all figures match {unknown}, no faults in the audio."
        if found.sound
        else f"FAIL: {differing} figures differ {unknown}, {found.findings.faults} audio faults."
    )
    known = "" if found.known else " No figures of this corpus are known."
    return f"{verdict}{known} {_heard(found)}"


def _heard(found: Examination) -> str:
    total = sum(tally.whole.utterances for tally in found.tallies.values())
    return f"{found.findings.heard:,} of {total:,} utterances were decoded."


def _kind(kind: str) -> str:
    return "note" if kind in NOTES else "fault"


def _cells(line: Line) -> tuple[str, ...]:
    """Return the cells of `_LINE_HEAD`; the detail of a difference begins with its verdict."""
    said = ": ".join(part for part in (line.verdict, line.detail) if part)
    said = line.detail if line.detail.startswith(line.verdict) else said
    return line.what, line.known, line.counted or "-", said, line.source


def _lines(found: Examination) -> str:
    if not found.lines:
        return "Nothing is known of this corpus; `--known FILE.toml` names figures of your own."
    return _table(_LINE_HEAD, map(_cells, found.lines))


def _splits(tallies: dict[str, Tally]) -> str:
    head = ("split", "utterances", "hours", "speakers", "programmes or videos", "with text",
            "shortest, median, longest", "rates in Hz")  # fmt: skip
    rows = [
        (
            split,
            *_figures(tally.whole),
            f"{tally.transcribed:,}",
            ", ".join(f"{tally.quantile(share):.2f} s" for share in (0, 0.5, 1)),
            ", ".join(f"{rate}: {count:,}" for rate, count in sorted(tally.rates.items())),
        )
        for split, tally in tallies.items()
    ]
    return _table(head, rows)


def _classes(tallies: dict[str, Tally]) -> Iterator[tuple[str, str]]:
    fields = dict.fromkeys(name for tally in tallies.values() for name in tally.classes)
    for field in fields:
        rows = [
            (value, split, *_figures(share)[:3])
            for value in sorted({v for tally in tallies.values() for v in tally.classes[field]})
            for split, tally in tallies.items()
            if (share := tally.classes[field].get(value)) is not None
        ]
        if rows:
            yield field, _table((field, "split", "utterances", "hours", "speakers"), rows)


def _figures(share: Share) -> tuple[str, str, str, str]:
    return (
        f"{share.utterances:,}",
        f"{share.hours:.2f}",
        f"{len(share.speakers):,}",
        f"{len(share.clusters):,}",
    )


def _audio(found: Examination) -> str:
    findings = found.findings
    if not findings.counts:
        return f"{_heard(found)} Nothing was found."
    rows = [
        (example.kind, _kind(kind), f"{findings.counts[kind]:,}",
         example.id, example.split, example.detail)
        for kind, examples in sorted(findings.first.items())
        for example in examples
    ]  # fmt: skip
    head = ("kind", "counts as", "of this kind", "the first", "split", "detail")
    return f"{_heard(found)} All findings are in [{FINDINGS}]({FINDINGS}).\n\n{_table(head, rows)}"


def _left_out(found: Examination) -> str:
    if not found.left_out:
        return "Nothing."
    rows = [
        (item.reason, f"{item.utterances:,}", row.get("id", ""), row.get("detail", ""),
         row.get("where", ""))
        for item in found.left_out
        for row in item.first
    ]  # fmt: skip
    head = ("reason", "of this reason", "the first", "detail", "where")
    return f"All are in `{SKIPPED}` beside the cuts.\n\n{_table(head, rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return markdown_table(head, (map(_text, row) for row in rows))


def _text(value: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return "".join(f"\\{sign}" if sign in _MARKS else sign for sign in shorten(value, _LONGEST))
