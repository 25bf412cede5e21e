"""Build the leaderboard of what is published; results that the study no longer has are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_settings
from harness_bench.core.workdir import read_note
from harness_bench.leaderboard.build import build, make_board
from harness_bench.study.job import JOBS
from harness_bench.study.opened import SAVED
from harness_bench.study.publishing import FILES, remove
from harness_bench.study.task_base import RESULTS

_MOST_SHOWN = 300  # results; more take long to compare, and fill no screen

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.leaderboard.board import Board
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Write the board into the job's folder."""
    results = place.out / RESULTS
    results.mkdir(exist_ok=True)
    there = {name for outcome in place.found.values() for name in outcome.get(FILES, ())}
    remove(results, _ever_published(place) - there)
    settings = place.job.settings
    made = build(
        results, place.folder, title=settings["title"], include_reported=settings["reported"]
    )
    return {"page": str(made.html.relative_to(place.out)), "problems": made.problems}


def board_of(out: Path) -> Board | None:
    """Return the board of a study's folder, for a terminal; None where it is too large for one."""
    if len([*(out / RESULTS).glob("*.json")]) > _MOST_SHOWN:
        return None
    title = read_settings(out / SAVED)["config"]["title"]
    return make_board(out / RESULTS, title=title, include_reported=False)


def _ever_published(place: Place) -> set[str]:
    """Return the results that any job of this study published, those of before too."""
    jobs = place.out / JOBS
    notes = (
        read_note(jobs, name=path.name)
        for path in jobs.glob("publish*.json")
        if not path.name.endswith(".state.json")
    )
    return {name for note in notes if note and note.outcome for name in note.outcome[FILES]}
