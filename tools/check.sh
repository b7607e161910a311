#!/usr/bin/env bash
# The short loop while working: format, clang-tidy on what changed, and the suites that it touches: tools/check.sh [REV]
#   REV: what counts as changed is all since REV (default: HEAD, so what is not committed). Under two minutes for one .cpp.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

since=${1:-HEAD}
changed=$({ git diff --name-only "$since" --; git ls-files --others --exclude-standard; } | sort -u)
[[ -n $changed ]] || { echo "check.sh: nothing has changed since $since"; exit 0; }

# The suites of ctest that a folder's change can break, as a pattern; a tests/tools script runs alone.
suites=() targets=()
add() { suites+=("$1"); [[ -z ${2:-} ]] || targets+=("$2"); }
while read -r file; do
  case $file in
    kernels/cuda/* | kernels/simt/* | tests/simt/* | tests/counters/*) add 'simt.*|counters' test_simt; targets+=(test_counters) ;;
    kernels/*.h) add 'kernels|engine' test_kernels; targets+=(test_engine) ;;
    kernels/* | tests/kernels/*) add kernels test_kernels ;;
    engine/group/* | tests/group/*) add 'devices|tools.many_processes' retort; targets+=(ranks) ;;
    tests/cases/*) add 'kernels|simt.*' test_kernels; targets+=(test_simt) ;;
    engine/* | tests/engine/*) add engine test_engine ;;
    models/* | tests/models/*) add models test_models ;;
    tests/tools/*_test.sh) name=${file##*/}; add "tools.${name%_test.sh}" retort ;;
    tools/commands/*.cpp) name=${file##*/}; add "tools.(${name%.cpp}|usage)" retort; add flags test_flags ;;
    tools/bench/*) add tools.bench retort ;;
    tools/*.cpp | tools/*.h) add 'tools.(usage|train|config)' retort; add flags test_flags ;;
    docs/* | tests/docs/*) add docs ;;
  esac
done <<<"$changed"

cmake --preset release -DRETORT_BUILD_TESTS=ON >/dev/null
if ((${#targets[@]})); then
  mapfile -t targets < <(printf '%s\n' "${targets[@]}" | sort -u)
  cmake --build --preset release --parallel "$(nproc)" --target "${targets[@]}"
fi
tools/lint.sh --since "$since"
if ((${#suites[@]})); then
  pattern=$(printf '%s\n' "${suites[@]}" | sort -u | paste -sd '|')
  ctest --preset release --no-tests=error --parallel "$(nproc)" -R "^($pattern)\$"
fi
echo "check.sh: all well, after $SECONDS s"
