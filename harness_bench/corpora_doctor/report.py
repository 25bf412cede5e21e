"""Write an examination for people: Markdown with tables and plots, and a few lines to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.corpora.report import SKIPPED
from harness_bench.corpora_doctor.listen import FINDINGS, NOTES
from harness_bench.corpora_doctor.plot import CLASSES, DURATIONS
from harness_bench.text_table import columns
from harness_bench.untrusted import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness_bench.corpora_doctor.examine import Examination
    from harness_bench.corpora_doctor.tally import Share, Tally

_MARKS = "\\`*_[]<>|#"
_LONGEST = 160  # characters of a cell


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
    rows = [["figure", "known", "counted", "verdict"]]
    rows += [
        [line.what, line.known, line.counted or "-", _said(line.verdict, line.detail)]
        for line in found.lines
    ]
    lines = columns(rows, texts=True) if found.lines else []
    for split, tally in found.tallies.items():
        whole = tally.whole
        lines.append(
            f"{split}: {whole.utterances:,} utterances, {whole.hours:.2f} h, "
            f"{len(whole.speakers)} speakers, {len(whole.clusters)} programmes or videos"
        )
    lines += [
        f"{'note' if kind in NOTES else 'fault'}, {kind}: {count:,}"
        for kind, count in sorted(found.findings.counts.items())
    ]
    lines += [f"left out by prepare, {item.reason}: {item.utterances:,}" for item in found.left_out]
    return "\n".join([*lines, _verdict(found)])


def _verdict(found: Examination) -> str:
    differing = sum(line.verdict == "differs" for line in found.lines)
    untold = sum(line.verdict == "cannot tell" for line in found.lines)
    known = "" if found.known else " Nothing is known of this corpus to compare it with."
    heard = f"{found.findings.heard:,} of {_total(found.tallies):,} utterances were decoded."
    if found.sound:
        return (
            f"Sound: no figure differs ({untold} cannot be told), no audio at fault.{known} {heard}"
        )
    return (
        f"Not sound: {differing} figures differ ({untold} cannot be told), "
        f"{found.findings.faults} faults of audio.{known} {heard}"
    )


def _total(tallies: dict[str, Tally]) -> int:
    return sum(tally.whole.utterances for tally in tallies.values())


def _said(verdict: str, detail: str) -> str:
    """Put verdict and detail together; the detail of a difference begins with its verdict."""
    if detail.startswith(verdict):
        return detail
    return f"{verdict}: {detail}" if detail else verdict


def _lines(found: Examination) -> str:
    if not found.lines:
        return "Nothing is known of this corpus; `--known FILE.toml` names figures of your own."
    rows = [
        (line.what, line.known, line.counted or "-", _said(line.verdict, line.detail), line.source)
        for line in found.lines
    ]
    return _table(("figure", "known", "counted", "verdict", "source of the known"), rows)


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
    """Yield each field with a table of its classes in every split."""
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
    heard = f"{findings.heard:,} of {_total(found.tallies):,} utterances were decoded."
    if not findings.counts:
        return f"{heard} Nothing was found."
    rows = [
        (example.kind, "note" if kind in NOTES else "fault", f"{findings.counts[kind]:,}",
         example.id, example.split, example.detail)
        for kind, examples in sorted(findings.first.items())
        for example in examples
    ]  # fmt: skip
    head = ("kind", "counts as", "of this kind", "the first", "split", "detail")
    return f"{heard} All findings are in [{FINDINGS}]({FINDINGS}).\n\n{_table(head, rows)}"


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
    lines = [head, ["---"] * len(head), *(map(_text, row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(value: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return "".join(f"\\{sign}" if sign in _MARKS else sign for sign in shorten(value, _LONGEST))
