#!/usr/bin/env bash
# Installs what is needed, builds and runs every test: tools/test.sh [preset...], by default release and sanitize.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

presets=("$@")
((${#presets[@]})) || presets=(release sanitize)
werror=OFF
[[ ${CI:-} == true ]] && werror=ON

tools/install_dependencies.sh
failed=()
for preset in "${presets[@]}"; do
  echo "== $preset: build"
  cmake --preset "$preset" -DRETORT_BUILD_TESTS=ON -DRETORT_WERROR=$werror
  cmake --build --preset "$preset" --parallel "$(nproc)"
  echo "== $preset: tests"
  ctest --preset "$preset" --no-tests=error || failed+=("$preset")
done

if ((${#failed[@]})); then
  echo "test.sh: FAILED in ${failed[*]}, after $SECONDS s"
  exit 1
fi
echo "test.sh: all tests passed in ${presets[*]}, after $SECONDS s"
