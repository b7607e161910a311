#!/usr/bin/env bash
# Reads the sources without running them: tools/lint.sh [--all | --since REV]
#   clang-format over every source; clang-tidy over those that changed since REV (default: HEAD, so what is not committed),
#   with --all over all of them, and cppcheck too. Needs build/compile_commands.json (cmake --preset release).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all=false since=HEAD
case ${1:-} in
  --all) all=true ;;
  --since) since=$2 ;;
  "") ;;
  *) echo "lint.sh: $1: unknown argument; give --all or --since REV" >&2; exit 2 ;;
esac
for program in clang-format clang-tidy $($all && echo cppcheck); do
  command -v "$program" >/dev/null || { echo "lint.sh: $program is not installed; run tools/install_dependencies.sh --checks" >&2; exit 1; }
done
[[ -f build/compile_commands.json ]] || cmake --preset release >/dev/null

sources() { git ls-files --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cu' | while read -r f; do [[ -f $f ]] && echo "$f"; done; }
changed() {
  if $all; then sources; else { git diff --name-only "$since" --; git ls-files --others --exclude-standard; } | sort -u | while read -r f; do
    [[ -f $f && $f =~ \.(h|cpp)$ ]] && echo "$f"; done || true
  fi
}
# A file that clang-tidy can compile: a .cpp itself, a header by the first .cpp that includes it. Device code is left to nvcc
# and to the simulator's checks; what is compiled for several instruction sets at once, and the simulator's own tests, need g++.
compiled() {
  while read -r f; do
    case $f in
      *.cpp) echo "$f" ;;
      *.h) git grep -lF "#include \"$f\"" -- '*.cpp' | head -1 ;;
    esac
  done | sort -u | grep -vE '^(tests/package|tests/fuzz)/|^tests/simt/(defects|primitives)_test|^tests/counters/tiny_kernels_test' || true
}

failed=()
sources | xargs clang-format --dry-run --Werror || failed+=(format)
files=$(changed | compiled)
if [[ -n $files ]]; then
  echo "lint.sh: clang-tidy over $(wc -l <<<"$files") files"
  xargs -P "$(nproc)" -n 1 clang-tidy -p build --quiet --warnings-as-errors='*' <<<"$files" 2> >(grep -v 'warnings\? generated' >&2 || true) || failed+=(clang-tidy)
fi
if $all; then
  echo "lint.sh: cppcheck"
  cppcheck --enable=warning,performance,portability --inline-suppr --std=c++20 --language=c++ --quiet -j "$(nproc)" -I . \
    --suppressions-list=.cppcheck --error-exitcode=1 kernels engine models api tools || failed+=(cppcheck)
fi
if ((${#failed[@]})); then
  echo "lint.sh: FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "lint.sh: nothing found, after $SECONDS s"
