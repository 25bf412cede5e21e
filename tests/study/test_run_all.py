"""One more model in a study: what is meant by its name, and what the study keeps of it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from harness_bench.study.clusters import EngineConfig
from harness_bench.study.drive import drive, held
from harness_bench.study.opened import JOINED, open_study, save_study
from harness_bench.study.plan import plan
from harness_bench.study.run_all import joined
from tests.study.chain import write_study

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.study.opened import Study


@pytest.fixture
def out(tmp_path: Path) -> Path:
    study = open_study(write_study(tmp_path), tmp_path / "out")
    save_study(study)
    return study.out


def join(out: Path, model: str, **options: Any) -> Study:
    """Have a model join, and be noted, as a driver does that holds the folder."""
    study = joined(out, model, **options)
    save_study(study)
    return study


def test_a_model_is_what_its_name_says(out: Path, tiny_checkpoint: Path) -> None:
    join(out, str(tiny_checkpoint), name="folder")
    join(out, "harness_mini")
    join(out, "lab/model@v2", pretraining_data="much")
    study = joined(out, "mfcc")
    rows = {row.model: row for row in study.rows.values()}
    assert [*rows][-4:] == ["folder", "harness_mini", "lab/model", "mfcc"]
    assert rows["lab/model"].pretraining_data == "much"
    assert (rows["mfcc"].kind, rows["mfcc"].upstream) == ("baseline", "mfcc")
    jobs = plan(study)
    assert jobs["checkpoint folder"].settings["model"] == str(tiny_checkpoint)
    assert jobs["checkpoint lab/model"].settings["model"] == "lab/model@v2"
    assert {"probe did mfcc", "probe did harness_mini", "asr harness_mini"} <= jobs.keys()
    assert "asr mfcc" not in jobs  # the recipes cannot compute it


def test_what_the_study_had_keeps_its_keys(out: Path) -> None:
    from harness_bench.study.job import keys  # noqa: PLC0415

    before = keys(plan(open_study(out.parent / "chain.toml", out)))
    after = keys(plan(join(out, "harness_mini", tasks=["did"])))
    assert {name for name in before if before[name] != after[name]} == {"board"}
    assert {name for name in after.keys() - before.keys() if name.startswith("asr")} == set()
    again = keys(plan(open_study(out.parent / "chain.toml", out)))  # its own file keeps the model
    assert again == after


def test_a_model_that_joins_twice_is_one_row(out: Path) -> None:
    join(out, "harness_mini", tasks=["did"])
    study = join(out, "harness_mini", tasks=["asr"])
    assert [*study.rows].count("harness_mini") == 1
    assert "asr harness_mini" in plan(study)
    assert "probe did harness_mini" not in plan(study)


def test_a_model_is_noted_by_whoever_holds_the_folder(out: Path) -> None:
    """Not while another driver is at work there, which would lose it, or take it for its own."""
    console = Console(file=(said := io.StringIO()))
    first, second = joined(out, "mfcc"), joined(out, "harness_mini")
    with held(out), pytest.raises(ValueError, match="Another process"):
        drive(first, console=console, engine=EngineConfig(workers=1))
    assert said.getvalue() == "", "how to watch and stop it is said of a study that runs"
    assert not (out / JOINED).exists()
    save_study(first)
    save_study(second)  # opened before the first was noted
    assert {"mfcc", "harness_mini"} <= open_study(out.parent / "chain.toml", out).rows.keys()


def test_mistakes_leave_the_study_as_it_was(out: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'mfc' is no path.*mfcc"):
        joined(out, "mfc")
    with pytest.raises(ValueError, match=r"'fbank' of its own.*--name"):
        joined(out, "fbank")
    with pytest.raises(ValueError, match=r"'sre' is no task.*did, asr"):
        joined(out, "harness_mini", tasks=["sre"])
    with pytest.raises(ValueError, match="'asr' is no task"):
        joined(out, "mfcc", tasks=["asr"])
    with pytest.raises(ValueError, match="holds no study"):
        joined(tmp_path, "harness_mini")
    assert not (out / JOINED).exists()
