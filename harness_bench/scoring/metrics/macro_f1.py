"""Macro F1: the mean over classes of the harmonic mean of precision and recall."""

from harness_bench.scoring.statistics import CORRECT, PREDICTED, TRUE, Array, mean_defined, ratio

NAME = "macro_f1"
KIND = "class"
HIGHER_IS_BETTER = True
UNIT = "%"


def value(totals: Array) -> Array:
    """Return macro F1 in percent; totals (..., 3, classes) -> (...).

    The mean runs over the classes that occur as truth or as prediction (scikit-learn's rule).
    """
    both = totals[..., TRUE, :] + totals[..., PREDICTED, :]
    return 100 * mean_defined(ratio(2 * totals[..., CORRECT, :], both))
