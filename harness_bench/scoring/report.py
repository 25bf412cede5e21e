"""Scores of a file of predictions, as text for people or JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness_bench.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.classification import score_classes
from harness_bench.scoring.registry import profile_names
from harness_bench.scoring.text import score_texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.results import Metric

ALL = "all"


def class_report(predictions: Path, *, as_json: bool) -> str:
    """Score a file of `ClassPrediction`."""
    return _render(score_classes(read_predictions(predictions, ClassPrediction)), as_json=as_json)


def text_report(predictions: Path, *, profile: str, as_json: bool) -> str:
    """Score a file of `TextPrediction` under one text profile, or under all of them."""
    rows = read_predictions(predictions, TextPrediction)
    if profile != ALL:
        return _render(score_texts(rows, profile=profile), as_json=as_json)
    first, *others = profile_names()
    scores = score_texts(rows, profile=first, also=others)
    named = {name if "_" in name else f"{name}_{first}": score for name, score in scores.items()}
    return _render(named, as_json=as_json)


def _render(scores: Mapping[str, Metric], *, as_json: bool) -> str:
    if as_json:
        return json.dumps({name: score.model_dump() for name, score in scores.items()}, indent=2)
    width = max(map(len, scores))
    return "\n".join(f"{name:<{width}}  {_line(score)}" for name, score in scores.items())


def _line(score: Metric) -> str:
    text = f"{score.value:6.2f} {score.unit}"
    if score.interval is None:
        return text
    found = score.interval
    return f"{text}  [{found.low:.2f}, {found.high:.2f}]  {found.method}"
