#!/usr/bin/env bash
# Stage 1: the corpora's official folders -> Kaldi-style data folders, one per set.
# ESPnet's asr.sh calls it in its own folder; --help lists the options.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../../python.sh"
exec "${python}" -m harness_bench.asr.run data "$@"
