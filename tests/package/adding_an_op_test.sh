#!/usr/bin/env bash
# The op of docs/adding-an-op.md: its files are taken from the page, built against the Retort installed in PREFIX, and run.
# Needs PREFIX, CMAKE and CXX; package_test.sh calls it.
set -euo pipefail
page=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../docs" && pwd)/adding-an-op.md
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The code behind a line "<!-- FILE -->".
awk -v folder="$scratch" '
  /^<!-- [a-z_]+\.(h|cpp) -->$/ { file = folder "/" $2; next }
  /^```cpp$/ && file { writing = 1; next }
  /^```$/ && writing { writing = 0; file = "" }
  writing { print > file }' "$page"
for file in gelu.h gelu.cpp main.cpp; do
  [[ -s $scratch/$file ]] || { echo "adding_an_op_test: $page has no $file"; exit 1; }
done
cat >"$scratch/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(ToyOp LANGUAGES CXX)
find_package(Retort REQUIRED)
add_executable(toy main.cpp gelu.cpp)
target_link_libraries(toy PRIVATE Retort::engine)
CMAKE
"$CMAKE" -S "$scratch" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$PREFIX" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
"$CMAKE" --build "$scratch/build" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
"$scratch/build/toy" || { echo "adding_an_op_test: the op's gradient or its network is wrong"; exit 1; }
