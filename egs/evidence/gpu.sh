#!/usr/bin/env bash
# The evidence on one GPU, in at most 8 minutes of an H100 with 16 CPU cores; no network is needed.
#   bash egs/evidence/gpu.sh [--data-root DIR] [--out DIR] [any option of `harness-bench demo`]
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=../python.sh
. "$here/../python.sh"
# Many processes share the cores: one thread each. Features stay in the GPU's memory, not on disk.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export HARNESS_FEATURE_CACHE=${HARNESS_FEATURE_CACHE:-unused} HARNESS_FEATURE_CACHE_DISK_MB=0
exec "$python" -m harness_bench.cli demo --data "$here/gpu.toml" --jobs 10 --minutes 5.5 "$@"
