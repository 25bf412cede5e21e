"""The demo's stages must wait for what they need, use the cores they have, and stop cleanly."""

from __future__ import annotations

import io
import threading
import time
from functools import partial
from graphlib import CycleError
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness_bench.study.schedule import Schedule, Stage

if TYPE_CHECKING:
    from pathlib import Path


def quiet(jobs: int = 2) -> Schedule:
    return Schedule(jobs, Console(file=io.StringIO(), width=100, record=True))


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """Draw, for each of up to eight stages, which of the earlier ones it needs."""
    rest = range(1, draw(st.integers(1, 8)))
    return [(), *(tuple(draw(st.sets(st.integers(0, n - 1), max_size=3))) for n in rest)]


@settings(max_examples=30, deadline=None)
@given(graphs(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_stage_runs_once_after_what_it_needs(
    needs: list[tuple[int, ...]], jobs: int, random: object
) -> None:
    """Whatever the graph, the order of the list and the number of slots."""
    ended: list[str] = []

    def runner(number: int) -> int:
        assert {str(each) for each in needs[number]} <= set(ended)
        ended.append(str(number))
        return number

    stages = [
        Stage(str(number), partial(runner, number), tuple(map(str, before)))
        for number, before in enumerate(needs)
    ]
    random.shuffle(stages)  # type: ignore[attr-defined]
    results = quiet(jobs).run(stages)
    assert results == {str(number): number for number in range(len(needs))}
    assert sorted(ended) == sorted(results)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_stages_run_at_once_than_slots(jobs: int) -> None:
    """Memory is what runs out first on a small machine; free slots are used, though."""
    slots, together = threading.Semaphore(jobs), threading.Barrier(jobs)

    def work() -> None:
        assert slots.acquire(blocking=False), "more at once than slots"
        together.wait(timeout=10)  # breaks where a slot stays free
        time.sleep(0.01)
        slots.release()

    quiet(jobs).run([Stage(str(number), work) for number in range(6)])


def test_the_lowest_rank_goes_first() -> None:
    """The longest chain first, or the second core idles at the end."""
    order: list[str] = []
    ranks = {"late": 5, "first": 0, "middle": 3}
    stages = [Stage(name, partial(order.append, name), rank=rank) for name, rank in ranks.items()]
    quiet(jobs=1).run(stages)
    assert order == ["first", "middle", "late"]


def test_a_failure_stops_what_has_not_begun_and_waits_for_what_has() -> None:
    """A stage cut off in mid-write by a neighbour's failure would leave a mess."""
    begun = threading.Event()
    ended: list[str] = []

    def slow() -> None:
        begun.set()
        time.sleep(0.1)
        ended.append("slow")

    def fail() -> None:
        begun.wait(5)
        raise RuntimeError("no space left")

    later = [
        Stage("next in line", lambda: ended.append("next in line"), rank=9),
        Stage("child", lambda: ended.append("child"), after=("fail",)),
    ]
    schedule = quiet()
    with pytest.raises(RuntimeError, match="no space left"):
        schedule.run([Stage("slow", slow), Stage("fail", fail), *later])
    assert ended == ["slow"]
    assert "fail: done" not in schedule.console.export_text()


def test_nothing_begins_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine lent for minutes must give what was finished: what runs ends, the rest is named."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    ended: list[str] = []

    def work(name: str, until: float) -> str:
        now[0] = until
        ended.append(name)
        return name

    stages = [
        Stage("first", partial(work, "first", 4.0)),
        Stage("long", partial(work, "long", 99.0), after=("first",)),
        Stage("child", partial(work, "child", 99.0), after=("long",)),
        Stage("waiting", partial(work, "waiting", 99.0), rank=9),
    ]
    schedule = quiet(jobs=1)
    schedule.seconds = 5.0
    assert schedule.run(stages) == {"first": "first", "long": "long"}
    assert ended == ["first", "long"]
    last = schedule.console.export_text().strip().splitlines()[-1]
    assert last.endswith("child, waiting")


def test_a_circle_is_refused_before_anything_runs() -> None:
    ran: list[str] = []
    needs = {"free": (), "a": ("b",), "b": ("a",)}
    with pytest.raises(CycleError):
        quiet().run([Stage(name, partial(ran.append, name), each) for name, each in needs.items()])
    assert ran == []


def test_each_stage_has_a_line_and_a_row(tmp_path: Path) -> None:
    """The line while it runs, the row in the summary at the end."""
    log = tmp_path / "log.txt"
    log.write_text("epoch 3 of 4\n")
    schedule, run = quiet(), partial(time.sleep, 0.02)
    schedule.run([Stage("data", run), Stage("train", run, after=("data",), log=log)])
    lines = schedule.console.export_text()
    assert lines.index("data: done in") < lines.index("train: done in")
    assert [took.name for took in schedule.times] == ["data", "train"]
    first, second = schedule.times
    assert 0 <= first.start < first.start + first.seconds <= second.start + 0.01
    schedule.console.print(schedule.summary())
    table = schedule.console.export_text()
    assert all(word in table for word in ("data", "train", "all, 2 at a time"))
