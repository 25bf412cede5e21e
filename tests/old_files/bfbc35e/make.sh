#!/usr/bin/env bash
# How the files beside this script were made, with a checkout CODE of commit bfbc35e:
#   KEPT=tests/old_files/bfbc35e bash make.sh ROOT CODE
# Everything is called from inside ROOT (absolute) with relative paths, as the test calls it later.
set -euo pipefail
root=$1 code=$2 script=$(realpath "$0")
hb() { "${code}/.venv/bin/harness-bench" "$@"; }
unset PYTHONDONTWRITEBYTECODE
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
mkdir -p "${root}" && cd "${root}"

stage_configs() {
    cat >iteration.toml <<'TOML'
name = "small"
[model]
encoder_layers = 1
encoder_embed_dim = 16
encoder_ffn_embed_dim = 32
encoder_attention_heads = 2
conv_dim = [8, 8, 8, 8, 8, 8, 16]
conv_pos = 16
conv_pos_groups = 4
dropout = 0.1
[labels]
source = "mfcc"
clusters = 6
kmeans_iterations = 5
[pretrain]
max_update = 60
max_seconds = 2.0
num_buckets = 2
final_dim = 8
lr = 5e-5
pred_nomask_weight = 0.5
save_interval_updates = 20
log_interval = 5
num_workers = 0
tensorboard = false
divergence = 20.0
TOML
    cat >family.toml <<'TOML'
name = "small_family"
[defaults.model]
encoder_layers = 1
encoder_embed_dim = 16
encoder_ffn_embed_dim = 32
encoder_attention_heads = 2
conv_dim = [8, 8, 8, 8, 8, 8, 16]
conv_pos = 16
conv_pos_groups = 4
[defaults.labels]
clusters = 6
kmeans_iterations = 5
[defaults.pretrain]
max_update = 10
max_seconds = 2.0
num_buckets = 2
final_dim = 8
lr = 5e-5
save_interval_updates = 4
log_interval = 5
num_workers = 0
tensorboard = false
divergence = 20.0
[[iterations]]
name = "first"
labels = { source = "mfcc" }
[[iterations]]
name = "second"
teacher = "first"
labels = { source = "hidden", layer = 1, pca_dim = 6 }
pretrain = { init = "copy_extractor" }
TOML
    cat >probe.toml <<'TOML'
learning_rates = [1e-2, 1e-3]
seeds = [1]
[probe]
total_steps = 200
eval_step = 50
hidden = 8
input_norm = "batch"
TOML
    cat >asr.yaml <<'YAML'
encoder: transformer
encoder_conf:
  output_size: 16
  attention_heads: 2
  linear_units: 32
  num_blocks: 1
  dropout_rate: 0.0
  positional_dropout_rate: 0.0
decoder: transformer
decoder_conf:
  attention_heads: 2
  linear_units: 32
  num_blocks: 1
  dropout_rate: 0.0
  positional_dropout_rate: 0.0
model_conf:
  ctc_weight: 0.5
  extract_feats_in_collect_stats: false
normalize: utterance_mvn
optim: adam
optim_conf:
  lr: 0.01
batch_type: unsorted
batch_size: 4
max_epoch: 40
best_model_criterion:
- [valid, acc, max]
keep_nbest_models: 1
num_att_plot: 0
use_matplotlib: false
use_tensorboard: false
YAML
    printf 'batch_size: 4\nbeam_size: 3\nctc_weight: 0.5\n' >decode.yaml
    printf 'batch_seconds: 2\nshard_mb: 0.005\nreaders: 1\naccelerator: cpu\n' >features.yaml
}

