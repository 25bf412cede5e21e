"""Classified utterances: read and joined with their truth, scored, and broken down by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from harness_bench.core.files import atomic_path
from harness_bench.core.tables import columns
from harness_bench.results.predictions import ClassPrediction
from harness_bench.scoring.bootstrap import SeedSpread, intervals
from harness_bench.scoring.registry import get_metric, metric_names
from harness_bench.scoring.statistics import class_statistics
from harness_bench.scoring.texts.joining import check_ids, refuse_unjoined
from harness_bench.scoring.texts.readers import filled_lines

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from pandas import DataFrame

    from harness_bench.results.record import Metric
    from harness_bench.scoring.statistics import Array

_TEXT = "text"  # a field of cuts that is no label, even where a command is all that is said
_HEADERS = ("id truth prediction", "id truth pred")
BINS = 15  # of the calibration error, equally wide
_TOLERANCE = 1e-3  # how far probabilities may be from a sum of 1
_PICTURES = (".png", ".svg", ".pdf")
_WIDEST = 12  # classes of a confusion matrix in print
_MOST_NUMBERS = 30  # classes above which cells are coloured alone


def read_table(path: Path) -> list[ClassPrediction]:
    """Read lines `id <tab> truth <tab> prediction`; a first line of these names is a header.

    Every utterance is its own cluster: the table names none.
    """
    rows: dict[str, ClassPrediction] = {}
    for number, line in filled_lines(path):
        parts = [part.strip() for part in line.split("\t")]
        if number == 1 and " ".join(parts).lower() in _HEADERS:
            continue
        if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - columns
            raise ValueError(
                f"{path}:{number}: expected `id <tab> truth <tab> prediction`, found "
                f"{len(parts)} fields, {sum(map(bool, parts))} of them filled."
            )
        key, truth, pred = parts
        _refuse_repeated(path, number, key, rows)
        rows[key] = ClassPrediction(id=key, truth=truth, pred=pred, probs={}, group=key)
    if not rows:
        raise ValueError(f"{path} holds no prediction; is it the right file?")
    return list(rows.values())


def join_truth(
    predictions: Path | Mapping[str, str],
    truth: Path | Mapping[str, str],
    field: str | None = None,
    ids: str = "strict",
) -> tuple[list[ClassPrediction], dict[str, int]]:
    """Join predictions with their truth -> rows, and counts of ids that did not join.

    Args:
        predictions: id -> label, or a file of lines `id label` or of JSON lines of `id`, `pred`
            and possibly `probs`.
        truth: id -> label, or a file that `harness-bench prepare` wrote, such as
            cuts.test.jsonl.gz; of a folder the split `test` is taken.
        field: which label of the cuts is the truth, such as `dialect`. None: the only field of
            all cuts among whose values every prediction is.
        ids: `strict` refuses ids that do not join, `common` leaves them out.
    """
    check_ids(ids)
    if isinstance(predictions, Mapping):
        name = "the predictions"
        guesses = {key: _Guess(id=key, pred=label) for key, label in predictions.items()}
    else:
        name, guesses = predictions.name, _guesses(predictions)
    truths = _truths(truth, field, {guess.pred for guess in guesses.values()})
    unjoined = {"missing": truths.keys() - guesses.keys(), "extra": guesses.keys() - truths.keys()}
    refuse_unjoined(unjoined, name, ids)
    common = sorted(truths.keys() & guesses.keys())
    if not common:
        where = "the truth" if isinstance(truth, Mapping) else truth
        raise ValueError(f"{name} and {where} share no utterance id; are they of one split?")
    rows = []
    for key in common:
        (label, group), guess = truths[key], guesses[key]
        probs = guess.probs or {}
        rows.append(ClassPrediction(id=key, truth=label, pred=guess.pred, probs=probs, group=group))
    return rows, {reason: len(keys) for reason, keys in unjoined.items()}


class _Guess(BaseModel):
    id: Annotated[str, Field(min_length=1)]
    pred: str
    probs: dict[str, float] | None = None


def _guesses(path: Path) -> dict[str, _Guess]:
    found: dict[str, _Guess] = {}
    for number, line in filled_lines(path):
        try:
            if line.startswith("{"):
                guess = _Guess.model_validate_json(line, strict=True)
            else:
                key, pred = line.split(maxsplit=1)
                guess = _Guess(id=key, pred=pred)
        except ValueError:  # pydantic's are of this kind
            raise ValueError(
                f"{path}:{number}: expected `id label`, or a JSON object with strings `id` and "
                "`pred` and, if known, `probs` (label -> probability)."
            ) from None
        _refuse_repeated(path, number, guess.id, found)
        found[guess.id] = guess
    return found


def _refuse_repeated(path: Path, number: int, key: str, seen: Container[str]) -> None:
    if key in seen:
        raise ValueError(f"{path}:{number} repeats id {key!r}; keep one line per utterance.")


def _truths(
    truth: Path | Mapping[str, str], field: str | None, predicted: set[str]
) -> dict[str, tuple[str, str]]:
    """Return id -> label and cluster; without cuts, each utterance is its own cluster."""
    if isinstance(truth, Mapping):
        return {key: (label, key) for key, label in truth.items()}
    if not (truth.is_dir() or truth.is_file()):
        raise ValueError(
            f"{truth} is no file of cuts; name one that `harness-bench prepare` wrote, such as "
            "cuts.test.jsonl.gz, or its folder."
        )
    # A hosted leaderboard brings neither cuts nor lhotse along.
    from harness_bench.cuts.fields import group_of, label_of  # noqa: PLC0415
    from harness_bench.cuts.store import read_cuts, read_cuts_file  # noqa: PLC0415

    cuts = read_cuts(truth, "test") if truth.is_dir() else read_cuts_file(truth)
    name = field or _truth_field(cuts, predicted)
    return {cut.id: (label_of(cut, name), group_of(cut)) for cut in cuts}


def _truth_field(cuts: Sequence[Any], predicted: set[str]) -> str:
    """Find the only field that all cuts have and whose values hold every prediction."""
    from harness_bench.cuts.fields import fields_of  # noqa: PLC0415 - as above

    held: dict[str, list[str]] = {}
    for cut in cuts:
        for name, value in fields_of(cut).items():
            if name != _TEXT:
                held.setdefault(name, []).append(str(value))
    full = {name: set(values) for name, values in held.items() if len(values) == len(cuts)}
    fitting = sorted(name for name, values in full.items() if predicted <= values)
    if len(fitting) != 1:
        raise ValueError(
            f"{len(fitting)} fields of the cuts hold every predicted label: "
            f"{', '.join(fitting) or 'none'}; name the truth with "
            f"`--field`. All cuts have: {', '.join(sorted(full)) or 'none'}."
        )
    return fitting[0]


def score_classes(rows: Sequence[ClassPrediction]) -> dict[str, Metric]:
    """Return every `class` metric with its intervals; the order of rows does not matter.

    Where rows hold the answers of several heads, accuracy and UAR are the means of the heads'
    figures, macro F1 is that of their mean counts, `spread` tells how the heads differ, and
    intervals hold that spread too.
    """
    if not rows:
        raise ValueError("There is no prediction to score; is the prediction file empty?")
    ordered = sorted(rows, key=lambda row: row.id)
    classes = classes_of(ordered)
    counts = row_statistics(ordered, classes)
    heads = [one.sum(axis=0, dtype=np.float64) for one in head_statistics(ordered, classes)]
    groups = [row.group for row in ordered]
    plugins = {name: get_metric(name) for name in metric_names("class")}
    spreads = {}
    for name, plugin in plugins.items():
        spreads[name] = SeedSpread.of([float(plugin.value(one)) for one in heads])
    spans = intervals(counts, groups, plugins, spreads)
    found = {}
    for name, plugin in plugins.items():
        value, runs = float(plugin.value(counts.sum(axis=0, dtype=np.float64))), spreads[name]
        found[name] = plugin.measured(value, spans[name], runs.deviation if runs else None)
    return found


def row_statistics(rows: Sequence[ClassPrediction], classes: Sequence[str]) -> Array:
    """Count what each row adds to the sums, the mean over its heads -> (N, 3, classes).

    Of one head these are uint8, of several float64.
    """
    heads = head_statistics(rows, classes)
    first = next(heads)
    if not rows or not rows[0].others:
        return first
    total, count = first.astype(np.float64), 1
    for each in heads:  # summed one by one: a hundred heads need the room of two
        total += each
        count += 1
    return np.asarray(total / count)


def head_statistics(rows: Sequence[ClassPrediction], classes: Sequence[str]) -> Iterator[Array]:
    """Yield the counts of each head, uint8 (N, 3, classes); see `ClassPrediction.others`."""
    answers = [(row.pred, *row.others) for row in rows]
    many = len(answers[0]) if rows else 1
    if odd := [row.id for row, own in zip(rows, answers, strict=True) if len(own) != many]:
        raise ValueError(
            f"{odd[0]!r} has another number of answers in `others` than {rows[0].id!r}; give those "
            "of the same heads in every row."
        )
    truths = [row.truth for row in rows]
    for number in range(many):
        yield class_statistics(truths, [own[number] for own in answers], classes)


def classes_of(rows: Sequence[ClassPrediction]) -> list[str]:
    """List the classes that occur as truth, prediction or output of the head, sorted."""
    found = ((row.truth, row.pred, *row.others, *row.probs) for row in rows)
    return sorted({label for labels in found for label in labels})


def confusion(rows: Sequence[ClassPrediction]) -> DataFrame:
    """Count true (rows) against predicted classes (columns), of several heads by the first."""
    from pandas import DataFrame  # noqa: PLC0415 - loaded for reports only

    labels = classes_of(rows)
    place = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int32)
    np.add.at(counts, ([place[row.truth] for row in rows], [place[row.pred] for row in rows]), 1)
    return DataFrame(counts, index=labels, columns=labels)


def confusion_table(counts: DataFrame) -> list[str]:
    """Write the confusion matrix, or of many classes the most frequent confusions."""
    if len(counts) <= _WIDEST:
        cells = [[label, *map(str, row)] for label, *row in counts.itertuples()]
        return columns([["true \\ predicted", *counts.columns], *cells])
    numbers = counts.to_numpy()
    true, guess = np.nonzero(numbers)
    true, guess = true[true != guess], guess[true != guess]
    most = np.argsort(-numbers[true, guess], kind="stable")[:_WIDEST]  # then in the labels' order
    labels = [*counts.columns]
    cells = [
        [labels[i], labels[j], str(numbers[i, j])]
        for i, j in zip(true[most], guess[most], strict=True)
    ]
    return columns([["most frequent confusions", "predicted", "times"], *cells])


def per_class(counts: DataFrame) -> dict[str, dict[str, float | None]]:
    """Return precision, recall and F1 in percent and support of every class that occurs.

    Rates are None where there is nothing to divide by; support are utterances truly of the class.
    """
    totals = (np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0))
    table = zip(counts.index, *(each.tolist() for each in totals), strict=True)
    return {
        label: {
            "precision": _percent(hits, guessed),
            "recall": _percent(hits, true),
            "f1": _percent(2 * hits, true + guessed),
            "support": true,
        }
        for label, hits, true, guessed in table
        if true or guessed
    }


def _percent(above: int, below: int) -> float | None:
    return 100 * above / below if below else None


def calibration_error(rows: Sequence[ClassPrediction], bins: int = BINS) -> float | None:
    """Return the expected calibration error in percent (Guo et al., ICML 2017), None without probs.

    Utterances fall into equally wide bins of (0, 1] by the probability of the class predicted.
    The error is the distance between a bin's accuracy and its mean probability, averaged over the
    bins by their utterances.
    """
    without = [row.id for row in rows if not row.probs]
    if len(without) == len(rows):
        return None
    if without:
        raise ValueError(
            f"{len(without)} of {len(rows)} predictions have no probabilities, first "
            f"{without[0]!r}; give them to all utterances or to none."
        )
    sure = np.array([_confidence(row) for row in rows])
    right = np.array([row.pred == row.truth for row in rows], dtype=np.float64)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(sure, edges, right=True) - 1, 0, bins - 1)
    gaps = np.abs(np.bincount(place, right - sure, bins))
    return float(100 * gaps.sum() / len(rows))


def _confidence(row: ClassPrediction) -> float:
    values = np.array(list(row.probs.values()))
    if not ((values >= 0) & (values <= 1 + _TOLERANCE)).all() or abs(values.sum() - 1) > _TOLERANCE:
        raise ValueError(
            f"The probabilities of {row.id!r} are {row.probs}; expected numbers from 0 to 1 that "
            "add up to 1."
        )
    if row.pred not in row.probs:
        raise ValueError(
            f"{row.id!r} is predicted as {row.pred!r}, which has no probability; there are "
            f"{', '.join(row.probs)}."
        )
    return row.probs[row.pred]


def check_picture(path: Path) -> None:
    """Refuse a name that tells no kind of picture, before any work is done."""
    if path.suffix not in _PICTURES:
        raise ValueError(f"--plot {path}: the name must end in {', '.join(_PICTURES)}.")


def plot_confusion(counts: DataFrame, path: Path) -> None:
    """Draw true against predicted classes, coloured by the share of the true class."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - loaded for pictures only.

    many, numbers = len(counts), counts.to_numpy()
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    side = min(2.6 + 0.55 * many, 16)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(many), counts.columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(many), counts.index)
    axes.set(xlabel="predicted", ylabel="true")
    for row, column in np.ndindex(many, many) if many <= _MOST_NUMBERS else ():
        colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004 - half the scale
        number = str(numbers[row, column])
        axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)
