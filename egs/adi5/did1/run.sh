#!/usr/bin/env bash
# Dialect identification on ADI5 (MGB-3): a head on a frozen upstream, from the corpus as it came to a
# result file. What all recipes of heads share is in egs/probe.sh.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

layout=adi5 name=ADI5 task=did

train_share=0.8         # of the official train's hours; 0.8 gives the paper's 42.9 h
split_seed=0            # of that choice: the paper's own is unpublished
test_reference=         # file with the dialects of a flat test, below the corpus; default: found

corpus_settings() { # what the corpus's own options mean to `prepare` and to the audit
    prepare_args=(--option "train_share=${train_share}" --option "seed=${split_seed}")
    [ -z "${test_reference}" ] || prepare_args+=(--option "test_reference=${test_reference}")
    # The official dev and test share videos: told, not refused, and the rest scored alone.
    refused= clean="overlap=none"
}

source "${recipe}/../../probe.sh"
