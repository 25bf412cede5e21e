"""A study's file decides what is run on what: mistakes must show before hours of computing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.core.config import build, resolved
from harness_bench.study.config import StudyConfig
from harness_bench.study.opened import open_study, reopen_study, save_study, state_on_disk
from harness_bench.study.plan import plan
from tests.study.chain import STUDY, write_study

if TYPE_CHECKING:
    from pathlib import Path

VALUES: dict[str, Any] = {
    "name": "mine", "title": "Mine", "data_root": "data",
    "corpora": {"speech": {"folder": "speech"}, "words": {"folder": "words"}},
    "models": [{"upstream": "fbank_cached"}, {"hub": "harness_mini"}],
    "tasks": [{"type": "did", "label_field": "dialect", "corpus": "words"}],
}  # fmt: skip
ASR = {"type": "asr", "train": "speech", "test": ["words"]}


def study(**changes: Any) -> StudyConfig:
    return build(StudyConfig, {**VALUES, **changes}, source="mine.toml")


def test_names_are_made_of_what_is_there() -> None:
    models = [
        {"upstream": "fbank_cached"}, {"hub": "lab/one@v2"}, {"checkpoint": "runs/big/checkpoint"},
        {"random": "harness_st"}, {"name": "Ours", "checkpoint": "x"},
    ]  # fmt: skip
    titles = [model.title for model in study(models=models).models]
    assert titles == ["fbank", "lab/one@v2", "big", "random_harness_st", "Ours"]
    assert study().tasks[0].title == "did"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpora": {"speech": {}}}, "give one of folder"),
        ({"corpora": {"x": {"folder": "a", "cuts": "b"}}}, "give one of folder"),
        ({"corpora": {"words": {"synthesis": "did"}}}, r"needs a table \[synthesis\]"),
        ({"models": [{"name": "x"}]}, "'x': give one of upstream"),
        ({"models": [{"hub": "a/b", "random": "it1"}]}, "'a/b': give one"),
        ({"models": [{"upstream": "mfcc", "hub": "a/b"}]}, "upstream goes with checkpoint"),
        ({"models": [{"iteration": "it1"}]}, r"'it1' needs a table \[family\]"),
        ({"models": VALUES["models"] * 2}, "two are called 'fbank'"),
        ({"tasks": VALUES["tasks"] * 2}, "two are called 'did'"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [{"type": "did", "corpus": "word"}]}, "no 'word'; known: speech, words"),
        ({"tasks": [{"type": "did"}]}, "'did': give corpus"),
        ({"tasks": [VALUES["tasks"][0] | {"models": ["best student"]}]}, "'best student'"),
        ({"tasks": [VALUES["tasks"][0] | {"recipe": "x"}]}, "'did' has no recipe"),
        ({"tasks": [{"type": "asr", "corpus": "words", "grid": "x"}]}, "'asr' has no grid"),
        ({"tasks": [ASR | {"type": "did"}]}, "go with type = 'asr'"),
        ({"tasks": [ASR]}, "'speech' has the layout 'tsv'; .*qasr, mgb2, mgb3"),
        ({"tasks": [VALUES["tasks"][0] | {"learning_rates": [-1.0]}]}, "tasks.0.learning_rates.0"),
        ({"heads": {"learning_rates": [0.0]}}, "heads.learning_rates.0 = 0"),
        ({"tsks": []}, "did you mean tasks"),
        ({"needs": {"probe": {"cpus": 0}}}, "needs.probe.cpus = 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    """With the name of the thing, its value and what was expected."""
    with pytest.raises(ValueError, match=f"(?s){message}"):
        study(**changes)


def test_a_demos_file_of_before_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text('name = "a"\n[pretraining]\nfolder = "speech"\n')
    with pytest.raises(ValueError, match=r"versions before, with 'pretraining'.*real_arabic\.toml"):
        open_study(tmp_path / "old.toml")


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study must mean the same from whatever folder the command is started."""
    (tmp_path / "configs").mkdir()
    path = write_study(tmp_path / "configs")
    text = path.read_text().replace("synthetic = true\n", 'data_root = "../$PLACE"\n')
    path.write_text(text)
    monkeypatch.setenv("PLACE", "speech")
    found = open_study(path, tmp_path / "out")
    assert found.data.resolve() == tmp_path / "speech"
    assert found.family_file == tmp_path / "configs" / "family.toml"
    assert open_study(path, data_root=tmp_path).data == tmp_path
    assert open_study(path, seed=9).config.seed == 9
    monkeypatch.chdir(tmp_path)
    assert open_study(path).out == tmp_path / "runs" / "chain"


def test_a_study_is_opened_again_from_its_folder(tmp_path: Path) -> None:
    """As `run-all` does, where the file may be gone."""
    path = write_study(tmp_path)
    found = open_study(path, tmp_path / "out", seed=4)
    save_study(found)
    path.unlink()
    again = reopen_study(tmp_path / "out")
    assert resolved(again.config) == resolved(found.config)
    assert (again.base, again.data, again.out) == (found.base, found.data, found.out)
    with pytest.raises(ValueError, match="holds no study"):
        reopen_study(tmp_path)


def test_the_state_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    assert state_on_disk(folder) is None
    (folder / "wav").mkdir(parents=True)
    (folder / "wav" / "a.wav").write_bytes(b"1")
    (folder / "loop").symlink_to(folder)
    first = state_on_disk(folder)
    (folder / ".cache").write_bytes(b"")
    assert state_on_disk(folder) == first
    (folder / "wav" / "a.wav").write_bytes(b"12")
    assert state_on_disk(folder) != first
    assert state_on_disk(folder / "wav" / "a.wav") not in (None, first)


@pytest.mark.parametrize("line", ["seeds = []", "learning_rates = []", "models = []", "heads = []"])
def test_a_list_of_nothing_is_refused(line: str, tmp_path: Path) -> None:
    """It would be taken for one that is not there: three seeds, say, where none was wanted."""
    for table in ('label_field = "dialect"', "[heads]")[: 1 + line.startswith(("seeds", "learn"))]:
        path = write_study(tmp_path, STUDY.replace(table, f"{table}\n{line}"))
        with pytest.raises(ValueError, match=rf"{line.split(maxsplit=1)[0]} = \[\] names none"):
            open_study(path, tmp_path)


def test_a_grid_without_a_seed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text("seeds = []\n")
    table = 'label_field = "dialect"'
    study = open_study(write_study(tmp_path, STUDY.replace(table, f'{table}\ngrid = "grid.toml"')))
    with pytest.raises(ValueError, match="seeds"):
        plan(study)
