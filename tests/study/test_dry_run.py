"""What a study would cost and what is absent, before anything is spent."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from harness_bench.models.config import forward_per_second
from harness_bench.pretrain.plan import cost_of
from harness_bench.study import guess as guessing
from harness_bench.study.clusters import EngineConfig
from harness_bench.study.dry_run import about, dry_run, render
from harness_bench.study.guess import corpus_hours, guess, with_guesses
from harness_bench.study.job import Ended, Needs, StudyJob, keys, run_job, tell
from harness_bench.study.opened import open_study
from harness_bench.study.plan import plan
from tests.study.chain import STUDY, write_study

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.study.opened import Study

ABSENT = """
[corpora.far]
folder = "no such folder"
get = "Ask its authors."
hours = 240
[[models]]
hub = "lab/no-such-model"
[[tasks]]
type = "ser"
corpus = "far"
label_field = "emotion"
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Open a study on a corpus and a checkpoint that are absent."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    text = STUDY.replace("[synthesis]\n", "") + ABSENT + "[synthesis]\n"
    return open_study(write_study(tmp_path, text), tmp_path / "out")


def test_what_is_absent_is_told_with_how_to_get_it_and_what_needs_it(study: Study) -> None:
    jobs = plan(study)
    found = {each.name.split()[0]: each for each in dry_run(
        study.out, jobs, title="x", workers=1
    ).absent}  # fmt: skip
    assert set(found) == {"far", "lab/no-such-model"}
    assert found["far"].how == "Ask its authors."
    assert not found["far"].fetched
    hub = found["lab/no-such-model"]
    assert hub.fetched
    assert "hf download lab/no-such-model" in hub.how
    # All that stands behind it, by an independent count, and nothing else.
    needing = {"prepare far"}
    for name, job in jobs.items():
        if needing.intersection(job.after):
            needing.add(name)
    assert set(found["far"].jobs) == needing
    assert not any(name.startswith("probe did") for name in found["far"].jobs)
    assert not study.out.exists(), "nothing is made"


