"""MR-WER, multi-reference word error rate (Ali et al., ASRU 2015): any annotator may be right."""

from harness_bench.scoring.statistics import Array, error_rate

NAME = "mr_wer"
KIND = "references"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals: Array) -> Array:
    """Return MR-WER in percent; totals (..., 1 + 2 R, 4) -> (...)."""
    return error_rate(totals[..., 0, :])
