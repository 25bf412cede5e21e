#!/usr/bin/env bash
# Joint CTC/attention ASR on FBANK or on a frozen checkpoint, with pip's ESPnet and without Kaldi.
# Options and stage numbers are those of ESPnet's egs2 recipes.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

upstream=fbank          # fbank, or the folder of a checkpoint
cuts=                   # a prepared corpus: cuts.<split>.jsonl.gz
expdir=exp              # everything is written below it
stage=1                 # first stage to run
stop_stage=14           # last stage to run
train_set=train         # split to train on
valid_set=dev           # split that chooses the best epochs
test_sets=test          # splits to decode, blanks between them
asr_config="${recipe}/conf/train_asr.yaml"     # training config
inference_config="${recipe}/conf/decode.yaml"  # decoding config
asr_args=               # further options of espnet2.bin.asr_train
inference_args=         # further options of espnet2.bin.asr_inference
inference_asr_model=valid.acc.ave.pth          # model to decode with
layers=weighted         # hidden states of a checkpoint: weighted, mean or a number
ssl_input_layer=linear  # of the encoder for a checkpoint: linear (20 ms frames) or conv2d2 (40 ms)
ssl_preencoder_dim=0    # a linear layer to so many numbers before it; 0 for none
cache_mb=0              # memory for hidden states of utterances seen before, in MB
text_profile=none       # normalisation of the training text (harness_bench.scoring)
score_profile=mgb2      # text profile of the scores, or all
token_type=char         # char, word or bpe
nbpe=1000               # number of sentencepiece units (token_type bpe)
audio_format=flac       # of audio that has to be rewritten: flac or wav
min_wav_duration=0.1    # seconds; shorter training utterances are left out
max_wav_duration=20     # seconds; longer training utterances are left out
nj=0                    # processes that load audio; 0 loads it in the main process
ngpu=0                  # GPUs to train on
seed=0                  # of training and decoding
python=python3          # Python of the environment with ESPnet

usage() {
    cat <<USAGE
Usage: $0 --cuts DIR [--upstream fbank|CHECKPOINT_DIR] [--expdir DIR] [options]

Stages: 1 texts and speakers, 3 audio at 16 kHz, 4 leave out unfit utterances, 5 token list,
10 lengths for batching, 11 training, 12 decoding, 13 predictions (EXPDIR/predictions.SPLIT.jsonl),
14 scores.

Options (default):
USAGE
    list_options "${BASH_SOURCE[0]}"
}

source "${recipe}/../../options.sh"
take_options "${BASH_SOURCE[0]}" -- "$@"
[ -n "${cuts}" ] || die "--cuts DIR is missing: a folder made by \`harness-bench prepare\`"

read -ra tests <<<"${test_sets}"
data="${expdir}/data" dump="${expdir}/dump" tokens="${expdir}/tokens" stats="${expdir}/stats"
asr="${expdir}/asr" decoded="${expdir}/decode"

if [ "${upstream}" = fbank ]; then
    # 80 bins, 25 ms every 10 ms; conv2d makes frames of 40 ms.
    frontend=(--frontend default --frontend_conf fs=16k --frontend_conf n_fft=512
        --frontend_conf win_length=400 --frontend_conf hop_length=160 --encoder_conf input_layer=conv2d)
else
    [ -f "${upstream}/config.json" ] || die "--upstream ${upstream} is neither fbank nor a checkpoint folder"
    # The checkpoint's frames are 20 ms apart already.
    frontend=(--frontend harness --frontend_conf "checkpoint=$(realpath "${upstream}")"
        --frontend_conf "layers=${layers}" --frontend_conf "cache_mb=${cache_mb}"
        --encoder_conf "input_layer=${ssl_input_layer}")
    if [ "${ssl_preencoder_dim}" -gt 0 ]; then
        width=$(sed -nE 's/.*"hidden_size": *([0-9]+).*/\1/p' "${upstream}/config.json")
        frontend+=(--preencoder linear --preencoder_conf "input_size=${width}"
            --preencoder_conf "output_size=${ssl_preencoder_dim}")
    fi
