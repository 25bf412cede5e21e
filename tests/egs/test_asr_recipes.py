"""The recipes of ASR, from corpora in their official layouts to result files.

With ESPNET_ROOT the official asr.sh runs: a stand-in notes how it is called.
"""

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from harness_bench.asr.config import words_of
from harness_bench.asr.kaldi import by_name, check_raw_dir, read_table
from harness_bench.asr.recipe import splits_of
from harness_bench.asr.run import main
from harness_bench.corpora.layouts import mgb2, mgb3, qasr
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.results.predictions import TextPrediction, read_predictions
from harness_bench.results.record import load_result, load_results
from tests import warm
from tests.asr.decoded import corpus, decode
from tests.egs.official import HOURS, ROOT, build, recipe

QASR = ROOT / "egs" / "qasr" / "asr1"
CONF = QASR / "conf"
SMOKE = CONF / "train_asr_cpu_smoke.yaml"
ANY = ("--qasr", "/", "--mgb2", "/", "--mgb3", "/")
DRAWN = {"train_hours": HOURS["train"], "dev_hours": HOURS["dev"]}


# Options of the official script (ESPnet 202611) that the recipe may use; an unknown one ends it.
KNOWN = {
    "stage", "stop_stage", "skip_stages", "ngpu", "nj", "inference_nj", "gpu_inference", "dumpdir",
    "expdir", "python", "local_data_opts", "speed_perturb_factors", "audio_format", "fs",
    "min_wav_duration", "max_wav_duration", "token_type", "nbpe", "use_lm", "lm_config", "lm_args",
    "lm_exp", "lm_train_text", "asr_config", "asr_args", "asr_exp", "feats_normalize",
    "inference_tag", "inference_config", "inference_args", "inference_lm", "inference_asr_model",
    "train_set", "valid_set", "test_sets", "local_score_opts",
}  # fmt: skip
STAND_IN = """#!/usr/bin/env bash
set -euo pipefail
. ./path.sh
. ./cmd.sh
: > options.txt
while [ $# -gt 0 ]; do
    name=${1#--}
    printf '%s=%s\\n' "${name}" "$2" >> options.txt
    printf -v "${name}" '%s' "$2"
    shift 2
done
for name in scripts pyscripts utils steps conf local; do ls "${name}/" > /dev/null; done
[ "${stage}" -gt 1 ] || local/data.sh ${local_data_opts}
"""


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return options that name three tiny corpora, and how much of QASR is drawn."""
    return words_of(**build(tmp_path_factory.mktemp("official")), **DRAWN)


@pytest.mark.espnet
def test_corpora_as_they_came_end_in_results(
    official: list[str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """All stages by pip's ESPnet: every test utterance of both corpora is decoded and scored."""
    exp = tmp_path / "exp"
    options: list[str | Path | float] = [
        "--expdir", exp, "--upstream", tiny_checkpoint, "--model", "tiny", "--token_type", "char",
        "--asr_config", SMOKE, "--asr_args", "--max_epoch 1 --encoder_conf output_size=32",
        "--inference_args", "--beam_size 2", "--synthetic", "true", "--pack", exp / "pack.zip",
        "--asr_tag", "tiny",
    ]  # fmt: skip
    done = recipe("qasr/asr1", *official, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    decoded = exp / "asr_tiny" / "decode_valid.acc.ave"
    for name in ("mgb2", "mgb3"):
        result = load_result(exp / "results" / f"tiny.asr.{name.upper()}.test.json")
        assert (result.corpus, result.split, result.synthetic) == (name.upper(), "test", True)
        stages = {"Stage 11: training", f"Stage 12: decoding {name}_test"}
        assert stages <= result.stage_seconds.keys()
        rows = read_predictions(decoded / f"predictions.{name}_test.jsonl", TextPrediction)
        cuts = read_cuts(exp / "cuts" / name, "test")
        assert {row.id for row in rows} == {cut.id for cut in cuts}
    assert (exp / "pack.zip").is_file()
    before = {path: path.stat().st_mtime_ns for path in decoded.rglob("output.*/inputs.json")}
    assert len(before) == 2
    # What is finished stays as it is.
    again = recipe("qasr/asr1", *official, *options, "--stage", "12", "--stop_stage", "12")
    assert again.returncode == 0, again.stderr[-3000:]
    notes = decoded.rglob("output.*/inputs.json")
    assert {path: path.stat().st_mtime_ns for path in notes} == before


@pytest.mark.slow
@pytest.mark.espnet
def test_speeds_a_language_model_and_kept_features_go_together(
    official: list[str], tiny_checkpoint: Path, tmp_path: Path
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
    done = recipe("qasr/asr1", *official, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    names = {path.name.partition(".asr.")[2] for path in (exp / "results").glob("*.json")}
    assert names == {"MGB2.test.json", "MGB3.dev.json", "QASR.test.json"}
    logs = exp / "asr_all" / "decode_valid.acc.ave_lm" / "mgb3_dev" / "logdir"
    assert len(list(logs.glob("output.*of2/inputs.json"))) == 2
    # A training of other inputs is refused, not continued.
    width = ("--asr_args", "--max_epoch 2 --encoder_conf output_size=32")
    other = recipe("qasr/asr1", *official, *options, "--stage", "11", "--layers", "1", *width)
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
        "demo/asr1", "--cuts", tmp_path / "cuts", "--corpus", "tones", "--expdir", tmp_path,
        "--asr_config", ROOT / "egs/demo/asr1/conf/demo.yaml",
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
        (["--upstream", "wav2vec9"], "--upstream wav2vec9: there is no such"),
        (["--upstream", "/"], "/ is not a checkpoint folder: it has no config.json"),
        (["--feature_cache", "CACHE"], "--feature_cache needs a checkpoint"),
        # A learned sum changes with every step; a cache of it would freeze it at its start.
        (["--feature_cache", "CACHE", "--upstream", "TINY"], "needs --layers mean or a number"),
        (["--test_sets", " "], "test_sets = []"),
        (["--test_sets", "mgb2-test"], "expected CORPUS_SPLIT"),
        ([], "--mgb2 DIR or --mgb3 DIR is missing"),
        (["--mgb2", "/none"], "--qasr DIR is missing"),
        (["--mgb2", "/none", "--qasr", "/"], "--mgb2 /none: there is no such folder"),
        ([*ANY, "--test_sets", "mgb2_tset"], "'tset'; it has: train dev test dev_overlap"),
        ([*ANY, "--train_set", "trian"], "'trian'; it has: train dev test dev_official"),
        ([*ANY, "--test_sets", "mgb3_train"], "mgb3 has no split 'train'; it has: adapt"),
        ([*ANY, "--valid_set", "dev_official", "--train_hours", "0.0"], "no split 'dev_official'"),
        (["--mgb2", "/", "--stage", "14"], "14 --pack"),
        (["--mgb2", "/", "--stage", "2", "--skip_stages", "9", "--stop_stage", "1"], "no stage"),
    ],
)
def test_wrong_options_are_told_before_any_work(
    tmp_path: Path, tiny_checkpoint: Path, arguments: list[str], told: str
) -> None:
    """QASR takes hours to read; a slip of the keyboard must not wait for that."""
    places = {"CACHE": str(CONF / "features.yaml"), "TINY": str(tiny_checkpoint)}
    words = [places.get(word, word) for word in arguments]
    script = str(QASR / "run.sh")
    defaults = ("--asr_config", str(SMOKE), "--inference_config", str(SMOKE), "--test_sets", "auto")
    with pytest.raises(SystemExit) as ended:
        main(["broadcast", script, *defaults, "--", "--expdir", str(tmp_path / "exp"), *words])
    assert told in str(ended.value)
    assert not (tmp_path / "exp").exists()


def test_a_corpus_that_is_none_ends_the_run(tmp_path: Path) -> None:
    """Later stages would go on with the data of an earlier run."""
    (tmp_path / "empty").mkdir()
    empty = tmp_path / "empty"
    done = recipe("qasr/asr1", "--expdir", tmp_path / "exp", "--qasr", empty, "--mgb2", empty)
    assert done.returncode == 1
    assert "holds no MGB-2" in done.stderr
    assert "Stage 1: qasr" not in done.stderr  # which takes hours
    assert "Stage 3" not in done.stderr


def test_the_splits_that_are_told_are_those_of_the_corpora() -> None:
    """They are told before a corpus is read; a split that is lacking could not be used."""
    for train_hours in ("0", "300"):
        drawn = qasr.Corpus(train_hours=int(train_hours))
        for name, known in (("qasr", drawn), ("mgb2", mgb2.Corpus()), ("mgb3", mgb3.Corpus())):
            assert set(splits_of(name, train_hours)) == set(known.splits)


@pytest.mark.parametrize("name", ["qasr", "demo"])
def test_help_lists_every_option(name: str) -> None:
    """With the names of egs2's asr.sh and our own."""
    help_text = recipe(f"{name}/asr1", "--help").stdout
    shown = set(re.findall(r"^  --(\w+)", help_text, flags=re.MULTILINE))
    assert KNOWN - {"fs", "feats_normalize", "local_data_opts", "local_score_opts"} <= shown
    assert {"lm_tag", "asr_tag", "upstream", "layers", "feature_cache", "pack"} <= shown
    own = {"qasr": {"qasr", "mgb2", "mgb3", "train_hours", "dev_hours"}, "demo": {"cuts"}}
    assert own[name] <= shown


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder that looks like a checkout of ESPnet with Kaldi in its tools."""
    root = tmp_path / "espnet"
    template = root / "egs2" / "TEMPLATE" / "asr1"
    for name in ("scripts", "pyscripts"):
        (template / name).mkdir(parents=True)
    for name in ("utils", "steps"):
        (root / "tools/kaldi/egs/wsj/s5" / name).mkdir(parents=True)
    (template / "asr.sh").write_text(STAND_IN, encoding="utf-8")
    (template / "asr.sh").chmod(0o755)
    (template / "cmd.sh").write_text("export train_cmd=run.pl\n", encoding="utf-8")
    return root


def test_the_official_script_gets_our_data_configs_and_launcher(
    checkout: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """What it is told are its own options; local/data.sh writes folders that keep Kaldi's rules."""
    exp = tmp_path / "exp"
    run = partial(recipe, "qasr/asr1", ESPNET_ROOT=str(checkout))
    done = run(
        *words_of(**build(tmp_path / "official"), **DRAWN), "--expdir", exp,
        "--upstream", tiny_checkpoint, "--asr_args", "--max_epoch 3", "--stop_stage", "12",
        "--lm_train_text", os.path.relpath(QASR / "run.sh"), "--synthetic", "true",
        "--score_profile", "none", "--pretraining_data", "QASR, 1 h",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    work = exp / "espnet2"
    lines = (work / "options.txt").read_text(encoding="utf-8").splitlines()
    given = dict(line.partition("=")[::2] for line in lines)
    assert given.keys() <= KNOWN
    assert given["python"] == f"{warm.python('espnet')} -m harness_bench.asr.espnet.run"
    assert given["asr_config"] == str(QASR / "conf" / "train_asr.yaml")
    assert given["inference_config"] == str(QASR / "conf" / "decode.yaml")
    assert (given["stop_stage"], given["use_lm"]) == ("12", "false")
    assert given["asr_args"].endswith("--max_epoch 3")
    assert f"--frontend harness --frontend_conf checkpoint={tiny_checkpoint}" in given["asr_args"]
    # It is started in another folder.
    assert given["lm_train_text"] == str(QASR / "run.sh")
    # Of what is divided at blanks, too, every option of ours reaches the scorer.
    told = "--synthetic true --profile none --pretraining_data QASR,_1_h"
    assert told in given["local_score_opts"]
    # What own stages tell of a result, too: leaks, the layers' weights, how it was decoded.
    told = "--train_set train --asr_model valid.acc.ave.pth --inference_config /"
    assert told in given["local_score_opts"]
    # Our configs take utterance_mvn, and asr.sh would put global_mvn over it.
    assert given["feats_normalize"] == "utterance_mvn"
    for name in ("train", "dev", "mgb2_test", "mgb3_test"):
        check_raw_dir(work / "data" / name)
    # All segments of a programme are cut from its one recording.
    assert len(read_table(work / "data" / "train" / "wav.scp")) == 2
    (work / "cmd.sh").write_text("export train_cmd=slurm.pl\n", encoding="utf-8")
    again = run("--expdir", exp, "--stage", "2", "--stop_stage", "12", "--mgb2", "x")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "slurm" in (work / "cmd.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--feature_cache", str(QASR / "conf/features.yaml"), "--layers", "mean", "--upstream",
          "UPSTREAM"], "--feature_cache does not go with ESPNET_ROOT"),
        (["--cuts", "/with blank"], "'/with blank': asr.sh divides its options at blanks"),
        (["ROOT", "/none"], "there is no egs2/TEMPLATE/asr1/asr.sh"),
    ],
)  # fmt: skip
def test_what_the_official_script_cannot_do_is_told_first(
    checkout: Path, tmp_path: Path, tiny_checkpoint: Path, arguments: list[str], told: str
) -> None:
    """Not after the data were prepared."""
    if arguments[0] == "ROOT":
        checkout, arguments = Path(arguments[1]), []
    words = [word.replace("UPSTREAM", str(tiny_checkpoint)) for word in arguments]
    words += ["--expdir", str(tmp_path / "exp"), "--stage", "2", "--mgb2", "x"]
    done = recipe("qasr/asr1", *words, ESPNET_ROOT=str(checkout))
    assert done.returncode == 1
    assert told in done.stderr
    assert not (tmp_path / "exp").exists()


