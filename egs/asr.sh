# shellcheck shell=bash disable=SC2154,SC2034
# What the ASR recipes share: options and stages on pip's ESPnet. Sourced by a recipe's run.sh, which
# sets `recipe` (its folder), options of its own, and the functions `recipe_settings` (checks, and
# defaults that follow from options), `prepare_data` (stage 1) and `corpus_of SET`. Names of options
# and numbers of stages are those of ESPnet's egs2 asr.sh. A line "name=value  # words" is an option.

upstream=fbank          # fbank, a checkpoint folder, or a model's name (docs/espnet.md)
layers=weighted         # hidden states of a checkpoint: weighted, mean or a number
ssl_input_layer=linear  # of the encoder for a checkpoint: linear (20 ms frames) or conv2d2 (40 ms)
ssl_preencoder_dim=0    # a linear layer to so many numbers before it; 0 for none
cache_mb=0              # memory for hidden states of utterances seen before, in MB
feature_cache=          # config of features computed once (stage 10); empty computes them online
expdir=exp              # everything is written below it
dumpdir=                # audio and texts as ESPnet reads them; default: EXPDIR/dump
stage=1                 # first stage to run
stop_stage=14           # last stage to run
skip_stages=            # stages to leave out, blanks between them
train_set=train         # set to train on
valid_set=dev           # set that chooses the best epochs
speed_perturb_factors=  # such as "0.9 1.0 1.1": train on all these speeds
audio_format=flac       # of audio that has to be rewritten: flac or wav
min_wav_duration=0.1    # seconds; shorter training utterances are left out
max_wav_duration=20     # seconds; longer training utterances are left out
nbpe=1000               # number of sentencepiece units (token_type bpe)
use_lm=false            # true trains a language model and decodes with it
lm_config="${recipe}/../../qasr/asr1/conf/train_lm.yaml"  # its training config
lm_args=                # further options of espnet2.bin.lm_train
lm_tag=                 # name of the language model's folder
lm_exp=                 # its folder; default: EXPDIR/lm_TAG
lm_train_text=          # its text, files of lines "id words"; default: that of the training set
inference_lm=valid.loss.ave.pth                # language model to decode with
asr_config="${recipe}/conf/train_asr.yaml"     # training config
asr_args=               # further options of espnet2.bin.asr_train
asr_tag=                # name of the training's folder
asr_exp=                # the training's folder; default: EXPDIR/asr_TAG
inference_config="${recipe}/conf/decode.yaml"  # decoding config
inference_args=         # further options of espnet2.bin.asr_inference
inference_tag=          # name of the decoding's folder
inference_asr_model=valid.acc.ave.pth          # model to decode with
inference_nj=1          # processes that decode at a time
gpu_inference=auto      # true or false; auto decodes on a GPU if training has one
nj=0                    # jobs of data preparation and of loading audio; 0: in the main process
ngpu=0                  # GPUs to train on
seed=0                  # of training and decoding
scoring=true            # false stops at predictions
score_profile=          # text profile that ranks; default: the corpus's. Figures of all are written
pretraining_data=       # what the upstream was pretrained on, in words, for the results
model=                  # row of the leaderboard; default: the upstream's name
model_kind=             # baseline, random, pretrained or other; default: by the upstream
synthetic=false         # true marks the speech as computer-made
pack=                   # .zip file or folder for a model pack (stage 14); empty packs nothing
python=                 # Python with ESPnet and this project; default: the repository's .venv, or python3

usage() {
    cat <<USAGE
Usage: $0 ${recipe_usage} [--upstream fbank|CHECKPOINT_DIR|NAME] [--expdir DIR] [options]

Stages: 1 data preparation, 2 speed perturbation, 3 audio at 16 kHz, 4 leave out unfit utterances,
5 token list, 6-8 language model (--use_lm true), 10 lengths for batching and cached features,
11 training, 12 decoding, 13 predictions and scores, 14 model pack (--pack).

Options (default):
USAGE
    list_options "${recipe}/run.sh" "${BASH_SOURCE[0]}"
}

egs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=egs/options.sh
source "${egs}/options.sh"

