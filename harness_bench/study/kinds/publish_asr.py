"""Write the results of one ASR run, under the challenge's text profile and without any."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness_bench.asr.run import AsrOutcome
from harness_bench.core.config import build
from harness_bench.results.predictions import TextPrediction, read_predictions
from harness_bench.results.record import Result
from harness_bench.scoring import publish as publisher
from harness_bench.scoring.texts.score import score_rows
from harness_bench.study.outcomes import checkpoint_of, facts_of, leakage_of
from harness_bench.study.publishing import publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Publish; tell the files."""
    return publish(place, lambda folder: _results(place, folder))


def _results(place: Place, folder: Path) -> Iterator[Path]:
    settings, found = place.job.settings, place.found[place.job.settings["asr"]]
    model, outcome = found["model"], build(AsrOutcome, found["outcome"], source=place.job.name)
    facts, kind = facts_of(place, model), "synthetic " * settings["synthetic"]
    weights = checkpoint_of(place, settings["rows"][model]["made_by"])
    for scored in settings["scored"]:
        rows = read_predictions(outcome.predictions[scored["split"]], TextPrediction)
        template = partial(
            Result,
            **facts,
            task="asr",
            corpus=f"{kind}{scored['corpus']}",
            split=scored["split"] + settings["suffix"],
            leakage=leakage_of(place, model, scored),
            layer_weights=outcome.layer_weights,
            seed=settings["seed"],
            seeds=(settings["seed"],),
            seconds=outcome.seconds,
            **({} if weights is None else publisher.upstream_fields(weights)),
        )
        scores, _ = score_rows(rows, also=("none",))
        yield publisher.publish(publisher.text_result(rows, template, scores), rows, folder)
