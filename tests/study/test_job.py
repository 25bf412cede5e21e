"""What became of a job: kept, done, failed, left out; and done anew where its inputs changed."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.study import job as jobs
from harness_bench.study.job import Ended, Place, StudyJob, finished, keys, last_state, run_job

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a kind in the place of all others: it notes the names of the jobs that it runs."""
    names: list[str] = []

    def run(place: Place) -> Any:
        names.append(place.job.name)
        if place.job.settings.get("fails"):
            raise ValueError("no such corpus")
        return {"seen": sorted(place.found)}

    monkeypatch.setattr(jobs, "attribute", lambda _module, _name: run)
    return names


def _all(out: Path, *given: StudyJob) -> dict[str, Ended]:
    named = {job.name: job for job in given}
    found = keys(named)
    ended: dict[str, Ended] = {}
    for name, job in named.items():
        before = {each: ended[each] for each in (*job.after, *job.wants)}
        ended[name] = run_job(out, job, found[name], before)
    return ended


FIRST, SECOND = StudyJob(name="a", kind="x"), StudyJob(name="b c", kind="x", after=("a",))


def test_a_finished_job_is_kept(tmp_path: Path, ran: list[str]) -> None:
    first = _all(tmp_path, FIRST, SECOND)
    again = _all(tmp_path, FIRST, SECOND)
    assert ran == ["a", "b c"]
    assert [each.state for each in first.values()] == ["done", "done"]
    assert [each.state for each in again.values()] == ["kept", "kept"]
    assert again["b c"].outcome == first["b c"].outcome == {"seen": ["a"]}
    assert last_state(tmp_path, SECOND)["state"] == "done"


def test_what_changes_is_done_anew_with_all_behind_it(tmp_path: Path, ran: list[str]) -> None:
    _all(tmp_path, FIRST, SECOND)
    _all(tmp_path, replace(FIRST, settings={"layer": 9}), SECOND)
    assert ran == ["a", "b c"] * 2


def test_a_failure_is_told_and_what_needs_it_left_out(tmp_path: Path, ran: list[str]) -> None:
    board = StudyJob(name="board", kind="x", wants=("a", "b c"))
    ended = _all(tmp_path, replace(FIRST, settings={"fails": True}), SECOND, board)
    assert [each.state for each in ended.values()] == ["failed", "left out", "done"]
    assert ended["a"].why == "no such corpus"
    assert ran == ["a", "board"]
    # Once what it wanted is there, it is done anew; with as much as before, it is kept.
    again = _all(tmp_path, replace(FIRST, settings={"fails": True}), SECOND, board)
    assert again["board"].state == "kept"
    assert not finished(tmp_path, board, keys({j.name: j for j in (FIRST, SECOND, board)})["board"])
    assert _all(tmp_path, FIRST, SECOND, board)["board"].outcome == {"seen": ["a", "b c"]}


def test_a_lost_folder_is_made_again(tmp_path: Path, ran: list[str]) -> None:
    job = replace(FIRST, folder="work/a")
    _all(tmp_path, job)
    (tmp_path / "work/a").rmdir()
    assert _all(tmp_path, job)["a"].state == "done"
    assert ran == ["a", "a"]


def test_slugs_are_file_names_and_differ() -> None:
    slugs = {StudyJob(name=name, kind="x").slug for name in ("a b", "a_b", "a/b", "أ", "ب")}
    assert len(slugs) == 5
    assert all("/" not in slug for slug in slugs)


def test_work_begun_by_other_inputs_is_finished_no_longer(tmp_path: Path, ran: list[str]) -> None:
    """A job whose settings go back after others failed or were cut off must not trust its note."""
    _all(tmp_path, FIRST)
    _all(tmp_path, replace(FIRST, settings={"fails": True}))
    assert _all(tmp_path, FIRST)["a"].state == "done"
    assert ran == ["a"] * 3


def test_a_job_that_exits_fails_and_does_not_end_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "attribute", lambda *_: lambda _place: sys.exit("no licence"))
    ended = _all(tmp_path, FIRST)["a"]
    assert ended.state == "failed"
    assert "SystemExit: no licence" in ended.why


def test_a_study_that_was_moved_finds_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes may name files by absolute paths; those below the study move with it."""

    def run(place: Place) -> Any:
        (place.folder / "head.ckpt").touch()
        return {"head": [str(place.folder / "head.ckpt")], "other": "/elsewhere"}

    monkeypatch.setattr(jobs, "attribute", lambda *_: run)
    job = replace(FIRST, folder="work")
    first = _all(tmp_path / "old", job)["a"]
    (tmp_path / "old").rename(tmp_path / "new")
    again = _all(tmp_path / "new", job)["a"]
    assert again.state == "kept"
    assert first.outcome["head"] == [str(tmp_path / "old/work/head.ckpt")]
    assert again.outcome == {"head": [str(tmp_path / "new/work/head.ckpt")], "other": "/elsewhere"}


@pytest.mark.parametrize("outcome", [{"results": ["a.json"]}, {"checkpoint": "work/a.json"}])
def test_what_was_deleted_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: dict[str, Any]
) -> None:
    def run(place: Place) -> Any:
        (place.folder / "a.json").touch()
        return outcome

    monkeypatch.setattr(jobs, "attribute", lambda *_: run)
    job = replace(FIRST, folder="work")
    assert [_all(tmp_path, job)["a"].state for _ in range(2)] == ["done", "kept"]
    (tmp_path / "work/a.json").unlink()
    assert _all(tmp_path, job)["a"].state == "done"


def test_jobs_that_share_a_folder_share_no_log(tmp_path: Path) -> None:
    """A failure is shown with the end of its log: another job's would mislead."""
    shared = [StudyJob(name=name, kind="x", folder="results", late=True) for name in "xy"]
    logs = [jobs.log_of(tmp_path, job) for job in (*shared, SECOND)]
    assert logs == [tmp_path / "jobs" / f"{job.slug}.txt" for job in (*shared, SECOND)]
    assert jobs.log_of(tmp_path, replace(FIRST, folder="work")) == tmp_path / "work" / "log.txt"
