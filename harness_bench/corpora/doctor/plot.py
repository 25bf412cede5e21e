"""Pictures of a corpus: how long its utterances are, and how many of each class there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.core.files import atomic_path
from harness_bench.core.plotting import INK, MUTED, PALETTE, STYLE
from harness_bench.core.sanitize import shorten

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.doctor.tally import Tally

DURATIONS, CLASSES = "durations.png", "classes.png"
_BINS = 60
_MOST = 20  # classes drawn of a field, the largest first
_LETTERS = 18  # of a class's name
_WHOLE = 100  # hours from which decimals say nothing
_DPI = 110


def draw(tallies: dict[str, Tally], out: Path) -> None:
    """Write durations.png and, where there are classes, classes.png.

    Args:
        tallies: split -> what was counted of it.
        out: the folder; a plot of classes of an earlier run is taken away where there are none.
    """
    import matplotlib as mpl  # noqa: PLC0415 - half a second

    style = STYLE | {"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED}
    style["text.parse_math"] = False  # a class may be called $x
    with mpl.rc_context(style):
        _save(_durations(tallies), out / DURATIONS)
        _save(_classes(tallies), out / CLASSES)


def _save(figure: Any, target: Path) -> None:
    with atomic_path(target) as partial:
        figure.savefig(partial, dpi=_DPI)


def _durations(tallies: dict[str, Tally]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8.0, 1.0 + 1.7 * len(tallies)), layout="constrained")
    axes = figure.subplots(len(tallies), 1, sharex=True, squeeze=False)[:, 0]
    longest = max(max(tally.lengths, default=1) for tally in tallies.values()) / 100
    shortest = max(min(min(tally.lengths, default=1) for tally in tallies.values()) / 100, 0.01)
    wide = longest > 20 * shortest  # a linear scale would put all into the first bars
    edges = (
        np.geomspace(shortest, longest * 1.001, _BINS + 1)
        if wide
        else np.linspace(0, longest * 1.001, _BINS + 1)
    )
    for number, (axis, (split, tally)) in enumerate(zip(axes, tallies.items(), strict=True)):
        lengths = np.array(list(tally.lengths), dtype=float) / 100
        axis.hist(
            np.clip(lengths, edges[0], edges[-1]), edges, weights=list(tally.lengths.values()),
            color=PALETTE[number % len(PALETTE)],
        )  # fmt: skip
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


def _classes(tallies: dict[str, Tally]) -> Any:
    """Draw hours by class, one row of bars for each field, one colour for each split."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    fields = [
        name
        for name in next(iter(tallies.values())).classes
        if any(tally.classes[name] for tally in tallies.values())
    ]
    shown = {field: _largest(tallies, field) for field in fields}
    heights = [0.7 + 0.26 * len(names) for names in shown.values()] or [1.0]
    figure = Figure(figsize=(8.0, 0.8 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[
        :, 0
    ]
    for axis, (field, names) in zip(axes, shown.items(), strict=False):
        _bars(axis, field, names, tallies)
    if not fields:
        axes[0].set_axis_off()
        axes[0].text(0, 0.5, "The cuts have no classes: no label, dialect, emotion, gender, ...")
        return figure
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return figure


def _largest(tallies: dict[str, Tally], field: str) -> list[str]:
    hours: dict[str, float] = {}
    for tally in tallies.values():
        for name, share in tally.classes[field].items():
            hours[name] = hours.get(name, 0) + share.hours
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
