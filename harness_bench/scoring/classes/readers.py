"""Read classified utterances: predictions beside prepared cuts, or a table of three columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness_bench.cuts.fields import fields_of, group_of, label_of
from harness_bench.cuts.store import read_cuts, read_cuts_file
from harness_bench.results.predictions import ClassPrediction
from harness_bench.scoring.texts.joining import check_ids, refuse_unjoined
from harness_bench.scoring.texts.readers import filled_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEXT = "text"  # a field of cuts that is no label, even where a command is all that is said
_HEADERS = ("id truth prediction", "id truth pred")


def read_table(path: Path) -> list[ClassPrediction]:
    """Read lines `id <tab> truth <tab> prediction`; a first line of these names is a header.

    Every utterance is its own cluster: the table names none.

    Raises:
        ValueError: a broken line, a duplicate id, or no line at all; names file and line.
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

    Raises:
        ValueError: a broken line, a field the cuts lack or that is ambiguous, or ids that do not
            join.
    """
    check_ids(ids)
    if isinstance(predictions, Mapping):
        name = "the predictions"
        guesses: dict[str, dict[str, Any]] = {
            key: {"pred": label, "probs": {}} for key, label in predictions.items()
        }
    else:
        name, guesses = predictions.name, dict(_guesses(predictions))
    truths = _truths(truth, field, {guess["pred"] for guess in guesses.values()})
    unjoined = {
        "missing": truths.keys() - guesses.keys(),
        "extra": guesses.keys() - truths.keys(),
    }
    refuse_unjoined(unjoined, name, ids)
    common = sorted(truths.keys() & guesses.keys())
    if not common:
        where = "the truth" if isinstance(truth, Mapping) else truth
        raise ValueError(f"{name} and {where} share no utterance id; are they of one split?")
    rows = [
        ClassPrediction(id=key, truth=truths[key][0], group=truths[key][1], **guesses[key])
        for key in common
    ]
    return rows, {reason: len(keys) for reason, keys in unjoined.items()}


def _truths(
    truth: Path | Mapping[str, str], field: str | None, predicted: set[str]
) -> dict[str, tuple[str, str]]:
    """Return id -> label and cluster; without cuts, each utterance is its own cluster."""
    if isinstance(truth, Mapping):
        return {key: (label, key) for key, label in truth.items()}
    known = _cuts(truth)
    name = field or _truth_field(known, predicted)
    return {cut.id: (label_of(cut, name), group_of(cut)) for cut in known}


def _guesses(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: set[str] = set()
    for number, line in filled_lines(path):
        row = _json_guess(line) if line.startswith("{") else _plain_guess(line)
        if row is None:
            raise ValueError(
                f"{path}:{number}: expected `id label`, or a JSON object with strings `id` and "
                "`pred` and, if known, `probs` (label -> probability)."
            )
        key, guess = row
        _refuse_repeated(path, number, key, seen)
        seen.add(key)
        yield key, guess


def _plain_guess(line: str) -> tuple[str, dict[str, Any]] | None:
    parts = line.split(maxsplit=1)
    return (parts[0], {"pred": parts[1], "probs": {}}) if len(parts) > 1 else None


def _json_guess(line: str) -> tuple[str, dict[str, Any]] | None:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):  # deep nesting recurses
        return None
    key, pred, probs = (row.get(name) for name in ("id", "pred", "probs"))
    numbers = probs is None or (
        isinstance(probs, dict) and all(isinstance(one, int | float) for one in probs.values())
    )
    if not (isinstance(key, str) and key and isinstance(pred, str) and numbers):
        return None
    return key, {"pred": pred, "probs": probs or {}}


def _truth_field(cuts: list[Any], predicted: set[str]) -> str:
    """Find the only field that all cuts have and whose values hold every prediction."""
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


def _cuts(path: Path) -> list[Any]:
    if path.is_dir():
        return read_cuts(path, "test")
    if not path.is_file():
        raise ValueError(
            f"{path} is no file of cuts; name one that `harness-bench prepare` wrote, such as "
            "cuts.test.jsonl.gz, or its folder."
        )
    return read_cuts_file(path)


def _refuse_repeated(path: Path, number: int, key: str, seen: Any) -> None:
    if key in seen:
        raise ValueError(f"{path}:{number} repeats id {key!r}; keep one line per utterance.")
