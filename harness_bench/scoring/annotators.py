"""Predictions with the transcripts of several annotators, as the scorers take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.scoring.joining import Joined
from harness_bench.scoring.multiref import score_multi_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.predictions import TextPrediction
    from harness_bench.scoring.statistics import Array

GROUP = "group"  # the field that holds the cluster
ONLY = "ref"  # name of the reference where there is one


def annotators(rows: Sequence[TextPrediction]) -> tuple[str, ...]:
    """Return the names of the annotators that every utterance has; none where there are none.

    Raises:
        ValueError: utterances of other annotators than the first one; names them.
    """
    first = tuple(sorted(rows[0].references)) if rows else ()
    if odd := [row for row in rows if tuple(sorted(row.references)) != first]:
        named = ", ".join(sorted(odd[0].references)) or "none"
        raise ValueError(
            f"{rows[0].id!r} has references of {', '.join(first) or 'none'}, and {len(odd)} others "
            f"do not: {odd[0].id!r} has {named}. Keep the utterances that all annotators have."
        )
    return first


def joined_rows(rows: Sequence[TextPrediction]) -> Joined:
    """Join predictions for `asr.score_joined`: all references, tags and cluster as fields.

    Raises:
        ValueError: no row, an id given twice, or not the same annotators everywhere.
    """
    if not rows:
        raise ValueError("There is no prediction to score; is the prediction file empty?")
    found = {row.id: row for row in rows}
    if len(found) < len(rows):
        raise ValueError(f"{len(rows) - len(found)} ids are given twice; keep one row of each.")
    names = annotators(rows)
    references = {name: {key: row.references[name] for key, row in found.items()} for name in names}
    reasons = ("missing", "extra", "unreferenced", "duplicate", "ignored", "words_outside")
    return Joined(
        hypotheses={key: row.hyp for key, row in found.items()},
        references=references or {ONLY: {key: row.ref for key, row in found.items()}},
        fields={key: {**row.tags, GROUP: row.group} for key, row in found.items()},
        left_out=dict.fromkeys(reasons, 0),
    )


def reference_statistics(rows: Sequence[TextPrediction], profile: str) -> Array:
    """Normalise and align rows with several references -> (N, 1 + 2 R, 4), ordered by id.

    Raises:
        ValueError: rows without several references, or not the same annotators everywhere.
    """
    if not annotators(rows):
        raise ValueError(
            "These predictions have one reference; MR-WER and AV-WER need those of two or more "
            "annotators. Take `wer`."
        )
    joined = joined_rows(rows)
    return score_multi_reference(joined.hypotheses, joined.references, profile=profile).statistics
