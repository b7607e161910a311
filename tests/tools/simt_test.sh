#!/usr/bin/env bash
# The program on the simulator of CUDA kernels: train, logits, distil, eval and forward, beside the CPU.
source "$(dirname "${BASH_SOURCE[0]}")/common_simt.sh"

# Near the CPU's numbers, and the same bits again.
for device in cpu simt; do
  expect 0 train "${net[@]}" --model mlp:6 --dropout 0.2 --device $device --out $device.safetensors --log $device.jsonl
done
loss() { last train_loss "$1.jsonl"; }
# Losses of about 1 after some ten steps: roundings of 6e-8 each, grown a hundredfold, stay below.
holds "$(distance "$(loss cpu)" "$(loss simt)")" '<' 1e-4 ||
  fail "training loss $(loss simt) on simt, $(loss cpu) on the CPU"
expect 0 train "${net[@]}" --model mlp:6 --dropout 0.2 --device simt --out again.safetensors
cmp -s simt.safetensors again.safetensors || fail "simt: other bits the second time"

# A teacher on the simulator, its logits, a student from them; a file made there is a file like any other.
for split in train val; do
  expect 0 logits --model simt.safetensors --data data --val-split 0.25 --split $split --device simt --out $split.npy
done
expect 0 distill "${net[@]}" --teacher simt.safetensors --student mlp:4 --device simt --out live.safetensors
expect 0 distill "${net[@]}" --logits train.npy --val-logits val.npy --student mlp:4 --device simt --out cached.safetensors
cmp -s live.safetensors cached.safetensors || fail "cached and live teacher give different bits on simt"
for device in cpu simt; do
  expect 0 eval --model live.safetensors --data data --device $device --json
  json accuracy >accuracy.$device
  holds "$(cat accuracy.$device)" '>=' 0 || fail "no accuracy on $device"
done
cmp -s accuracy.cpu accuracy.simt || fail "accuracy differs between devices"

# Every loss, with a schedule, from stored logits: the CPU's training within rounding.
mkdir -p three
cp -r data/blue data/red three/
mkdir -p three/green
for i in 1 2 3 4 5 6; do ppm 8 30 $((150 + 10 * i)) $((20 * i)) >three/green/$i.ppm; done
few=(--data three --image-size 8 --val-split 0.25 --batch-size 4 --lr 0.02 --seed 3)
expect 0 train "${few[@]}" --model mlp:6 --epochs 2 --out guide.safetensors
expect 0 logits --model guide.safetensors --data three --val-split 0.25 --split train --out guide.npy
all=$(losses)
for loss in $all; do
  for device in cpu simt; do
    expect 0 distill "${few[@]}" --logits guide.npy --student mlp:4 --epochs 2 --loss $loss --standardize-logits \
      --soft-weight 0.5 --soft-ramp-epochs 1 --temperature 4 --temperature-end 2 --device $device \
      --out student.$device.safetensors --log student.$device.jsonl
  done
  holds "$(distance "$(loss student.cpu)" "$(loss student.simt)")" '<' 1e-4 ||
    fail "$loss: training loss $(loss student.simt) on simt, $(loss student.cpu) on the CPU"
done

# Mixed precision.
expect 0 train "${net[@]}" --model mlp:6 --device simt --precision bf16 --out bf16.safetensors --log bf16.jsonl
# bf16 keeps 8 bits: 0.4% a rounding, over three epochs.
holds "$(distance "$(loss cpu)" "$(loss bf16)")" '<' 0.05 ||
  fail "training loss $(loss bf16) in bf16, $(loss cpu) in f32"

# No GPU here, or none in this build: one line says so.
if ! command -v nvidia-smi >/dev/null; then
  expect_error 2 "--device: cuda: " summary --model resnet20 --device cuda
fi
