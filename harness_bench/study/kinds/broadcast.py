"""Train and decode ASR by the recipe of QASR, on data that all models share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.study.broadcast import DECODED, run_stages
from harness_bench.study.outcomes import checkpoint_of, chosen_row, trained_before

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Run the recipe's stages of one model; a training that was cut off goes on."""
    settings, model = place.job.settings, chosen_row(place)
    if (found := trained_before(place, model)) is not None:
        return dict(found)
    row = settings["rows"][model]
    checkpoint, asr = checkpoint_of(place, row["made_by"]), place.folder / "train"
    first = 10 if settings["given"].get("feature_cache") else 11
    run_stages(
        place, place.out / settings["expdir"], settings["given"], first, 12,
        upstream="fbank" if checkpoint is None else checkpoint, model=model,
        model_kind=row["kind"], asr_exp=asr, asr_tag=place.job.slug, inference_tag=DECODED,
    )  # fmt: skip
    return {"model": model, "asr": str(asr.relative_to(place.out))}
