#!/usr/bin/env bash
# Installs what building Retort needs, from the distribution's packages. Does nothing where all of it is there.
#   tools/install_dependencies.sh [--checks|--page|--arm64]
#     --checks   also what tools/test.sh and tools/check.sh read the sources with
#     --page     also clang for WebAssembly, which compiles the program of `retort page`, and the browser of its test
#     --arm64    also a compiler and an emulator for Linux on arm64 (cmake/aarch64.cmake)
set -euo pipefail

packages=(g++ cmake ninja-build libhwy-dev libcli11-dev nlohmann-json3-dev libstb-dev libxxhash-dev zlib1g-dev libwebp-dev libhdf5-dev
  doctest-dev libboost-context-dev)
case ${1:-} in
  "") ;;
  --checks) packages+=(libopenmpi-dev openmpi-bin iproute2 git python3 clang clang-format clang-tidy cppcheck gdb valgrind) ;;
  --page) packages+=(clang-19 lld-19 libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 libclang-rt-19-dev-wasm32 wasi-libc chromium) ;;
  --arm64) packages+=(g++-aarch64-linux-gnu qemu-user zlib1g-dev:arm64) ;;
  *) echo "install_dependencies.sh: $1: unknown argument; give --checks, --page, --arm64 or nothing" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  missing=()
  for program in cmake ninja; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || missing+=("a C++20 compiler")
  if ((${#missing[@]})); then
    joined=$(printf ', %s' "${missing[@]}")
    echo "install_dependencies.sh: missing: ${joined:2}. This system has no apt-get: install CMake 3.22 or later, Ninja and" \
         "a C++20 compiler (g++ 12, clang 14 or later) by hand." >&2
    exit 1
  fi
  echo "install_dependencies.sh: no apt-get here. Install Google Highway, CLI11, nlohmann-json, stb, xxHash, zlib and doctest from" \
       "your system's packages; what CMake does not find, it fetches by pinned hash." >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [[ $status == "install ok installed"* ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

sudo=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install_dependencies.sh: neither root nor sudo; ask an administrator to run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
  [[ -t 0 ]] || sudo+=(-n)  # nobody is there to type a password
fi
echo "Installing ${missing[*]}"
[[ " ${missing[*]} " != *:arm64\ * ]] || ${sudo[@]+"${sudo[@]}"} dpkg --add-architecture arm64
${sudo[@]+"${sudo[@]}"} apt-get update -qq
${sudo[@]+"${sudo[@]}"} env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}" >/dev/null
