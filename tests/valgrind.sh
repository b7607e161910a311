#!/usr/bin/env bash
# One short run of each command, and what fuzzing starts from and found, under valgrind: it sees memory that is read before it is
# written, which the sanitizers do not. Processors under valgrind have AVX2 at most.
#   tests/valgrind.sh BUILD        BUILD: a folder with retort and tests/fuzz_replay; some ten minutes
set -euo pipefail
build=$(realpath "${1:-build}")
corpus=$(realpath "$(dirname "${BASH_SOURCE[0]}")/fuzz/corpus")
command -v valgrind >/dev/null || { echo "valgrind.sh: no valgrind; tools/install_dependencies.sh --checks installs it" >&2; exit 1; }
watched=(valgrind --quiet --error-exitcode=99 --child-silent-after-fork=yes --fair-sched=yes)

here=$(mktemp)
trap 'rm -f "$here"' EXIT
printf '#!/bin/sh\nexec %s %s "$@"\n' "${watched[*]}" "$build/retort" >"$here"
chmod +x "$here"
RETORT=$here
tests=$(realpath "$(dirname "${BASH_SOURCE[0]}")/tools")
source "$tests/common.sh"
trap 'rm -rf "$here" "$scratch"' EXIT

for i in 1 2 3 4 5 6; do
  mkdir -p data/blue data/red data/green
  ppm 8 $((150 + 8 * i)) $((19 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((19 * i)) $((150 + 8 * i)) >data/blue/$i.ppm
  ppm 8 30 $((150 + 8 * i)) $((19 * i)) >data/green/$i.ppm
done
pictures=(--data data --val-split 0.3 --quiet)
short=("${pictures[@]}" --image-size 8 --batch-size 4 --epochs 1 --threads 2)
run() {
  echo "retort $1"
  expect 0 "$@"
  ! grep -q '^==' stderr || fail "retort $*: valgrind has something to say"
}

run train --model resnet8 "${short[@]}" --augment flip,crop,jitter --mixup 0.2 --ema 0.9 --out teacher.safetensors --report teacher.html
run train --model mlp:8 "${short[@]}" --precision bf16 --optimizer sgd --out mlp.safetensors
run logits --model teacher.safetensors "${pictures[@]}" --split train --views 2 --augment flip --out store.npy --csv store.csv
run logits --model mlp.safetensors "${pictures[@]}" --split train --top-k 2 --dtype f16 --out top.npy
run combine store.npy store.npy --out both.npy
run distill --student mlp:4 "${short[@]}" --logits store.npy --loss dkd --out student.safetensors
run distill --student resnet8 "${short[@]}" --teacher teacher.safetensors --hint layer3.0.bn2:layer3.0.bn2 --hint-loss contrast --out hinted.safetensors
run sweep --student mlp:4 "${short[@]}" --logits store.npy --temperature 2 --lambda 0.5 --seeds 1 --out swept
run specialists --model teacher.safetensors --student mlp:4 "${short[@]}" --groups 2 --specialist-epochs 1 --out committee
run bias --model student.safetensors --data data --shift red --out shifted.safetensors
run eval --model student.safetensors --data data --logits top.npy --split train --val-split 0.3
run predict --model teacher.safetensors data/red --csv predicted.csv
run views "${pictures[@]}" --views 2 --image-size 8 --out views
run export --model teacher.safetensors --format onnx --fold-batch-norm --out teacher.onnx
run export --model mlp.safetensors --format c --out mlp.c
printf 'blue\ngreen\nred\n' >names.txt
run import --weights teacher.onnx --class-names names.txt --out imported.safetensors
run quantize --model teacher.safetensors --data data --images 8 --out small.safetensors
run train --model teacher.safetensors --precision int8 "${short[@]}" --out rounded.safetensors
run summary --model teacher.onnx
run graph --model teacher.safetensors --out graph.svg
run verify teacher.safetensors store.npy student.safetensors
run bench gemm --m 33 --n 17 --k 9 --repeats 1
run help train

echo "the readers, with their corpora"
"${watched[@]}" "$build/tests/fuzz_replay" "$corpus"
echo "valgrind.sh: nothing found, after $SECONDS s"
