# shellcheck shell=bash
# Sourced by the official asr.sh in the folder that setup.sh made. The Python is the one that run.sh
# was given (--python): both ESPnet and this project must be installed there.
MAIN_ROOT=${ESPNET_ROOT}
export PATH="$PWD/utils:${MAIN_ROOT}/utils:${PATH}"
if [ -f "${MAIN_ROOT}/tools/extra_path.sh" ]; then
    # shellcheck source=/dev/null  # the checkout's: sclite, sentencepiece and other tools
    . "${MAIN_ROOT}/tools/extra_path.sh"
fi
[ -z "${HARNESS_PYTHON:-}" ] || PATH="$(dirname "${HARNESS_PYTHON}"):${PATH}"
# Kaldi's tables are sorted by bytes; Python must read UTF-8 all the same.
export LC_ALL=C PYTHONIOENCODING=UTF-8 PYTHONUTF8=1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
