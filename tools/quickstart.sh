#!/usr/bin/env bash
# Installs what is needed, builds the program and runs its demo: tools/quickstart.sh [flags of `retort demo`...].
# The demo draws its own pictures, trains a teacher, saves its scores and distils a student; under ten minutes on two cores.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

"$root/tools/install_dependencies.sh"
(
  cd "$root"
  # The demo runs on the CPU: without the GPU's kernels, their simulator and the tests it builds in half the time.
  cmake --preset release -DRETORT_BUILD_TESTS=OFF -DRETORT_CUDA=OFF -DRETORT_SIMT=OFF -DRETORT_LADDER=OFF
  cmake --build --preset release --target retort --parallel "$(nproc)"
)
cd "$root"
exec build/retort demo --out quickstart-demo "$@"
