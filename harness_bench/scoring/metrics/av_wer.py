"""AV-WER, the mean over the annotators of the WER against each (by jiwer, all costs 1)."""

from harness_bench.scoring.statistics import WORDS, Array, mean_error_rate

NAME = "av_wer"
KIND = "references"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals: Array) -> Array:
    """Return AV-WER in percent; totals (..., 1 + 2 R, 4) -> (...)."""
    return mean_error_rate(totals, WORDS)
