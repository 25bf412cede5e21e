#!/usr/bin/env bash
# Make a folder in which the official asr.sh of a checkout of ESPnet runs with this recipe's conf and
# local: setup.sh FOLDER, with ESPNET_ROOT set. Repeating it is harmless; FOLDER/cmd.sh is yours.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() {
    echo "$0: $*" >&2
    exit 1
}
[ $# -eq 1 ] || die "expected one argument, the folder to make"
[ -n "${ESPNET_ROOT:-}" ] || die "ESPNET_ROOT is not set: the folder of a checkout of ESPnet"
template="${ESPNET_ROOT}/egs2/TEMPLATE/asr1"
[ -f "${template}/asr.sh" ] || die "ESPNET_ROOT=${ESPNET_ROOT}: there is no egs2/TEMPLATE/asr1/asr.sh"
template=$(realpath "${template}")
kaldi=$(realpath -m "${ESPNET_ROOT}/tools/kaldi/egs/wsj/s5")

mkdir -p "$1"
for name in asr.sh scripts pyscripts utils steps; do
    target="${template}/${name}"
    # Kaldi's scripts lie in the checkout's tools, to which most recipes link.
    [ -e "${target}" ] || target="${kaldi}/${name}"
    [ -e "${target}" ] || die "${ESPNET_ROOT} has no ${name}; get Kaldi's scripts by \`make kaldi\` in its tools"
    ln -sfn "${target}" "$1/${name}"
done
for name in conf local path.sh; do ln -sfn "${recipe}/${name}" "$1/${name}"; done
[ -e "$1/cmd.sh" ] || cp "${template}/cmd.sh" "$1/cmd.sh"
