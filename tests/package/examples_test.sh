#!/usr/bin/env bash
# The examples beside this script, built against the Retort installed in PREFIX in every way that there is, say the same as `retort predict`; what
# they are given wrong is one line. Needs PREFIX, CMAKE, CXX; package_test.sh calls it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/examples
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
CC=${CC:-cc}
fail() { echo "examples_test: $*"; exit 1; }

ppm() { printf 'P6\n8 8\n255\n'; for _ in $(seq 64); do printf "$1"; done; }
mkdir -p data/blue data/red
for shade in 1 2 3 4; do
  ppm "\\x${shade}0\\x10\\xe0" >data/blue/$shade.ppm
  ppm "\\xe0\\x10\\x${shade}0" >data/red/$shade.ppm
done
"$PREFIX/bin/retort" train --model resnet8 --data data --image-size 8 --epochs 2 --batch-size 4 --out net.safetensors --quiet
"$PREFIX/bin/retort" predict --model net.safetensors data/red/1.ppm --csv wanted.csv --quiet >/dev/null
wanted=$(tail -n 1 wanted.csv | awk -F, '{ printf "blue %.4f\nred %.4f\n", $3, $4 }')

libdir=$(dirname "$(find "$PREFIX" -name libretort.a)")
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir

answers() {
  local how=$1 found status=0
  shift
  found=$("$@" net.safetensors data/red/1.ppm) || fail "$how: fails"
  [[ $found == "$wanted" ]] || fail "$how says '$found', and retort predict '$wanted'"
  "$@" missing.safetensors data/red/1.ppm >out 2>err || status=$?
  [[ $status == 1 && $(wc -l <err) == 1 && ! -s out ]] && grep -q "^missing.safetensors: cannot read: " err || fail "$how: a missing model: $(cat out err)"
  status=0
  "$@" net.safetensors wanted.csv >out 2>err || status=$?
  [[ $status == 1 && $(wc -l <err) == 1 && ! -s out ]] && grep -q "^wanted.csv: " err || fail "$how: no picture: $(cat out err)"
}

ways=0
if command -v pkg-config >/dev/null; then
  # shellcheck disable=SC2046
  "$CC" -std=c99 -Wall -Wextra -Werror "$here/classify.c" $(pkg-config --cflags --libs retort) -o c_shared
  answers "C, shared" ./c_shared
  # shellcheck disable=SC2046
  "$CXX" -std=c++17 -Wall -Wextra -Werror "$here/classify.cpp" $(pkg-config --cflags --libs retort) -o cpp_shared
  answers "C++, shared" ./cpp_shared
  # shellcheck disable=SC2046
  "$CC" -std=c99 "$here/classify.c" $(pkg-config --cflags retort) -Wl,-Bstatic -L"$libdir" -lretort -Wl,-Bdynamic $(pkg-config --static --libs-only-l retort | sed 's/-lretort//') -o c_static
  answers "C, libretort.a" ./c_static
  ! ldd ./c_static | grep -q libretort || fail "libretort.a was not linked"
  ways=3
else
  echo "examples_test: no pkg-config here"
fi

cat >CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(Examples LANGUAGES C CXX)
find_package(Retort REQUIRED)
add_executable(c ${EXAMPLES}/classify.c)
target_link_libraries(c PRIVATE Retort::retort)
add_executable(c_static ${EXAMPLES}/classify.c)
target_link_libraries(c_static PRIVATE Retort::retort_static)
add_executable(cpp ${EXAMPLES}/classify.cpp)
target_link_libraries(cpp PRIVATE Retort::retort)
add_executable(cpp_static ${EXAMPLES}/classify.cpp)
target_link_libraries(cpp_static PRIVATE Retort::retort_static)
CMAKE
"$CMAKE" -S . -B build -G Ninja -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_PREFIX_PATH="$PREFIX" \
  -DEXAMPLES="$here" >log 2>&1 || { cat log; exit 1; }
"$CMAKE" --build build >log 2>&1 || { cat log; exit 1; }
for program in c c_static cpp cpp_static; do answers "CMake, $program" build/$program; done

# What `retort import` reads and the library does not.
"$PREFIX/bin/retort" export --model net.safetensors --out net.onnx --quiet
printf '\x89HDF\r\n\x1a\n' >net.h5
printf '\x80\x02}q\x00.' >net.pth
for file in "net.onnx: is an ONNX model" "net.h5: is of Keras's" "net.pth: is of PyTorch's"; do
  status=0
  build/c "${file%%:*}" data/red/1.ppm >out 2>err || status=$?
  [[ $status == 1 && $(wc -l <err) == 1 && ! -s out ]] && grep -q "^$file, expected .*retort import.* --weights ${file%%:*} " err ||
    fail "$file: $(cat out err)"
done

if command -v python3 >/dev/null; then
  answers "Python" python3 "$here/classify.py" "$libdir/libretort.so"
else
  echo "examples_test: no Python here"
fi

# The library shows its interface and nothing else.
shown=$(nm -D --defined-only "$libdir/libretort.so" | awk '{ print $3 }' | sort | tr '\n' ' ')
declared=$(grep -oE '\bretort_[a-z_]+\(' "$PREFIX/include/retort.h" | tr -d '(' | sort -u | tr '\n' ' ')
[[ $shown == "$declared" ]] || fail "libretort.so shows '$shown', retort.h declares '$declared'"
shown=$(nm --defined-only --extern-only "$libdir/libretort.a" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort | tr '\n' ' ')
[[ $shown == "$declared" ]] || fail "libretort.a shows '$shown', retort.h declares '$declared'"

# Many threads with one model, and each with its own mistakes.
"$CXX" -std=c++17 -Wall -Wextra -Werror -I"$PREFIX/include" "$here/../threads.cpp" -L"$libdir" -lretort -pthread -o threads
./threads net.safetensors data/red/1.ppm || fail "threads disturb each other"
echo "examples_test: C, C++ and Python, by CMake$( ((ways)) && echo " and pkg-config")"
