#!/usr/bin/env bash
# Everything that needs a GPU, in one command of at most ten minutes: builds, tests and trains on the device, then
# measures our kernels beside cuBLAS, cuDNN and (where python3 has it) PyTorch. Leaves build/gpu_check/report.md and
# report.json.
#
# Needs an NVIDIA GPU, the CUDA toolkit (nvcc), python3, and what tools/install_dependencies.sh installs. Where packages
# cannot be installed, bring them: unpack them into a folder (dpkg -x libhwy-dev_*.deb DIR ...) and name it:
#   CMAKE_PREFIX_PATH=DIR/usr tools/gpu_check.sh
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "gpu_check.sh: $*" >&2
  exit 1
}

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
[[ -n $gpu ]] || fail "nvidia-smi finds no NVIDIA GPU; run it on a machine that has one"
PATH=$PATH:/usr/local/cuda/bin
missing=()
for program in nvcc python3 timeout; do
  command -v "$program" >/dev/null || missing+=("$program")
done
# Without a terminal, and not for long: a machine without a network would wait for a mirror.
installed=$(timeout 60 setsid tools/install_dependencies.sh </dev/null 2>&1) || echo "gpu_check.sh: going on without packages: ${installed##*$'\n'}"
for program in cmake ninja; do
  command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]} == 0)) || fail "missing: ${missing[*]}; install them, the CUDA toolkit for nvcc, and run it again"

# cuBLAS and cuDNN may have come with python3's packages instead of the toolkit: their headers are needed to build, the
# libraries when the program runs.
for folder in $(python3 -c 'import nvidia; print(*nvidia.__path__)' 2>/dev/null); do
  for header in "$folder"/*/include/{cudnn,cublas_v2}.h; do
    [[ -e $header ]] || continue
    include=${header%/*}
    case $header in
      */cudnn.h) export RETORT_CUDNN_INCLUDE=$include ;;
      *) export RETORT_CUBLAS_INCLUDE=$include ;;
    esac
    export LD_LIBRARY_PATH="${include%/include}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  done
done

budget=570 # seconds for everything; the rest of ten minutes is for writing down
out=build/gpu_check
mkdir -p "$out"
: >"$out/phases.tsv"
remaining() { echo $((budget - SECONDS)); }

# phase <name> <most seconds> <command>...: runs it within its time, notes how it ended; its output goes to a log.
phase() {
  local name=$1 limit=$2 log="$out/$1.log" start=$SECONDS status=0 outcome
  shift 2
  ((limit < $(remaining))) || limit=$(remaining)
  if ((limit < 5)); then
    outcome="skipped: no time left"
  else
    timeout --kill-after=5 "$limit" "$@" >"$log" 2>&1 || status=$?
    case $status in
      0) outcome=passed ;;
      77) outcome="skipped: $(tail -n 1 "$log")" ;;
      124 | 137) outcome="not finished in $limit s" ;;
      *) outcome="FAILED (status $status): $(grep -vE '^(ninja|\s*)$' "$log" | tail -n 1 | cut -c -200)" ;;
    esac
  fi
  printf '%s\t%d\t%s\n' "$name" $((SECONDS - start)) "$outcome" >>"$out/phases.tsv"
  echo "$name: $outcome, $((SECONDS - start)) s"
  [[ $outcome == passed ]]
}

build() {
  cmake --preset release -DRETORT_BUILD_TESTS=ON -DRETORT_CUDA=ON \
    ${RETORT_CUDNN_INCLUDE:+"-DCUDNN_INCLUDE_DIR=$RETORT_CUDNN_INCLUDE"} \
    ${RETORT_CUBLAS_INCLUDE:+"-DCUBLAS_INCLUDE_DIR=$RETORT_CUBLAS_INCLUDE"} &&
    cmake --build --preset release --target retort --parallel "$(nproc)" || return
  build/retort summary --model resnet20 --device cuda --quiet >/dev/null
}
build_tests() { cmake --build --preset release --parallel "$(nproc)"; }
on_device() { RETORT_TEST_DEVICE=cuda "$@"; }
# A small subset: the tool slows kernels down a hundredfold.
sanitizer() {
  command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer"; return 77; }
  [[ -x build/tests/test_simt ]] || { echo "no test_simt without Boost.Context"; return 77; }
  local tool=$1 status=0
  shift
  on_device compute-sanitizer --tool "$tool" --error-exitcode 1 build/tests/test_simt "$@" 2>&1 | tee "$out/$tool.output"
  status=${PIPESTATUS[0]}
  # Some virtual machines show the device to programs but not to debuggers.
  ! grep -q "Device not supported" "$out/$tool.output" || { echo "compute-sanitizer: device not supported"; return 77; }
  return "$status"
}
gpu_tests() {
  [[ -x build/tests/test_simt ]] || { echo "no test_simt without Boost.Context"; return 77; }
  on_device build/tests/test_simt
}
demo() { build/retort demo --device cuda --out "$out/demo" --quiet; }
measure() { python3 tools/gpu_check.py --retort build/retort --seconds "$1" --out "$out"; }
export -f build build_tests on_device gpu_tests sanitizer demo measure
export out

echo "$gpu"
if ! phase build 240 bash -c build; then
  grep "is not installed" "$out/build.log" >&2
  tail -n 20 "$out/build.log" >&2
  fail "no program that runs on the GPU; the whole log is in $out/build.log"
fi
phase build_tests 150 bash -c build_tests
phase tests_on_the_gpu 60 bash -c gpu_tests
phase demo 60 bash -c demo
phase memcheck 25 bash -c 'sanitizer memcheck --source-file="*elementwise_test.cpp,*conv2d_test.cpp" --test-case="device maps*,device conv2d: small integers are exact\, in every*"'
phase racecheck 25 bash -c 'sanitizer racecheck --source-file="*loss_test.cpp" --test-case-exclude="device soft losses: every*"'
# Most of what is left is for measuring, the rest for what runs without a GPU too.
share=$(($(remaining) - 60))
phase measure $((share + 10)) bash -c "measure $share"
phase ctest 120 ctest --preset release -LE package --parallel "$(nproc)"

python3 tools/gpu_check.py --report --out "$out" || fail "no report; see the logs in $out"
echo "$out/report.md, $out/report.json, after $SECONDS s"
# Tests that hang, or are not built, have not passed.
! grep -qE $'FAILED|^(build_tests|tests_on_the_gpu)\t.*not finished' "$out/phases.tsv"
