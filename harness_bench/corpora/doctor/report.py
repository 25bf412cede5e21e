"""Write an examination for people: Markdown with tables, two plots, and a few lines to print."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.core.config import resolved
from harness_bench.core.files import atomic_path
from harness_bench.core.plotting import INK, MUTED, PALETTE, STYLE
from harness_bench.core.sanitize import shorten
from harness_bench.core.tables import columns, markdown_table
from harness_bench.corpora.doctor.listen import FINDINGS, NOTES, Findings, Listening
from harness_bench.cuts.store import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from harness_bench.corpora.doctor.known import Line
    from harness_bench.corpora.doctor.tally import Share, Tally

DURATIONS, CLASSES = "durations.png", "classes.png"
_BINS = 60
_MOST = 20  # classes drawn of a field, the largest first
_LETTERS = 18  # of a class's name in a plot
_WHOLE = 100  # hours from which decimals say nothing
_DPI = 110
_MARKS = "\\`*_[]<>|#"
_LONGEST = 160  # characters of a cell
_LINE_HEAD = ("figure", "known", "counted", "verdict", "source of the known")


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
                kind: [finding._asdict() for finding in found]
                for kind, found in sorted(self.findings.first.items())
            },
        }


def render(found: Examination) -> str:
    """Return the whole report as Markdown; what corpora say of themselves is escaped."""
    lines = "Nothing is known of this corpus; `--known FILE.toml` names figures of your own."
    if found.lines:
        lines = _table(_LINE_HEAD, map(_cells, found.lines))
    parts = [
        f"# Corpus doctor: {_text(found.corpus or found.folder.name)}",
        _verdict(found) + f"\n\nFolder: `{found.folder}`",
        "## Against what is known\n\n" + lines,
        "## Splits\n\n" + _splits(found.tallies),
        *(f"## {_text(field)}\n\n" + table for field, table in _class_tables(found.tallies)),
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
    verdicts = Counter(line.verdict for line in found.lines)
    unknown = f"({verdicts['cannot tell']} not checkable)"
    verdict = f"PASS: all figures match {unknown}, no faults in the audio."
    if not found.sound:
        faults = found.findings.faults
        verdict = f"FAIL: {verdicts['differs']} figures differ {unknown}, {faults} audio faults."
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


def _class_tables(tallies: dict[str, Tally]) -> Iterator[tuple[str, str]]:
    for field in _fields(tallies):
        rows = [
            (value, split, *_figures(share)[:3])
            for value in sorted({v for tally in tallies.values() for v in tally.classes[field]})
            for split, tally in tallies.items()
            if (share := tally.classes[field].get(value)) is not None
        ]
        yield field, _table((field, "split", "utterances", "hours", "speakers"), rows)


def _fields(tallies: dict[str, Tally]) -> list[str]:
    """List the fields of which there are classes."""
    known = [tally.classes for tally in tallies.values()]
    return [field for field in known[0] if any(classes[field] for classes in known)]


def _figures(share: Share) -> list[str]:
    return [f"{n:,}" if isinstance(n, int) else f"{n:.2f}" for n in share.figures().values()]


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
        (
            item.reason,
            f"{item.utterances:,}",
            *(row.get(key, "") for key in ("id", "detail", "where")),
        )
        for item in found.left_out
        for row in item.first
    ]
    head = ("reason", "of this reason", "the first", "detail", "where")
    return f"All are in `{SKIPPED}` beside the cuts.\n\n{_table(head, rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return markdown_table(head, (map(_text, row) for row in rows))


def _text(value: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return "".join(f"\\{sign}" if sign in _MARKS else sign for sign in shorten(value, _LONGEST))


def draw(tallies: dict[str, Tally], out: Path) -> None:
    """Write into a folder durations.png and classes.png; splits are told apart by colour."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second

    style = STYLE | {"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED}
    style["text.parse_math"] = False  # a class may be called $x
    with mpl.rc_context(style):
        for name, figure in ((DURATIONS, plot_lengths(tallies)), (CLASSES, plot_classes(tallies))):
            with atomic_path(out / name) as partial:
                figure.savefig(partial, dpi=_DPI)


def plot_lengths(tallies: dict[str, Tally]) -> Any:
    """Draw a histogram of the lengths of utterances for each split."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8.0, 1.0 + 1.7 * len(tallies)), layout="constrained")
    axes = figure.subplots(len(tallies), 1, sharex=True, squeeze=False)[:, 0]
    longest = max(tally.quantile(1) or 0.01 for tally in tallies.values())
    shortest = max(min(tally.quantile(0) for tally in tallies.values()), 0.01)
    wide = longest > 20 * shortest  # a linear scale would put all into the first bars
    space = np.geomspace if wide else np.linspace
    edges = space(shortest if wide else 0, longest * 1.001, _BINS + 1)
    for number, (axis, (split, tally)) in enumerate(zip(axes, tallies.items(), strict=True)):
        lengths = np.clip(tally.lengths, edges[0], edges[-1])
        axis.hist(lengths, edges, color=PALETTE[number % len(PALETTE)])
        median = tally.quantile(0.5)
        axis.axvline(median, color=INK, linestyle="--", linewidth=1)
        axis.set_ylabel("utterances")
        axis.set_title(
            f"{shorten(split, _LETTERS)}: {tally.whole.utterances:,} utterances, "
            f"{tally.whole.hours:,.2f} h, median {median:.2f} s (dashed)", loc="left", fontsize=10,
        )  # fmt: skip
    if wide:
        axes[-1].set_xscale("log")
        axes[-1].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes[-1].xaxis.set_minor_formatter(lambda *_: "")
    axes[-1].set_xlabel("seconds" + (" (logarithmic)" if wide else ""))
    return figure


def plot_classes(tallies: dict[str, Tally]) -> Any:
    """Draw hours by class, one row of bars for each field, one colour for each split."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    shown = {field: _largest(tallies, field) for field in _fields(tallies)}
    heights = [0.7 + 0.26 * len(names) for names in shown.values()] or [1.0]
    figure = Figure(figsize=(8.0, 0.8 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (field, names) in zip(axes, shown.items(), strict=False):
        _bars(axis, field, names, tallies)
    if not shown:
        axes[0].set_axis_off()
        axes[0].text(0, 0.5, "The cuts have no classes: no label, dialect, emotion, gender, ...")
        return figure
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return figure


def _largest(tallies: dict[str, Tally], field: str) -> list[str]:
    hours: Counter[str] = Counter()
    for tally in tallies.values():
        hours.update({name: share.hours for name, share in tally.classes[field].items()})
    return sorted(sorted(hours, key=lambda name: (-hours[name], name))[:_MOST])


def _bars(axis: Any, field: str, names: list[str], tallies: dict[str, Tally]) -> None:
    left = np.zeros(len(names))
    places = np.arange(len(names))
    for number, (split, tally) in enumerate(tallies.items()):
        known = tally.classes[field]
        hours = np.array([known[name].hours if name in known else 0.0 for name in names])
        axis.barh(
            places, hours, left=left, height=0.7, color=PALETTE[number % len(PALETTE)],
            label=shorten(split, _LETTERS),
        )  # fmt: skip
        left += hours
    for place, total in zip(places, left, strict=True):
        said = f"{total:,.0f} h" if total >= _WHOLE else f"{total:.3g} h"
        axis.annotate(
            said, (total, place), xytext=(4, 0), textcoords="offset points", va="center",
            fontsize=8, color=MUTED,
        )  # fmt: skip
    axis.set_yticks(places, [shorten(name, _LETTERS) for name in names])
    axis.invert_yaxis()
    axis.margins(x=0.1, y=0.02)
    axis.set_xlabel("hours")
    every = len({name for tally in tallies.values() for name in tally.classes[field]})
    more = f" (the {_MOST} largest of {every})" if every > len(names) else ""
    axis.set_title(f"{shorten(field, _LETTERS)}{more}", loc="left", fontsize=10)
