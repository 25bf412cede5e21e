"""Loss curves of pretraining, as in Figure 2 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.sanitize import clean

from .drawing import DASHES, DOTS, SERIES, Plot, brief, finish, plain, sheet

if TYPE_CHECKING:
    from ..curves import Curves

_PANELS = (("loss_bits", "bits per frame"), ("share_of_entropy", "share of the labels' entropy"))
_DOTS = 8  # marks on a line, so that lines of one colour in print stay apart


def curves_plot(curves: Curves, number: int) -> Plot:
    """Draw one line a variant, in bits and as a share of the labels' entropy."""
    title = f"Pretraining loss of {clean(curves.student)}, taught by {clean(curves.teacher)}"
    canvas = sheet(5.4 + 0.18 * len(curves.variants), title)
    panels: Any = canvas.subplots(2, 1, sharex=True)
    last = max(variant.curve.updates[-1] for variant in curves.variants)
    for axes, (field, label) in zip(panels, _PANELS, strict=True):
        for place, variant in enumerate(curves.variants):
            updates, values = variant.curve.updates, getattr(variant.curve, field)
            style, again = place % len(SERIES), place // len(SERIES)
            axes.plot(updates, values, color=SERIES[style], linewidth=1.7,
                      linestyle=DASHES[(style + again) % len(DASHES)], marker=DOTS[style],
                      markersize=4.5, markevery=max(1, len(updates) // _DOTS),
                      label=brief(variant.title, 52))  # fmt: skip
        axes.set_ylabel(label)
        axes.grid(axis="y")
        axes.set_xlim(0, 1.02 * last or 1)
    panels[1].set_xlabel("updates (losses smoothed)")
    plain(panels[1])
    handles, names = panels[0].get_legend_handles_labels()
    legend = canvas.legend(handles, names, loc="outside lower left", ncols=1)
    for text in legend.get_texts():
        text.set_parse_math(False)
    words = "; ".join(
        f"{clean(variant.title)}: {variant.curve.loss_bits[-1]:.3g} bits, "
        f"{variant.curve.share_of_entropy[-1]:.3g} of the entropy, "
        f"after {variant.curve.updates[-1]:,} updates"
        for variant in curves.variants
    )
    caption = " ".join([f"{title}.", *map(clean, curves.caveats)]).removesuffix(".")
    return finish(canvas, f"00-curves-{number}", caption, words)
