#!/usr/bin/env bash
# Fuzzes the readers: tests/fuzz/run.sh SECONDS [READER...]       each reader for so many seconds, under ASan and UBSan
#   tests/fuzz/run.sh 7            two minutes in all
#   tests/fuzz/run.sh 3600         a long run: an hour a reader, or ten million inputs
# Needs clang. BUILD (default: build-fuzz) holds the fuzzers and what they find; a finding's input is named, and goes
# into tests/fuzz/corpus once its defect is mended. An input may take a second and 1 GiB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:?give the seconds for each reader}
shift
build=${BUILD:-build-fuzz}
cmake --preset fuzz -B "$build" >/dev/null
cmake --build "$build" --target fuzzers --parallel "$(nproc)" >"$build/build.log" || { tail -n 20 "$build/build.log" >&2; exit 1; }
readers=("$@")
((${#readers[@]})) || readers=($(ls tests/fuzz/corpus))
failed=0
printf '| reader | inputs | inputs a second | coverage | found |\n|---|---|---|---|---|\n'
for reader in "${readers[@]}"; do
  mkdir -p "$build/found/$reader" "$build/grown/$reader"
  dictionary=()
  [[ -f tests/fuzz/dictionaries/$reader.txt ]] && dictionary=(-dict="tests/fuzz/dictionaries/$reader.txt")
  status=0
  "$build/tests/fuzz_$reader" "$build/grown/$reader" "tests/fuzz/corpus/$reader" "${dictionary[@]}" -max_total_time="$seconds" \
    -runs=10000000 -timeout=1 -rss_limit_mb=1536 -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$build/found/$reader/" >"$build/$reader.log" 2>&1 || status=$?
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$reader.log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$build/$reader.log")
  coverage=$(grep -oE 'cov: [0-9]+' "$build/$reader.log" | tail -n 1 | cut -d' ' -f2)
  found=nothing
  if ((status)); then
    found=$(grep -oE "$build/found/[^ ]*" "$build/$reader.log" | tail -n 1)
    failed=1
  fi
  printf '| %s | %s | %s | %s | %s |\n' "$reader" "$inputs" "$rate" "$coverage" "$found"
done
exit $failed
