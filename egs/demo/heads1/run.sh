#!/usr/bin/env bash
# Heads on FBANK, on an untrained model and on the models of a finished demo, side by side: from a
# folder with a manifest.tsv to a leaderboard, by SUPERB's rule.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

demo=                   # finished run folder of `harness-bench demo`: its models are taken
models=harness_it2,harness_st  # which models of its family, with commas
corpus=                 # folder with manifest.tsv; or give prepared cuts
cuts=                   # prepared cuts; default: EXPDIR/cuts, made of --corpus
task=keyword            # ser, did, keyword, lid: a folder of downstream/
label_field=            # field that holds the classes; default: the task's own
name=                   # of the corpus; default: the name of its folder
pretraining_cuts=       # cuts that the models were pretrained on, to compare with dev and test
lr=                     # learning rates to try, with commas; default: those of the config
seeds=                  # how many heads of the best one, or their seeds; default: the config's
steps=                  # training steps; default: the config's
synthetic=false         # true marks the corpus as computer-made
config="${recipe}/conf/probe.toml"  # learning rates, seeds, settings of the heads
expdir=exp              # everything is written below it
threads=1               # CPU threads of a head's training
jobs=1                  # heads trained at a time
stage=1                 # first stage to run
stop_stage=4            # last stage to run
python=                 # default: the repository's .venv, or python3

usage() {
    cat <<USAGE
Usage: $0 --demo DIR --corpus DIR | --cuts DIR [--task NAME] [--expdir DIR] [options]

Stages: 1 prepare the corpus, 2 what its splits share, 3 train heads and test the best,
4 leaderboard.

Options (default):
USAGE
    list_options "${BASH_SOURCE[0]}"
}

source "${recipe}/../../options.sh"
take_options "${BASH_SOURCE[0]}" -- "$@"
choose_python

# Wrong options are told before any work.
[ -n "${corpus}${cuts}" ] || die "--corpus DIR is missing: a folder with manifest.tsv; or give --cuts DIR"
[ -n "${demo}" ] || die "--demo DIR is missing: the run folder of \`make demo\` or \`make demo-real\`"
[ -f "${config}" ] || die "--config ${config}: there is no such file"
untrained="${demo}/models/random"
[ -d "${untrained}" ] || die "--demo ${demo} is no finished run of a demo: it has no models/random"
for model in ${models//,/ }; do
    [ -d "${demo}/pretrain/${model}/run/checkpoint" ] || die "--models: ${demo} has no model ${model}"
done
[ -n "${name}" ] || name=$(basename "${corpus:-${cuts}}")
prepared=${cuts:-${expdir}/cuts}

if runs 1 && [ -z "${cuts}" ]; then
    title 1 "prepare ${name}"
    harness prepare tsv "${corpus}" "${prepared}"
fi

if runs 2; then
    title 2 "what the splits share"
    # shellcheck disable=SC2086  # a list of folders
    "${python}" "${root}/egs/shared.py" "${prepared}" --refuse speaker audio --pretraining ${pretraining_cuts}
fi

train_heads() { # MODEL KIND FLAGS...: the grid of one row, with what the model was pretrained on
    local given=(--model "$1" --kind "$2" "${@:3}" -d "${task}" --cuts "${prepared}" --corpus "${name}"
        --config "${config}" --out "${expdir}/heads/$1" --results "${expdir}/results"
        --threads "${threads}" --jobs "${jobs}")
    [ -z "${label_field}" ] || given+=(--label-field "${label_field}")
    [ -z "${lr}" ] || given+=(--lr "${lr}")
    [ -z "${seeds}" ] || given+=(--seeds "${seeds}")
    [ -z "${steps}" ] || given+=(--steps "${steps}")
    [ "${synthetic}" != true ] || given+=(--synthetic)
    echo "$1:" >&2
    harness probe "${given[@]}"
}

if runs 3; then
    title 3 "train heads and test the best"
    train_heads fbank baseline -u fbank_cached
    train_heads random random -u harness_local -k "${untrained}"
    for model in ${models//,/ }; do
        train_heads "${model}" pretrained -u harness_local -k "${demo}/pretrain/${model}/run/checkpoint" \
            --pretraining-data "$(basename "${pretraining_cuts:-${demo}}")"
    done
fi

if runs 4; then
    title 4 "leaderboard"
    harness leaderboard build "${expdir}/results" "${expdir}/leaderboard" --no-reported --title "${name}"
fi
