#!/usr/bin/env bash
# ASR as in the paper: trained on 300 h of QASR, tested on MGB-2 and MGB-3, on FBANK or on a frozen
# checkpoint. pip's ESPnet is enough; with ESPNET_ROOT the official asr.sh of that checkout runs.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipe_usage="--qasr DIR --mgb2 DIR --mgb3 DIR"

qasr=                   # folder of QASR as it came (mgb2.1); needed by stage 1
mgb2=                   # folder of MGB-2 as it came; needed by stage 1 if a test set is of it
mgb3=                   # folder of MGB-3 as it came; needed by stage 1 if a test set is of it
train_hours=300         # hours of QASR to train on, drawn by a seed; 0 takes all of train
dev_hours=6             # hours of our dev, of other programmes; only with train_hours
split_seed=0            # of the drawing
test_sets=auto          # sets to decode, CORPUS_SPLIT; auto: mgb2_test mgb3_test, as far as given
max_skipped=0.05        # largest share of utterances that may be unfit
audio_check=decode      # decode reads all audio once, header trusts the files' headers
cuts=                   # prepared corpora; default: EXPDIR/cuts
text_profile=mgb2       # normalisation of the training text (harness_bench.scoring.profiles)
token_type=bpe          # char, word or bpe
# shellcheck source=egs/asr.sh
source "${recipe}/../../asr.sh"

recipe_settings() {
    local name folder wanted splits
    for name in train_hours dev_hours max_skipped; do decimal "${name}" "${!name}"; done
    number split_seed "${split_seed}"
    one_of audio_check "${audio_check}" decode header
    : "${cuts:=${expdir}/cuts}"
    if [ "${test_sets}" = auto ]; then
        tests=()
        for name in mgb2 mgb3; do
            if [ -n "${!name}" ] || [ -d "${cuts}/${name}" ]; then tests+=("${name}_test"); fi
        done
        [ ${#tests[@]} -gt 0 ] || die "--mgb2 DIR or --mgb3 DIR is missing; or name --test_sets, such as qasr_test"
        test_sets=${tests[*]}
    fi
    for name in "${train_set}" "${valid_set}" "${tests[@]}"; do
        [[ ${name} =~ ^[A-Za-z0-9_]+$ ]] || die "set '${name}': expected CORPUS_SPLIT, or a split of QASR"
    done
    if runs 1; then
        for wanted in "${train_set}" "${valid_set}" "${tests[@]}"; do
            name=$(corpus_of "${wanted}") splits=$(splits_of "${wanted}")
            [[ " ${splits} " == *" ${wanted#"${name}_"} "* ]] ||
                die "set '${wanted}': ${name} has no split '${wanted#"${name}_"}'; it has: ${splits}"
            folder=${!name}
            [ -n "${folder}" ] || die "--${name} DIR is missing; --stage 2 goes on with prepared data"
            [ -d "${folder}" ] || die "--${name} ${folder}: there is no such folder"
        done
    fi
}

recipe_folders() {
    decoded="${asr_exp}/${inference_tag}" predictions="${asr_exp}/${inference_tag}"
}

corpus_of() { # corpus_of SET: what stands before `_`, or qasr
    case $1 in
        mgb2_* | mgb3_*) echo "${1%%_*}" ;;
        *) echo qasr ;;
    esac
}

splits_of() { # splits_of SET: the splits of its corpus as stage 1 prepares it
    case $1 in
        mgb2_*) echo train dev test dev_overlap test_overlap ;;
        mgb3_*) echo adapt dev test ;;
        *) echo train dev test && { [[ ${train_hours} =~ ^[0.]+$ ]] || echo dev_official; } ;;
    esac | paste -sd' ' -
}

data_options() { # how local/data.sh is called, one word per line
    local name sets
    sets=$(distinct "${train_set}" "${valid_set}" "${tests[@]}" | paste -sd, -)
    printf '%s\n' --sets "${sets}" --cuts "$(realpath -m "${cuts}")" --python "${python}" --nj "${nj}" \
        --train_hours "${train_hours}" --dev_hours "${dev_hours}" --split_seed "${split_seed}" \
        --max_skipped "${max_skipped}" --audio_check "${audio_check}" --text_profile "${text_profile}"
    for name in qasr mgb2 mgb3; do
        [ -z "${!name}" ] || printf '%s\n' "--${name}" "$(realpath "${!name}")"
    done
}

prepare_data() {
    local words
    mapfile -t words < <(data_options)
    "${recipe}/local/data.sh" --data "${data}" --times "${expdir}/stage_times.json" "${words[@]}"
}

