"""local/score.sh as ESPnet's asr.sh calls it: after decoding, in the recipe's folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness_bench.results.record import load_results
from tests.asr.decoded import corpus, decode

SCRIPT = Path(__file__).parents[2] / "egs" / "qasr" / "asr1" / "local" / "score.sh"


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call it through a link, as a checkout's recipe folder has it."""
    link = folder / "local" / "score.sh"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(SCRIPT)
    command = ["local/score.sh", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return a recipe folder with one decoded set of asr.sh and one of the development set."""
    (tmp_path / "made").mkdir()
    cuts = corpus("qasr", tmp_path / "made")
    shutil.move(cuts, tmp_path / "data")
    made = tmp_path / "made" / "decode"
    decode(tmp_path / "data", "qasr_test", made, "نعم لا")
    decode(tmp_path / "data", "qasr_dev", made, "نعم")
    tag = tmp_path / "exp" / "asr_train" / "decode_beam20"
    for name, place in (("qasr_test", tag), ("qasr_dev", tag / "org")):
        (place / name).mkdir(parents=True)  # asr.sh joins its jobs' texts into SET/text
        shutil.move(made / name / "1best_recog" / "text", place / name / "text")
    return tmp_path


def test_every_decoded_set_is_scored(recipe: Path) -> None:
    """By the same program as in our own stages, results in the decode folder."""
    words = ("--synthetic", "true", "--profile", "none", "--pretraining_data", "made_up")
    done = call(recipe, "--python", sys.executable, "--model", "ours", *words, "exp/asr_train")
    assert done.returncode == 0, done.stderr
    tag = recipe / "exp" / "asr_train" / "decode_beam20"
    found, problems = load_results(tag / "results")
    assert not problems
    assert {(r.model, r.corpus, r.split, r.main.value) for r in found.values()} == {
        ("ours", "QASR", "test", 0), ("ours", "QASR", "dev", 50),
    }  # fmt: skip
    assert {(r.synthetic, r.normaliser, r.pretraining_data) for r in found.values()} == {
        (True, "none v1", "made_up")
    }
    assert (tag / "scores.qasr_test.md").is_file()
    assert (tag / "predictions.qasr_dev.jsonl").is_file()


def test_what_is_missing_is_named(recipe: Path) -> None:
    """Without cuts there are no raw references, and sclite's of data/text are normalised ones."""
    done = call(recipe, "--cuts", "nowhere", "exp/asr_train")
    assert done.returncode == 1
    assert "nowhere/cuts.qasr_test.jsonl.gz" in done.stderr
    for arguments, problem in (
        ((), "ASR_EXP is missing"),
        (("exp/other",), "ASR_EXP exp/other"),
        (("exp",), "holds no decoded set"),
        (("--cats", "x", "exp/asr_train"), "arguments: --cats x"),
    ):
        done = call(recipe, *arguments)
        assert (done.returncode > 0, problem in done.stderr) == (True, True), done.stderr
