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
installed=$(tools/install_dependencies.sh 2>&1) || echo "gpu_check.sh: going on without packages: ${installed##*$'\n'}"
for program in cmake ninja; do
  command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]} == 0)) || fail "missing: ${missing[*]}; install them, the CUDA toolkit for nvcc, and run it again"

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
  cmake --preset release -DRETORT_BUILD_TESTS=ON -DRETORT_CUDA=ON &&
    cmake --build --preset release --target retort --parallel "$(nproc)" || return
  build/retort summary --model resnet20 --device cuda --quiet >/dev/null
}
build_tests() { cmake --build --preset release --parallel "$(nproc)"; }
on_device() { RETORT_TEST_DEVICE=cuda "$@"; }
# A small subset: the tool slows kernels down a hundredfold.
sanitizer() {
  command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer"; return 77; }
  on_device compute-sanitizer --tool "$1" --error-exitcode 1 build/tests/test_simt --source-file="$2"
}
demo() { build/retort demo --device cuda --out "$out/demo" --quiet; }
measure() { python3 tools/gpu_check.py --retort build/retort --seconds "$1" --out "$out"; }
export -f build build_tests on_device sanitizer demo measure
export out

echo "$gpu"
if ! phase build 240 bash -c build; then
  grep "is not installed" "$out/build.log" >&2
  tail -n 20 "$out/build.log" >&2
  fail "no program that runs on the GPU; the whole log is in $out/build.log"
fi
phase build_tests 150 bash -c build_tests
[[ ! -x build/tests/test_simt ]] || phase tests_on_the_gpu 60 bash -c 'on_device build/tests/test_simt'
phase demo 60 bash -c demo
# What is left is shared out: most of it for measuring, the rest for what runs without a GPU too.
share=$(($(remaining) - 60))
phase measure $((share + 10)) bash -c "measure $share"
phase memcheck 25 bash -c 'sanitizer memcheck "*elementwise_test.cpp,*vendor_test.cpp"'
phase racecheck 25 bash -c 'sanitizer racecheck "*loss_test.cpp"'
phase ctest 120 ctest --preset release -LE package --parallel "$(nproc)"

python3 tools/gpu_check.py --report --out "$out" || fail "no report; see the logs in $out"
echo "$out/report.md, $out/report.json, after $SECONDS s"
! grep -q FAILED "$out/phases.tsv"