def test_a_training_of_our_own_stages_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    """asr.sh would go on with its weights and other tokens; decoding it is another matter."""
    exp = tmp_path / "exp"
    (exp / "asr_mine").mkdir(parents=True)
    (exp / "asr_mine" / "inputs.json").write_text("{}", encoding="utf-8")
    words = ("qasr/asr1", "--expdir", exp, "--stage", "10", "--mgb2", "x", "--asr_tag", "mine")
    run = partial(recipe, *words, ESPNET_ROOT=str(checkout))
    done = run()
    assert done.returncode == 1
    assert "asr_mine holds a training without" in done.stderr
    assert run("--skip_stages", "11", "--scoring", "false").returncode == 0


def test_a_checkout_without_kaldis_scripts_is_told(checkout: Path, tmp_path: Path) -> None:
    """asr.sh would end at its first line with `utils/parse_options.sh: No such file`."""
    (checkout / "tools/kaldi/egs/wsj/s5/utils").rmdir()
    words = ("--expdir", tmp_path / "exp", "--stage", "2", "--mgb2", "x")
    done = recipe("qasr/asr1", *words, ESPNET_ROOT=str(checkout))
    assert done.returncode == 1
    assert "has no utils; get Kaldi's scripts" in done.stderr


def call(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call it through a link, as a checkout's recipe folder has it."""
    link = folder / "local" / "score.sh"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(QASR / "local" / "score.sh")
    command = ["local/score.sh", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def decoded(tmp_path: Path) -> Path:
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


def test_every_decoded_set_is_scored(decoded: Path) -> None:
    """By the same program as in our own stages, results in the decode folder."""
    words = ("--synthetic", "true", "--profile", "none", "--pretraining_data", "made_up")
    options = ("--python", warm.python(), "--model", "ours", *words)
    done = call(decoded, *options, "exp/asr_train", HARNESS_COMMAND="bash run.sh --nj 2")
    assert done.returncode == 0, done.stderr
    tag = decoded / "exp" / "asr_train" / "decode_beam20"
    found, problems = load_results(tag / "results")
    assert not problems
    assert {(r.model, r.corpus, r.split, r.main.value) for r in found.values()} == {
        ("ours", "QASR", "test", 0), ("ours", "QASR", "dev", 50),
    }  # fmt: skip
    told = {(r.synthetic, r.normaliser, r.pretraining_data, r.command) for r in found.values()}
    assert told == {(True, "none v1", "made_up", "bash run.sh --nj 2")}
    assert (tag / "scores.qasr_test.md").is_file()
    assert (tag / "predictions.qasr_dev.jsonl").is_file()


def test_what_is_missing_is_named(decoded: Path) -> None:
    """Without cuts there are no raw references, and sclite's of data/text are normalised ones."""
    done = call(decoded, "--cuts", "nowhere", "exp/asr_train")
    assert done.returncode == 1
    assert "nowhere/cuts.qasr_test.jsonl.gz" in done.stderr
    for arguments, problem in (
        ((), "ASR_EXP is missing"),
        (("exp/other",), "ASR_EXP exp/other"),
        (("exp",), "holds no decoded set"),
        (("--cats", "x", "exp/asr_train"), "arguments: --cats x"),
    ):
        done = call(decoded, *arguments)
        assert (done.returncode > 0, problem in done.stderr) == (True, True), done.stderr