fi
bpemodel=none
[ "${token_type}" != bpe ] || bpemodel="${tokens}/bpe.model"

# Without these, glibc gives large tensors back to the system after every step and gets them anew:
# half of a CPU training's time went into page faults.
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}

# Stages are gathered and run by one process, because importing ESPnet takes 10 to 30 seconds.
chain=()
add() { # add STAGE TITLE MODULE ARGUMENT...
    local number=$1 title=$2 module=$3
    shift 3
    if [ "${stage}" -le "${number}" ] && [ "${stop_stage}" -ge "${number}" ]; then
        [ ${#chain[@]} -eq 0 ] || chain+=(--then)
        chain+=(--stage "Stage ${number}: ${title}" -m "${module}" "$@")
    fi
}
own=harness_bench.espnet_plugin.stages
all=("${train_set}" "${valid_set}" "${tests[@]}")

add 1 "texts and speakers" ${own} data --cuts "${cuts}" --out "${data}" --splits "${all[@]}" \
    --text_profile "${text_profile}"
add 3 "audio at 16 kHz" ${own} audio --cuts "${cuts}" --out "${data}" --audio "${expdir}/audio" \
    --splits "${all[@]}" --audio_format "${audio_format}"
add 4 "leave out unfit utterances" ${own} select --data "${data}" --out "${dump}" \
    --splits "${all[@]}" --test_sets "${tests[@]}" \
    --min_wav_duration "${min_wav_duration}" --max_wav_duration "${max_wav_duration}"
add 5 "token list" ${own} token_list --data "${dump}/${train_set}" --out "${tokens}" \
    --token_type "${token_type}" --nbpe "${nbpe}"
add 10 "lengths for batching" ${own} shapes --data "${dump}" --out "${stats}" \
    --splits "${train_set}" "${valid_set}"
# shellcheck disable=SC2086  # asr_args and inference_args hold several words
add 11 "training" espnet2.bin.asr_train \
    --config "${asr_config}" "${frontend[@]}" --use_preprocessor true \
    --token_type "${token_type}" --token_list "${tokens}/tokens.txt" --bpemodel "${bpemodel}" \
    --train_data_path_and_name_and_type "${dump}/${train_set}/wav.scp,speech,sound" \
    --train_data_path_and_name_and_type "${dump}/${train_set}/text,text,text" \
    --valid_data_path_and_name_and_type "${dump}/${valid_set}/wav.scp,speech,sound" \
    --valid_data_path_and_name_and_type "${dump}/${valid_set}/text,text,text" \
    --train_shape_file "${stats}/${train_set}/speech_shape" \
    --valid_shape_file "${stats}/${valid_set}/speech_shape" \
    --output_dir "${asr}" --resume true --num_workers "${nj}" --ngpu "${ngpu}" --seed "${seed}" \
    ${asr_args}
for split in "${tests[@]}"; do
    # shellcheck disable=SC2086
    add 12 "decoding ${split}" espnet2.bin.asr_inference \
        --config "${inference_config}" --output_dir "${decoded}/${split}" \
        --data_path_and_name_and_type "${dump}/${split}/wav.scp,speech,sound" \
        --asr_train_config "${asr}/config.yaml" --asr_model_file "${asr}/${inference_asr_model}" \
        --num_workers "${nj}" --ngpu "$((ngpu > 0 ? 1 : 0))" --seed "${seed}" ${inference_args}
done
add 13 "predictions" ${own} predictions --cuts "${cuts}" --decoded "${decoded}" --out "${expdir}" \
    --splits "${tests[@]}"

for split in "${tests[@]}"; do
    add 14 "scores of ${split}" harness_bench.cli score asr \
        --predictions "${expdir}/predictions.${split}.jsonl" --profile "${score_profile}"
done

[ ${#chain[@]} -gt 0 ] || die "no stage lies between --stage ${stage} and --stop_stage ${stop_stage}"
exec "${python}" -m harness_bench.espnet_plugin.run "${chain[@]}"
