"""AV-CER, the mean over the annotators of the CER against each."""

from harness_bench.scoring.statistics import CHARACTERS, Array, mean_error_rate

NAME = "av_cer"
KIND = "references"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals: Array) -> Array:
    """Return AV-CER in percent; totals (..., 1 + 2 R, 4) -> (...)."""
    return mean_error_rate(totals, CHARACTERS)
