"""Results of a study: made beside their place, and put there where they say anything new."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_settings, write_bytes
from harness_bench.core.workdir import read_note
from harness_bench.results.manage import OF_THE_RUN
from harness_bench.results.record import Result, load_result, write_result
from harness_bench.scoring.publish import PREDICTIONS
from harness_bench.study.job import FILES, JOBS
from harness_bench.study.opened import SAVED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from harness_bench.study.job import Place

_OLD_STAGING = ".publish-*"  # folders of JOBS, as versions before called them
# Of costs, what differs from one measurement to the next.
_UNMEASURED = {
    "real_time_factor": None, "gpu_real_time_factor": None, "peak_bytes": None, "hardware": "",
}  # fmt: skip
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def publish(place: Place, make: Callable[[Path], Iterable[Path]], **changes: Any) -> dict[str, Any]:
    """Publish what `make` writes into a folder that it is given, with some fields changed.

    A result that differs from the one there in nothing but times and places of the run stays as it
    is, so a study that is run again leaves the same bytes. What the same job published before under
    other names is removed, unless another has published it, too. Returns the outcome of the job.
    """
    jobs = place.out / JOBS
    with _staging(jobs / f".staging-{place.job.slug}") as staging:
        names = [_put(path, place.folder, place, changes) for path in make(staging)]
    before = read_note(jobs, name=f"{place.job.slug}.json")
    if before is not None and before.outcome and (gone := {*before.outcome[FILES]} - {*names}):
        others = published(place.out)
        others.pop(place.job.slug, None)
        remove(place.folder, gone.difference(*others.values()))
    return {FILES: names}


def published(out: Path) -> dict[str, list[str]]:
    """Return the names of the results that jobs of a study have published, by the jobs' slugs."""
    found: dict[str, list[str]] = {}
    for path in (out / JOBS).glob("publish*.json"):
        note = None if path.name.endswith(".state.json") else read_note(path.parent, name=path.name)
        if note and note.outcome:
            found[path.stem] = list(note.outcome[FILES])
    return found


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Make an empty folder, for the time of the block; what a job cut off has left of it goes."""
    for each in (folder, *folder.parent.glob(_OLD_STAGING)):
        shutil.rmtree(each, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _put(path: Path, results: Path, place: Place, changes: dict[str, Any]) -> str:
    result = load_result(path)
    called = read_settings(place.out / SAVED).get("called")
    command = f"harness-bench study {called}" if called else "harness-bench demo"
    predictions = path.parent / result.predictions if result.predictions else None
    result = result.model_copy(update={"command": command} | changes)
    if not place.job.settings["times"]:
        result = _without_times(result)
    if predictions is not None:
        relative = f"{PREDICTIONS}/{result.file_name.removesuffix('.json')}.jsonl"
        result = result.model_copy(update={"predictions": relative})
        write_bytes(results / relative, predictions.read_bytes())
    there = results / result.file_name
    if not _says_the_same(there, result):
        write_result(there, result)
    return there.name


def _without_times(result: Result) -> Result:
    """Return a result without what differs from one run of the same work to the next."""
    update: dict[str, Any] = {"created": NO_TIME, "seconds": None, "stage_seconds": {}}
    if result.costs is not None:
        update["costs"] = result.costs.model_copy(update=_UNMEASURED)
    return result.model_copy(update=update)


def _says_the_same(path: Path, result: Result) -> bool:
    try:
        return path.is_file() and _said(load_result(path)) == _said(result)
    except ValueError:  # broken, or of another version
        return False


def _said(result: Result) -> dict[str, Any]:
    return result.model_dump(mode="json", exclude=OF_THE_RUN)


def remove(results: Path, names: Iterable[str]) -> None:
    """Remove results that the study published and no longer has."""
    for name in names:
        (results / name).unlink(missing_ok=True)
        predictions = f"{name.removesuffix('.json')}.jsonl"
        (results / PREDICTIONS / predictions).unlink(missing_ok=True)
