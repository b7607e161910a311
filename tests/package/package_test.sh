#!/usr/bin/env bash
# Installs the build into an empty folder, builds the consumer beside this script against it, dynamic and, where it can be, static, and
# runs it; then the op of docs/adding-an-op.md. Needs BUILD (the build folder), CMAKE and CXX.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$CMAKE" --install "$BUILD" --prefix "$scratch/elsewhere" >"$scratch/log"
mv "$scratch/elsewhere" "$scratch/prefix"  # a package works from wherever it is moved to
"$scratch/prefix/bin/retort" --version
if grep -rE '"[^"]*/(lib|lib64)/[^"]*\.(so|a)"|'"$(realpath "$BUILD")" "$scratch/prefix" --include=*.cmake --include=*.pc | grep -v _IMPORT_PREFIX; then
  echo "package_test: the package names paths of this machine"
  exit 1
fi

# libhdf5's static form needs more libraries than it says, so a build that has it makes no static program.
kinds=(OFF)
grep -rq hdf5 "$scratch/prefix" --include=*.cmake || kinds+=(ON)
for static in "${kinds[@]}"; do
  "$CMAKE" -S "$here" -B "$scratch/$static" -G Ninja -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCONSUMER_STATIC=$static >"$scratch/log" || { cat "$scratch/log"; exit 1; }
  "$CMAKE" --build "$scratch/$static" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
  output=$("$scratch/$static/consumer")
  if [[ $output != "1 6 1" ]]; then
    echo "package_test: the consumer printed '$output', expected '1 6 1'"
    exit 1
  fi
done

PREFIX=$scratch/prefix bash "$here/adding_an_op_test.sh"
if [[ -f $scratch/prefix/include/retort.h ]]; then PREFIX=$scratch/prefix bash "$here/examples_test.sh"; fi

if [[ -d $scratch/ON ]] && command -v ldd >/dev/null; then
  # ldd exits with 1 for a static program, so its text decides.
  linkage=$(ldd "$scratch/ON/consumer" 2>&1 || true)
  if [[ $linkage != *"not a dynamic executable"* ]]; then
    echo "package_test: the static consumer needs shared libraries: $linkage"
    exit 1
  fi
fi
echo "package_test: installed, found, linked and ran, dynamic${kinds[1]+ and static}, with an op from outside"
