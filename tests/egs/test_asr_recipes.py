"""The recipes of ASR, from corpora in their official layouts to result files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness_bench.asr.kaldi import by_name
from harness_bench.asr.recipe import splits_of
from harness_bench.asr.run import main
from harness_bench.corpora.layouts import mgb2, mgb3, qasr
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.results.predictions import TextPrediction, read_predictions
from harness_bench.results.record import load_result
from tests.egs.official import HOURS, build

ROOT = Path(__file__).parents[2]
RECIPES = {"qasr": "egs/qasr/asr1", "demo": "egs/demo/asr1"}
CONF = ROOT / RECIPES["qasr"] / "conf"
SMOKE = CONF / "train_asr_cpu_smoke.yaml"
ANY = ("--qasr", "/", "--mgb2", "/", "--mgb3", "/")
DRAWN = ("--train_hours", HOURS["train"], "--dev_hours", HOURS["dev"])


def recipe(name: str, *arguments: str | Path | float) -> subprocess.CompletedProcess[str]:
    """Run a recipe by this Python; output and errors are kept apart."""
    words = ["bash", str(ROOT / RECIPES[name] / "run.sh"), "--python", sys.executable]
    return subprocess.run(
        [*words, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path | float]:
    """Return options that name three tiny corpora, and how much of QASR is drawn."""
    folders = build(tmp_path_factory.mktemp("official"))
    return [*(word for pair in folders.items() for word in (f"--{pair[0]}", pair[1])), *DRAWN]


@pytest.mark.espnet
def test_corpora_as_they_came_end_in_results(
    official: list[str | Path | float], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """All stages by pip's ESPnet: every test utterance of both corpora is decoded and scored."""
    exp = tmp_path / "exp"
    options: list[str | Path | float] = [
        "--expdir", exp, "--upstream", tiny_checkpoint, "--model", "tiny", "--token_type", "char",
        "--asr_config", SMOKE, "--asr_args", "--max_epoch 1 --encoder_conf output_size=32",
        "--inference_args", "--beam_size 2", "--synthetic", "true", "--pack", exp / "pack.zip",
        "--asr_tag", "tiny",
    ]  # fmt: skip
    done = recipe("qasr", *official, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    decoded = exp / "asr_tiny" / "decode_valid.acc.ave"
    for corpus in ("mgb2", "mgb3"):
        result = load_result(exp / "results" / f"tiny.asr.{corpus.upper()}.test.json")
        assert (result.corpus, result.split, result.synthetic) == (corpus.upper(), "test", True)
        assert {"Stage 11: training", f"Stage 12: decoding {corpus}_test"} <= set(
            result.stage_seconds
        )
        rows = read_predictions(decoded / f"predictions.{corpus}_test.jsonl", TextPrediction)
        assert {row.id for row in rows} == {
            cut.id for cut in read_cuts(exp / "cuts" / corpus, "test")
        }
    assert (exp / "pack.zip").is_file()
    before = {path: path.stat().st_mtime_ns for path in decoded.rglob("output.*/inputs.json")}
    assert len(before) == 2
    # What is finished stays as it is.
    again = recipe("qasr", *official, *options, "--stage", "12", "--stop_stage", "12")
    assert again.returncode == 0, again.stderr[-3000:]
    notes = decoded.rglob("output.*/inputs.json")
    assert {path: path.stat().st_mtime_ns for path in notes} == before


@pytest.mark.slow
@pytest.mark.espnet
def test_speeds_a_language_model_and_kept_features_go_together(
    official: list[str | Path | float], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Every optional stage at once, and decoding by two processes."""
    exp = tmp_path / "exp"
    options: list[str | Path | float] = [
        "--expdir", exp, "--upstream", tiny_checkpoint, "--layers", "mean",
        "--feature_cache", CONF / "features.yaml", "--nbpe", "22", "--use_lm", "true",
        "--lm_args", "--max_epoch 1 --lm_conf layer=1 --lm_conf unit=32",
        "--speed_perturb_factors", "0.9 1.0", "--asr_config", SMOKE,
        "--asr_args", "--max_epoch 1", "--inference_args", "--beam_size 2", "--inference_nj", "2",
        "--test_sets", "mgb2_test mgb3_dev qasr_test", "--asr_tag", "all",
    ]  # fmt: skip
    done = recipe("qasr", *official, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    names = {path.name.partition(".asr.")[2] for path in (exp / "results").glob("*.json")}
    assert names == {"MGB2.test.json", "MGB3.dev.json", "QASR.test.json"}
    logs = exp / "asr_all" / "decode_valid.acc.ave_lm" / "mgb3_dev" / "logdir"
    assert len(list(logs.glob("output.*of2/inputs.json"))) == 2
    # A training of other inputs is refused, not continued.
    width = ("--asr_args", "--max_epoch 2 --encoder_conf output_size=32")
    other = recipe("qasr", *official, *options, "--stage", "11", "--layers", "1", *width)
    assert other.returncode == 1
    assert all(name in other.stderr for name in ("other inputs", "asr_args", "layers"))
    assert len(by_name(exp / "data", "train_sp")) == 2 * len(by_name(exp / "data", "train"))


@pytest.mark.slow
@pytest.mark.espnet
def test_the_demo_ends_in_a_result(tone_corpus: Path, tmp_path: Path) -> None:
    """By hand it scores too; only the demo's own program scores by itself."""
    for split in ("train", "dev", "test"):
        rows = read_cuts(tone_corpus, split)[:4]
        for cut in rows:
            cut.supervisions[0].text = f"نعم {cut.supervisions[0].custom['label']}"
        write_cuts(tmp_path / "cuts", split, rows)
    done = recipe(
        "demo", "--cuts", tmp_path / "cuts", "--corpus", "tones", "--expdir", tmp_path,
        "--asr_config", ROOT / RECIPES["demo"] / "conf" / "demo.yaml",
        "--asr_args", "--max_epoch 1", "--model", "FBANK tiny",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = (tmp_path / "results").glob("*.json")
    assert load_result(path).corpus == "tones"
    assert (tmp_path / "predictions.test.jsonl").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bogus", "1"], "unknown option --bogus"),
        (["--mgb2"], "--mgb2 needs a value"),
        (["--mgb2", "x", "--stage", "one"], "stage = 'one'"),
        (["--skip_stages", "2 x"], "skip_stages.1 = 'x'"),
        (["--inference_nj", "0"], "inference_nj = 0"),
        (["--token_type", "phn"], "token_type = 'phn'"),
        (["--use_lm", "yes"], "use_lm = 'yes'"),
        (["--layers", "last"], "layers = 'last'"),
        (["--text_profile", "mgb4"], "mgb4"),
        (["--speed_perturb_factors", "0.9 x"], "speed_perturb_factors.1 = 'x'"),
        (["--asr_config", "none.yaml"], "--asr_config none.yaml"),
        (["--train_hours", "many"], "train_hours = 'many'"),
        (["--upstream", "wav2vec9"], "wav2vec9 is neither fbank, nor a checkpoint folder"),
        (["--upstream", "/"], "/ is not a checkpoint folder: it has no config.json"),
        (["--feature_cache", "CACHE"], "--feature_cache needs a checkpoint"),
        (["--test_sets", " "], "test_sets = []"),
        (["--test_sets", "mgb2-test"], "expected CORPUS_SPLIT"),
        ([], "--mgb2 DIR or --mgb3 DIR is missing"),
        (["--mgb2", "/none"], "--qasr DIR is missing"),
        (["--mgb2", "/none", "--qasr", "/"], "--mgb2 /none: there is no such folder"),
        ([*ANY, "--test_sets", "mgb2_tset"], "'tset'; it has: train dev test dev_overlap"),
        ([*ANY, "--train_set", "trian"], "'trian'; it has: train dev test dev_official"),
        ([*ANY, "--test_sets", "mgb3_train"], "mgb3 has no split 'train'; it has: adapt"),
        (
            [*ANY, "--test_sets", "qasr_dev_official", "--train_hours", "0.0"],
            "qasr has no split 'dev_official'; it has: train dev test",
        ),
        (["--mgb2", "/", "--stage", "14"], "14 --pack"),
        (["--mgb2", "/", "--stage", "2", "--skip_stages", "9", "--stop_stage", "1"], "no stage"),
    ],
)
def test_wrong_options_are_told_before_any_work(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    """QASR takes hours to read; a slip of the keyboard must not wait for that."""
    words = [word.replace("CACHE", str(CONF / "features.yaml")) for word in arguments]
    script = str(ROOT / RECIPES["qasr"] / "run.sh")
    defaults = ("--asr_config", str(SMOKE), "--inference_config", str(SMOKE), "--test_sets", "auto")
    with pytest.raises(SystemExit) as ended:
        main(["broadcast", script, *defaults, "--", "--expdir", str(tmp_path / "exp"), *words])
    assert told in str(ended.value)
    assert not (tmp_path / "exp").exists()


def test_a_corpus_that_is_none_ends_the_run(tmp_path: Path) -> None:
    """Later stages would go on with the data of an earlier run."""
    (tmp_path / "empty").mkdir()
    empty = tmp_path / "empty"
    done = recipe("qasr", "--expdir", tmp_path / "exp", "--qasr", empty, "--mgb2", empty)
    assert done.returncode == 1
    assert "holds no MGB-2" in done.stderr
    assert "Stage 1: qasr" not in done.stderr  # which takes hours
    assert "Stage 3" not in done.stderr


def test_the_splits_that_are_told_are_those_of_the_corpora() -> None:
    """They are told before a corpus is read; a split that is lacking could not be used."""
    for train_hours in ("0", "300"):
        drawn = qasr.Corpus(train_hours=int(train_hours))
        for name, corpus in (("qasr", drawn), ("mgb2", mgb2.Corpus()), ("mgb3", mgb3.Corpus())):
            assert set(splits_of(name, train_hours)) == set(corpus.splits)


def test_a_learned_sum_cannot_be_kept(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Its weights change with every step; a cache of it would freeze them at their start."""
    done = recipe(
        "qasr", "--upstream", tiny_checkpoint, "--feature_cache", CONF / "features.yaml",
        "--expdir", tmp_path / "exp",
    )  # fmt: skip
    assert "--feature_cache needs --layers mean or a number" in done.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_help_lists_every_option(name: str) -> None:
    """With the names of egs2's asr.sh and our own."""
    shown = set(re.findall(r"^  --(\w+)", recipe(name, "--help").stdout, flags=re.MULTILINE))
    egs2 = """stage stop_stage skip_stages ngpu nj inference_nj gpu_inference dumpdir expdir python
        speed_perturb_factors audio_format min_wav_duration max_wav_duration token_type nbpe use_lm
        lm_tag lm_exp lm_config lm_args lm_train_text asr_tag asr_exp asr_config asr_args
        inference_tag inference_config inference_args inference_lm inference_asr_model train_set
        valid_set test_sets"""
    assert {*egs2.split(), "upstream", "layers", "feature_cache", "pack", "text_profile"} <= shown
    own = {"qasr": {"qasr", "mgb2", "mgb3", "train_hours", "dev_hours"}, "demo": {"cuts"}}
    assert own[name] <= shown


def test_the_table_has_the_papers_figures() -> None:
    """Against the leaderboard's reported rows, typed in from the paper apart from this page."""
    page = (ROOT / RECIPES["qasr"] / "README.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| ([^|]+?) \| ([\d.]+) \| +\| ([\d.]+) \| +\|$", flags=re.MULTILINE)
    printed = {model: (float(mgb2), float(mgb3)) for model, mgb2, mgb3 in row.findall(page)}
    reported: dict[str, dict[str, float]] = {}
    for path in (ROOT / "leaderboard" / "results" / "paper").glob("*.asr.MGB?.test.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        if "Table 2" in found["citation"]:
            of_model = reported.setdefault(found["model"], {})
            of_model[found["corpus"]] = found["metrics"]["wer"]["value"]
    assert printed == {model: (row["MGB2"], row["MGB3"]) for model, row in reported.items()}
    assert len(printed) == 7
