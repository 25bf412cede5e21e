"""CER, character error rate (spaces between words count as characters)."""

from harness_bench.scoring.statistics import CHARACTERS, Array, error_rate

NAME = "cer"
KIND = "text"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals: Array) -> Array:
    """Return CER in percent; totals (..., 2, 4) -> (...)."""
    return error_rate(totals[..., CHARACTERS, :])
