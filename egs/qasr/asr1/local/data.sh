#!/usr/bin/env bash
# Stage 1: the corpora's official folders -> Kaldi-style data folders, one per set, in data/. ESPnet's
# asr.sh calls it in its own folder; options are those of run.sh.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../../python.sh"
exec "${python}" -m harness_bench.asr.run data "$0" --expdir . --stop_stage 1 -- "$@"
