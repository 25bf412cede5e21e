#!/usr/bin/env bash
# Heads on FBANK, on an untrained model and on the models of a finished demo, side by side: from a
# folder with a manifest.tsv to a leaderboard, by SUPERB's rule.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

demo=                   # finished run folder of `harness-bench demo`: its models are taken
models=harness_it1,harness_st  # which models of its family, with commas
corpus=                 # folder with manifest.tsv; or give prepared cuts
cuts=                   # prepared cuts; default: EXPDIR/cuts, made of --corpus
task=keyword            # ser, did, keyword, lid: a folder of downstream/
label_field=            # field that holds the classes; default: the task's own
name=                   # of the corpus; default: the name of its folder
pretraining_cuts=       # cuts that the models were pretrained on, to compare with dev and test
egs=$(cd "${recipe}/../.." && pwd)
source "${egs}/heads.sh"

usage() {
    cat <<USAGE
Usage: $0 --demo DIR --corpus DIR | --cuts DIR [--task NAME] [--expdir DIR] [options]

Stages: 1 prepare the corpus, 2 what its splits share, 3 train heads and test the best,
4 leaderboard.

Options (default):
USAGE
    list_options "${BASH_SOURCE[0]}" "${egs}/heads.sh"
}

take_options "${BASH_SOURCE[0]}" "${egs}/heads.sh" -- "$@"
source "${egs}/python.sh"

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

train_row() { # MODEL KIND FLAGS...
    local field=()
    [ -z "${label_field}" ] || field=(--label-field "${label_field}")
    echo "$1:" >&2
    train_heads "$1" "$2" "${expdir}/heads/$1" "${prepared}" "${@:3}" "${field[@]}"
}

if runs 3; then
    title 3 "train heads and test the best"
    train_row fbank baseline -u fbank_cached
    train_row random random -u harness_local -k "${untrained}"
    for model in ${models//,/ }; do
        train_row "${model}" pretrained -u harness_local -k "${demo}/pretrain/${model}/run/checkpoint" \
            --pretraining-data "$(basename "${pretraining_cuts:-${demo}}")"
    done
fi

if runs 4; then
    title 4 "leaderboard"
    harness leaderboard build "${expdir}/results" "${expdir}/leaderboard" --no-reported --title "${name}"
fi