official_recipe() { # the official asr.sh of ESPNET_ROOT, with the same configs
    local work words name given=()
    [ -z "${feature_cache}" ] || die "--feature_cache does not go with ESPNET_ROOT: asr.sh reads audio or Kaldi's archives alone"
    for name in "${asr_exp}" "${lm_exp}"; do # asr.sh makes tokens of its own, and would go on with it
        [ ! -f "${name}/inputs.json" ] || ! runs 11 ||
            die "${name} holds a training without ESPNET_ROOT; choose another --asr_tag or --expdir"
    done
    [ -z "${skip_stages}" ] || given+=(--skip_stages "${skip_stages}")
    # Not by realpath: a virtual environment's Python is a link, and only the link is in it.
    python=$(command -v "${python}")
    python=$(cd "$(dirname "${python}")" && pwd)/$(basename "${python}")
    work=$(realpath -m "${expdir}")/espnet2
    mapfile -t words < <(data_options)
    for name in "${words[@]}" "${checkpoint}" "${work}" "${python}"; do
        [[ ${name} != *[[:space:]]* ]] || die "'${name}': asr.sh divides its options at blanks; choose names without"
    done
    ESPNET_ROOT=$(realpath "${ESPNET_ROOT}")
    export HARNESS_PYTHON=${python} ESPNET_ROOT
    "${recipe}/setup.sh" "${work}"
    [ -z "${pack}" ] || pack=$(realpath -m "${pack}")
    for name in asr_config inference_config lm_config; do printf -v "${name}" '%s' "$(realpath "${!name}")"; done
    for name in dumpdir expdir asr_exp lm_exp; do printf -v "${name}" '%s' "$(realpath -m "${!name}")"; done
    # asr.sh writes no feature statistics into the model (normalize: utterance_mvn in the config).
    given+=(--stage "${stage}" --ngpu "${ngpu}" --nj "$((nj > 0 ? nj : 1))"
        --inference_nj "${inference_nj}" --gpu_inference "${gpu_inference}" --dumpdir "${dumpdir}"
        --expdir "${expdir}" --python "${HARNESS_PYTHON} -m ${own}.run"
        --local_data_opts "${words[*]}" --audio_format "${audio_format}" --fs 16k
        --min_wav_duration "${min_wav_duration}" --max_wav_duration "${max_wav_duration}"
        --token_type "${token_type}" --nbpe "${nbpe}" --use_lm "${use_lm}"
        --lm_config "${lm_config}" --lm_exp "${lm_exp}" --inference_lm "${inference_lm}"
        --asr_config "${asr_config}" --asr_exp "${asr_exp}" --feats_normalize utterance_mvn
        --asr_args "${frontend[*]} --seed ${seed} ${asr_args}" --inference_config "${inference_config}"
        --inference_tag "${inference_tag}" --inference_asr_model "${inference_asr_model}"
        --inference_args "--seed ${seed} ${inference_args}" --train_set "${train_set}"
        --valid_set "${valid_set}" --test_sets "${tests[*]}"
        --local_score_opts "$(score_options)")
    [ -z "${speed_perturb_factors}" ] || given+=(--speed_perturb_factors "${speed_perturb_factors}")
    [ -z "${lm_args}" ] || given+=(--lm_args "${lm_args}")
    if [ -n "${lm_train_text}" ]; then
        read -ra words <<<"${lm_train_text}"
        given+=(--lm_train_text "$(realpath "${words[@]}" | paste -sd' ' -)")
    fi
    cd "${work}"
    local last=13
    if [ "${scoring}" = false ]; then
        last=12
    elif runs 13 && ! (. ./path.sh && command -v sclite >/dev/null); then
        echo "$0: this checkout has no sclite: asr.sh goes to stage 12, our scorer does stage 13" >&2
        last=12
    fi
    if [ "${stop_stage}" -lt "${last}" ]; then last=${stop_stage}; fi
    if [ "${stage}" -le "${last}" ]; then ./asr.sh --stop_stage "${last}" "${given[@]}"; fi
    # shellcheck disable=SC2046  # its words have no blanks
    if [ "${scoring}" = true ] && runs 13 && [ "${last}" -eq 12 ]; then local/score.sh $(score_options) "${asr_exp}"; fi
    add_pack
    [ ${#chain[@]} -eq 0 ] || "${python}" -m ${own}.run "${chain[@]}"
}

score_options() { # of local/score.sh, which finds sets and corpora by their names
    printf '%s ' --cuts "${work}/data" --python "${HARNESS_PYTHON}" --model "${model// /_}" \
        --model_kind "${model_kind}" --results "$(realpath -m "${expdir}")/results" --synthetic "${synthetic}"
    [ -z "${score_profile}" ] || printf '%s ' --profile "${score_profile}"
    [ -z "${pretraining_data}" ] || printf '%s ' --pretraining_data "${pretraining_data// /_}"
}

asr_main "$@"
