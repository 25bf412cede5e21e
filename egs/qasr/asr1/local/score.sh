#!/usr/bin/env bash
# Scores every decode folder of an ESPnet experiment by this project's rules. ESPnet's asr.sh calls
# it at the end of stage 13 as `local/score.sh ${local_score_opts} ASR_EXP`, in the recipe's folder.
set -euo pipefail
egs=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../.." && pwd)

cuts=data       # folder with cuts.SET.jsonl.gz of every decoded set
corpus=         # of all sets: qasr, mgb2, mgb3 or a name; else the set's name before _, or qasr
model=          # the row's name on the leaderboard; else the experiment folder's name
model_kind=     # pretrained, baseline, random or other; else told by the training's config
profile=        # text profile that ranks; default: the corpus's
synthetic=false # true marks the speech as computer-made
pretraining_data=  # what the upstream was pretrained on, in words
results=        # folder of results; else DECODE/results, one for each decode folder
times=          # file of stage times
python=python3  # Python with this project installed

usage() {
    cat <<USAGE
Usage: $0 [options] ASR_EXP

Scores ASR_EXP/DECODE/SET and ASR_EXP/DECODE/org/SET; writes predictions, scores.SET.md and .json
into DECODE, and results for the leaderboard.

Options (default):
USAGE
    list_options "${BASH_SOURCE[0]}"
}

source "${egs}/options.sh"
[ $# -gt 0 ] || die "ASR_EXP is missing: the folder of the trained model; see $0 --help"
case ${*: -1} in --help | -h) usage; exit 0 ;; esac
asr_exp=${*: -1}
take_options "${BASH_SOURCE[0]}" -- "${@:1:$#-1}"
[ -d "${asr_exp}" ] || die "there is no experiment folder ${asr_exp}"

shopt -s nullglob
# asr.sh decodes the development set below org; our own stages leave ESPnet's 1best_recog.
found=("${asr_exp}"/*/{,org/}*/text "${asr_exp}"/*/*/1best_recog/text)
sets=()
for text in "${found[@]}"; do
    folder=${text%/text}
    sets+=("${folder%/1best_recog}")
done
[ ${#sets[@]} -gt 0 ] || die "${asr_exp} holds no decoded set: decode first (stage 12)"

missing=()
for folder in "${sets[@]}"; do
    name=${folder##*/}
    [ -f "${cuts}/cuts.${name}.jsonl.gz" ] || missing+=("${cuts}/cuts.${name}.jsonl.gz")
done
[ ${#missing[@]} -eq 0 ] || die "there is no ${missing[*]}: references come from prepared cuts. \
Make them by stage 1 of run.sh or \`harness-bench prepare CORPUS FROM DIR\`, name each file after \
its set, and give their folder: --cuts DIR (asr.sh: --local_score_opts \"--cuts DIR\")"

chain=()
for folder in "${sets[@]}"; do
    name=${folder##*/} decode=${folder%/*}
    decode=${decode%/org}
    case "${name}" in
        mgb2_* | mgb3_* | qasr_*) known=${name%%_*} ;;
        *) known=qasr ;;
    esac
    [ ${#chain[@]} -eq 0 ] || chain+=(--then)
    chain+=(--stage "scores of ${name}" -m harness_bench.asr.score
        --cuts "${cuts}" --split "${name}" --decoded "${folder}" --corpus "${corpus:-${known}}"
        --out "${decode}" --results "${results:-${decode}/results}"
        --model "${model:-$(basename "${asr_exp}")}")
    [ ! -f "${asr_exp}/config.yaml" ] || chain+=(--asr "${asr_exp}")
    chain+=(--synthetic "${synthetic}")
    [ -z "${model_kind}" ] || chain+=(--model_kind "${model_kind}")
    [ -z "${profile}" ] || chain+=(--profile "${profile}")
    [ -z "${pretraining_data}" ] || chain+=(--pretraining_data "${pretraining_data}")
    [ -z "${times}" ] || chain+=(--times "${times}")
done
"${python}" -m harness_bench.asr.espnet.run "${chain[@]}"
