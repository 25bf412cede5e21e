#!/usr/bin/env bash
# Stage 13: scores of every decoded set of an experiment, the last argument, by this project's rules.
# ESPnet's asr.sh calls it in its own folder; --help lists the options.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../../python.sh"
exec "${python}" -m harness_bench.asr.run score "$@"