def test_what_is_here_and_is_not_what_it_should_be_is_told(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """By its settings and headers, before hours of other work; what is whole is not mentioned."""
    torn = tmp_path / "torn"
    shutil.copytree(tiny_checkpoint, torn)
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    no_cuts = tmp_path / "no cuts"
    no_cuts.mkdir()
    jobs = {}
    for path in (tiny_checkpoint, torn, no_cuts):
        settings = {"model": str(path), "upstream": "harness_local"}
        jobs[path.name] = StudyJob(name=path.name, kind="checkpoint", settings=settings)
    jobs["cuts"] = StudyJob(name="cuts", kind="prepared", settings={"cuts": str(no_cuts)})
    labels = StudyJob(
        name="labels", kind="labels", settings={"data": None}, inputs={"teacher": [str(torn), "x"]}
    )
    found = {each.name: each for each in dry_run(
        tmp_path, jobs | {"labels": labels}, title="x", workers=1
    ).absent}  # fmt: skip
    assert found.keys() == {str(torn), str(no_cuts)}
    assert all(
        each.broken and not each.fetched and each.name in each.how for each in found.values()
    )
    assert found[str(torn)].jobs == ("torn", "labels")
    assert found[str(no_cuts)].jobs == ("no cuts", "cuts")


def test_finished_and_cut_off_jobs_are_counted(tmp_path: Path) -> None:
    jobs = {
        name: StudyJob(name=name, kind="tests.study.tiny_job", needs=Needs(hours=2.0, cpus=3))
        for name in ("a", "b", "c")
    }
    found = keys(jobs)
    (tmp_path / "jobs").mkdir()
    run_job(tmp_path, jobs["a"], found["a"], {})
    tell(tmp_path, jobs["b"], found["b"], Ended(name="b", state="failed", why="x"))
    (stage,) = dry_run(tmp_path, jobs, title="x", workers=2).stages
    assert (stage.jobs, stage.finished) == (3, 1)
    # b and c are left; a took next to none of the two hours that the plan says.
    assert stage.cpu_hours < 0.1


def test_hours_are_of_cpus_and_gpus(tmp_path: Path) -> None:
    jobs = {
        job.name: job
        for job in (
            StudyJob(name="a", kind="big", needs=Needs(hours=2, gpus=4, nodes=3, disk_gb=5)),
            StudyJob(name="b", kind="small", needs=Needs(hours=1, cpus=2), after=("a",)),
            StudyJob(name="c", kind="odd"),
        )
    }
    engine = EngineConfig(workers=8)
    found = dry_run(tmp_path, jobs, title="x", workers=8, lacks=lambda job: engine.lacks(job.needs))
    by_kind = {stage.kind: stage for stage in found.stages}
    assert by_kind["big"].gpu_hours == 24
    assert by_kind["big"].cpu_hours == 0
    assert by_kind["big"].disk_gb == 5
    assert by_kind["small"].cpu_hours == 2
    assert by_kind["odd"].unknown == 1
    assert found.hours == pytest.approx(3), "b waits for a, however many workers there are"
    assert json.loads(json.dumps(found.as_json()))["left"] == 3
    console = Console(file=io.StringIO(), width=120, color_system=None)
    render(found, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "20 h" in text, "one digit"
    assert "24 h" not in text
    assert sum(found.lacking.values()) == 1, "there are no three machines with GPUs here"
    assert next(iter(found.lacking)) in text.replace("\n", " ")


def test_guesses_follow_the_operation_count_and_the_settings(study: Study) -> None:
    jobs = plan(study)
    with_hours, sources = with_guesses(study, jobs)
    assert list(with_hours) == list(jobs)
    assert sources
    for name, job in jobs.items():
        assert keys({"x": replace(job, after=(), wants=())}) == keys(
            {"x": replace(with_hours[name], after=(), wants=())}
        ), "an estimate changes no key"
    assert study.family is not None
    step = study.family.iterations[0]
    cost, job = cost_of(step), jobs["pretrain it1"]
    on_core = guess(study, job)
    on_gpus = guess(study, replace(job, needs=Needs(gpus=2)))
    assert on_core is not None
    assert on_gpus is not None
    seconds = cost.audio_hours * cost.flop_per_second / guessing.CORE_OPERATIONS * 3600
    assert on_core.hours * 3600 == pytest.approx(seconds)
    assert on_gpus.hours * 2 == pytest.approx(cost_of(step, 2).gpu_hours_usual)
    # A corpus that is not here has the hours that the file declares.
    assert corpus_hours(study, "far") == {"": 240}
    prepare = guess(study, jobs["prepare far"])
    assert prepare is not None
    assert prepare.hours == pytest.approx(240 / guessing.DECODED)
    assert guess(study, jobs["prepare did"]) is None, "nobody knows yet"
    assert with_hours["prepare did"].needs.hours is None


def test_labels_are_one_pass_of_the_teacher(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    job = plan(study)["pretrain student"]
    job = replace(job, kind="labels")
    assert guess(study, job) is None, "nobody knows the hours yet"
    monkeypatch.setattr(guessing, "corpus_hours", lambda *_: {"train": 2.0, "test": 1.0})
    found = guess(study, job)
    assert found is not None
    assert study.family is not None
    each = forward_per_second(study.family.iterations[0].model)
    # Two corpora are heard, of whose three hours each two are train.
    assert found.hours == pytest.approx(4 * each / guessing.CORE_OPERATIONS)
    first = guess(study, replace(plan(study)["pretrain it1"], kind="labels"))
    assert first is not None
    assert first.hours == pytest.approx(4 / guessing.LABELLED)


def test_a_heads_grid_takes_its_trials(study: Study) -> None:
    job = plan(study)["probe did fbank"]
    grid = dict(job.settings["grid"])
    once = guess(study, job)
    more = grid | {"learning_rates": [1e-3, 1e-4], "seeds": [1, 2, 3]}
    four = guess(study, replace(job, settings={**job.settings, "grid": more}))
    assert once is not None
    assert four is not None
    assert four.hours == pytest.approx(4 * once.hours)


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.0, ""), (0.001, "< 1 min"), (0.3, "20 min"), (0.97, "60 min"), (17.2, "20 h"),
     (681_234, "700,000 h")],
)  # fmt: skip
def test_estimates_have_one_digit(hours: float, text: str) -> None:
    assert about(hours) == text
