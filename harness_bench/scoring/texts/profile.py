"""Score transcripts: WER and CER under a named text profile, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.scoring.bootstrap import RESAMPLES, measure
from harness_bench.scoring.registry import get_profile
from harness_bench.scoring.statistics import text_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.results.predictions import TextPrediction
    from harness_bench.results.record import Metric
    from harness_bench.scoring.statistics import Array

DEFAULT_PROFILE = "mgb2"


def score_texts(
    rows: Sequence[TextPrediction],
    *,
    profile: str = DEFAULT_PROFILE,
    also: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Metric]:
    """Return every `text` metric with its intervals; the order of rows does not matter.

    Args:
        rows: raw reference and hypothesis of each utterance.
        profile: the text profile of `wer`, `cer` and so on.
        also: further profiles; their metrics are called `wer_<profile>` and so on.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: unknown profile, no rows, or every reference empty after normalisation.
    """
    ordered = sorted(rows, key=lambda row: row.id)
    groups = [row.group for row in ordered]
    found: dict[str, Metric] = {}
    for name in dict.fromkeys((profile, *also)):
        metrics = measure(
            "text", profile_statistics(ordered, name), groups, seed=seed, resamples=resamples
        )
        suffix = "" if name == profile else f"_{name}"
        found |= {f"{key}{suffix}": metric for key, metric in metrics.items()}
    return found


def profile_statistics(rows: Sequence[TextPrediction], profile: str) -> Array:
    """Normalise both sides by a profile and align them -> (N, 2, 4).

    Raises:
        ValueError: rows with several references, of which one alone would be no figure.
    """
    if several := next((row for row in rows if row.references), None):
        raise ValueError(
            f"{several.id!r} has {len(several.references)} references "
            f"({', '.join(sorted(several.references))}), and `wer` and `cer` are of one. Take "
            "`mr_wer` or `av_wer`."
        )
    normalise = get_profile(profile).normalise
    return text_statistics(
        [normalise(row.ref) for row in rows], [normalise(row.hyp) for row in rows]
    )
