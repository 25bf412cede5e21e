"""UAR, unweighted average recall: the mean over classes of the share recognised."""

from harness_bench.scoring.statistics import CORRECT, TRUE, Array, mean_defined, ratio

NAME = "uar"
KIND = "class"
HIGHER_IS_BETTER = True
UNIT = "%"


def value(totals: Array) -> Array:
    """Return UAR in percent over the classes that occur; totals (..., 3, classes) -> (...)."""
    return 100 * mean_defined(ratio(totals[..., CORRECT, :], totals[..., TRUE, :]))
