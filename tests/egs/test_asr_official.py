"""With ESPNET_ROOT the official asr.sh runs: a stand-in notes how it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness_bench.asr.kaldi import check_raw_dir, read_table
from tests.egs.official import HOURS, build

RECIPE = Path(__file__).parents[2] / "egs" / "qasr" / "asr1"
# Options of the official script (ESPnet 202611) that the recipe may use; an unknown one ends it.
KNOWN = [
    "stage",
    "stop_stage",
    "skip_stages",
    "ngpu",
    "nj",
    "inference_nj",
    "gpu_inference",
    "dumpdir",
    "expdir",
    "python",
    "local_data_opts",
    "speed_perturb_factors",
    "audio_format",
    "fs",
    "min_wav_duration",
    "max_wav_duration",
    "token_type",
    "nbpe",
    "use_lm",
    "lm_config",
    "lm_args",
    "lm_exp",
    "lm_train_text",
    "asr_config",
    "asr_args",
    "asr_exp",
    "feats_normalize",
    "inference_tag",
    "inference_config",
    "inference_args",
    "inference_lm",
    "inference_asr_model",
    "train_set",
    "valid_set",
    "test_sets",
    "local_score_opts",
]
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


def run(checkout: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = ["bash", str(RECIPE / "run.sh"), "--python", sys.executable, *map(str, arguments)]
    return subprocess.run(
        words, env={**os.environ, "ESPNET_ROOT": str(checkout)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_official_script_gets_our_data_configs_and_launcher(
    checkout: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """What it is told are its own options; local/data.sh writes folders that keep Kaldi's rules."""
    folders = build(tmp_path / "official")
    exp = tmp_path / "exp"
    done = run(
        checkout, *(word for name, path in folders.items() for word in (f"--{name}", path)),
        "--train_hours", str(HOURS["train"]), "--dev_hours", str(HOURS["dev"]), "--expdir", exp,
        "--upstream", tiny_checkpoint, "--asr_args", "--max_epoch 3", "--stop_stage", "12",
        "--lm_train_text", os.path.relpath(RECIPE / "run.sh"), "--synthetic", "true",
        "--score_profile", "none", "--pretraining_data", "QASR, 1 h",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    work = exp / "espnet2"
    lines = (work / "options.txt").read_text(encoding="utf-8").splitlines()
    given = dict(line.partition("=")[::2] for line in lines)
    assert given.keys() <= set(KNOWN)
    assert given["python"] == f"{sys.executable} -m harness_bench.asr.espnet.run"
    assert given["asr_config"] == str(RECIPE / "conf" / "train_asr.yaml")
    assert given["inference_config"] == str(RECIPE / "conf" / "decode.yaml")
    assert (given["stop_stage"], given["use_lm"]) == ("12", "false")
    assert given["asr_args"].endswith("--max_epoch 3")
    assert f"--frontend harness --frontend_conf checkpoint={tiny_checkpoint}" in given["asr_args"]
    # It is started in another folder.
    assert given["lm_train_text"] == str(RECIPE / "run.sh")
    # Of what is divided at blanks, too, every option of ours reaches the scorer.
    told = "--synthetic true --profile none --pretraining_data QASR,_1_h"
    assert told in given["local_score_opts"]
    # Our configs take utterance_mvn, and asr.sh would put global_mvn over it.
    assert given["feats_normalize"] == "utterance_mvn"
    for name in ("train", "dev", "mgb2_test", "mgb3_test"):
        check_raw_dir(work / "data" / name)
    # All segments of a programme are cut from its one recording.
    assert len(read_table(work / "data" / "train" / "wav.scp")) == 2
    (work / "cmd.sh").write_text("export train_cmd=slurm.pl\n", encoding="utf-8")
    again = run(checkout, "--expdir", exp, "--stage", "2", "--stop_stage", "12", "--mgb2", "x")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "slurm" in (work / "cmd.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--feature_cache", str(RECIPE / "conf/features.yaml"), "--layers", "mean", "--upstream",
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
    exp = tmp_path / "exp"
    done = run(checkout, "--expdir", exp, "--stage", "2", "--mgb2", "x", *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert not exp.exists()


def test_a_training_of_our_own_stages_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    """asr.sh would go on with its weights and other tokens; decoding it is another matter."""
    exp = tmp_path / "exp"
    (exp / "asr_mine").mkdir(parents=True)
    (exp / "asr_mine" / "inputs.json").write_text("{}", encoding="utf-8")
    words = ("--expdir", exp, "--stage", "10", "--mgb2", "x", "--asr_tag", "mine")
    done = run(checkout, *words)
    assert done.returncode == 1
    assert "asr_mine holds a training without" in done.stderr
    assert run(checkout, *words, "--skip_stages", "11", "--scoring", "false").returncode == 0


def test_a_checkout_without_kaldis_scripts_is_told(checkout: Path, tmp_path: Path) -> None:
    """asr.sh would end at its first line with `utils/parse_options.sh: No such file`."""
    (checkout / "tools/kaldi/egs/wsj/s5/utils").rmdir()
    done = run(checkout, "--expdir", tmp_path / "exp", "--stage", "2", "--mgb2", "x")
    assert done.returncode == 1
    assert "has no utils; get Kaldi's scripts" in done.stderr
