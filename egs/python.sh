# shellcheck shell=bash
# Sourced by scripts with their arguments: sets `python` to the one that --python names, else to
# HARNESS_PYTHON, the repository's .venv, or python3. It must have this project installed.
python=${HARNESS_PYTHON:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin/python}
[ -x "${python}" ] || python=python3
for word in "$@"; do
    [ "${before:-}" != --python ] || python=${word}
    before=${word}
done
# Without these, glibc gives large tensors back to the system after every step and gets them anew:
# half of a CPU training's time went into page faults.
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
