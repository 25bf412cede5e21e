#!/usr/bin/env bash
# ASR as in the paper: trained on 300 h of QASR, tested on MGB-2 and MGB-3, on FBANK or on a frozen
# checkpoint. pip's ESPnet is enough; with ESPNET_ROOT the official asr.sh of that checkout runs.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "${recipe}/../../python.sh"
exec "${python}" -m harness_bench.asr.run broadcast "$0" \
    --asr_config "${recipe}/conf/train_asr.yaml" --inference_config "${recipe}/conf/decode.yaml" \
    --lm_config "${recipe}/conf/train_lm.yaml" --test_sets auto --token_type bpe \
    --ssl_input_layer linear --ssl_preencoder_dim 0 --cache_mb 0 -- "$@"
