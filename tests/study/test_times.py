"""When jobs ran: lanes, pauses and idle time, against what can be counted by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from harness_bench.core.plotting import MUTED
from harness_bench.study import times as timing
from harness_bench.study.job import Ended, StudyJob, keys, tell
from harness_bench.study.saved import SavedStudy, Session, session
from harness_bench.study.status import JobStatus
from harness_bench.study.times import draw, read_times, study_times, summary, table

if TYPE_CHECKING:
    from pathlib import Path


def _ran(name: str, begun: float, seconds: float, host: str = "n1") -> JobStatus:
    job = StudyJob(name=name, kind=name.split(maxsplit=1)[0])
    return JobStatus(job=job, stand="done", host=host, begun=begun, seconds=seconds)


def _study(*spans: tuple[float, float | None], workers: int = 2) -> SavedStudy:
    sessions = tuple(
        Session(begun=begun, ended=ended, host="n1", pid=1, command="", workers=workers)
        for begun, ended in spans
    )
    return SavedStudy(title="x", jobs={}, keys={}, chosen=frozenset(), sessions=sessions)


def test_jobs_that_overlap_stand_on_workers_of_their_own() -> None:
    statuses = [
        _ran("a 1", 100, 10),
        _ran("a 2", 100, 4),
        _ran("b 1", 104.01, 6),
        _ran("c 1", 103, 5, "n2"),
        JobStatus(job=StudyJob(name="never", kind="b")),
    ]
    found = study_times(_study((100, 120)), statuses, now=1e9)
    lanes = {bar.name: bar.lane for bar in found.bars}
    assert lanes == {"a 1": ("n1", 0), "a 2": ("n1", 1), "b 1": ("n1", 1), "c 1": ("n2", 0)}
    assert found.workers == 3, "as many as were seen, though a session said two"
    assert found.seconds == 20
    assert found.idle == pytest.approx(1 - 25 / 60)


def test_time_without_a_driver_counts_for_nothing() -> None:
    """A night between a kill and the next call is no idle time of the workers."""
    statuses = [_ran("a 1", 1000, 10), _ran("a 2", 90_000, 10)]
    found = study_times(_study((1000, 1010), (90_000, 90_010), workers=1), statuses, now=1e9)
    assert found.seconds == 20
    assert list(found.pauses) == [10]
    assert [bar.begun for bar in found.bars] == [0, 10]
    assert found.idle == 0
    # A session in which all was kept says nothing of the workers.
    again = study_times(
        _study((1000, 1010), (90_000, 90_010), (95_000, 95_005), workers=1), statuses, now=1e9
    )
    assert again.seconds == 20
    # A driver that was killed: jobs may end after its last sign of life; one that runs: until now.
    killed = study_times(_study((1000, 1005), workers=1), statuses[:1], now=1e9)
    assert killed.seconds == 10
    running = study_times(_study((1000, None), workers=1), statuses[:1], now=1040)
    assert running.seconds == 40
    assert running.idle == pytest.approx(0.75)


def test_the_pictures_are_whole_and_the_same_for_the_same_times(tmp_path: Path) -> None:
    statuses = [_ran(f"kind{n % 9} {n}", 10.0 * n, 9) for n in range(40)]
    found = study_times(_study((0, 400), workers=1), statuses, now=1e9)
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(draw(found, "Titled", tmp_path / name))
    assert [path.name for path in made[0]] == list(timing.PICTURES)
    assert [p.read_bytes() for p in made[0]] == [p.read_bytes() for p in made[1]]
    image = Image.open(made[0][0])
    assert min(image.size) > 200
    assert len(image.convert("RGB").getcolors(1 << 24) or ()) > len(found.kinds)
    svg = made[0][1].read_text()
    assert "Titled" in svg or "<path" in svg


def test_small_kinds_are_grey_and_each_large_one_has_its_colour() -> None:
    statuses = [_ran("long 1", 1, 1000), _ran("short 1", 1001, 1), _ran("other 1", 1002, 500)]
    colours = timing._colours(study_times(_study((0, 2000)), statuses, now=1e9))
    assert colours["short"] == MUTED
    assert len({*colours.values()}) == 3


def test_what_a_folder_says(tmp_path: Path) -> None:
    jobs = {name: StudyJob(name=name, kind="probe") for name in ("probe a", "probe b")}
    found = keys(jobs)
    with session(tmp_path, jobs, found, title="Two", chosen={"probe a"}):
        for number, (name, job) in enumerate(jobs.items()):
            ended = Ended(name=name, state="done", host="n1", begun=5000.0 + number, seconds=1.0)
            tell(tmp_path, job, found[name], ended)
    title, times = read_times(tmp_path)
    assert title == "Two"
    assert len(times.bars) == 2, "those of earlier sessions, too"
    assert "2 jobs on 1 worker" in summary(times)
    assert json.loads(json.dumps(timing.as_json(times)))["jobs"][0]["name"] == "probe a"
    (row,) = (column._cells for column in table(times).columns if column.header == "jobs")
    assert row == ["2"]
