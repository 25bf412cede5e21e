"""How figures are written, in every table alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness_bench.result_parts import Interval, Metric

NONE = "–"
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


def _significant(number: float) -> str:
    """Write up to 3 digits and no trailing zeros."""
    digits = 0 if number >= 100 else 1 if number >= 10 else 2  # noqa: PLR2004
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
