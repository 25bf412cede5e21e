"""How figures are written, in every table alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.untrusted import clean

if TYPE_CHECKING:
    from harness_bench.result_parts import Costs, Interval, Metric

    from .board import Row, Score

NONE = "–"
SYNTHETIC = (
    "Columns marked synthetic compare the models on computer-made speech; their figures say "
    "nothing about real speech."
)
LEGEND = (
    "Bold: best figure; underlined: second; ≈: not told apart from the best by a paired bootstrap "
    "(p ≥ 0.05, no correction for several comparisons). [low, high]: 95 % bootstrap interval. "
    "Mean rank: mean over the columns of 1 + the number of models that are better beyond chance; "
    "(2/3): over the 2 of 3 columns in which the model has a figure."
)
SCORE = (
    "Score, as SUPERB defines it: in each column 0 for FBANK and 1000 for the best model, linear "
    "between; the mean over the columns in which some model is better than FBANK. (2/3): a mean "
    "over 2 of 3 such columns, not comparable with the others."
)
MILLION, THOUSAND = 10**6, 10**3


def parameters(count: int | None) -> str:
    """Write a parameter count: 316 M, 4.8 M, 512 k, 0, or a dash where it is not known."""
    if count is None:
        return NONE
    if count >= MILLION:
        return f"{_significant(count / MILLION)} M"
    return f"{_significant(count / THOUSAND)} k" if count >= THOUSAND else str(count)


def figure(metric: Metric, decimals: int) -> str:
    """Write a metric's value without its unit; a reported one as its source prints it."""
    return metric.printed or f"{metric.value:.{decimals}f}"


def interval(span: Interval | None, decimals: int) -> str:
    """Write an interval as [low, high], or nothing where there is none."""
    return f"[{span.low:.{decimals}f}, {span.high:.{decimals}f}]" if span else ""


def mean_rank(row: Row, columns: int) -> str:
    """Write a mean rank; over how many columns, where the model lacks some."""
    part = "" if len(row.cells) == columns else f" ({len(row.cells)}/{columns})"
    return f"{row.mean_rank:.2f}".rstrip("0").rstrip(".") + part


def score(found: Score | None) -> str:
    """Write SUPERB's score; over how many columns, where the model lacks some."""
    if found is None:
        return NONE
    return f"{found.value:.0f}".replace("-", "\u2212") + (
        "" if found.whole else f" ({found.columns}/{found.of})"
    )


def signed(number: float, decimals: int) -> str:
    """Write a difference with its sign, a true minus where it is negative."""
    return f"{number:+.{decimals}f}".replace("-", "\u2212")


def costs(found: Costs | None) -> dict[str, str]:
    """Write what is known of a model's costs, by name."""
    if found is None:
        return {}
    values = {
        "real-time factor, CPU": _short(found.real_time_factor, 1),
        "real-time factor, GPU": _short(found.gpu_real_time_factor, 1),
        "GMAC per second of audio": _short(found.macs_per_second, 1e9),
        "memory (MB)": _short(found.peak_bytes, 1e6),
        "size on disk (MB)": _short(found.disk_bytes, 1e6),
        "measured on": clean(found.hardware),
    }
    return {name: value for name, value in values.items() if value}


def _short(number: float | None, unit: float) -> str:
    return "" if number is None else f"{number / unit:.3g}"


def _significant(number: float) -> str:
    """Write up to 3 digits and no trailing zeros."""
    digits = 0 if number >= 100 else 1 if number >= 10 else 2  # noqa: PLR2004
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
