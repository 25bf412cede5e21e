"""Which jobs a study has, what they wait for, and what makes one of them another."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness_bench.core.config import build
from harness_bench.pretrain.config import load_preset
from harness_bench.study.config import JobNeeds, StudyConfig, StudyCorpus
from harness_bench.study.job import StudyJob, keys, kinds, log_of
from harness_bench.study.opened import DEMO, Study, open_study
from harness_bench.study.plan import plan
from tests.study.chain import write_study

ROOT = Path(__file__).parents[2]
STUDIES = sorted(
    path
    for path in (ROOT / "egs").rglob("*.toml")
    if "[[tasks]]" in path.read_text(encoding="utf-8")
)
_KEYS = """
import json, sys
from pathlib import Path
from harness_bench.study.job import keys
from harness_bench.study.opened import open_study
from harness_bench.study.plan import plan
print(json.dumps(keys(plan(open_study(Path(sys.argv[1]), Path(sys.argv[2]))))))
"""


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_study_is_planned(path: Path, tmp_path: Path) -> None:
    """Each job names a kind, is JSON-ready, and stands behind all that it waits for."""
    study = open_study(path, tmp_path)
    jobs, known, before = plan(study), kinds(), set[str]()
    assert len({job.slug for job in jobs.values()}) == len(jobs)
    for name, job in jobs.items():
        assert job.name == name
        assert job.kind in known
        assert json.loads(json.dumps(job.settings)) == job.settings
        assert json.loads(json.dumps(job.inputs)) == job.inputs
        assert {*job.after, *job.wants} <= before
        before.add(name)
    published = [name for name, job in jobs.items() if job.kind.startswith("publish")]
    outputs = [name for name in jobs if name in study.config.outputs]
    assert list(jobs["board"].wants) == published + outputs
    assert keys(jobs) == keys(plan(open_study(path, tmp_path)))


def test_the_example_of_the_docs_is_planned(tmp_path: Path) -> None:
    """Newcomers copy it as it stands."""
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    jobs = plan(open_study(tmp_path / "mine.toml"))
    assert {"did", "asr"} <= {name.split()[1] for name in jobs if name.startswith("publish")}


def test_shipped_studies_are_there() -> None:
    assert DEMO in STUDIES
    assert {path.stem for path in STUDIES} >= {"study", "real_arabic", "evidence", "gpu"}


def chain(folder: Path) -> Study:
    return open_study(write_study(folder), folder / "out")


def changed(study: Study, **changes: Any) -> dict[str, str]:
    """Return the keys of a study with other settings."""
    return keys(plan(replace(study, config=replace(study.config, **changes))))


def test_keys_are_the_same_in_every_process(tmp_path: Path) -> None:
    """A worker elsewhere, or tomorrow's driver, must find what was finished."""
    study = chain(tmp_path)
    words = [sys.executable, "-c", _KEYS, str(tmp_path / "chain.toml"), str(tmp_path / "elsewhere")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == keys(plan(study))


def test_a_setting_changes_what_depends_on_it_alone(tmp_path: Path) -> None:
    study = chain(tmp_path)
    before = keys(plan(study))
    heads = study.config.heads
    after = changed(study, heads=replace(heads, probe=heads.probe | {"total_steps": 9}))
    other = {name for name in before if before[name] != after[name]}
    assert "probe did fbank" in other
    assert "publish did fbank" in other
    assert "board" in other
    assert not other & {"probe did fbank (linear)", "pretrain it1", "asr fbank", "prepare did"}
    # The student that heads choose hangs on them.
    assert "asr best student" in other


def test_a_seed_changes_all_that_is_trained(tmp_path: Path) -> None:
    study = chain(tmp_path)
    before, after = keys(plan(study)), changed(study, seed=4)
    same = {name for name in before if before[name] == after[name]}
    assert same == {
        name for name in before if name.startswith(("synthesise", "prepare", "merge", "audit"))
    } | {"probe did fbank (linear)", "publish did fbank (linear)"}


def test_a_corpus_on_disk_changes_what_is_read_of_it(tmp_path: Path) -> None:
    values = {
        "name": "x", "title": "X", "corpora": {"a": {"folder": "a"}, "b": {"folder": "b"}},
        "models": [{"upstream": "fbank"}],
        "tasks": [{"type": "did", "corpus": "a"}, {"type": "ser", "corpus": "b"}],
    }  # fmt: skip
    config = build(StudyConfig, values, source="x")
    study = Study(config=config, given=config, base=tmp_path, data=tmp_path, out=tmp_path / "out")
    assert plan(study)["prepare a"].settings["get"] == ""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.tsv").write_text("path\n")
    before = keys(plan(study))
    assert "get" not in plan(study)["prepare a"].settings
    (tmp_path / "a" / "manifest.tsv").write_text("path\tlabel\n")
    after = keys(plan(study))
    other = {name for name in before if before[name] != after[name]}
    assert {"prepare a", "probe did fbank"} <= other
    assert not other & {"prepare b", "probe ser fbank"}


def test_files_that_settings_name_change_what_is_made_of_them(tmp_path: Path) -> None:
    """A recipe's conf/ and the layouts of tables count by what they hold."""
    folder = tmp_path / "recipe"
    (folder / "conf").mkdir(parents=True)
    files = [folder / "run.sh", folder / "conf" / "demo.yaml", tmp_path / "layouts.toml"]
    for file in files:
        file.write_text("")
    study = chain(tmp_path)
    config = replace(
        study.config, asr=study.config.asr | {"recipe": str(folder)},
        outputs={"tables": {"layouts": "layouts.toml"}},
    )  # fmt: skip
    study, other = replace(study, config=config), set[str]()
    for file, job in zip(files, ("asr fbank", "asr fbank", "tables"), strict=True):
        before = keys(plan(study))
        file.write_text("another")
        after = keys(plan(study))
        other = {name for name in before if before[name] != after[name]}
        assert job in other
        assert not {name for name in other if name.startswith(("prepare", "probe", "pretrain"))}
    assert "asr fbank" not in other


def test_a_study_whose_files_were_moved_is_the_same(tmp_path: Path) -> None:
    places = [tmp_path / "old", tmp_path / "new"]
    for each in places:
        each.mkdir()
    old, new = (keys(plan(chain(each))) for each in places)
    assert old == new


def test_a_teacher_from_outside_counts(tmp_path: Path) -> None:
    teacher, found = tmp_path / "teacher", []
    for text in (None, "a", "bc"):
        study = chain(tmp_path)
        family = tmp_path / "family.toml"
        family.write_text(family.read_text().replace('teacher = "it1"', f'teacher = "{teacher}"'))
        if text:
            teacher.write_text(text)
        found.append(keys(plan(study)))
    assert len({each["pretrain student"] for each in found}) == 3
    assert len({each["pretrain it1"] for each in found}) == 1


def test_iterations_that_no_row_needs_are_not_trained(tmp_path: Path) -> None:
    study = chain(tmp_path)
    alone = tuple(model for model in study.config.models if not model.iteration)
    student = tuple(model for model in study.config.models if model.iteration != "it1")
    task = replace(study.config.tasks[1], models=("fbank",))
    tasks = (study.config.tasks[0], task)
    names = plan(replace(study, config=replace(study.config, models=alone, tasks=tasks)))
    assert not any(job.kind == "pretrain" for job in names.values())
    names = plan(replace(study, config=replace(study.config, models=student)))
    assert [name for name, job in names.items() if job.kind == "pretrain"] == [
        "pretrain it1", "pretrain student",  # the teacher comes along
    ]  # fmt: skip


def test_students_share_one_teacher_and_its_labels(tmp_path: Path) -> None:
    """The evidence of a GPU: all students wait for one teacher, none for another."""
    study = open_study(ROOT / "egs" / "evidence" / "gpu.toml", tmp_path)
    assert study.family is not None
    steps = {step.name: step for step in study.family.iterations}
    assert steps["harness_st"].model == load_preset("harness_st").model
    students = set(steps) - {"mel_it1"}
    assert set(study.students()) == students
    jobs = plan(study)
    for name in students:
        after = jobs[f"pretrain {name}"].after
        assert {"pretrain mel_it1", "labels harness_st"} <= {*after}
        assert not {f"pretrain {other}" for other in students} & {*after}
    assert jobs["asr harness_st"].needs.gpus == 0  # [needs] wins over ngpu


def test_every_rate_and_seed_as_a_job_of_its_own(tmp_path: Path) -> None:
    study = chain(tmp_path)
    heads = replace(
        study.config.heads, apart=True, learning_rates=(1e-3, 1e-2), seeds=(1, 2, 3), kinds=("cnn",)
    )
    jobs = plan(replace(study, config=replace(study.config, heads=heads)))
    rates = {f"trial did it1 lr{rate}" for rate in ("0.001", "0.01")}
    seeds = {f"trial did it1 seed{seed + 3}" for seed in (2, 3)}
    assert {name for name in jobs if name.startswith("trial did it1")} == rates | seeds
    for name in seeds:
        assert rates <= {*jobs[name].after}
    assert rates | seeds <= {*jobs["probe did it1"].after}
    assert {jobs[name].folder for name in rates} == {jobs["probe did it1"].folder}
    logs = [log_of(tmp_path, job) for job in jobs.values() if job.kind in ("trial", "probe")]
    assert len({*logs}) == len(logs), "each has a log of its own"


def test_no_log_stands_where_a_corpus_is_prepared(tmp_path: Path) -> None:
    """`prepare` refuses a folder that holds what is not its own, such as a log."""
    job = plan(chain(tmp_path))["prepare did"]
    assert log_of(tmp_path, job).parent == tmp_path / "jobs"


def test_the_best_student_waits_for_those_with_a_name_of_their_own(tmp_path: Path) -> None:
    """So that the same training is not done twice; whatever the order of the names."""
    study = chain(tmp_path)
    asr = replace(study.config.tasks[1], models=("best student", "fbank", "student"))
    jobs = plan(replace(study, config=replace(study.config, tasks=(study.config.tasks[0], asr))))
    best = jobs["asr best student"]
    assert best.settings["trained"] == {"student": "asr student"}
    assert "asr student" in best.wants
    names = [*jobs]
    assert names.index("asr student") < names.index("asr best student")
    assert "trained" not in plan(study)["asr best student"].settings


def test_tables_come_one_over_the_other(tmp_path: Path) -> None:
    """[heads], over it the task's file, over that the task."""
    study = chain(tmp_path)
    (tmp_path / "grid.toml").write_text("seeds = [5]\n[probe]\nhidden = 7\ntotal_steps = 8\n")
    own = replace(study.config.tasks[0], grid="grid.toml", settings={"hidden": 6})
    jobs = plan(replace(study, config=replace(study.config, tasks=(own,))))
    grid = jobs["probe did it1"].settings["grid"]
    assert grid["seeds"] == [5 + 3]
    probe = grid["probe"]
    assert (probe["hidden"], probe["total_steps"], probe["eval_step"]) == (6, 8, 3)


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    study = chain(tmp_path)
    models, tasks = study.config.models, study.config.tasks
    with pytest.raises(ValueError, match=r"needs\.'prob'.*probe"):
        changed(study, needs={"prob": JobNeeds()})
    mfcc = (replace(models[0], upstream="mfcc"), *models[1:])
    with pytest.raises(ValueError, match="'mfcc' has no checkpoint"):
        changed(study, models=mfcc, tasks=(replace(tasks[1], models=("mfcc",)),))
    with pytest.raises(ValueError, match=r"'mffc': upstream = 'mffc' is not there; known: mfcc"):
        changed(study, models=(replace(mfcc[0], upstream="mffc"), *models[1:]), tasks=tasks[:1])
    with pytest.raises(ValueError, match=r"'didd' is not there; known:.*did"):
        changed(study, tasks=(replace(tasks[0], type="didd"),))
    with pytest.raises(ValueError, match=r"corpora\.did: layout = 'tsw'.*tsv"):
        changed(
            study, corpora={**study.config.corpora, "did": StudyCorpus(folder="x", layout="tsw")}
        )
    with pytest.raises(ValueError, match=r"outputs\.figure9.*figure2"):
        changed(study, outputs={"figure9": {}})
    with pytest.raises(ValueError, match="random = 'it9'"):
        changed(study, models=(replace(models[1], random="it9"),), tasks=tasks[:1])


def test_ten_thousand_jobs_are_planned_in_seconds(tmp_path: Path) -> None:
    """A thousand models on five tasks; a file is stated once a corpus."""
    models = tuple({"upstream": "fbank", "name": f"m{number}"} for number in range(1000))
    tasks = [{"type": "did", "name": f"t{n}", "corpus": "a"} for n in range(5)]
    values = {"name": "x", "title": "X", "corpora": {"a": {"folder": "a"}}, "models": models,
              "tasks": tasks}  # fmt: skip
    config = build(StudyConfig, values, source="x")
    study = Study(config=config, given=config, base=tmp_path, data=tmp_path, out=tmp_path)
    jobs: dict[str, StudyJob] = plan(study)
    assert len(jobs) == 2 * 5000 + 1 + 5 + 1
