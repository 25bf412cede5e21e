"""Lists on disk: what is written can be read, made again bit by bit, and is never half there."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from harness_bench.cli import app
from harness_bench.core.config import build
from harness_bench.core.files import digest_strings, read_json
from harness_bench.corpora import subset as writing
from harness_bench.corpora.subset import Wanted, draw, subset
from harness_bench.cuts import store
from harness_bench.leakage.held_out import read_exclusions
from tests.cut_files import row, write

if TYPE_CHECKING:
    from pathlib import Path


def wanted(**values: Any) -> Wanted:
    return build(Wanted, values, source="test")


def rows(name: str = "u", count: int = 60, language: str = "ar") -> list[dict[str, Any]]:
    lengths = random.Random(name)
    return [
        row(f"{name}{n:02d}", lengths.randint(1000, 9000) / 1000, cluster=f"{name}{n % 7}",
            language=language, text="نعم")
        for n in range(count)
    ]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the provenance, which tells time and paths."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name != "provenance.json"
    }


def test_what_is_written_is_a_prepared_folder(tmp_path: Path) -> None:
    """Cuts as they were, by id; the id lists with rule, seed and digest beside them."""
    source = write(tmp_path / "cuts", "train", rows())
    hours = {"train": 0.04, "dev": 0.01}
    found = subset([source], tmp_path / "out", wanted(hours=hours, by="cluster", seed=3))
    before = {cut.id: cut for cut in store.read_cuts(source, "train")}
    about = read_json(tmp_path / "out" / "split.json")
    assert about["seed"] == 3
    assert "'seed/cluster'" in about["rule"]
    assert "train 0.04 h, dev 0.01 h" in about["rule"]
    for piece in found.pieces:
        drawn = store.read_cuts(tmp_path / "out", piece.name)
        ids = [cut.id for cut in drawn]
        assert ids == sorted(ids)
        assert drawn == [before[uid] for uid in ids]
        assert read_exclusions([str(tmp_path / "out" / f"ids.{piece.name}.txt")]) == set(ids)
        assert piece.digest == about["splits"][piece.name]["digest"] == digest_strings(ids)
        assert piece.hours == pytest.approx(sum(cut.duration for cut in drawn) / 3600, abs=1e-6)
        assert piece.utterances == len(ids)
    made = read_json(tmp_path / "out" / "provenance.json")
    assert made["seed"] == 3
    assert made["config"]["hours"] == hours


def test_the_same_bytes_for_any_order(tmp_path: Path) -> None:
    """Order of folders and of cuts in them; another seed is another list."""
    mixed = random.Random(0).sample(rows(), 60)
    a = [write(tmp_path / "a", "train", rows()), write(tmp_path / "b", "train", rows("v"))]
    b = [write(tmp_path / "c", "train", rows("v")), write(tmp_path / "d", "train", mixed)]
    for number, (folders, seed) in enumerate([(a, 0), (b, 0), (a, 1)]):
        subset(folders, tmp_path / f"out{number}", wanted(share=40.0, seed=seed))
    assert contents(tmp_path / "out0") == contents(tmp_path / "out1")
    assert contents(tmp_path / "out0") != contents(tmp_path / "out2")
    inputs = [read_json(tmp_path / f"out{n}" / "provenance.json")["inputs"] for n in (0, 1)]
    assert inputs[0] == inputs[1]


def test_languages_of_two_folders(tmp_path: Path) -> None:
    """Pretraining lists: as much of both as the scarcer has."""
    folders = [
        write(tmp_path / "ar", "train", rows("a", 20)),
        write(tmp_path / "en", "train", rows("e", 60, "en")),
    ]
    found = subset(folders, tmp_path / "out", wanted(languages={"ar": 1, "en": 1}))
    (piece,) = found.pieces
    assert piece.languages["ar"] == pytest.approx(piece.languages["en"], abs=9 / 3600)
    assert piece.hours == pytest.approx(sum(piece.languages.values()), abs=1e-5)
    assert {
        uid for uid in read_exclusions([str(tmp_path / "out/ids.train.txt")]) if uid[0] == "a"
    } == {each["id"] for each in rows("a", 20)}


def test_an_earlier_list_is_replaced(tmp_path: Path) -> None:
    """Cuts of two lists in one folder would be neither."""
    source = write(tmp_path / "cuts", "train", rows())
    subset([source], tmp_path / "out", wanted(hours={"one": 0.01, "two": 0.01}))
    subset([source], tmp_path / "out", wanted(share=30.0))
    assert store.splits(tmp_path / "out") == ["train"]
    assert not (tmp_path / "out" / "ids.one.txt").exists()


def test_a_list_cut_off_is_refused_and_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "cuts", "train", rows())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_split", stop)
        with pytest.raises(KeyboardInterrupt):
            subset([source], tmp_path / "out", wanted(share=30.0))
    with pytest.raises(ValueError, match="cut off"):
        store.splits(tmp_path / "out")
    subset([source], tmp_path / "out", wanted(share=30.0))
    assert store.splits(tmp_path / "out") == ["train"]
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]


def test_cuts_that_cannot_be_drawn_again_are_not_overwritten(tmp_path: Path) -> None:
    source = write(tmp_path / "cuts", "train", rows())
    with pytest.raises(ValueError, match="another folder"):
        subset([source], source, wanted(share=30.0))
    other = write(tmp_path / "other", "train", rows("v"))
    with pytest.raises(ValueError, match="another folder"):
        subset([source], other, wanted(share=30.0))
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / "report.json").write_text("{}")
    with pytest.raises(ValueError, match="another folder"):
        subset([source], prepared, wanted(share=30.0))
    assert len(store.read_cuts(other, "train")) == 60


def test_files_that_change_meanwhile_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two readings must be of one file, or the wrong cuts would be written."""
    source = write(tmp_path / "cuts", "train", rows())

    def draw_slowly(*arguments: Any) -> Any:
        write(source, "train", rows()[:-1])
        return draw(*arguments)

    monkeypatch.setattr(writing, "draw", draw_slowly)
    with pytest.raises(ValueError, match="changed while they were read"):
        subset([source], tmp_path / "out", wanted(share=30.0))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "cuts", "train", rows())
    return CliRunner()


def test_the_command(run: CliRunner) -> None:
    """`--share 30%`, `--hours 0.02` and named pieces, as the help shows them."""
    done = run.invoke(app.app, ["subset", "cuts", "a", "--share", "30%", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pieces"][0]["hours"] == pytest.approx(0.3 * found["of_hours"], abs=5 / 3600)
    done = run.invoke(app.app, ["subset", "cuts", "b", "--hours", "0.02", "--seed", "1"])
    assert "train: " in done.stdout
    assert "Seed 1" in done.stdout
    pieces = ["--hours", "train=0.02", "--hours", "dev=0.01", "--by", "cluster"]
    done = run.invoke(app.app, ["subset", "cuts", "c", *pieces])
    assert "  dev: " in done.stdout
    for wrong in (["--share", "x"], ["--share", "0.3"], ["--language", "ar"], ["--hours", "=1"]):
        assert run.invoke(app.app, ["subset", "cuts", "d", *wrong]).exit_code == 2
