"""Sufficient statistics: what each utterance adds to the sums that metrics are made of.

Every metric here is a function of sums over utterances. Intervals and tests therefore leave out
or exchange rows of small counts and never touch labels or texts again.

- `class` predictions: per utterance an array (3, classes): CORRECT, TRUE and PREDICTED counts.
- `text` predictions: per utterance an array (2, 4): for WORDS and CHARACTERS the numbers of
  HITS, SUBSTITUTIONS, DELETIONS and INSERTIONS of the alignment.
- `text` predictions with R references: an array (1 + 2 R, 4) of the same numbers: of words by the
  rule of MR-WER, of words against each reference, of characters against each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = NDArray[np.float64]
Counts = NDArray[Any]  # uint8 where each count is 0 or 1, else float64

CORRECT, TRUE, PREDICTED = range(3)
WORDS, CHARACTERS = range(2)
HITS, SUBSTITUTIONS, DELETIONS, INSERTIONS = range(4)


def class_statistics(truth: Sequence[str], pred: Sequence[str], classes: Sequence[str]) -> Counts:
    """Count per utterance; N true and N predicted labels -> uint8 (N, 3, classes).

    Of so small a kind, since 10,000 utterances of 3,000 classes are 9e7 counts; sums have room.
    """
    column = {label: index for index, label in enumerate(classes)}
    rows = np.arange(len(truth))
    true, guess = (np.array([column[one] for one in each], dtype=int) for each in (truth, pred))
    counts: Counts = np.zeros((len(truth), 3, len(classes)), dtype=np.uint8)
    counts[rows, TRUE, true] = 1
    counts[rows, PREDICTED, guess] = 1
    counts[rows[true == guess], CORRECT, true[true == guess]] = 1
    return counts


def text_statistics(references: Sequence[str], hypotheses: Sequence[str]) -> Array:
    """Align N normalised texts by jiwer (all costs 1) -> float64 (N, 2, 4).

    An empty reference, which jiwer refuses, makes every hypothesis word an insertion.
    """
    counts: Array = np.zeros((len(references), 2, 4))
    filled = [index for index, text in enumerate(references) if text]
    if filled:
        import jiwer  # noqa: PLC0415 - only text scoring pays for it.

        pair = [references[i] for i in filled], [hypotheses[i] for i in filled]
        counts[filled, WORDS] = _chunk_counts(jiwer.process_words(*pair).alignments)
        counts[filled, CHARACTERS] = _chunk_counts(jiwer.process_characters(*pair).alignments)
    for row, text, heard in zip(counts, references, hypotheses, strict=True):
        if not text:
            row[:, INSERTIONS] = len(heard.split()), len(heard)
    return counts


def ratio(above: Array, below: Array) -> Array:
    """Divide element by element, NaN where the divisor is 0."""
    quotient: Array = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def mean_defined(values: Array) -> Array:
    """Average the last axis over its defined values; NaN where none is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1, dtype=np.float64))


def error_rate(counts: Array) -> Array:
    """Return errors per reference token in percent; counts (..., 4) -> (...)."""
    errors = counts[..., SUBSTITUTIONS] + counts[..., DELETIONS] + counts[..., INSERTIONS]
    tokens = counts[..., HITS] + counts[..., SUBSTITUTIONS] + counts[..., DELETIONS]
    return 100 * ratio(errors, tokens)


def mean_error_rate(counts: Array, unit: int) -> Array:
    """Return the mean error rate over R references in percent; counts (..., 1 + 2 R, 4) -> (...).

    The unit is WORDS or CHARACTERS.
    """
    references = counts.shape[-2] // 2
    each = counts[..., 1 + unit * references :, :][..., :references, :]
    return np.asarray(error_rate(each).mean(axis=-1))


def _chunk_counts(alignments: Sequence[Sequence[Any]]) -> Array:
    """Sum jiwer's alignment chunks per utterance -> (N, 4)."""
    column = {"equal": HITS, "substitute": SUBSTITUTIONS, "delete": DELETIONS}
    counts = np.zeros((len(alignments), 4))
    for row, chunks in zip(counts, alignments, strict=True):
        for chunk in chunks:
            if chunk.type == "insert":
                row[INSERTIONS] += chunk.hyp_end_idx - chunk.hyp_start_idx
            else:
                row[column[chunk.type]] += chunk.ref_end_idx - chunk.ref_start_idx
    return counts
