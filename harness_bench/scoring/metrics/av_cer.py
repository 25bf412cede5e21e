"""AV-CER, the mean over the annotators of the CER against each."""

import numpy as np

from harness_bench.scoring.statistics import Array, error_rate

NAME = "av_cer"
KIND = "references"
HIGHER_IS_BETTER = False
UNIT = "%"


def value(totals: Array) -> Array:
    """Return AV-CER in percent; totals (..., 1 + 2 R, 4) -> (...)."""
    references = totals.shape[-2] // 2
    return np.asarray(error_rate(totals[..., 1 + references :, :]).mean(axis=-1))