one_of() { # one_of NAME VALUE WORD...: the option has one of these values
    local name=$1 value=$2
    shift 2
    case " $* " in
        *" ${value} "*) ;;
        *) die "--${name} '${value}': expected one of: $*" ;;
    esac
}
number() { # number NAME VALUE
    case $2 in
        '' | *[!0-9]*) die "--$1 '$2': expected a whole number" ;;
    esac
}
decimal() { # decimal NAME VALUE
    [[ $2 =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "--$1 '$2': expected a number"
}
profile() { # profile NAME VALUE: one of the text profiles, which are found as files
    [ -f "${egs}/../harness_bench/scoring/profiles/${2//-/_}.py" ] ||
        die "--$1 '$2': there is no such text profile; see \`harness-bench score asr --help\`"
}
is_file() { [ -f "$2" ] || die "--$1 $2: there is no such file"; }

check_options() { # wrong options are told before any work
    local name
    for name in stage stop_stage nbpe ssl_preencoder_dim cache_mb inference_nj nj ngpu seed; do
        number "${name}" "${!name}"
    done
    [ "${inference_nj}" -gt 0 ] || die "--inference_nj 0: expected 1 process or more"
    for name in ${skip_stages}; do number skip_stages "${name}"; done
    for name in ${speed_perturb_factors}; do decimal speed_perturb_factors "${name}"; done
    for name in min_wav_duration max_wav_duration; do decimal "${name}" "${!name}"; done
    profile text_profile "${text_profile}"
    [ -z "${score_profile}" ] || profile score_profile "${score_profile}"
    one_of token_type "${token_type}" char word bpe
    one_of audio_format "${audio_format}" flac wav
    one_of ssl_input_layer "${ssl_input_layer}" linear conv2d2
    one_of gpu_inference "${gpu_inference}" true false auto
    for name in use_lm scoring synthetic; do one_of "${name}" "${!name}" true false; done
    [[ ${layers} =~ ^(weighted|mean|-?[0-9]+)$ ]] || die "--layers ${layers}: expected weighted, mean or a number"
    is_file asr_config "${asr_config}"
    is_file inference_config "${inference_config}"
    [ "${use_lm}" = false ] || is_file lm_config "${lm_config}"
    choose_python
    command -v "${python}" >/dev/null || die "--python ${python}: there is no such program"
    if [ -n "${feature_cache}" ]; then
        is_file feature_cache "${feature_cache}"
        [ "${upstream}" != fbank ] || die "--feature_cache needs a checkpoint as --upstream; FBANK is computed faster than read"
        [ "${layers}" != weighted ] || die "--feature_cache needs --layers mean or a number: weights are learned, so their sum cannot be kept"
    fi
    checkpoint=
    if [ "${upstream}" != fbank ]; then
        checkpoint=$("${python}" "${egs}/upstream.py" "${upstream}" "${layers}") || exit 1
    fi
    : "${model:=$([ "${upstream}" = fbank ] && echo FBANK || basename "${upstream}")}"
    : "${model_kind:=$([ "${upstream}" = fbank ] && echo baseline || echo pretrained)}"
    one_of model_kind "${model_kind}" baseline random pretrained other
    [ "${gpu_inference}" != auto ] || gpu_inference=$([ "${ngpu}" -gt 0 ] && echo true || echo false)
    read -ra tests <<<"${test_sets}"
    [ ${#tests[@]} -gt 0 ] || die "--test_sets is empty: name at least one set to decode"
}

name_folders() { # places, by tags as egs2 makes them
    : "${dumpdir:=${expdir}/dump}"
    data="${expdir}/data" raw="${dumpdir}/raw"
    units=${token_type}
    [ "${token_type}" != bpe ] || units+=${nbpe}
    tokens="${expdir}/token_list/${units}" stats="${expdir}/stats"
    bpemodel=none
    [ "${token_type}" != bpe ] || bpemodel="${tokens}/bpe.model"
    fit=${train_set} # what is trained on
    [ -z "${speed_perturb_factors}" ] || fit=${train_set}_sp
    if [ -z "${asr_tag}" ]; then
        asr_tag=$(basename "${asr_config}" .yaml)_${model//[ \/]/_}
        [ "${upstream}" = fbank ] || asr_tag+=_${layers}
        asr_tag+=_${units}
        [ "${fit}" = "${train_set}" ] || asr_tag+=_sp
    fi
    : "${asr_exp:=${expdir}/asr_${asr_tag}}"
    : "${lm_tag:=$(basename "${lm_config}" .yaml)_${units}}"
    : "${lm_exp:=${expdir}/lm_${lm_tag}}"
    if [ -z "${inference_tag}" ]; then
        inference_tag=$(basename "${inference_config}" .yaml)_${inference_asr_model%.pth}
        [ "${use_lm}" = false ] || inference_tag+=_lm
    fi
    features="${expdir}/features/${model//[ \/]/_}_${layers}"
}

frontend_options() { # the model's way in
    if [ "${upstream}" = fbank ]; then
        # 80 bins, 25 ms every 10 ms; conv2d makes frames of 40 ms.
        frontend=(--frontend default --frontend_conf fs=16k --frontend_conf n_fft=512
            --frontend_conf win_length=400 --frontend_conf hop_length=160 --encoder_conf input_layer=conv2d)
        return
    fi
    # The checkpoint's frames are 20 ms apart already.
    frontend=(--frontend harness --frontend_conf "checkpoint=${checkpoint}"
        --frontend_conf "layers=${layers}" --frontend_conf "cache_mb=${cache_mb}"
        --encoder_conf "input_layer=${ssl_input_layer}")
    if [ "${ssl_preencoder_dim}" -gt 0 ]; then
        local width
        width=$(sed -nE 's/.*"hidden_size": *([0-9]+).*/\1/p' "${checkpoint}/config.json")
        frontend+=(--preencoder linear --preencoder_conf "input_size=${width}"
            --preencoder_conf "output_size=${ssl_preencoder_dim}")
    fi
}

# Stages are gathered and run by one process, because importing ESPnet takes 10 to 30 seconds.
chain=()
own=harness_bench.asr
add() { # add STAGE TITLE MODULE ARGUMENT...
    local number=$1 title=$2 module=$3
    shift 3
    if runs "${number}"; then
        [ ${#chain[@]} -eq 0 ] || chain+=(--then)
        chain+=(--stage "Stage ${number}: ${title}" -m "${module}" "$@")
    fi
}

distinct() { # distinct WORD...: each word once, in this order
    printf '%s\n' "$@" | awk '!seen[$0]++'
}

add_data_stages() {
    local all factors texts
    mapfile -t all < <(distinct "${fit}" "${valid_set}" "${tests[@]}")
    if [ -n "${speed_perturb_factors}" ]; then
        read -ra factors <<<"${speed_perturb_factors}"
        add 2 "speed perturbation" ${own}.stages perturb --data "${data}" --train_set "${train_set}" \
            --target "${fit}" --factors "${factors[@]}" --text_profile "${text_profile}"
    fi
    add 3 "audio at 16 kHz" ${own}.stages audio --data "${data}" --out "${raw}/org" \
        --audio "${dumpdir}/audio" --splits "${all[@]}" --audio_format "${audio_format}" \
        --jobs "${nj}"
    read -ra texts <<<"${lm_train_text}"
    add 4 "leave out unfit utterances" ${own}.stages select --data "${raw}/org" --out "${raw}" \
        --splits "${all[@]}" --test_sets "${tests[@]}" --lm_train_text "${texts[@]}" \
        --min_wav_duration "${min_wav_duration}" --max_wav_duration "${max_wav_duration}"
    add 5 "token list" ${own}.stages token_list --data "${raw}/${fit}" --out "${tokens}" \
        --token_type "${token_type}" --nbpe "${nbpe}"
}

lasting() { # lasting ARGUMENTS: without how long a training lasts, and on what, which may change
    sed -E 's/--(max_epoch|patience|num_workers|log_interval|dist_[a-z_]+) +[^ ]+ *//g' <<<"$1 "
}

add_language_model() {
    local text=(--use_preprocessor true --token_type "${token_type}" --token_list "${tokens}/tokens.txt"
        --bpemodel "${bpemodel}" --train_data_path_and_name_and_type "${raw}/lm_train.txt,text,text"
        --valid_data_path_and_name_and_type "${raw}/${valid_set}/text,text,text"
        --config "${lm_config}" --num_workers "${nj}" --seed "${seed}")
    # shellcheck disable=SC2086  # lm_args holds several words
    add 6 "lengths of the language model's text [${lm_tag}]" espnet2.bin.lm_train --collect_stats true "${text[@]}" \
        --train_shape_file "${raw}/lm_train.txt" --valid_shape_file "${raw}/${valid_set}/text" \
        --output_dir "${stats}/lm_${units}" --ngpu 0 ${lm_args}
    add 7 "what decides the language model" ${own}.stages training_inputs --folder "${lm_exp}" \
        --settings "seed=${seed}" "lm_args=$(lasting "${lm_args}")" \
        --files "lm_config=${lm_config}" "tokens=${tokens}/tokens.txt" "text=${raw}/lm_train.txt"
    # shellcheck disable=SC2086
    add 7 "training of the language model [${lm_tag}]" espnet2.bin.lm_train "${text[@]}" \
        --train_shape_file "${stats}/lm_${units}/train/text_shape" \
        --valid_shape_file "${stats}/lm_${units}/valid/text_shape" --fold_length 150 \
        --output_dir "${lm_exp}" --resume true --ngpu "${ngpu}" --multiprocessing_distributed true ${lm_args}
    # Of dev, whose texts are never empty; a test set's may be.
    add 8 "perplexity of ${valid_set} [${lm_tag}]" espnet2.bin.lm_calc_perplexity \
        --data_path_and_name_and_type "${raw}/${valid_set}/text,text,text" \
        --train_config "${lm_exp}/config.yaml" --model_file "${lm_exp}/${inference_lm}" \
        --output_dir "${lm_exp}/perplexity_test" --ngpu "$((ngpu > 0 ? 1 : 0))"
}

speech_of() { # speech_of SET: what ESPnet reads as this set's speech
    if [ -n "${feature_cache}" ]; then
        echo "${features}/$1/feats.scp,speech,harness_features"
    else
        echo "${raw}/$1/wav.scp,speech,sound"
    fi
}

add_training() {
    local all devices=()
    [ "${ngpu}" -eq 0 ] || devices=(--accelerator cuda --devices "${ngpu}")
    mapfile -t all < <(distinct "${fit}" "${valid_set}" "${tests[@]}")
    local given=() settings=("token_type=${token_type}" "seed=${seed}" "asr_args=$(lasting "${asr_args}")")
    [ "${upstream}" = fbank ] || settings+=("layers=${layers}" "ssl_input_layer=${ssl_input_layer}"
        "ssl_preencoder_dim=${ssl_preencoder_dim}")
    add 10 "lengths for batching" ${own}.stages shapes --data "${raw}" --out "${stats}" \
        --splits "${fit}" "${valid_set}"
    if [ -n "${feature_cache}" ]; then
        add 10 "features [${features##*/}]" ${own}.features --config "${feature_cache}" \
            --checkpoint "${checkpoint}" --layers "${layers}" --data "${raw}" --out "${features}" \
            --splits "${all[@]}" "${devices[@]}"
    fi
    [ -z "${checkpoint}" ] || given=(--checkpoint "${checkpoint}")
    add 11 "what decides the training" ${own}.stages training_inputs --folder "${asr_exp}" "${given[@]}" \
        --settings "${settings[@]}" --files "asr_config=${asr_config}" "tokens=${tokens}/tokens.txt" \
        "training text=${raw}/${fit}/text" "training audio=${raw}/${fit}/utt2num_samples" \
        "validation text=${raw}/${valid_set}/text"
    # Batches are made by the audio's lengths with cached features, too: so they are the same.
    # shellcheck disable=SC2086  # asr_args holds several words
    add 11 "training [${asr_tag}]" espnet2.bin.asr_train \
        --config "${asr_config}" "${frontend[@]}" --use_preprocessor true \
        --token_type "${token_type}" --token_list "${tokens}/tokens.txt" --bpemodel "${bpemodel}" \
        --train_data_path_and_name_and_type "$(speech_of "${fit}")" \
        --train_data_path_and_name_and_type "${raw}/${fit}/text,text,text" \
        --valid_data_path_and_name_and_type "$(speech_of "${valid_set}")" \
        --valid_data_path_and_name_and_type "${raw}/${valid_set}/text,text,text" \
        --train_shape_file "${stats}/${fit}/speech_shape" \
        --valid_shape_file "${stats}/${valid_set}/speech_shape" \
        --output_dir "${asr_exp}" --resume true --num_workers "${nj}" --ngpu "${ngpu}" \
        --multiprocessing_distributed true --seed "${seed}" ${asr_args}
}

add_decoding() { # stages 12 and 13 of each test set
    local split source lm=() also=() # not `corpus`: a recipe has an option of that name
    if [ "${use_lm}" = true ]; then
        lm=(--lm_train_config "${lm_exp}/config.yaml" --lm_file "${lm_exp}/${inference_lm}")
        also+=("${lm_tag}")
    fi
    # Models share an --expdir; the cost of one are its own stages, and those of the data.
    [ -z "${feature_cache}" ] || also+=("${features##*/}")
    for split in "${tests[@]}"; do
        # shellcheck disable=SC2086  # inference_args holds several words
        add 12 "decoding ${split} [${asr_tag}/${inference_tag}]" ${own}.espnet.decode --keys "${raw}/${split}/wav.scp" \
            --output_dir "${decoded}/${split}" --jobs "${inference_nj}" -- \
            --config "${inference_config}" \
            --data_path_and_name_and_type "$(speech_of "${split}")" \
            --asr_train_config "${asr_exp}/config.yaml" \
            --asr_model_file "${asr_exp}/${inference_asr_model}" "${lm[@]}" --num_workers "${nj}" \
            --ngpu "$([ "${gpu_inference}" = true ] && echo 1 || echo 0)" --seed "${seed}" ${inference_args}
    done
    if [ "${scoring}" = false ]; then
        add 13 "predictions" ${own}.stages predictions --cuts "${data}" --decoded "${decoded}" \
            --out "${predictions}" --splits "${tests[@]}"
        return
    fi
    for split in "${tests[@]}"; do
        source=$(corpus_of "${split}")
        add 13 "scores of ${split} [${asr_tag}/${inference_tag}]" ${own}.score --cuts "${data}" --split "${split}" \
            --decoded "${decoded}/${split}" --corpus "${source}" --train_set "${fit}" \
            --out "${predictions}" --results "${expdir}/results" --model "${model}" \
            --model_kind "${model_kind}" --asr "${asr_exp}" --asr_model "${inference_asr_model}" \
            --inference_config "${inference_config}" --times "${expdir}/stage_times.json" \
            --times_of "${asr_tag}" "${asr_tag}/${inference_tag}" "${also[@]}" \
            --command "${command}" --synthetic "${synthetic}" \
            ${score_profile:+--profile "${score_profile}"} \
            ${pretraining_data:+--pretraining_data "${pretraining_data}"}
    done
}

add_pack() {
    local lm=()
    [ -n "${pack}" ] || return 0
    [ "${use_lm}" = false ] || lm=(--lm "${lm_exp}" --lm_model "${inference_lm}")
    add 14 "model pack [${asr_tag}]" ${own}.transcribe.pack --asr "${asr_exp}" --model "${inference_asr_model}" \
        --inference_config "${inference_config}" --out "${pack}" "${lm[@]}"
}

asr_main() { # asr_main ARGUMENT...: all of a recipe
    command=$(printf '%q ' bash "$0" "$@")
    take_options "${recipe}/run.sh" "${egs}/asr.sh" -- "$@"
    check_options
    recipe_settings
    name_folders
    recipe_folders
    frontend_options
    if [ -n "${ESPNET_ROOT:-}" ] && declare -F official_recipe >/dev/null; then
        official_recipe
        return
    fi
    runs 1 && prepare_data
    add_data_stages
    [ "${use_lm}" = false ] || add_language_model
    add_training
    add_decoding
    add_pack
    if [ ${#chain[@]} -eq 0 ]; then
        runs 1 || die "no stage is left to run: --stage ${stage} --stop_stage ${stop_stage} --skip_stages '${skip_stages}'; \
2 needs --speed_perturb_factors, 6 to 8 --use_lm true, 14 --pack, and there is no 9"
        return 0
    fi
    # Without these, glibc gives large tensors back to the system after every step and gets them
    # anew: half of a CPU training's time went into page faults.
    export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}
    export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
    exec "${python}" -m ${own}.espnet.run --times "${expdir}/stage_times.json" "${chain[@]}"
}
