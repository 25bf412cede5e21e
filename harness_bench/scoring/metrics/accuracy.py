"""Accuracy: the share of utterances whose predicted class is the true one."""

import numpy as np

from harness_bench.scoring.statistics import CORRECT, TRUE, Array, ratio

NAME = "accuracy"
KIND = "class"
HIGHER_IS_BETTER = True
UNIT = "%"


def value(totals: Array) -> Array:
    """Return accuracy in percent; totals (..., 3, classes) -> (...)."""
    return 100 * ratio(np.sum(totals[..., CORRECT, :], axis=-1), np.sum(totals[..., TRUE, :], -1))
