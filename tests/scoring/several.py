"""Rows with several references, and the rule of MR-WER written out slowly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.results.predictions import TextPrediction

if TYPE_CHECKING:
    from collections.abc import Sequence

ANNOTATORS = ("Ali", "Omar", "Alaa", "Mohamed")


def annotated(uid: str, *texts: str, group: str = "g", **tags: str) -> TextPrediction:
    """Make a row of one reference per annotator, and the hypothesis last."""
    *refs, hyp = texts
    references = dict(zip(ANNOTATORS, refs, strict=False))
    return TextPrediction(
        id=uid, ref=refs[0], hyp=hyp, references=references, group=group, tags=tags
    )


def naive_alignment(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Align by the whole table of costs; if equal, diagonal, deletion, insertion."""
    rows, columns = len(reference) + 1, len(hypothesis) + 1
    cost = [[row + column for column in range(columns)] for row in range(rows)]
    for row in range(1, rows):
        for column in range(1, columns):
            same = reference[row - 1] == hypothesis[column - 1]
            ways = (cost[row - 1][column - 1] + (0 if same else 2), cost[row - 1][column] + 1,
                    cost[row][column - 1] + 1)  # fmt: skip
            cost[row][column] = min(ways)
    row, column, path = len(reference), len(hypothesis), ""
    while row or column:
        same = bool(row and column) and reference[row - 1] == hypothesis[column - 1]
        here = cost[row][column]
        if row and column and here == cost[row - 1][column - 1] + (0 if same else 2):
            step = "c" if same else "s"
        else:
            step = "d" if row and here == cost[row - 1][column] + 1 else "i"
        path = step + path
        row, column = row - (step != "i"), column - (step != "d")
    return path
