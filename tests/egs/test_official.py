"""ESPnet's own asr.sh, with Kaldi's scripts, through all of its stages: slow.

ESPNET_ROOT names a checkout; without it pip fetches the sdist of the installed version, which has
all that a checkout has, into build/. `test_asr_recipes.py` has a stand-in of asr.sh for what is
told to it.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness_bench.asr.config import words_of
from harness_bench.results.record import load_results
from tests import warm
from tests.asr.tiny_asr import random_text, speech
from tests.egs.official import HOURS, ROOT, build, recipe

pytestmark = [pytest.mark.slow, pytest.mark.espnet]
TEMPLATE = Path("egs2/TEMPLATE/asr1")
SMOKE = ROOT / "egs/qasr/asr1/conf/train_asr_cpu_smoke.yaml"
# As a reader of docs/espnet.md writes them.
RUN = """#!/usr/bin/env bash
./asr.sh --nj 2 --inference_nj 2 --lang ar --token_type bpe --nbpe 9 --use_lm false \\
    --asr_config conf/train.yaml --inference_config conf/decode.yaml \\
    --train_set train --valid_set dev --test_sets test "$@"
"""
DATA = """#!/usr/bin/env bash
set -e
. ./path.sh
for set in train dev test; do
    utils/utt2spk_to_spk2utt.pl data/$set/utt2spk > data/$set/spk2utt
    utils/fix_data_dir.sh data/$set
done
"""
CONF = """
encoder: transformer
encoder_conf: {output_size: 16, attention_heads: 2, linear_units: 32, num_blocks: 1,
               input_layer: linear}
