#!/usr/bin/env bash
# Installs what is needed, builds the program and runs its demo: tools/quickstart.sh [flags of `retort demo`...].
# The demo draws its own images, trains a teacher, saves its logits and distils a student; about ten minutes on two cores.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

"$root/tools/install_dependencies.sh"
(
  cd "$root"
  cmake --preset release -DRETORT_BUILD_TESTS=OFF
  cmake --build --preset release --target retort --parallel "$(nproc)"
)
cd "$root"
exec build/retort demo --out quickstart-demo "$@"
