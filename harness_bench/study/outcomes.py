"""What jobs read of their settings and of the outcomes of those before them."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness_bench.results.record import Costs, Leakage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.probing.probe import Subject
    from harness_bench.study.job import Place


def refuse_absent(place: Place) -> None:
    """Raise a ValueError where the job's corpus was not there when the study was planned."""
    settings = place.job.settings
    if "get" in settings:
        where = settings.get("folder", settings.get("cuts"))
        way = (
            settings["get"] or "Give the folder that holds the corpora by --data-root or data_root."
        )
        raise ValueError(f"There is no {where}. {way}")


def checkpoint_of(place: Place, made_by: str) -> Path | None:
    """Return the checkpoint that a job made or found; None of an upstream without one."""
    return place.out / place.found[made_by]["checkpoint"] if made_by else None


def subject_of(place: Place) -> Subject:
    """Return what the job probes on what."""
    from harness_bench.probing.probe import Subject  # noqa: PLC0415 - a second

    settings = place.job.settings
    return Subject(
        upstream=settings["upstream"], checkpoint=checkpoint_of(place, settings["made_by"]),
        task=settings["task"], cuts=place.out / settings["cuts"],
        label_field=settings["label_field"], unknown_labels=settings["unknown_labels"],
    )  # fmt: skip


def scored_key(scored: Mapping[str, Any]) -> str:
    """Return what an audit calls a split that is scored."""
    return f"{scored['corpus']} {scored['split']}"


def leakage_of(place: Place, model: str, scored: Mapping[str, Any]) -> Leakage:
    """Return what the audit of a row says of a split, where it was made."""
    found = place.found.get(place.job.settings["rows"][model]["audit"])
    if found is None:
        return Leakage(verdict="not checked", detail="The audit of this study failed.")
    return Leakage.model_validate(found[scored_key(scored)])


def facts_of(place: Place, model: str) -> dict[str, Any]:
    """Return what is true of a row in all its results: fields of `Result`."""
    settings = place.job.settings
    row, costs = settings["rows"][model], place.found.get(f"costs {model}")
    heard = row["heard"]
    if not isinstance(heard, str):
        hours = place.found[heard["job"]]["hours"]["train"]
        heard = f"{heard['text']}, {hours:.2f} h"
    return {
        "model": model,
        "model_kind": row["kind"],
        "synthetic": settings["synthetic"],
        "costs": None if costs is None else Costs.model_validate(costs),
        "pretraining_data": heard,
        **({} if row["made_by"] else {"parameters": 0}),
    }


def trained_before(place: Place, model: str) -> Any:
    """Return the outcome of the job that has trained a row by its own name; None without one."""
    return place.found.get(place.job.settings.get("trained", {}).get(model, ""))


def chosen_row(place: Place) -> str:
    """Return the row of an ASR job: the only one, or the student that its heads find best on dev.

    That is the one with the best mean accuracy over all heads; students of which a head failed
    take no part.
    """
    settings = place.job.settings
    if not settings["heads"]:
        (model,) = settings["rows"]
        return str(model)
    scores: dict[str, float] = {
        model: fmean(place.found[head]["dev"] for head in heads)
        for model, heads in settings["heads"].items()
        if heads and all(head in place.found for head in heads)
    }
    if not scores:
        raise ValueError("No student can be chosen: of each, training or a head failed.")
    return max(scores, key=lambda name: scores[name])
