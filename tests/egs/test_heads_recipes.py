"""The recipes of heads, from corpora in their official layouts to a result file."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from harness_bench.core.config import read_toml
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import load_result
from tests.egs.official import ROOT, recipe

RECIPES = {"ser": "ksuemotions/ser1", "did": "adi5/did1", "demo": "demo/heads1"}
NAMES = {"ser": ("ksuemotions", "KSUEmotions"), "did": ("adi5", "ADI5")}


@pytest.fixture
def demo(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """Return what of a finished demo its recipe reads: an untrained and a trained model."""
    folder = tmp_path / "demo"
    shutil.copytree(tiny_checkpoint, folder / "models" / "random")
    shutil.copytree(tiny_checkpoint, folder / "pretrain" / "tiny" / "run" / "checkpoint")
    return folder


def layout(task: str, root: Path) -> dict[str, str]:
    """Build the tiny corpus of a task; return utterance -> split."""
    found = runpy.run_path(str(ROOT / "tests" / "corpora" / "layouts" / f"{NAMES[task][0]}.py"))
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
        "ser": ["--checkpoint", tiny_checkpoint], "did": ["--upstream", "fbank_cached"],
    }  # fmt: skip
    smoke = ROOT / "egs" / RECIPES[task] / "conf" / "smoke.toml"
    done = recipe(
        RECIPES[task], "--corpus", tmp_path / "corpus", *upstream[task], "--config", smoke,
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
    assert ("jackknife over 4 utterances" in done.stdout) == (task == "did")


@pytest.mark.slow
@pytest.mark.s3prl
def test_all_rows_come_out(tmp_path: Path, demo: Path, tone_corpus: Path) -> None:
    """On prepared cuts, in seconds a head; each row says what its model is."""
    config = tmp_path / "smoke.toml"
    config.write_text(
        "[probe]\ntotal_steps = 2\neval_step = 2\nhidden = 8\ntest_in_training = true\n"
    )
    done = recipe(
        RECIPES["demo"], "--demo", demo, "--models", "tiny", "--cuts", tone_corpus,
        "--task", "lid", "--name", "tones", "--synthetic", "true", "--config", config,
        "--expdir", tmp_path / "exp",
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
    ("tasks", "arguments", "told"),
    [
        ("ser did demo", "--bogus 1", "unknown option --bogus"),
        ("ser did", "--layout tsv", "unknown option --layout"),
        ("ser did", "--corpus", "--corpus needs a value"),
        ("ser did", "--corpus x", "--checkpoint DIR is missing"),
        ("ser did", "--checkpoint /none/x", "/none/x: there is no such"),
        ("ser did", "--upstream fbank", "--corpus DIR is missing"),
        ("ser did", "--upstream fbank --config none.toml", "none.toml: there is no such file"),
        ("ser did", "--upstream fbank --stage 4", "holds no finished heads"),
        ("demo", "--demo DEMO", "--corpus DIR is missing"),
        ("demo", "--cuts x", "--demo DIR is missing"),
        ("demo", "--cuts x --demo /none", "/none is no finished run of a demo"),
        ("demo", "--cuts x --demo DEMO", "demo has no model harness_it1"),
        ("demo", "--cuts x --demo DEMO --config no.toml", "no.toml: there is no such"),
    ],
)
def test_wrong_options_are_told_before_any_work(
    tmp_path: Path, demo: Path, tasks: str, arguments: str, told: str
) -> None:
    """Reading a corpus takes minutes; a slip of the keyboard must not wait for that."""
    words = arguments.replace("DEMO", str(demo)).split()
    for task in tasks.split():
        done = recipe(RECIPES[task], "--expdir", tmp_path / "exp", *words)
        assert done.returncode == 1
        assert told in done.stderr
        assert not (tmp_path / "exp").exists()


def test_a_leak_ends_the_run(tmp_path: Path, demo: Path, tone_corpus: Path) -> None:
    """Figures of a model that has heard the test set are not those of new speakers."""
    done = recipe(
        RECIPES["demo"], "--demo", demo, "--models", "tiny", "--cuts", tone_corpus,
        "--pretraining_cuts", tone_corpus, "--expdir", tmp_path / "exp",
    )  # fmt: skip
    assert done.returncode == 1
    assert "sets share what they must not" in done.stderr
    assert "Stage 3" not in done.stderr


@pytest.mark.parametrize("task", RECIPES)
def test_help_lists_every_option(task: str) -> None:
    """The list is read off the scripts: a line of another form would hide an option."""
    done = recipe(RECIPES[task], "--help")
    shown = set(re.findall(r"^  --(\w+)", done.stdout, flags=re.MULTILINE))
    scripts = [f"{RECIPES[task]}/run.sh", "heads.sh", *(["probe.sh"] if task != "demo" else [])]
    texts = [(ROOT / "egs" / name).read_text(encoding="utf-8") for name in scripts]
    tops = [re.split(r"\n(?:usage|die|corpus_settings)\(\)", text)[0] for text in texts]
    # A folder is none, nor is what a recipe tells probe.sh of itself.
    written = re.findall(r"^([a-z_]+)=(?!\$\(|\w+ name=)", "\n".join(tops), re.MULTILINE)
    assert shown == set(written)
    assert {"corpus", "cuts", "config", "lr", "seeds", "steps", "expdir", "stage"} <= shown


@pytest.mark.parametrize("task", NAMES)
def test_the_config_carries_the_papers_numbers(task: str) -> None:
    """They stand in the task's own config too; the two must not drift apart."""
    probe = read_toml(ROOT / "egs" / RECIPES[task] / "conf" / "probe.toml")["probe"]
    own = yaml.safe_load((ROOT / "downstream" / task / "config.yaml").read_text())
    data, head = (own["downstream_expert"][key] for key in ("datarc", "modelrc"))
    steps = {name: own["runner"][name] for name in ("total_steps", "eval_step")}
    sizes = {"batch_size": data["train_batch_size"], "eval_batch_size": data["eval_batch_size"]}
    assert probe == steps | sizes | {
        name: head[name] for name in ("input_norm", "hidden", "dropout")
    }
    paper = ("total_steps", "batch_size", "hidden", "dropout")
    assert [probe[key] for key in paper] == [10_000, 4, 80, 0.4]


