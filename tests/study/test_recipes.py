"""Every study that comes with the repository can be planned before its corpora are there."""

from pathlib import Path

import pytest

from harness_bench.core.config import read_toml
from harness_bench.study.opened import open_study
from harness_bench.study.plan import plan
from tests.egs.official import ROOT

STUDIES = [path for path in sorted((ROOT / "egs").rglob("*.toml")) if "tasks" in read_toml(path)]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(ROOT / "egs")))
def test_it_becomes_jobs_that_end_in_a_board(path: Path, tmp_path: Path) -> None:
    """A key that was renamed, or a file that moved, would be found by whoever has the corpora."""
    study = open_study(path, tmp_path / "out", data_root=tmp_path / "absent")
    jobs = plan(study)
    *_, last = jobs.values()
    assert last.kind == "board"
    published = {name for name, job in jobs.items() if job.kind.startswith("publish")}
    assert published
    assert published <= {*last.wants}
    for corpus in study.config.corpora.values():
        assert corpus.get or corpus.synthesis or not corpus.folder.startswith("$"), path


def test_the_recipes_are_found() -> None:
    """A glob that finds nothing would pass."""
    found = {str(path.relative_to(ROOT / "egs").parent) for path in STUDIES}
    assert {"adi5/did1", "ksuemotions/ser1", "demo/heads1", "demo", "paper"} <= found


@pytest.mark.parametrize("recipe", ["adi5/did1", "ksuemotions/ser1"])
def test_heads_are_those_of_the_tasks_own_config(recipe: str) -> None:
    """The numbers of s3prl's config and of the recipe's grid must not drift apart."""
    import yaml  # noqa: PLC0415 - comes with s3prl

    conf = ROOT / "egs" / recipe / "conf" / "probe.toml"
    task = {"adi5/did1": "did", "ksuemotions/ser1": "ser"}[recipe]
    own = yaml.safe_load((ROOT / "downstream" / task / "config.yaml").read_text(encoding="utf-8"))
    data, head = (own["downstream_expert"][key] for key in ("datarc", "modelrc"))
    steps = {name: own["runner"][name] for name in ("total_steps", "eval_step")}
    sizes = {"batch_size": data["train_batch_size"], "eval_batch_size": data["eval_batch_size"]}
    assert read_toml(conf)["probe"] == steps | sizes | {
        name: head[name] for name in ("input_norm", "hidden", "dropout")
    }
