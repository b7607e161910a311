#!/usr/bin/env bash
# Compiles, for macOS on arm64 and Windows on x86-64, the sources of libretort and of a bundle's program, by the cross compiler of PyPI's
# ziglang: what is said there of other systems compiles there. Nothing is linked or run. Some ten minutes a target on two cores.
#   python -m pip install ziglang && tests/portability.sh [TARGET...] [-- SOURCE...]
# PYTHON (default: python3) has ziglang; the libraries that are headers are taken from /usr/include.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets=()
while (($#)) && [[ $1 != -- ]]; do targets+=("$1") && shift; done
((${#targets[@]})) || targets=(aarch64-macos x86_64-windows-gnu)
sources=("${@:2}")
if ((${#sources[@]} == 0)); then
  sources=(kernels/*.cpp kernels/cpu/*.cpp kernels/cpu/*/*.cpp kernels/reference/*.cpp engine/{core,ops,nn,data,io}/*.cpp models/*.cpp
    models/graph/*.cpp api/retort.cpp tools/cli/{flags,outcome,progress,terminal,visible}.cpp tools/run/{picture_files,predictions}.cpp
    tools/classify/main.cpp)
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/include"
for header in hwy nlohmann CLI xxhash.h zlib.h zconf.h; do ln -s "/usr/include/$header" "$scratch/include/"; done

# What has no form for a system yet, and is expected not to compile there.
unported() {
  case $1:$2 in
    *-windows-*:engine/io/atomic_file.cpp | *-windows-*:engine/io/event_file.cpp) return 0 ;;
    *-windows-*:tools/cli/progress.cpp | *-windows-*:tools/classify/main.cpp) return 0 ;;
    *) return 1 ;;
  esac
}
compile() {
  "${PYTHON:-python3}" -m ziglang c++ -target "$1" -std=c++20 -O0 -I. -isystem "$scratch/include" -isystem /usr/include/stb -Wall -Wextra \
    -DHWY_IS_DEBUG_BUILD=0 -DRETORT_INFERENCE -DRETORT_VERSION='"0"' -c "$2" -o "$3.o" >"$3.log" 2>&1
}
one() {
  local known="" out=$scratch/$BASHPID
  ! unported "$1" "$2" || known=" (expected)"
  if compile "$1" "$2" "$out"; then
    [[ -z $known ]] || echo "$1 $2: compiles, and is listed as if it did not"
  else
    echo "$1 $2: does not compile$known: $(grep -m 1 -oE 'error: .*' "$out.log")"
  fi
  rm -f "$out".*
}
export -f compile one unported
export scratch

found=$(for target in "${targets[@]}"; do printf "$target %s\n" "${sources[@]}"; done |
  xargs -P "$(nproc)" -L 1 bash -c 'one "$1" "$2"' _)
[[ -z $found ]] || echo "$found" | sort
echo "${#sources[@]} sources for ${targets[*]}, after $SECONDS s"
! grep -v '(expected)' <<<"$found" | grep -q .
