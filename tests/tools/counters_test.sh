#!/usr/bin/env bash
# --counters of whole runs on the simulator.
source "$(dirname "${BASH_SOURCE[0]}")/common_simt.sh"

expect 0 train "${net[@]}" --model mlp:6 --dropout 0.2 --device simt --out simt.safetensors
# The counters of a whole run: the same the second time, and they change no bits.
for run in first second; do
  expect 0 train "${net[@]}" --model mlp:6 --dropout 0.2 --device simt --out counted.safetensors --restart --counters $run.json
done
cmp -s first.json second.json || fail "other counts the second time"
cmp -s simt.safetensors counted.safetensors || fail "a counted run has other bits"
grep -q '"kernel": "sgd"' first.json || fail "no kernel of the optimizer in the counters"
expect 0 distill "${net[@]}" --teacher simt.safetensors --student mlp:4 --device simt --out counted2.safetensors --counters distill.json
grep -q '"kernel": "distillation"' distill.json || fail "no loss in the counters"
expect_error 2 "--counters: kernels are counted in the simulator alone; add --device simt" \
  train "${net[@]}" --model mlp:6 --device cpu --out x.safetensors --counters x.json
