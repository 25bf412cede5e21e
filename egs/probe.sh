# shellcheck shell=bash disable=SC2154
# What the recipes of classification heads share: options and stages. Sourced by a recipe's run.sh,
# which sets `recipe` (its folder), `layout` (for prepare), `name` (of the corpus), `task`, options of
# its own, and the function `corpus_settings`. That sets `prepare_args` (further arguments of
# prepare) and `refused` (what splits must not share), and may set `clean` (FIELD=VALUE of the part of
# test that is scored once more alone) and `variant` (ending of folders, for another split). A line
# "name=value  # words" is an option.

corpus=                 # folder of the corpus as it came; needed by stage 1
upstream=harness_local  # any name that s3prl's -u takes; fbank_cached needs no checkpoint
checkpoint=             # folder of the upstream's checkpoint
model=                  # row of the leaderboard; default: the checkpoint's name, or the upstream's
kind=                   # baseline, random, pretrained or other; default: by the upstream
cuts=                   # prepared cuts; default: EXPDIR/cuts
max_skipped=0.05        # largest share of utterances that may be unfit
pretraining_cuts=       # folders of cuts that the upstream was pretrained on, to compare with
pretraining_data=       # what the upstream was pretrained on, in words, for the result
egs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "${egs}/heads.sh"

usage() {
    cat <<USAGE
Usage: $0 --corpus DIR [--upstream NAME] [--checkpoint DIR] [--expdir DIR] [options]

Stages: 1 prepare the corpus, 2 what the splits share, 3 train heads and test the best,
4 scores, leaderboard.

Options (default):
USAGE
    list_options "${recipe}/run.sh" "${BASH_SOURCE[0]}" "${egs}/heads.sh"
}

take_options "${recipe}/run.sh" "${BASH_SOURCE[0]}" "${egs}/heads.sh" -- "$@"
source "${egs}/python.sh"

# Wrong options are told before the corpus is read.
if [ -n "${checkpoint}" ]; then
    [ -e "${checkpoint}" ] || die "--checkpoint ${checkpoint}: there is no such folder"
elif [ "${upstream}" = harness_local ]; then
    die "--checkpoint DIR is missing: a folder made by \`harness-bench export\`; or take another --upstream"
fi
[ -f "${config}" ] || die "--config ${config}: there is no such file"
! runs 1 || [ -n "${corpus}" ] || die "--corpus DIR is missing; --stage 3 goes on with prepared cuts"
if [ -z "${kind}" ]; then
    kind=pretrained
    case ${upstream} in fbank* | mfcc* | mel* | spectrogram*) kind=baseline ;; esac
fi
[ -n "${model}" ] || model=$(basename "${checkpoint:-${upstream}}")
clean='' variant=''
corpus_settings
: "${cuts:=${expdir}/cuts${variant}}"
heads="${expdir}/heads/${model}${variant}" results="${expdir}/results"

if runs 1; then
    title 1 "prepare ${name}"
    harness prepare "${layout}" "${corpus}" "${cuts}" --max-skipped "${max_skipped}" "${prepare_args[@]}"
fi

if runs 2; then
    title 2 "what the splits share"
    # shellcheck disable=SC2086  # both are lists of words
    "${python}" "${root}/egs/shared.py" "${cuts}" --refuse ${refused} --pretraining ${pretraining_cuts}
fi

if runs 3; then
    title 3 "train heads and test the best"
    given=(-u "${upstream}" --pretraining-data "${pretraining_data}")
    [ -z "${checkpoint}" ] || given+=(-k "${checkpoint}")
    mkdir -p "${heads}"
    rm -f "${heads}/probe.txt"
    train_heads "${model}" "${kind}" "${heads}" "${cuts}" "${given[@]}" | tee "${heads}/probe.partial"
    mv "${heads}/probe.partial" "${heads}/probe.txt"
fi

if runs 4; then
    title 4 "scores and leaderboard"
    [ -f "${heads}/probe.txt" ] || die "${heads} holds no finished heads; run stage 3"
    # By its name alone: the experiment's folder may have been moved since.
    stem=$(basename "$(sed -n 's/^Result: //p' "${heads}/probe.txt")" .json)
    predictions="${results}/predictions/${stem}.jsonl"
    harness score cls --predictions "${predictions}" --plot "${heads}/confusion.png"
    if [ -n "${clean}" ]; then
        part="${heads}/predictions.test.${clean}.jsonl"
        if grep -E "\"${clean%=*}\": ?\"${clean#*=}\"" "${predictions}" >"${part}"; then
            printf '\nOnly test utterances with %s:\n' "${clean}"
            harness score cls --predictions "${part}"
        else
            printf '\nNo figures of a part: all test utterances are alike in %s.\n' "${clean%=*}"
        fi
    fi
    harness leaderboard build "${results}" "${expdir}/leaderboard" --title "${name}"
    echo "Result: ${results}/${stem}.json"
fi
