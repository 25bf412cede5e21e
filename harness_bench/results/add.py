"""Add one checked result, with its predictions, to a folder of results."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from harness_bench.core.files import atomic_path, digest_file, digest_strings
from harness_bench.core.sanitize import clean, inside
from harness_bench.results.check import read
from harness_bench.results.compare import compare_results
from harness_bench.results.record import load_results, write_result

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.results.record import Result

_FOLDER = "predictions"  # below the results


def add(file: Path, folder: Path, *, replace: bool = False) -> tuple[Path, bool]:
    """Copy a checked result and its predictions into a folder, made where it is not there.

    Broken files in the folder stay as they are. `replace` overwrites a different result of the same
    source, model, task, corpus and split.

    Returns:
        The file in the folder, and whether anything was written.

    Raises:
        ValueError: the file is no valid result (every problem is named), a different result of
            the same identity is there, or the name is taken by a file that is none.
    """
    result, wrong = read(file)
    if result is None or wrong:
        raise ValueError("Nothing was added:\n" + "\n".join(map(str, wrong)))
    folder.mkdir(parents=True, exist_ok=True)
    path, old = _place(result, folder)
    if path.exists() and path.samefile(file):
        return path, False
    source = inside(file.parent, result.predictions) if result.predictions else None
    relative = f"{_FOLDER}/{path.stem}.jsonl" if source else None
    target = inside(folder, relative) if relative else None
    new = result.model_copy(update={"predictions": relative})
    if old == new and _same_content(source, target):
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


def _same_content(first: Path | None, second: Path | None) -> bool:
    """Tell whether two files hold the same; no file is the same as no file."""
    if first is None or second is None:
        return first is second
    return second.is_file() and digest_file(first) == digest_file(second)