@pytest.mark.parametrize("task", NAMES)
def test_the_table_has_the_papers_figures(task: str) -> None:
    """Against the leaderboard's reported rows, typed in from the paper apart from this page."""
    page = (ROOT / "egs" / RECIPES[task] / "README.md").read_text(encoding="utf-8")
    printed = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+) \|", page, flags=re.MULTILINE))
    files = (ROOT / "leaderboard" / "results" / "paper").glob(f"*.{task}.{NAMES[task][1]}.*.json")
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    rows = [row for row in rows if "Table 2" in row["citation"]]
    reported = {row["model"]: row["metrics"]["accuracy"]["value"] for row in rows}
    assert {model: float(figure) for model, figure in printed.items()} == reported


@pytest.mark.parametrize(("further", "status", "told"), [
    ([], 0, ""),
    (["--refuse", "speaker", "audio"], 1, "(speaker)"),
    (["--refuse", "audio"], 0, ""),
    (["--pretraining", "CUTS"], 1, "audio"),
])  # fmt: skip
def test_what_a_recipe_forbids_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    further: list[str], status: int, told: str,
) -> None:  # fmt: skip
    """A random split shares its speakers; whoever pretrained on test has heard it all."""
    layout("ser", tmp_path / "corpus")
    options = PrepareConfig(options={"split": "random"})
    prepare("ksuemotions", tmp_path / "corpus", tmp_path / "cuts", options)
    words = [word.replace("CUTS", str(tmp_path / "cuts")) for word in further]
    monkeypatch.setattr(sys, "argv", ["shared.py", str(tmp_path / "cuts"), *words])
    assert runpy.run_path(str(ROOT / "egs" / "shared.py"))["main"]() == status
    printed = capsys.readouterr()
    assert "speakers" in printed.out
    assert told in printed.err
