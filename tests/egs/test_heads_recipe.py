"""The recipe that puts heads on FBANK, an untrained model and a demo's models side by side."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness_bench.results.record import load_result

RECIPE = Path(__file__).parents[2] / "egs" / "demo" / "heads1"


def recipe(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the recipe with this Python; output and errors are kept apart."""
    words = ["bash", str(RECIPE / "run.sh"), "--python", sys.executable, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def demo(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """Return what of a finished demo the recipe reads: an untrained and a trained model."""
    folder = tmp_path / "demo"
    shutil.copytree(tiny_checkpoint, folder / "models" / "random")
    shutil.copytree(tiny_checkpoint, folder / "pretrain" / "tiny" / "run" / "checkpoint")
    return folder


@pytest.mark.slow
@pytest.mark.s3prl
def test_all_rows_come_out(tmp_path: Path, demo: Path, tone_corpus: Path) -> None:
    """On prepared cuts, in seconds a head; each row says what its model is."""
    config = tmp_path / "smoke.toml"
    config.write_text(
        "[probe]\ntotal_steps = 2\neval_step = 2\nhidden = 8\ntest_in_training = true\n"
    )
    done = recipe(
        "--demo", demo, "--models", "tiny", "--cuts", tone_corpus, "--task", "lid", "--name",
        "tones", "--synthetic", "true", "--config", config, "--expdir", tmp_path / "exp",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = [load_result(path) for path in sorted((tmp_path / "exp" / "results").glob("*.json"))]
    assert {row.model: row.model_kind for row in found} == {
        "fbank": "baseline", "random": "random", "tiny": "pretrained",
    }  # fmt: skip
    assert {(row.task, row.corpus, row.synthetic, row.utterances) for row in found} == {
        ("lid", "tones", True, 12)
    }
    assert (tmp_path / "exp" / "leaderboard" / "index.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bogus", "1"], "unknown option --bogus"),
        (["--demo", "DEMO"], "--corpus DIR is missing"),
        (["--cuts", "x"], "--demo DIR is missing"),
        (["--cuts", "x", "--demo", "/none"], "/none is no finished run of a demo"),
        (["--cuts", "x", "--demo", "DEMO"], "DEMO has no model harness_it2"),
        (["--cuts", "x", "--demo", "DEMO", "--config", "no.toml"], "no.toml: there is no such"),
    ],
)
def test_wrong_options_are_told_before_any_work(
    tmp_path: Path, demo: Path, arguments: list[str], told: str
) -> None:
    """Training takes minutes; a slip of the keyboard must not wait for that."""
    words = [word.replace("DEMO", str(demo)) for word in arguments]
    done = recipe("--expdir", tmp_path / "exp", *words)
    assert done.returncode == 1
    assert told.replace("DEMO", str(demo)) in done.stderr
    assert not (tmp_path / "exp").exists()


def test_a_leak_ends_the_run(tmp_path: Path, demo: Path, tone_corpus: Path) -> None:
    """Figures of a model that has heard the test set are not those of new speakers."""
    done = recipe(
        "--demo", demo, "--models", "tiny", "--cuts", tone_corpus,
        "--pretraining_cuts", tone_corpus, "--expdir", tmp_path / "exp",
    )  # fmt: skip
    assert done.returncode == 1
    assert "sets share what they must not" in done.stderr
    assert "Stage 3" not in done.stderr


def test_help_lists_every_option() -> None:
    """The list is read off the scripts: a line of another form would hide an option."""
    shown = set(re.findall(r"^  --(\w+)", recipe("--help").stdout, flags=re.MULTILINE))
    text = (RECIPE / "run.sh").read_text(encoding="utf-8").split("usage()")[0]
    text += (RECIPE.parents[1] / "heads.sh").read_text(encoding="utf-8").split("train_heads()")[0]
    assert shown == set(re.findall(r"^([a-z_]+)=(?!\$\()", text, re.MULTILINE))
    assert {"demo", "models", "corpus", "cuts", "task", "config"} <= shown
