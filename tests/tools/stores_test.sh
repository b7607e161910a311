#!/usr/bin/env bash
# Stores of f16 and of the highest logits: what they hold, and that every command that takes a store reads them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

shade=0
for class in ash blue green red violet; do
  mkdir -p data/$class
  shade=$((shade + 45))
  for i in 1 2 3 4 5; do ppm 8 $((shade + 3 * i)) $((250 - shade)) $((40 * i)) >data/$class/$i.ppm; done
done
part=(--data data --val-split 0.2)
expect 0 train --model mlp:8 "${part[@]}" --image-size 8 --epochs 8 --lr 0.05 --out teacher.safetensors
store=(logits --model teacher.safetensors "${part[@]}")
expect 0 "${store[@]}" --out full.npy --csv full.csv
expect 0 "${store[@]}" --dtype f16 --out half.npy --csv half.csv
expect 0 "${store[@]}" --top-k 3 --out top.npy
expect 0 "${store[@]}" --top-k 3 --dtype f16 --out both.npy
expect 0 "${store[@]}" --dtype f32 --out again.npy
cmp full.npy again.npy && cmp full.json again.json || fail "--dtype f32 is not the default"
cmp full.csv half.csv || fail "the table is not of the teacher's own logits"
rows=20
for pair in full:20 half:10 top:28 both:22; do  # bytes a row of five classes
  [[ $(wc -c <${pair%:*}.npy) == $((128 + rows * ${pair#*:})) || $(wc -c <${pair%:*}.npy) == $((192 + rows * ${pair#*:})) ]] ||
    fail "${pair%:*}.npy has $(wc -c <${pair%:*}.npy) bytes"
done
expect_error 2 "--top-k: 5 of 5 classes are all of them; leave it out" "${store[@]}" --top-k 5 --out x.npy --quiet
expect_error 2 "--dtype: 'f8' is not known; give f32 or f16" "${store[@]}" --dtype f8 --out x.npy

# All of their rows are whole.
expect 0 verify full.npy half.npy top.npy both.npy
[[ $(grep -c "^ok  .*: logits: 20 images, 1 view, 5 classes" stdout) == 4 ]] || fail "verify: $(cat stdout)"

# Every command: near the full store's figures. 2^-11 of logits of a few units; three of five classes, and the rest.
eval_of() {
  expect 0 eval --model teacher.safetensors "${part[@]}" --split train --logits $1.npy --temperature 2 --json
  json kl
}
full=$(eval_of full)
holds "$full" '<' 1e-6 || fail "the teacher is $full from its own store"
holds "$(eval_of half)" '<' 1e-5 || fail "half: $(json kl)"
holds "$(eval_of top)" '<' 0.1 || fail "top: $(json kl)"
holds "$(eval_of both)" '<' 0.1 || fail "both: $(json kl)"
for name in full half top both; do
  expect 0 distill --student mlp:4 "${part[@]}" --image-size 8 --logits $name.npy --epochs 3 --seed 1 --out $name.safetensors --log $name.jsonl
done
other_weights full.safetensors half.safetensors "f16 changes nothing"
other_weights full.safetensors top.safetensors "--top-k changes nothing"
holds "$(distance "$(last train_loss full.jsonl)" "$(last train_loss half.jsonl)")" '<' 0.01 || fail "f16 teaches something else"
expect 0 combine full.npy half.npy both.npy --out mean.npy
[[ $(wc -c <mean.npy) == $(wc -c <full.npy) ]] || fail "combine: $(wc -c <mean.npy) bytes"
expect_error 1 "--logits" distill --student mlp:4 "${part[@]}" --image-size 8 --logits half.npy --epochs 3 --seed 1 --out full.safetensors --resume --quiet

# What is damaged is named: an index that lies about the encoding, a file cut short.
sed 's/"dtype": "f16"/"dtype": "f32"/' half.json >lie.json && cp half.npy lie.npy
expect_error 1 "lie.npy: dtype <f2, expected <f4 as its index says" distill --student mlp:4 "${part[@]}" --image-size 8 --logits lie.npy --epochs 1 --out x.safetensors --quiet
sed 's/"top_k": 3/"top_k": 5/' top.json >lie.json && cp top.npy lie.npy
expect_error 1 "lie.json: rows of dtype f32 and top_k 5, which are not known of 5 classes" distill --student mlp:4 "${part[@]}" --image-size 8 --logits lie.npy --epochs 1 --out x.safetensors --quiet