decoder: transformer
decoder_conf: {attention_heads: 2, linear_units: 32, num_blocks: 1}
frontend: harness
frontend_conf: {checkpoint: ../models/tiny, layers: weighted}
model_conf: {ctc_weight: 0.3, extract_feats_in_collect_stats: false}
normalize: utterance_mvn
batch_type: numel
batch_bins: 400000
keep_nbest_models: 1
best_model_criterion:
- [valid, acc, max]
"""
run = partial(subprocess.run, capture_output=True, text=True, check=False)
SETS = {"train": 12, "dev": 2, "test": 3}  # utterances


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return a checkout of ESPnet: ESPNET_ROOT, or the sdist that pip fetches once."""
    if root := os.environ.get("HB_ESPNET_ROOT"):  # tests/conftest.py sets it
        return Path(root).resolve()
    here = ROOT / "build"
    folder = here / f"espnet-{version('espnet')}"
    if not (folder / TEMPLATE / "asr.sh").is_file():
        here.mkdir(exist_ok=True)
        words = ["-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"]
        wanted = ["--no-binary", "espnet", f"espnet=={version('espnet')}"]
        done = run([sys.executable, *words, *wanted, "--dest", here])
        if done.returncode:
            pytest.skip(f"ESPNET_ROOT is not set, and pip has no sdist of ESPnet: {done.stderr}")
        with tarfile.open(f"{folder}.tar.gz") as packed:
            packed.extractall(here, filter="data")
    return folder


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH with this Python and, where it is installed, sclite."""
    folder = tmp_path_factory.mktemp("bin")
    if shutil.which("sctk") and not shutil.which("sclite"):  # Debian's name of it
        (folder / "sclite").write_text('#!/bin/sh\nexec sctk sclite "$@"\n', encoding="utf-8")
        (folder / "sclite").chmod(0o755)
    return os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])


def test_our_recipe_gives_the_same_by_the_official_script(
    checkout: Path, path: str, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """Two ways to one model: texts, tokens, hypotheses, scores; and each may be repeated."""
    start = partial(
        recipe, "qasr/asr1", *words_of(**build(tmp_path / "corpora")),
        "--train_hours", HOURS["train"], "--dev_hours", HOURS["dev"], "--nbpe", "22",
        "--upstream", tiny_checkpoint, "--asr_config", SMOKE, "--asr_args", "--max_epoch 2",
        "--inference_config", ROOT / "egs/demo/asr1/conf/decode_demo.yaml", "--synthetic", "true",
    )  # fmt: skip
    own, official = tmp_path / "own", tmp_path / "official"
    environment = {"ESPNET_ROOT": str(checkout), "PATH": path}
    for out, variables in (
        (own, {"ESPNET_ROOT": ""}),
        (official, environment),
        (official, environment),
    ):
        done = start("--expdir", out, "--pack", out / "model.zip", **variables)
        assert done.returncode == 0, done.stderr[-3000:]
    for like in (
        "dump/raw/train/text", "dump/raw/dev/text", "dump/raw/mgb?_test/text", "**/tokens.txt",
        "asr_*/decode*/predictions.*.jsonl",
    ):  # fmt: skip
        ours, theirs = (
            [path.read_bytes() for path in sorted(out.glob(like))] for out in (own, official)
        )
        assert ours, like
        assert ours == theirs, like
    expected, found = (load_results(out / "results")[0] for out in (own, official))
    rows = {row.corpus: row for row in expected.values()}
    assert rows.keys() == {"MGB2", "MGB3"} == {row.corpus for row in found.values()}
    for row in found.values():
        other = rows[row.corpus]
        told = ("metrics", "layer_weights", "leakage", "checkpoint_digest", "normaliser", "model")
        assert all(getattr(row, name) == getattr(other, name) for name in told), row
        assert row.command.startswith(f"ESPNET_ROOT={checkout} bash ")
    opened = zipfile.ZipFile(official / "model.zip").namelist()
    assert {*opened} == {*zipfile.ZipFile(own / "model.zip").namelist()}


@pytest.fixture
def own_recipe(checkout: Path, tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """Return a recipe that a reader made by ESPnet's setup.sh, with data folders and a config."""
    root = tmp_path / "espnet"
    folder = root / "egs2/mine/asr1"
    folder.mkdir(parents=True)
    for name in ("tools", "egs2/TEMPLATE"):  # the checkout itself stays as it is
        (root / name).symlink_to(checkout / name)
    run(["bash", folder / "../../TEMPLATE/asr1/setup.sh", folder])
    shutil.copytree(tiny_checkpoint, folder / "../models/tiny")
    for name, text in {"run.sh": RUN, "local/data.sh": DATA, "conf/train.yaml": CONF,
                       "conf/decode.yaml": "beam_size: 2\nctc_weight: 0.5\n"}.items():  # fmt: skip
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    rng = np.random.default_rng(0)
    for name, count in SETS.items():
        data = folder / "data" / name
        data.mkdir(parents=True)
        rows = [(f"{name}{number % 2}-{number}", random_text(rng, 3)) for number in range(count)]
        rows.sort()
        for uid, text in rows:
            soundfile.write(data / f"{uid}.wav", speech(text, rng)[0], 16_000)
        tables = {
            "wav.scp": [f"{uid} data/{name}/{uid}.wav" for uid, _ in rows],
            "text": [f"{uid} {text}" for uid, text in rows],
            "utt2spk": [f"{uid} {uid.partition('-')[0]}" for uid, _ in rows],
        }
        for table, lines in tables.items():
            (data / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_recipe_of_ones_own(own_recipe: Path, path: str, tmp_path: Path) -> None:
    """Three changes, as docs/espnet.md has them; then transcribe and score, from elsewhere."""
    sclite = shutil.which("sclite", path=path)
    done = run([
        "bash", "run.sh", "--python", f"{warm.python('espnet')} -m harness_bench.asr.espnet.run",
        "--feats_normalize", "utterance_mvn", "--ngpu", "0", "--asr_args", "--max_epoch 2",
        "--stop_stage", "13" if sclite else "12",
    ], cwd=own_recipe, env={**os.environ, "PATH": path})  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    (trained,) = own_recipe.glob("exp/asr_train_*")
    (decoded,) = trained.glob("decode_*/test")
    lines = (decoded / "text").read_text(encoding="utf-8").splitlines()
    hypotheses = dict(line.partition(" ")[::2] for line in lines)
    assert len(hypotheses) == SETS["test"]
    call = partial(warm.run, kind="espnet", cwd=tmp_path)
    recording = own_recipe / "data/test/test0-0.wav"
    words = ["transcribe", trained, recording, "--beam", "2", "--ctc-weight", "0.5"]
    told = call(["-m", "harness_bench.cli", *words])
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == hypotheses["test0-0"].split()
    reference = own_recipe / "dump/raw/test/text"
    words = ["score", "asr", "--hyp", decoded / "text", "--ref", reference, "--profile", "none"]
    scored = call(["-m", "harness_bench.cli", *words])
    assert scored.returncode == 0, scored.stderr
    if sclite:
        ours = re.findall(r"^(?:WER|CER)\D*([\d.]+) %", scored.stdout, flags=re.MULTILINE)
        table = (trained / "RESULTS.md").read_text(encoding="utf-8")
        theirs = [row.split("|")[-3] for row in table.splitlines() if "/test|" in row]
        assert [round(float(value), 1) for value in ours] == [float(value) for value in theirs[:2]]
