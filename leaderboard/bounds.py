"""How much work the predictions beside untrusted results may ask for: never all the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.predictions import ClassPrediction, TextPrediction
from harness_bench.scoring.classification import classes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_TAGS = 50  # names, each of which is a breakdown
MAX_COUNTS = 1 << 26  # numbers of one table, 512 MiB; 8,000 utterances of 1,000 classes are 2.4e7
MAX_STEPS = 5 * 10**10  # of aligning letters, about 8 s; 10 h in half-hour texts are 1.5e10
_TEXT_COUNTS = 8  # statistics of a text and one reference


def check_file(rows: Sequence[ClassPrediction] | Sequence[TextPrediction]) -> None:
    """Refuse the predictions of one model that would take too long or too much memory.

    Raises:
        ValueError: too many names of tags, too many classes for the number of utterances, or
            texts too long to align; names the number and the limit.
    """
    tags = len({name for row in rows for name in row.tags})
    if tags > MAX_TAGS:
        raise ValueError(f"they have tags of {tags} names; at most {MAX_TAGS} are shown")
    _check_counts(len(rows), _width(rows))
    texts = (row for row in rows if not isinstance(row, ClassPrediction))
    steps = sum(len(text) * len(row.hyp) for row in texts for text in row.written)
    if steps > MAX_STEPS:
        raise ValueError(
            f"their texts take {steps:.1e} steps to align, at most {MAX_STEPS:.0e} are made; write "
            "shorter utterances"
        )


def check_systems(
    alike: Mapping[Path, Sequence[ClassPrediction]] | Mapping[Path, Sequence[TextPrediction]],
) -> None:
    """Refuse a comparison of models on the same utterances that would take too much memory.

    Raises:
        ValueError: too many models for their clusters and classes.
    """
    every = [row for rows in alike.values() for row in rows]
    width, utterances = _width(every), len(every) // len(alike)
    clusters = len({row.group for row in every})
    _check_counts(utterances, width)
    _check_counts(utterances if clusters == 1 else clusters, width * len(alike))


def _width(rows: Sequence[ClassPrediction | TextPrediction]) -> int:
    """Return the number of sums that an utterance adds to."""
    classes = [row for row in rows if isinstance(row, ClassPrediction)]
    if classes:
        return 3 * len(classes_of(classes))
    several = max(
        (len(row.references) for row in rows if isinstance(row, TextPrediction)), default=0
    )
    return _TEXT_COUNTS * several + _TEXT_COUNTS // 2 if several else _TEXT_COUNTS


def _check_counts(many: int, width: int) -> None:
    if many * width > MAX_COUNTS:
        raise ValueError(
            f"a table of {many} x {width} counts is needed, more than {MAX_COUNTS}; there are too "
            "many classes or models for so many utterances"
        )
