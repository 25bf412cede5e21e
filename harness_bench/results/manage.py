"""Result files and folders of them: check, list and compare them, add one to a folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, override

from harness_bench.core.files import atomic_path, digest_strings, read_jsonl
from harness_bench.core.log import say
from harness_bench.core.sanitize import canonical, clean, inside, shorten
from harness_bench.core.tables import columns
from harness_bench.results.predictions import MAX_PREDICTIONS, TextPrediction, read_predictions
from harness_bench.results.record import (
    fraction_problems,
    is_copy,
    load_result,
    load_results,
    predictions_path,
    read_result,
    same_content,
    spelled_like,
    write_result,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from harness_bench.results.record import Result

# Metrics of several annotators. The metric files say so too; they lie above this module.
SEVERAL = ("av_cer", "av_wer", "mr_wer")
# What differs between any two runs and says nothing about what was measured.
OF_THE_RUN = {"created", "seconds", "stage_seconds", "hardware", "command", "predictions"}
# The same of the costs; operations and size are the model's.
OF_THE_MEASUREMENT = {"real_time_factor", "gpu_real_time_factor", "peak_bytes", "hardware"}
_FOLDER = "predictions"  # below the results
_ORDER = ("source", "task", "corpus", "split", "model")


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


def problem(file: Path, field: str, message: str) -> Problem:
    """Make a problem fit to be printed, whatever the file is named."""
    return Problem(clean(str(file)), field, shorten(message, 1000))


def check(paths: Iterable[Path]) -> tuple[int, list[Problem]]:
    """Check result files, and every *.json directly in folders -> number of files, problems.

    A copy of another file of its folder is no problem, and a line of the log names it. Beyond what
    the leaderboard checks, the predictions that a result names must be there: one
    JSON object a line, each with an id of its own, as many as `utterances`. Where the main metric
    is of several annotators, each row has the references of all. A path that is not there is a
    problem like any other.
    """
    files: dict[Path, None] = {}
    problems: list[Problem] = []
    for path in paths:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            problems.append(problem(path, "file", "the folder holds no *.json; give its own path"))
        files |= dict.fromkeys(found)
    seen: dict[tuple[str, ...], tuple[Path, Result]] = {}
    for file in files:
        result, wrong = read(file)
        problems += wrong
        if result is None:
            continue
        first, other = seen.setdefault((str(file.parent), *result.key), (file, result))
        if first is not file and is_copy(file, result, first, other):
            say(f"{file.name} holds the same as {first.name}: it counts once.")
        elif first is not file:
            message = f"{first.name} has the same model, task, corpus and split; keep one"
            problems.append(problem(file, "file", message))
    return len(files), problems


def read(file: Path) -> tuple[Result | None, list[Problem]]:
    """Read a result with all checks: None where it is no result; what else is wrong with it."""
    try:
        result, wrong = read_result(file)
    except (ValueError, OSError) as error:
        return None, [problem(file, "file", str(error).removeprefix(f"{file} "))]
    if result and result.predictions:
        message = _predictions_problem(inside(file.parent, result.predictions), result)
        wrong = [("predictions", message)] if message else []
    wrong = [*wrong, *(fraction_problems(result) if result else ())]
    return result, [problem(file, field, message) for field, message in wrong]


def load_folder(folder: Path) -> tuple[dict[Path, Result], list[Problem]]:
    """Read a folder as the leaderboard does, with the problems of what is left out by field."""
    found, reasons = load_results(folder)
    problems: list[Problem] = []
    for path, reason in reasons.items():
        result, wrong = read(path)
        # A valid file that is left out repeats another, or a figure of it is asked back.
        problems += [problem(path, "file", reason.removeprefix(f"{path} "))] if result else wrong
    return found, problems


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
        raise ValueError(f"there is no file {path}; add it or leave the field out")
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
    found = {tuple(sorted(row.references)) for row in read_predictions(path, TextPrediction)}
    if len(found) != 1 or () in found:
        named = "; ".join(sorted(", ".join(names) or "none" for names in found)) or "no row"
        raise ValueError(
            f"{path}: {metric} needs the same `references`, of two annotators or more, in every "
            f"row; there are: {named}"
        )


def list_results(
    folder: Path, *, task: str | None = None, model: str | None = None
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """List the results of a folder or of one task or model -> JSON-ready rows, what is left out."""
    found, problems = load_folder(folder)
    rows = chosen = [_row(path, result) for path, result in found.items()]
    for field, text in (("task", task), ("model", model)):
        known = sorted({row[field] for row in rows})
        wanted = known if text is None else [canonical(text)]
        if not {*wanted} <= {*known}:
            there = shorten(", ".join(known), 500)
            raise ValueError(f"No result of {field} {text!r} in {folder}; there are: {there}.")
        chosen = [row for row in chosen if row[field] in wanted]
    return sorted(chosen, key=lambda row: [row[key] for key in _ORDER]), problems


def _row(path: Path, result: Result) -> dict[str, Any]:
    main = result.main
    texts = {
        "file": path.name, "source": result.source, "model": result.model, "task": result.task,
        "corpus": result.corpus, "split": result.split, "metric": result.main_metric,
        "unit": main.unit,
    }  # fmt: skip
    return {key: canonical(text) for key, text in texts.items()} | {
        "value": main.value,
        "low": main.interval.low if main.interval else None,
        "high": main.interval.high if main.interval else None,
        "printed": main.printed,
        "synthetic": result.synthetic,
        "parameters": result.parameters,
        "metrics": {clean(name): metric.value for name, metric in result.metrics.items()},
    }


def render(rows: list[dict[str, Any]]) -> str:
    """Write rows of `list_results` as an aligned table, safe to print."""
    head = ("model", "task", "corpus/split", "metric", "value", "kind")
    return "\n".join(columns([head, *map(_line, rows)], texts=True))


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    value = row["printed"] or f"{row['value']:.2f}"
    if row["low"] not in (None, row["high"]):  # see `Interval.is_known`
        value += f" [{row['low']:.2f}, {row['high']:.2f}]"
    kind = row["source"] + (", synthetic" if row["synthetic"] else "")
    place = f"{row['corpus']}/{row['split']}"
    return row["model"], row["task"], place, row["metric"], f"{value} {row['unit']}", kind


@dataclass(frozen=True)
class Difference:
    """One result that changed, appeared or vanished from one set to the other."""

    kind: str  # changed, appeared, vanished
    name: str
    field: str = ""  # of a change, dotted
    first: object = None
    second: object = None

    @override
    def __str__(self) -> str:
        """Write it as one line, safe to print."""
        line = f"{self.kind}  {self.name}"
        if self.field:
            line += f"  {self.field}: {_shown(self.first)} -> {_shown(self.second)}"
        return line


def _shown(value: object) -> str:
    return "nothing" if value is None else shorten(json.dumps(value, ensure_ascii=False), 80)


def diff(first: Path, second: Path) -> tuple[list[Difference], list[Problem]]:
    """Tell what changed, appeared and vanished from one folder of results to another.

    Two files are compared whatever they are results of. What every run has of its own (times,
    memory, machine, command, the path of the predictions) is not compared. The problems are those
    of files that are left out of a folder.
    """
    if first.is_dir() != second.is_dir():
        raise ValueError(f"Give two folders or two files; {first} and {second} are one of each.")
    if not first.is_dir():
        return compare_results(load_result(first), load_result(second)), []
    (old, wrong), (new, also) = load_folder(first), load_folder(second)
    before, after = ({result.key: result for result in found.values()} for found in (old, new))
    pairs = [(before.get(key), after.get(key)) for key in sorted(before | after)]
    return [one for pair in pairs for one in compare_results(*pair)], [*wrong, *also]


def compare_results(first: Result | None, second: Result | None) -> list[Difference]:
    """Tell what differs between two results; None is a result that is not there."""
    present = second or first
    if present is None:
        return []
    place = f"{present.corpus}/{present.split} ({present.source})"
    name = clean(f"{present.model} {present.task} {place}")
    if first is None or second is None:
        return [Difference("vanished" if second is None else "appeared", name)]
    left_out: dict[str, bool | set[str]] = {
        **dict.fromkeys(OF_THE_RUN, True),
        "costs": OF_THE_MEASUREMENT,
    }
    dumped = (one.model_dump(mode="json", exclude=left_out) for one in (first, second))
    old, new = map(dict, map(_leaves, dumped))
    return [
        Difference("changed", name, shorten(field, 120), old.get(field), new.get(field))
        for field in sorted(old | new)
        if old.get(field) != new.get(field)
    ]


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted name, value) of everything in nested JSON that is no object or array."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))


def add(file: Path, folder: Path, *, replace: bool = False) -> tuple[Path, bool]:
    """Copy a checked result and its predictions into a folder, made where it is not there.

    Broken files in the folder stay as they are. `replace` overwrites a different result of the same
    source, model, task, corpus and split, or a file of its name that is no result; else they are
    refused. Returns the file there, and whether anything was written.
    """
    result, wrong = read(file)
    if result is None or wrong:
        raise ValueError("Nothing was added:\n" + "\n".join(map(str, wrong)))
    folder.mkdir(parents=True, exist_ok=True)
    path, old = _place(result, folder)
    if path.exists() and path.samefile(file):
        return path, False
    source = predictions_path(file, result)
    relative = f"{_FOLDER}/{path.stem}.jsonl" if source else None
    target = inside(folder, relative) if relative else None
    new = result.model_copy(update={"predictions": relative})
    new = spelled_like(new, old) if old else new
    if old == new and same_content(source, target):
        return path, False
    if path.exists() and not replace:
        raise ValueError(_refusal(path, old, new))
    if source and target:
        with atomic_path(target) as partial:
            shutil.copyfile(source, partial)
    write_result(path, new)  # last: it names the predictions
    return path, True


def _place(result: Result, folder: Path) -> tuple[Path, Result | None]:
    """Return where a result belongs in a folder, and the result of its identity there."""
    found, _ = load_results(folder)
    for path, other in found.items():
        if other.key == result.key:
            return path, other
    path = folder / result.file_name
    if path in found:  # Another identity that is written alike, such as "a b" and "a-b".
        path = path.with_name(f"{path.stem}.{digest_strings(result.key)[:8]}.json")
    return path, None


def _refusal(path: Path, old: Result | None, new: Result) -> str:
    where = clean(str(path))
    if old is None:
        return f"{where} is there and is no valid result; delete it or give --replace."
    changes = [str(difference) for difference in compare_results(old, new)]
    lines = changes or ["They differ in what every run has of its own, such as the time."]
    head = f"{where} holds a different result of the same identity; give --replace to overwrite it."
    return "\n".join([head, *lines])
