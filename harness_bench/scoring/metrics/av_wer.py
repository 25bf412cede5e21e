"""AV-WER, the mean over the annotators of the WER against each (by jiwer, all costs 1)."""

import numpy as np

from harness_bench.scoring.statistics import Array, error_rate

NAME = "av_wer"
KIND = "references"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals: Array) -> Array:
    """Return AV-WER in percent; totals (..., 1 + 2 R, 4) -> (...)."""
    references = totals.shape[-2] // 2
    return np.asarray(error_rate(totals[..., 1 : 1 + references, :]).mean(axis=-1))
