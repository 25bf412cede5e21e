#!/usr/bin/env bash
# Make the virtual environment given as $1: a Python 3.12 or 3.13, then exactly requirements.lock.
set -euo pipefail
venv=$1

suitable() { "$1" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
  local name
  for name in "${PYTHON:-}" python3.12 python3.13 python3 python; do
    if [ -n "$name" ] && suitable "$name"; then command -v "$name"; return; fi
  done
  if command -v uv >/dev/null; then uv python find '>=3.12,<3.14' 2>/dev/null; fi
}

if ! { [ -x "$venv/bin/python" ] && suitable "$venv/bin/python"; }; then
  python=$(find_python || true)
  if [ -z "$python" ]; then
    echo "Python 3.12 or 3.13 is needed and none was found. Install one (for example with" >&2
    echo "'pyenv install 3.12' or 'uv python install 3.12'), or name it: make setup PYTHON=..." >&2
    exit 1
  fi
  echo "Making $venv with $("$python" --version) ($python)"
  "$python" -m venv --clear "$venv"
fi
if [ ! -x "$venv/bin/uv" ]; then
  echo "Installing uv, which installs the rest"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' requirements.lock)"
fi
echo "Installing what requirements.lock pins: up to 3 GB to download, 7 GB on disk"
quiet=(--quiet)
if [ -t 2 ]; then quiet=(); fi # uv shows its downloads on a terminal
"$venv/bin/uv" pip sync ${quiet[@]+"${quiet[@]}"} --python "$venv/bin/python" requirements.lock
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
