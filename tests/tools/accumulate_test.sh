#!/usr/bin/env bash
# --accumulate: one part is the run without it, parts resume, and a batch that does not fit says how it would.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9 10 11; do
  ppm 8 $((150 + 9 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((20 * i)) $((150 + 9 * i)) >data/blue/$i.ppm
done
net=(--model resnet8 --image-size 8 --val-split 0.2 --augment flip --data data --batch-size 8 --epochs 3 --threads 1 --quiet)

expect 0 train "${net[@]}" --out whole.safetensors
expect 0 train "${net[@]}" --accumulate 1 --out one.safetensors
cmp -s whole.safetensors one.safetensors || fail "--accumulate 1 gives other bits than the default"
expect 0 train "${net[@]}" --accumulate 2 --out two.safetensors --log two.jsonl --keep-state
other_weights whole.safetensors two.safetensors "batch norm sees parts as it sees whole batches"
[[ $(last step two.jsonl) == $(($(last epoch two.jsonl) * 3)) ]] || fail "18 pictures in batches of 8 are 3 steps an epoch"

expect 0 train "${net[@]}" --accumulate 2 --out short.safetensors --keep-state --epochs 1 --schedule constant
expect 0 train "${net[@]}" --accumulate 2 --out short.safetensors --resume --schedule constant
expect 0 train "${net[@]}" --accumulate 2 --out long.safetensors --schedule constant
cmp -s short.safetensors long.safetensors || fail "a run in parts does not resume to the same bits"
expect_error 1 "two.state.safetensors: the run was started with --accumulate '2', not ''" \
  train "${net[@]}" --out two.safetensors --resume
expect 0 train "${net[@]}" --accumulate 2 --precision bf16 --out bf16.safetensors --epochs 1

expect_error 2 "--accumulate: a batch of 8 cannot be cut into 9 parts; give a larger --batch-size" \
  train "${net[@]}" --accumulate 9 --out none.safetensors
expect_error 2 "--accumulate" train "${net[@]}" --accumulate 0 --out none.safetensors

# What does not fit names the parts that do.
big=(--model resnet8 --image-size 64 --val-split 0.2 --data data --batch-size 16 --epochs 1 --threads 1 --quiet)
RETORT_MEMORY_LIMIT=30000000 expect_error 1 "--accumulate" train "${big[@]}" --out big.safetensors
parts=$(grep -oE -- '--accumulate [0-9]+ takes the batch in parts that fit' stderr | grep -oE '[0-9]+')
[[ -n $parts ]] || fail "no number of parts"
RETORT_MEMORY_LIMIT=30000000 expect 0 train "${big[@]}" --accumulate "$parts" --out big.safetensors
