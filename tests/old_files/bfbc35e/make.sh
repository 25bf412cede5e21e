#!/usr/bin/env bash
# How the files beside this script were made, with a checkout CODE of commit bfbc35e:
#   bash make.sh ROOT CODE KEPT
# Everything is called from inside ROOT with relative paths, as the test calls it later; all three
# folders are absolute. Written by hand: *.toml, *.yaml and reported.json, which lie beside this script.
set -euo pipefail
root=$1 code=$2 kept=$3 here=$(dirname "$(realpath "$0")")
harness_bench=${code}/.venv/bin/harness-bench
hb() { "${harness_bench}" "$@"; }
tested() { # run a line with the functions of the test
    PYTHONPATH="${here}/../../.." "${code}/.venv/bin/python" -c "from tests.old_files.test_old_files import *; $1"
}
unset PYTHONDONTWRITEBYTECODE
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
mkdir -p "${root}" && cd "${root}"
cp "${here}"/*.toml "${here}"/*.yaml "${here}/reported.json" .

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
        path = f"audio/{split}{number:02d}.flac"
        soundfile.write(root / path, wave, 16000, subtype="PCM_16")
        rows.append(f"{path}\t{len(wave) / 16000:.4f}\t{split}-{number % 3}\t{text}\t{split}\t{dialect}\tf\tar")
(root / "audio" / "broken.flac").write_bytes(b"no audio")
rows.append("audio/broken.flac\t-\ttrain-0\tا\ttrain\tEGY\tf\tar")
(root / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
PYTHON
hb prepare tsv corpus prepared --require text --max-skipped 0.1 --jobs 1
mkdir -p cuts # by hand: the same cuts with paths that do not begin with a slash
for split in train dev test; do
    gzip -dc "prepared/cuts.${split}.jsonl.gz" | sed "s|${PWD}/||g" | gzip -n >"cuts/cuts.${split}.jsonl.gz"
done
cp prepared/report.json prepared/skipped.tsv cuts/
hb shard cuts shar --shard-cuts 4

hb labels iteration.toml cuts labels --accelerator cpu
hb pretrain iteration.toml cuts labels run_finished --accelerator cpu
# Interrupted as a cluster does it: SIGTERM once some updates are logged.
"${harness_bench}" pretrain iteration.toml cuts labels run_interrupted --accelerator cpu &
run=$!
until [ -e run_interrupted/train.jsonl ] && [ "$(wc -l <run_interrupted/train.jsonl)" -ge 5 ]; do sleep 0.01; done
kill -TERM "${run}"
status=0 && wait "${run}" || status=$?
[ "${status}" -eq 130 ]
hb family family.toml shar family --accelerator cpu
hb export run_finished models/small
hb export iteration.toml models/untrained --random --seed 3

did=(probe -u harness_local -k models/small -d did --cuts cuts --out)
result=(--config probe.toml --results results --model small --corpus tones --synthetic)
HARNESS_FEATURE_CACHE=features hb "${did[@]}" probe "${result[@]}"
# The same head, killed between its first saved state and its end.
HARNESS_FEATURE_CACHE=features setsid "${harness_bench}" "${did[@]}" probe_interrupted "${result[@]}" --lr 1e-2 &
run=$!
until [ -e probe_interrupted/lr0.01.seed1/s3prl/states-50.ckpt ]; do sleep 0.01; done
kill -KILL -- "-${run}"
wait "${run}" || echo "ended with $?" >&2
# Two seeds, for the spread in the result; the folder is not kept.
hb probe -u fbank_cached -d did --cuts cuts --out probe_fbank --config probe.toml --lr 1e-2 --seeds 5,6 \
    --steps 20 --results results --model FBANK --kind baseline --corpus tones --synthetic
mkdir -p answers && hb predict probe corpus/audio/test0*.flac --json >answers/predict.jsonl

bash "${code}/egs/demo/asr1/run.sh" --cuts cuts --expdir asr_demo --dumpdir asr_demo/formatted \
    --upstream models/small --layers mean --feature_cache features.yaml --asr_config asr.yaml \
    --inference_config decode.yaml --corpus tones --model small --synthetic true --pack pack.zip --test_sets test
hb transcribe pack.zip corpus/audio/test0*.flac --json >answers/transcribe.jsonl
hb results add asr_demo/results/small.asr.tones.test.json results
hb results add reported.json results
hb efficiency models/small --into results
hb results list results --json >answers/results.json
hb subset cuts drawn --hours train=0.0004 --seed 1
tested '(Path("answers/machine.json").write_text(json.dumps(machine(), indent=2, sort_keys=True) + "\n"))'

# Leave out what nobody reads again, and put @ROOT@ and @CODE@ for absolute paths.
mkdir -p "${kept}" && cp -a . "${here}/make.sh" "${kept}"
cd "${kept}"
rm -rf probe_fbank asr_demo/scores.test.json probe/layer_weights.png probe/*/s3prl/states-*.ckpt
rm -f family/*/run/state-*.pt probe*/*/s3prl/events.out.tfevents.*
tested "(replace_text(Path(), '${root}', '@ROOT@'), replace_text(Path(), '${code}', '@CODE@'))"