stage_corpus() {
    "${code}/.venv/bin/python" - <<'PYTHON'
"""Write sums of tones: a letter is a pitch, a dialect shifts all of them; three speakers a split."""
from pathlib import Path
import numpy as np, soundfile
LETTERS = {"ا": 400.0, "ب": 900.0, "ت": 1700.0}
SHIFT = {"EGY": 1.0, "GLF": 1.25}
rng = np.random.default_rng(0)
root = Path("corpus")
(root / "audio").mkdir(parents=True)
rows = ["path\tduration\tspeaker\ttranscript\tsplit\tdialect\tgender\tlanguage"]
for split, count in (("train", 8), ("dev", 4), ("test", 4)):
    for number in range(count):
        dialect = [*SHIFT][number % 2]
        text = " ".join("".join(rng.permutation([*LETTERS])[:2]) for _ in range(1 + number // 2 % 2))
        parts = [np.zeros(640)]
        for sign in text:
            seconds = np.arange(1760 if sign != " " else 1200) / 16000
            pitch = LETTERS.get(sign, 0.0) * SHIFT[dialect]
            parts.append(0.05 * np.sin(2 * np.pi * pitch * seconds))
        wave = np.concatenate([*parts, np.zeros(640)])
        wave = wave + 1e-4 * rng.standard_normal(len(wave))
        name = f"{split}{number:02d}.flac"
        soundfile.write(root / "audio" / name, wave, 16000, subtype="PCM_16")
        cells = [f"audio/{name}", f"{len(wave) / 16000:.4f}", f"{split}-{number % 3}", text, split, dialect, "f", "ar"]
        rows.append("\t".join(cells))
(root / "audio" / "broken.flac").write_bytes(b"no audio")
rows.append("audio/broken.flac\t-\ttrain-0\tا\ttrain\tEGY\tf\tar")
(root / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
PYTHON
    hb prepare tsv corpus prepared --require text --max-skipped 0.1 --jobs 1
}

stage_cuts() { # by hand: the same cuts with paths that do not begin with a slash
    mkdir -p cuts
    for split in train dev test; do
        gzip -dc "prepared/cuts.${split}.jsonl.gz" | sed "s|${PWD}/||g" | gzip -n >"cuts/cuts.${split}.jsonl.gz"
    done
    cp prepared/report.json prepared/skipped.tsv cuts/
    hb shard cuts shar --shard-cuts 4
}

stage_pretrain() {
    hb labels iteration.toml cuts labels --accelerator cpu
    hb pretrain iteration.toml cuts labels run_finished --accelerator cpu
    # Interrupted as a cluster does it: SIGTERM once some updates are logged.
    "${code}/.venv/bin/harness-bench" pretrain iteration.toml cuts labels run_interrupted --accelerator cpu &
    local run=$!
    until [ -e run_interrupted/train.jsonl ] && [ "$(wc -l <run_interrupted/train.jsonl)" -ge 5 ]; do sleep 0.01; done
    kill -TERM "${run}"
    local status=0
    wait "${run}" || status=$?
    [ "${status}" -eq 130 ]
    hb family family.toml shar family --accelerator cpu
    hb export run_finished models/small
    hb export iteration.toml models/untrained --random --seed 3
}

probe() { # probe OUT MORE...
    echo probe -u harness_local -k models/small -d did --cuts cuts --out "$1" --config probe.toml \
        --results results --model small --corpus tones --synthetic "${@:2}"
}

stage_probe() {
    # shellcheck disable=SC2046
    HARNESS_FEATURE_CACHE=features hb $(probe probe)
    # The same head, killed between its first saved state and its end.
    # shellcheck disable=SC2046
    HARNESS_FEATURE_CACHE=features setsid "${code}/.venv/bin/harness-bench" $(probe probe_interrupted --lr 1e-2) &
    local run=$!
    until [ -e probe_interrupted/lr0.01.seed1/s3prl/states-50.ckpt ]; do sleep 0.01; done
    kill -KILL -- "-${run}"
    wait "${run}" || echo "ended with $?" >&2
    # Two seeds, for the spread in the result; the folder is not kept.
    hb probe -u fbank_cached -d did --cuts cuts --out probe_fbank --config probe.toml --lr 1e-2 --seeds 5,6 \
        --steps 20 --results results --model FBANK --kind baseline --corpus tones --synthetic
    mkdir -p answers && hb predict probe corpus/audio/test0*.flac --json >answers/predict.jsonl
}

asr_options() {
    echo --cuts cuts --expdir asr_demo --dumpdir asr_demo/formatted --upstream models/small --layers mean \
        --feature_cache features.yaml --asr_config asr.yaml --inference_config decode.yaml \
        --corpus tones --model small --synthetic true --pack pack.zip --test_sets test
}

stage_asr() {
    # shellcheck disable=SC2046
    bash "${code}/egs/demo/asr1/run.sh" $(asr_options)
}

stage_after() {
    hb transcribe pack.zip corpus/audio/test0*.flac --json >answers/transcribe.jsonl
    hb results add asr_demo/results/small.asr.tones.test.json results
    cat >reported.json <<'JSON'
{"schema_version": 1, "source": "reported", "citation": "Table 1 of a made-up paper", "model": "Printed",
 "model_kind": "pretrained", "task": "asr", "corpus": "tones", "split": "test", "synthetic": true,
 "main_metric": "wer", "metrics": {"wer": {"value": 22.6, "higher_is_better": false, "printed": "22.6"}},
 "created": "2026-11-22T00:00:00Z"}
JSON
    hb results add reported.json results
    hb efficiency models/small --into results
    hb results list results --json >answers/results.json
    hb subset cuts drawn --hours train=0.0004 --seed 1
    # Trained weights are compared to the bit on such a machine alone.
    "${code}/.venv/bin/python" - <<'PYTHON'
import json, torch
from pathlib import Path
wanted = ("cpu family", "model", "model name", "stepping")
rows = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines())
found = {name.strip(): value.strip() for name, _, value in rows if name.strip() in wanted}
found |= {"capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
Path("answers/machine.json").write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
PYTHON
}

stage_keep() { # leave out what nobody reads again, and put @ROOT@ and @CODE@ for absolute paths
    local kept=${KEPT:?where the files to keep go}
    mkdir -p "${kept}" && cp -a . "${kept}" && cp "${script}" "${kept}/make.sh"
    cd "${kept}"
    rm -rf probe_fbank asr_demo/scores.test.json probe/layer_weights.png probe/*/s3prl/states-*.ckpt
    rm -f family/*/run/state-*.pt probe*/*/s3prl/events.out.tfevents.*
    "${code}/.venv/bin/python" - "${root}" "${code}" <<'PYTHON'
import gzip, sys
from pathlib import Path
root, code = (word.encode() for word in sys.argv[1:])
for path in sorted(Path().rglob("*")):
    if path.is_symlink() or not path.is_file():
        continue
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    if root in text or code in text:
        assert b"\0" not in text, path  # only text may change its length
        text = text.replace(root, b"@ROOT@").replace(code, b"@CODE@")
        path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
PYTHON
}

for stage in ${STAGES:-configs corpus cuts pretrain probe asr after keep}; do
    echo "== ${stage}" >&2
    "stage_${stage}"
done
