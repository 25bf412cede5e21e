#!/usr/bin/env bash
# Joint CTC/attention ASR on FBANK or on a frozen checkpoint, with pip's ESPnet and without Kaldi.
# Options and numbers of stages are those of ESPnet's egs2 recipes: run.sh --help.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "${recipe}/../../python.sh"
exec "${python}" -m harness_bench.asr.run prepared "$0" \
    --asr_config "${recipe}/conf/train_asr.yaml" --inference_config "${recipe}/conf/decode.yaml" \
    --lm_config "${recipe}/../../qasr/asr1/conf/train_lm.yaml" --text_profile none \
    --ssl_input_layer linear --ssl_preencoder_dim 0 --cache_mb 0 -- "$@"
