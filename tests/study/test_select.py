"""--only: what is named, with all that it needs, and a board of it."""

from __future__ import annotations

import pytest

from harness_bench.study.job import StudyJob
from harness_bench.study.select import select

JOBS = {
    job.name: job
    for job in (
        StudyJob(name="prepare emotions", kind="prepare"),
        StudyJob(name="prepare texts", kind="prepare"),
        StudyJob(name="pretrain tiny", kind="pretrain", after=("prepare texts",)),
        StudyJob(name="probe ser tiny", kind="probe", after=("prepare emotions", "pretrain tiny")),
        StudyJob(name="probe ser tiny_2", kind="probe", after=("prepare emotions",)),
        StudyJob(name="asr tiny", kind="asr", after=("prepare texts", "pretrain tiny")),
        StudyJob(name="publish ser tiny", kind="publish", after=("probe ser tiny",)),
        StudyJob(name="publish asr tiny", kind="publish", after=("asr tiny",)),
        StudyJob(name="board", kind="board", wants=("publish ser tiny", "publish asr tiny")),
    )
}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("prepare", {"prepare emotions", "prepare texts"}),  # a kind
        ("probe ser tiny_2", {"prepare emotions", "probe ser tiny_2"}),  # a job
        ("* tiny_2", {"prepare emotions", "probe ser tiny_2"}),
        ("pretrain", {"prepare texts", "pretrain tiny"}),
        # A task, with the board of what it publishes; `ser` is a word, and no part of one.
        ("ser", {"prepare emotions", "prepare texts", "pretrain tiny", "probe ser tiny",
                 "probe ser tiny_2", "publish ser tiny", "board"}),
        ("board", {*JOBS} - {"probe ser tiny_2"}),
        ("*", {*JOBS}),
    ],
)  # fmt: skip
def test_patterns(pattern: str, names: set[str]) -> None:
    found = select(JOBS, [pattern])
    assert set(found) == names
    assert list(found) == [name for name in JOBS if name in names], "the order is the plan's"
    for job in found.values():
        assert found.keys() >= {*job.after, *job.wants}, "nothing waits for what does not run"


def test_several_patterns_add_up_and_none_takes_all() -> None:
    assert {*select(JOBS, ["prepare", "pretrain"])} == {
        "prepare emotions", "prepare texts", "pretrain tiny",
    }  # fmt: skip
    assert select(JOBS, []) == JOBS


def test_a_pattern_that_names_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'probe ser tinny'.*prepare.*probe ser tiny"):
        select(JOBS, ["probe ser tinny"])
