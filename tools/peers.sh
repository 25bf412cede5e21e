#!/usr/bin/env bash
# Install the peers that tests marked `fairseq` and `make bench` compare with, beside the
# environment: inside it, ESPnet would import fairseq and start seconds later. $1 is the
# environment, $2 the folder. Nothing is done where the folder already has this lock file's versions.
set -euo pipefail
venv=$1 folder=$2 lock=requirements-peers.lock
stamp=$folder/installed.lock

if cmp --silent "$lock" "$stamp"; then exit 0; fi
echo "Installing $lock into $folder"
rm -rf "$folder"
if ! "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --target "$folder" \
  --requirements "$lock"; then
  rm -rf "$folder"
  echo "The peers were not installed; benchmarks against fairseq are left out, its tests skip." >&2
  exit 1
fi
cp "$lock" "$stamp"
