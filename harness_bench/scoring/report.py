"""Scores of a file of predictions, as text for people or JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness_bench.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.annotators import annotators, joined_rows
from harness_bench.scoring.asr import Breakdown
from harness_bench.scoring.asr_report import ALL, joined_report
from harness_bench.scoring.class_readers import read_table, read_with_cuts
from harness_bench.scoring.class_tables import (
    BINS,
    calibration_error,
    check_picture,
    per_class,
    plot_confusion,
)
from harness_bench.scoring.classification import confusion, score_classes
from harness_bench.scoring.registry import profile_names
from harness_bench.scoring.text import score_texts
from harness_bench.text_table import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness_bench.result_parts import Metric
    from harness_bench.scoring.class_tables import ClassFigures
    from harness_bench.scoring.classification import Confusion

_WIDEST = 12  # classes of a confusion matrix in print


def class_report(predictions: Path, *, as_json: bool, plot: Path | None = None) -> str:
    """Score a file of `ClassPrediction`."""
    return class_rows_report(
        lambda: (read_predictions(predictions, ClassPrediction), {}), as_json=as_json, plot=plot
    )


def table_report(table: Path, *, as_json: bool, plot: Path | None = None) -> str:
    """Score a table of id, truth and prediction."""
    return class_rows_report(lambda: (read_table(table), {}), as_json=as_json, plot=plot)


def cuts_report(
    pred: Path, cuts: Path, field: str | None, *, ids: str, as_json: bool, plot: Path | None = None
) -> str:
    """Score predictions whose truth is a field of prepared cuts."""
    return class_rows_report(
        lambda: read_with_cuts(pred, cuts, field, ids), as_json=as_json, plot=plot
    )


def class_rows_report(
    read: Callable[[], tuple[list[ClassPrediction], dict[str, int]]],
    *,
    as_json: bool,
    plot: Path | None,
) -> str:
    """Score what `read` gives: metrics with intervals, calibration, classes, confusion."""
    if plot is not None:
        check_picture(plot)
    rows, left_out = read()
    scores = score_classes(rows)
    error = calibration_error(rows)
    found = confusion(rows)
    classes = per_class(found)
    if plot is not None:
        plot_confusion(rows, plot)
    if as_json:
        whole = {name: score.model_dump() for name, score in scores.items()} | {
            "ece": error,
            "classes": {label: vars(figures) for label, figures in classes.items()},
            "confusion": {"labels": found.labels, "counts": found.counts.tolist()},
            "utterances": len(rows),
            "ids": left_out,
        }
        return json.dumps(whole, indent=2, ensure_ascii=False)
    lines = [_render(scores, as_json=False)]
    lines += (
        [] if error is None else [f"{'ece':<{max(map(len, scores))}}  {error:6.2f} %  {BINS} bins"]
    )
    unjoined = [f"{count} {reason}" for reason, count in left_out.items() if count]
    lines += [f"Left out: {', '.join(unjoined)}."] if unjoined else []
    return "\n".join([*lines, "", *_class_table(classes), "", *_matrix(found)])


def text_report(predictions: Path, *, profile: str, as_json: bool) -> str:
    """Score a file of `TextPrediction` under one text profile, or under all of them.

    Rows with the references of several annotators are reported as files of references are.
    """
    rows = read_predictions(predictions, TextPrediction)
    if annotators(rows):
        return joined_report(joined_rows(rows), profile, Breakdown(), as_json=as_json)
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


def _class_table(classes: Mapping[str, ClassFigures]) -> list[str]:
    """Write one line per class."""
    cells = [("class", "precision", "recall", "F1", "support")]
    for label, one in classes.items():
        rates = [
            "-" if rate is None else f"{rate:.2f}" for rate in (one.precision, one.recall, one.f1)
        ]
        cells.append((label, rates[0], rates[1], rates[2], str(one.support)))
    return columns(cells)


def _matrix(found: Confusion) -> list[str]:
    """Write the confusion matrix, or of many classes the most frequent confusions."""
    rows = list(zip(found.labels, found.counts.tolist(), strict=True))
    cells: list[tuple[str, ...]]
    if len(rows) <= _WIDEST:
        cells = [("true \\ predicted", *found.labels)]
        return columns([*cells, *((label, *map(str, counts)) for label, counts in rows)])
    wrong = [
        (count, true, guess)
        for true, counts in rows
        for guess, count in zip(found.labels, counts, strict=True)
        if count and true != guess
    ]
    top = sorted(wrong, key=lambda one: (-one[0], *one[1:]))[:_WIDEST]
    cells = [("most frequent confusions", "predicted", "times")]
    return columns([*cells, *((true, guess, str(count)) for count, true, guess in top)])
