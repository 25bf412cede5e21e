"""Score one model of the recipe of QASR on each test set, MGB-3 against all its annotators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.asr.config import words_of
from harness_bench.asr.score import score
from harness_bench.results.record import load_result, write_result
from harness_bench.study.broadcast import DECODED
from harness_bench.study.outcomes import facts_of, leakage_of
from harness_bench.study.publishing import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Publish; tell the files."""
    return publish(place, lambda folder: _results(place, folder))


def _results(place: Place, folder: Path) -> Iterator[Path]:
    settings, found = place.job.settings, place.found[place.job.settings["asr"]]
    model, asr, expdir = found["model"], place.out / found["asr"], place.out / settings["expdir"]
    facts, kind = facts_of(place, model), "synthetic " * settings["synthetic"]
    for name, scored in zip(settings["sets"], settings["scored"], strict=True):
        corpus = Path(scored["cuts"]).name
        # In this process: one of its own would import for seconds what is here from job to job.
        path = score(words_of(
            cuts=expdir / "data", split=name, decoded=asr / DECODED / name, corpus=corpus,
            out=asr / DECODED, results=folder / name, model=model, model_kind=facts["model_kind"],
            asr=asr, asr_model=settings["asr_model"], result_split=scored["split"],
            inference_config=settings["inference_config"], synthetic=settings["synthetic"],
            profile=settings["profile"],
        ))  # fmt: skip
        result = load_result(path).model_copy(
            update=facts | {
                "corpus": f"{kind}{scored['corpus']}",
                "split": scored["split"] + settings["suffix"],
                "leakage": leakage_of(place, model, scored),
                "seed": settings["seed"], "seeds": (settings["seed"],),
            }
        )  # fmt: skip
        write_result(path, result)
        yield path
