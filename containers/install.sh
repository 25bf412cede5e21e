#!/usr/bin/env bash
# Install harness_bench into /opt/harness from the checkout in the current folder, for the Dockerfile
# and harness.def alike:
#   install.sh dependencies cpu|cuda   # what pyproject.toml asks for, at the versions of requirements.lock
#   install.sh package                 # harness_bench itself
set -euo pipefail
step=${1:?dependencies or package}
venv=/opt/harness uv=/opt/uv
export UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# The image is read-only for its users: Python could not write its bytecode later.
export UV_COMPILE_BYTECODE=1

dependencies() {
  local device=$1 extra options=()
  for extra in ${EXTRAS-s3prl espnet demo onnx}; do options+=(--extra "$extra"); done
  case $device in
    # PyPI's torch for Linux asks for 3 GB of CUDA libraries; uv knows where PyTorch keeps the other.
    cpu) options+=(--torch-backend cpu) ;;
    cuda) ;;
    *) echo "The device is cpu or cuda, not '$device'." >&2; exit 2 ;;
  esac
  python3 -m venv "$uv"
  "$uv/bin/pip" install --no-cache-dir --quiet "$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' requirements.lock)"
  "$uv/bin/uv" venv --quiet "$venv"
  # The lock constrains and does not ask: tools of development and the other device's libraries stay out.
  "$uv/bin/uv" pip install --python "$venv/bin/python" --requirements pyproject.toml \
    --constraints requirements.lock "${options[@]}"
}

package() {
  "$uv/bin/uv" pip install --python "$venv/bin/python" --no-deps --build-constraints requirements.lock .
}

case $step in
  dependencies) dependencies "${2:?cpu or cuda}" ;;
  package) package ;;
  *) echo "The step is dependencies or package, not '$step'." >&2; exit 2 ;;
esac
