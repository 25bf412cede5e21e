"""Check result files and the predictions that they name, and tell every problem by its field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, override

from harness_bench.core.files import read_jsonl
from harness_bench.core.sanitize import clean, inside, shorten
from harness_bench.results.predictions import MAX_PREDICTIONS, TextPrediction, read_predictions
from harness_bench.results.record import load_results, read_result

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness_bench.results.record import Result

# Metrics of several annotators. The metric files say so too; they lie above this module.
SEVERAL = ("av_cer", "av_wer", "mr_wer")


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one file."""

    file: str
    field: str  # dotted, such as metrics.wer.value; "file" where it is no single field
    message: str

    @override
    def __str__(self) -> str:
        """Write it as one line, safe to print."""
        return f"{self.file}: {self.field}: {self.message}"


def check(paths: Iterable[Path]) -> tuple[int, list[Problem]]:
    """Check result files, and every *.json directly in folders.

    Beyond what the leaderboard checks, the predictions that a result names must be there: one
    JSON object a line, each with an id of its own, as many as `utterances`. Where the main metric
    is of several annotators, each row has the references of all.

    Args:
        paths: files and folders; one that is not there is a problem like any other.

    Returns:
        The number of files looked at, and all that is wrong with them.
    """
    files: dict[Path, None] = {}
    problems: list[Problem] = []
    for path in paths:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            problems.append(problem(path, "file", "the folder holds no *.json; give its own path"))
        files |= dict.fromkeys(found)
    seen: dict[tuple[str, ...], Path] = {}
    for file in files:
        result, wrong = read(file)
        if result is not None:
            first = seen.setdefault((str(file.parent), *result.key), file)
            if first is not file:
                message = f"{first.name} has the same model, task, corpus and split; keep one"
                wrong = [*wrong, problem(file, "file", message)]
        problems += wrong
    return len(files), problems


def read(file: Path) -> tuple[Result | None, list[Problem]]:
    """Read a result with all checks: None where it is no result, problems of its predictions."""
    try:
        result, wrong = read_result(file)
    except (ValueError, OSError) as error:
        return None, [problem(file, "file", str(error).removeprefix(f"{file} "))]
    if result is None or not result.predictions:
        return result, [problem(file, field, message) for field, message in wrong]
    path = inside(file.parent, result.predictions)
    message = _predictions_problem(path, result)
    return result, [problem(file, "predictions", message)] if message else []


def load_folder(folder: Path) -> tuple[dict[Path, Result], list[Problem]]:
    """Read a folder as the leaderboard does, with the problems of what is left out by field.

    Raises:
        ValueError: there is no such folder.
    """
    found, reasons = load_results(folder)
    problems: list[Problem] = []
    for path, reason in reasons.items():
        result, wrong = read(path)
        # A valid file that is left out repeats another.
        repeats = [problem(path, "file", reason.removeprefix(f"{path} "))]
        problems += wrong if result is None else repeats
    return found, problems


def problem(file: Path, field: str, message: str) -> Problem:
    """Make a problem fit to be printed, whatever the file is named."""
    return Problem(clean(str(file)), field, shorten(message, 1000))


def _predictions_problem(path: Path, result: Result) -> str:
    try:
        count = _count_predictions(path)
        if clean(result.main_metric) in SEVERAL:
            _check_annotators(path, result.main_metric)
    except (ValueError, OSError) as error:
        return str(error)
    except RecursionError:
        return f"{path} is nested too deeply"
    if result.utterances is not None and count != result.utterances:
        return f"{path} has {count} rows, and `utterances` is {result.utterances}"
    return ""


def _count_predictions(path: Path) -> int:
    """Count the rows of a file of predictions; anything wrong with them is a `ValueError`."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}; put it there or leave the field out")
    if (size := path.stat().st_size) > MAX_PREDICTIONS:
        raise ValueError(f"{path} has {size} bytes; at most {MAX_PREDICTIONS} are read")
    ids: set[str] = set()
    for number, row in enumerate(read_jsonl(path), start=1):
        name = row.get("id") if isinstance(row, dict) else None
        if not isinstance(name, str):
            message = f"{path}: row {number} is no JSON object with a string `id`"
            raise ValueError(message)  # noqa: TRY004 - a file's value, not an argument's type
        if name in ids:
            raise ValueError(f"{path}: row {number} repeats the id {name!r}")
        ids.add(name)
    return len(ids)


def _check_annotators(path: Path, metric: str) -> None:
    """Refuse predictions that this metric of several annotators cannot be of."""
    rows = read_predictions(path, TextPrediction)
    found = {tuple(sorted(row.references)) for row in rows}
    if len(found) != 1 or () in found:
        named = "; ".join(sorted(", ".join(names) or "none" for names in found)) or "no row"
        raise ValueError(
            f"{path}: {metric} needs the same `references`, of two annotators or more, in every "
            f"row; there are: {named}"
        )
