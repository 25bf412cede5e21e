#!/usr/bin/env bash
# Scores every decoded set of an experiment by this project's rules: score.sh [OPTIONS] ASR_EXP, with
# the options of harness_bench.asr.score. ESPnet's asr.sh calls it at the end of stage 13.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../../python.sh"
exec "${python}" -m harness_bench.asr.run score "$@"
