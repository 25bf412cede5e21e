"""Build the leaderboard of what is published; results that the study no longer has are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_settings
from harness_bench.core.workdir import read_note
from harness_bench.leaderboard.build import build, make_board
from harness_bench.study.job import FILES, JOBS, slug_of
from harness_bench.study.opened import SAVED
from harness_bench.study.publishing import published, remove
from harness_bench.study.saved import STUDY, saved_study
from harness_bench.study.task_base import CURVES, RESULTS

_MOST_SHOWN = 300  # results; more take long to compare, and fill no screen

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.leaderboard.board import Board
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Write the board into the job's folder."""
    results = place.out / RESULTS
    results.mkdir(exist_ok=True)
    drop_outdated(place)
    settings = place.job.settings
    made = build(
        results, place.folder, title=settings["title"], include_reported=settings["reported"],
        dated=settings["times"],
    )  # fmt: skip
    return {"page": str(made.html.relative_to(place.out)), "problems": made.problems}


def board_of(out: Path) -> Board | None:
    """Return the board of a study's folder, for a terminal; None where it is too large for one."""
    if len([*(out / RESULTS).glob("*.json")]) > _MOST_SHOWN:
        return None
    title = read_settings(out / SAVED)["config"]["title"]
    return make_board(out / RESULTS, title=title, include_reported=False)


def drop_outdated(place: Place) -> None:
    """Remove results and curves of jobs that the study no longer has, or that failed this time.

    Those of its jobs that --only left out stay.
    """
    there = {name for outcome in place.found.values() for name in outcome.get(FILES, ())}
    planned = saved_study(place.out).jobs if (place.out / STUDY).is_file() else {}
    others = {job.slug for name, job in planned.items() if name not in place.job.wants}
    outdated: set[str] = set()
    for slug, names in published(place.out).items():
        (there if slug in others else outdated).update(names)
    remove(place.out / RESULTS, outdated - there)
    made = {slug_of(name) for name in place.found} | others
    for path in (place.out / RESULTS / CURVES).glob("*.json"):
        if path.stem not in made and read_note(place.out / JOBS, name=path.name) is not None:
            path.unlink()
