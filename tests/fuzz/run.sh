#!/usr/bin/env bash
# Fuzzes the readers: tests/fuzz/run.sh SECONDS [READER...]       each reader for so much processor time, under ASan and UBSan; memory is
#                                                                 the reader of pictures, but for WebP, under MemorySanitizer
#   tests/fuzz/run.sh 7            two minutes in all
#   tests/fuzz/run.sh 3600         a long run: an hour a reader, or ten million inputs
# Needs clang and a release build with its tests, BUILD (default: build). BUILD/fuzz holds the fuzzers and what they find; a finding's
# input is named, and goes into tests/fuzz/corpus once its defect is mended. An input may take LONGEST seconds of the processor (default:
# 1), ten minutes by the clock, and 1 GiB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:?give the seconds for each reader}
shift
build=${BUILD:-build}
fuzz=$build/fuzz
readers=("$@")
((${#readers[@]})) || readers=($(ls tests/fuzz/corpus) memory)
tests/fuzz/build.py "$build" "$fuzz"
tests/fuzz/build.py "$build" "$fuzz" memory
failed=0
interrupted=72  # libFuzzer's status after SIGINT
printf '| reader | inputs | seconds | coverage | found |\n|---|---|---|---|---|\n'
for reader in "${readers[@]}"; do
  program=readers corpus=$reader
  [[ $reader != memory ]] || { program=memory corpus=image; }
  mkdir -p "$fuzz/found/$reader" "$fuzz/grown/$reader"
  dictionary=()
  [[ -f tests/fuzz/dictionaries/$corpus.txt ]] && dictionary=(-dict="tests/fuzz/dictionaries/$corpus.txt")
  READER=$reader LONGEST=${LONGEST:-1} "$fuzz/$program" "$fuzz/grown/$reader" "tests/fuzz/corpus/$corpus" "${dictionary[@]}" -runs=10000000 -timeout=600 \
    -rss_limit_mb=1536 -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 -artifact_prefix="$fuzz/found/$reader/" \
    >"$fuzz/$reader.log" 2>&1 &
  fuzzer=$! used=0 status=0
  trap 'kill $fuzzer 2>/dev/null' EXIT
  # Its own time and that of its children, which fields 14 to 17 give in ticks.
  while ticks=$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$fuzzer/stat" 2>/dev/null) && [[ -n $ticks && $(cat "/proc/$fuzzer/stat") != *") Z "* ]]; do
    used=$((ticks / $(getconf CLK_TCK)))
    ((used < seconds)) || kill -INT $fuzzer
    sleep 0.2
  done
  wait $fuzzer || status=$?
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzz/$reader.log")
  coverage=$(grep -oE 'cov: [0-9]+' "$fuzz/$reader.log" | tail -n 1 | cut -d' ' -f2)
  found=nothing
  if ((status != 0 && status != interrupted)); then
    found=$(grep -oE "$fuzz/found/[^ ]*" "$fuzz/$reader.log" | tail -n 1)
    failed=1
  fi
  printf '| %s | %s | %s | %s | %s |\n' "$reader" "$inputs" "$used" "$coverage" "$found"
done
trap - EXIT
exit $failed
