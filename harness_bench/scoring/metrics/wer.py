"""WER, word error rate: substitutions, deletions and insertions over reference words."""

from harness_bench.scoring.statistics import WORDS, Array, error_rate

NAME = "wer"
KIND = "text"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals: Array) -> Array:
    """Return WER in percent; totals (..., 2, 4) -> (...)."""
    return error_rate(totals[..., WORDS, :])
