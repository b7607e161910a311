#!/usr/bin/env bash
# Installs what is needed, builds, and runs the checks:
#   tools/test.sh              every test in release; the libraries' tests and the corpus of hostile files under AddressSanitizer + UBSan;
#                              format; clang-tidy of what the last commit changed
#   tools/test.sh --full       every test under AddressSanitizer + UBSan too, and built by clang; threads under ThreadSanitizer, each command
#                              under valgrind, and clang-tidy and cppcheck over everything; in the simulator every order of threads, setting
#                              and network (RETORT_TEST_THOROUGH=1): before something is called done
#   tools/test.sh PRESET...    the tests of these presets alone
# RETORT_LINT_SINCE=REV: clang-tidy reads what changed since REV instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

full=false presets=(release sanitize) lint=true
case ${1:-} in
  "") ;;
  --full) full=true RETORT_TEST_THOROUGH=1 presets=(release sanitize-all clang thread) ;;
  -*) echo "test.sh: $1: unknown argument; give --full, names of presets, or nothing" >&2; exit 2 ;;
  *) presets=("$@") lint=false ;;
esac
export RETORT_TEST_THOROUGH=${RETORT_TEST_THOROUGH:-}
options=(-DRETORT_BUILD_TESTS=ON)
if [[ ${CI:-} == true ]]; then
  options+=(-DRETORT_WERROR=ON)
  # What is built once, from nothing, is built in batches, and for one GPU: the kernels have no code for another but Hopper's own.
  $full || options+=(-DRETORT_UNITY=ON -DRETORT_CUDA_ARCHITECTURES=80-real)
fi

tools/install_dependencies.sh --checks
failed=()
for preset in "${presets[@]}"; do
  echo "== $preset: build"
  cmake --preset "$preset" "${options[@]}"
  cmake --build --preset "$preset" --parallel "$(nproc)"
  echo "== $preset: tests"
  ctest --preset "$preset" --no-tests=error --parallel "$(nproc)" || failed+=("$preset")
done

if $full; then
  echo "== valgrind"
  tests/valgrind.sh build || failed+=(valgrind)
fi

if $lint; then
  echo "== the sources, read"
  since=${RETORT_LINT_SINCE:-HEAD~1}
  git rev-parse --verify --quiet "$since^{commit}" >/dev/null || since=HEAD  # a clone without history
  # clang-tidy reads how each source is compiled by itself.
  cmake --preset release -DRETORT_UNITY=OFF >/dev/null
  if $full; then tools/lint.sh --all; else tools/lint.sh --since "$since"; fi || failed+=(lint)
fi

if ((${#failed[@]})); then
  echo "test.sh: FAILED in ${failed[*]}, after $SECONDS s"
  exit 1
fi
echo "test.sh: all passed in ${presets[*]}$($lint && echo ' and lint'), after $SECONDS s"
