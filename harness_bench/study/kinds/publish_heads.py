"""Write the results of heads: of the test split, and of parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.config import build
from harness_bench.core.log import say
from harness_bench.cuts.fields import field_of
from harness_bench.cuts.store import read_cuts
from harness_bench.probing.grid import GridConfig, GridOutcome
from harness_bench.probing.head.config import LinearConfig
from harness_bench.probing.linear import LinearOutcome
from harness_bench.probing.run import publish_grid, publish_linear
from harness_bench.study.outcomes import facts_of, leakage_of, subject_of
from harness_bench.study.publishing import publish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Publish; tell the files."""
    return publish(place, lambda folder: _results(place, folder))


def _results(place: Place, folder: Path) -> Iterator[Path]:
    settings = place.job.settings
    (model,) = settings["rows"]
    facts, subject = facts_of(place, model), subject_of(place)
    found, source = place.found[settings["probe"]]["outcome"], place.job.name
    for scored in settings["scored"]:
        ids = _part(place, scored)
        if ids is not None and not ids:
            field, value = scored["part"]
            say(f"{source}: no utterance of test has {field} = {value!r}: {scored['corpus']!r} is "
                "left out")  # fmt: skip
            continue
        kind = "synthetic " * settings["synthetic"]
        row = facts | {
            "corpus": f"{kind}{scored['corpus']}", "leakage": leakage_of(place, model, scored)
        }  # fmt: skip
        if settings["head"] == "cnn":
            grid = build(GridConfig, settings["grid"], source=source)
            outcome = build(GridOutcome, found, source=source)
            yield publish_grid(subject, outcome, grid, row, folder, ids=ids)
        else:
            linear = build(LinearConfig, settings["linear"], source=source)
            fitted = build(LinearOutcome, found, source=source)
            yield publish_linear(subject, fitted, linear, row, folder, ids=ids)


def _part(place: Place, scored: Mapping[str, Any]) -> set[str] | None:
    """Return the ids of the part that is scored; None: all."""
    if scored["part"] is None:
        return None
    field, value = scored["part"]
    cuts = read_cuts(place.out / scored["cuts"], scored["split"])
    return {str(cut.id) for cut in cuts if field_of(cut, field) == value}
