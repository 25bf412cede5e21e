"""Train and decode ASR on a prepared corpus, of a row or of the student that heads chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.asr.config import AsrConfig
from harness_bench.asr.recipe import FBANK
from harness_bench.asr.run import run_asr
from harness_bench.core.config import build, resolved
from harness_bench.study.outcomes import checkpoint_of, chosen_row, trained_before

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Run the recipe in the job's folder; one that was cut off goes on, a finished one is kept."""
    settings, model = place.job.settings, chosen_row(place)
    if (found := trained_before(place, model)) is not None:
        return dict(found)
    checkpoint = checkpoint_of(place, settings["rows"][model]["made_by"])
    outcome = run_asr(
        upstream=FBANK if checkpoint is None else "harness",
        checkpoint=checkpoint,
        cuts=place.out / settings["cuts"],
        out=place.folder,
        config=build(AsrConfig, settings["recipe"], source=place.job.name),
        threads=place.job.needs.cpus,
    )
    return {"model": model, "outcome": resolved(outcome)}
