#!/usr/bin/env bash
# Emotion recognition on KSUEmotions (LDC2017S12): a head on a frozen upstream, from the corpus as it
# came to a result file. What all recipes of heads share is in egs/probe.sh.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

layout=ksuemotions name=KSUEmotions task=ser

split=speaker_disjoint  # speaker_disjoint, or random for comparison (speakers in common)
split_seed=0            # of the split: the paper's own is unpublished

corpus_settings() { # what the corpus's own options mean to `prepare` and to the audit
    prepare_args=(--option "split=${split}" --option "seed=${split_seed}")
    if [ "${split}" = speaker_disjoint ]; then
        refused="speaker recording audio"
    else
        refused="recording audio" name="${name} (${split} split)" variant=".${split}"
    fi
}

source "${recipe}/../../probe.sh"
