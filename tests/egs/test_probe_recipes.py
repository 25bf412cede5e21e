"""The recipes of heads, from corpora in their official layouts to a result file."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness_bench.core.config import read_toml
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import load_result

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
LAYOUTS = ROOT / "tests" / "corpora" / "layouts"
RECIPES = {"ser": "egs/ksuemotions/ser1", "did": "egs/adi5/did1"}
NAMES = {"ser": ("ksuemotions", "KSUEmotions"), "did": ("adi5", "ADI5")}


def recipe(task: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a recipe of this Python; output and errors are kept apart."""
    words = ["bash", str(ROOT / RECIPES[task] / "run.sh"), "--python", sys.executable]
    return subprocess.run(
        [*words, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def layout(task: str, root: Path) -> dict[str, str]:
    """Build the tiny corpus of a task; return utterance -> split."""
    found = runpy.run_path(str(LAYOUTS / f"{NAMES[task][0]}.py"))
    root.mkdir()
    found["build"](root)
    utterances: dict[str, str] = found["UTTERANCES"]
    return utterances


@pytest.mark.s3prl
@pytest.mark.parametrize(("task", "classes"), [("ser", 6), ("did", 5)])
def test_a_corpus_as_it_came_ends_in_a_result(
    tmp_path: Path, tiny_checkpoint: Path, task: str, classes: int
) -> None:
    """All stages on a tiny folder of the official layout: every test utterance is answered."""
    splits = layout(task, tmp_path / "corpus")
    upstream: dict[str, list[str | Path]] = {
        "ser": ["--checkpoint", tiny_checkpoint],
        "did": ["--upstream", "fbank_cached"],
    }
    smoke = ROOT / RECIPES[task] / "conf" / "smoke.toml"
    done = recipe(
        task, "--corpus", tmp_path / "corpus", *upstream[task], "--config", smoke,
        "--expdir", tmp_path / "exp", "--synthetic", "true", "--kind", "other",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    path = Path(done.stdout.strip().splitlines()[-1].removeprefix("Result: "))
    result = load_result(path)
    assert (result.task, result.corpus, result.split) == (task, NAMES[task][1], "test")
    assert (result.synthetic, result.model_kind, result.seeds) == (True, "other", (1337,))
    assert result.leakage is not None
    assert result.leakage.verdict == "clean"
    assert result.predictions is not None
    rows = read_predictions(path.parent / result.predictions, ClassPrediction)
    assert {row.id for row in rows} == {uid for uid, split in splits.items() if split == "test"}
    assert {len(row.probs) for row in rows} == {classes}
    assert (tmp_path / "exp" / "leaderboard" / "index.html").is_file()
    assert ("dev and test share 1 cluster" in done.stdout) == (task == "did")
    # One of the five test utterances comes from a video of dev.
    assert ("bootstrap over 4 utterances" in done.stdout) == (task == "did")


@pytest.mark.parametrize("task", RECIPES)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bogus", "1"], "unknown option --bogus"),
        (["--layout", "tsv"], "unknown option --layout"),
        (["--corpus"], "--corpus needs a value"),
        (["--corpus", "x"], "--checkpoint DIR is missing"),
        (["--checkpoint", "/none/x"], "/none/x: there is no such"),
        (["--upstream", "fbank"], "--corpus DIR is missing"),
        (["--upstream", "fbank", "--config", "none.toml"], "none.toml: there is no such file"),
        (["--upstream", "fbank", "--stage", "4"], "holds no finished heads"),
    ],
)
def test_wrong_options_are_told_before_any_work(
    tmp_path: Path, task: str, arguments: list[str], told: str
) -> None:
    """Reading a corpus takes minutes; a slip of the keyboard must not wait for that."""
    done = recipe(task, "--expdir", tmp_path, *arguments)
    assert done.returncode == 1
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", RECIPES)
def test_help_lists_every_option(task: str) -> None:
    """The list is read off the scripts: a line of another form would hide an option."""
    shown = set(re.findall(r"^  --(\w+)", recipe(task, "--help").stdout, flags=re.MULTILINE))
    used = {"corpus", "upstream", "checkpoint", "lr", "seeds", "steps", "expdir", "stage"}
    assert used | {"stop_stage", "config", "cuts", "split_seed", "python"} <= shown


@pytest.mark.parametrize("task", RECIPES)
def test_the_config_carries_the_papers_numbers(task: str) -> None:
    """They stand in the task's own config too; the two must not drift apart."""
    probe = read_toml(ROOT / RECIPES[task] / "conf" / "probe.toml")["probe"]
    own = yaml.safe_load((ROOT / "downstream" / task / "config.yaml").read_text())
    data, head = (own["downstream_expert"][key] for key in ("datarc", "modelrc"))
    assert probe == {
        "total_steps": own["runner"]["total_steps"],
        "eval_step": own["runner"]["eval_step"],
        "batch_size": data["train_batch_size"],
        "eval_batch_size": data["eval_batch_size"],
        "input_norm": head["input_norm"],
        "hidden": head["hidden"],
        "dropout": head["dropout"],
    }
    paper = ("total_steps", "batch_size", "hidden", "dropout")
    assert [probe[key] for key in paper] == [10_000, 4, 80, 0.4]


@pytest.mark.parametrize("task", RECIPES)
def test_the_table_has_the_papers_figures(task: str) -> None:
    """Against the leaderboard's reported rows, typed in from the paper apart from this page."""
    page = (ROOT / RECIPES[task] / "README.md").read_text(encoding="utf-8")
    printed = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+) \|", page, flags=re.MULTILINE))
    files = (ROOT / "leaderboard" / "results" / "paper").glob(f"*.{task}.{NAMES[task][1]}.*.json")
    reported = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    assert {model: float(figure) for model, figure in printed.items()} == {
        row["model"]: row["metrics"]["accuracy"]["value"]
        for row in reported
        if "Table 2" in row["citation"]
    }


@pytest.fixture(scope="module")
def shared() -> Callable[[], int]:
    """Return the program that compares splits."""
    main: Callable[[], int] = runpy.run_path(str(ROOT / "egs" / "shared.py"))["main"]
    return main


@pytest.mark.parametrize(
    ("further", "status", "told"),
    [
        ([], 0, ""),
        (["--refuse", "speaker", "audio"], 1, "(speaker)"),
        (["--refuse", "audio"], 0, ""),
        (["--pretraining", "CUTS"], 1, "audio"),
    ],
)
def test_what_a_recipe_forbids_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    shared: Callable[[], int], further: list[str], status: int, told: str,
) -> None:  # fmt: skip
    """A random split shares its speakers; whoever pretrained on test has heard it all."""
    from harness_bench.corpora.prepare import PrepareConfig, prepare  # noqa: PLC0415

    layout("ser", tmp_path / "corpus")
    options: dict[str, Any] = {"split": "random"}
    prepare("ksuemotions", tmp_path / "corpus", tmp_path / "cuts", PrepareConfig(options=options))
    words = [word.replace("CUTS", str(tmp_path / "cuts")) for word in further]
    monkeypatch.setattr(sys, "argv", ["shared.py", str(tmp_path / "cuts"), *words])
    assert shared() == status
    printed = capsys.readouterr()
    assert "speakers" in printed.out
    assert told in printed.err
