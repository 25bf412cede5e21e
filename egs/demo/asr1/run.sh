#!/usr/bin/env bash
# Joint CTC/attention ASR on FBANK or on a frozen checkpoint, with pip's ESPnet and without Kaldi.
# Options and stage numbers are those of ESPnet's egs2 recipes.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipe_usage="--cuts DIR"

cuts=                   # a prepared corpus: cuts.<split>.jsonl.gz
test_sets=test          # splits to decode, blanks between them
text_profile=none       # normalisation of the training text (harness_bench.scoring.profiles)
token_type=char         # char, word or bpe
corpus=                 # its name in results; default: that of the folder of cuts
# shellcheck source=egs/asr.sh
source "${recipe}/../../asr.sh"

recipe_settings() {
    [ -n "${cuts}" ] || die "--cuts DIR is missing: a folder made by \`harness-bench prepare\`"
    [ -d "${cuts}" ] || die "--cuts ${cuts}: there is no such folder"
    : "${corpus:=$(basename "${cuts}")}"
    # One model per --expdir, unless a tag names more.
    [ -n "${asr_tag}" ] || : "${asr_exp:=${expdir}/asr}"
}

recipe_folders() {
    decoded="${expdir}/decode" predictions="${expdir}"
}

corpus_of() { echo "${corpus}"; }

prepare_data() {
    local name sets=()
    for name in $(distinct "${train_set}" "${valid_set}" "${tests[@]}"); do sets+=("${name}=${cuts}:${name}"); done
    add 1 "texts and speakers" ${own}.stages data --sets "${sets[@]}" --out "${data}" \
        --text_profile "${text_profile}"
}

asr_main "$@"
