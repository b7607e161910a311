#!/usr/bin/env bash
# One seed gives one result whatever the number of threads, in training and in logits, in float and in bf16.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for i in 1 2 3 4 5 6 7 8 9 10; do
  mkdir -p data/blue data/red
  ppm 32 $((150 + 8 * i)) $((19 * i)) 30 >data/red/$i.ppm
  ppm 32 30 $((19 * i)) $((150 + 8 * i)) >data/blue/$i.ppm
done
data=(--data data --image-size 32 --val-split 0.2 --batch-size 8 --epochs 1 --augment flip,crop --quiet)
for network in resnet8 vgg8 mlp:16x8; do
  for precision in fp32 bf16; do
    for threads in 1 2 3 4 7; do
      expect 0 train --model $network "${data[@]}" --precision $precision --threads $threads --out $threads.safetensors
      cmp -s <(weights 1.safetensors) <(weights $threads.safetensors) || fail "$network, $precision: $threads threads give other bits than one"
      rm -f $threads.best.safetensors $threads.state.safetensors
    done
  done
  for threads in 1 3; do
    expect 0 logits --model 7.safetensors --data data --batch-size 3 --threads $threads --out $threads.npy --quiet
    cmp -s 1.npy $threads.npy || fail "$network: logits by $threads threads have other bits"
  done
done
