#!/usr/bin/env bash
# export: what is written answers as the model does; the C file is compiled and run.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4; do
  ppm 32 $((150 + 20 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 32 30 $((20 * i)) $((150 + 20 * i)) >data/blue/$i.ppm
done
# Two images of 3 x 32 x 32.
{
  printf '\x93NUMPY\x01\x00\x76\x00'
  printf '%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 32, 32), }"
  # shellcheck disable=SC2046
  floats $(awk 'BEGIN { for (i = 0; i < 6144; ++i) printf "%d ", (i * 7919) % 2003 % 9 - 4 }')
} >x.npy

# Reads both arrays behind their headers; ends with 1 if a logit is further off than 2e-5 of the largest.
cat >check.c <<'C'
#include <math.h>
#include <stdio.h>
#include "net.c"
int main(void) {
  static float x[2 * net_pixels], wanted[2 * net_classes], found[2 * net_classes], workspace[net_workspace];
  FILE *images = fopen("x.npy", "rb"), *logits = fopen("y.npy", "rb");
  float largest = 0, off = 0;
  if (!images || !logits || fseek(images, 128, SEEK_SET) || fseek(logits, 128, SEEK_SET) ||
      fread(x, sizeof x, 1, images) != 1 || fread(wanted, sizeof wanted, 1, logits) != 1)
    return 2;
  for (int i = 0; i < net_workspace; ++i) workspace[i] = NAN;
  for (int n = 0; n < 2; ++n) net_forward(x + n * net_pixels, found + n * net_classes, workspace);
  for (int i = 0; i < 2 * net_classes; ++i) {
    largest = fmaxf(largest, fabsf(wanted[i]));
    off = found[i] == found[i] ? fmaxf(off, fabsf(found[i] - wanted[i])) : INFINITY;
  }
  printf("%s %s %g %g\n", net_class_names[0], net_class_names[1], (double)off, (double)largest);
  return !(off <= 2e-5f * largest);
}
C

compilers=()
for compiler in gcc clang; do command -v $compiler >/dev/null && compilers+=("$compiler"); done
for model in mlp:20x10 resnet8 resnet20 resnet14_a; do
  expect 0 train --model $model --data data --image-size 32 --epochs 2 --batch-size 4 --out net.safetensors --restart --quiet
  expect 0 forward --model net.safetensors --input x.npy --out y.npy
  expect 0 export --model net.safetensors --out net.onnx --json
  expect_json_alone
  expect_json out net.onnx
  expect_json bytes "$(wc -c <net.onnx)"
  mv y.npy wanted.npy
  expect 0 forward --model net.onnx --input x.npy --out y.npy
  cmp -s y.npy wanted.npy || [[ $model != mlp* ]] || fail "an mlp from its own ONNX file is another"
  mv wanted.npy y.npy
  expect 0 export --model net.safetensors --out net.c
  for compiler in "${compilers[@]}"; do
    $compiler -std=c99 -O1 -Wall -Wextra -Werror check.c -o check -lm || fail "$compiler refuses the C file of $model"
    ./check >checked || fail "$compiler: $model answers otherwise in C: $(cat checked)"
    grep -q '^blue red ' checked || fail "the C file names other classes: $(cat checked)"
  done
done
(( ${#compilers[@]} > 0 )) || echo "no C compiler here: the C files were not compiled"

# ONNX: metadata, and no temperature.
expect 0 logits --model net.safetensors --data data --split train --out train.npy
expect 0 distill --student resnet8 --data data --image-size 32 --epochs 1 --batch-size 4 --logits train.npy --temperature 7 --out student.safetensors
expect 0 export --model student.safetensors --fold-batch-norm --pixels --out student.onnx
grep -aq '\["blue","red"\]' student.onnx || fail "the file does not name its classes"
grep -aq resnet8 student.onnx || fail "the file does not say what it is"
! grep -aq temperature student.onnx || fail "the temperature stands in the file"
! grep -aq running_mean student.onnx || fail "batch norm is not folded"
expect 0 predict --model student.onnx data/red/1.ppm --json
probability=$(json probability)
expect 0 predict --model student.safetensors data/red/1.ppm --json
holds "$(distance "$(json probability)" "$probability")" '<' 1e-4 || fail "with pixels inside it predicts otherwise"

# npz: each array is there.
expect 0 export --model student.safetensors --out student.npz
grep -aq 'layer1.0.conv1.weight.npy' student.npz || fail "the .npz lacks a weight"
expect 0 export --model student.safetensors --format npz --out student.weights
cmp -s student.npz student.weights || fail "--format and the file's ending give two files"

expect_error 2 "--out: student.tflite ends like no format" export --model student.safetensors --out student.tflite
expect_error 2 "--out: student.safetensors is the model itself" export --model student.safetensors --format onnx --out student.safetensors
expect_error 2 "--fold-batch-norm: a .npz holds the weights as they are" export --model student.safetensors --fold-batch-norm --out x.npz
expect_error 2 "--fold-batch-norm: a C file always has it folded" export --model student.safetensors --fold-batch-norm --out x.c
expect_error 1 "missing.safetensors" export --model missing.safetensors --out x.onnx
expect_error 2 "--model" export --model resnet8 --out x.onnx
head -c 1000 student.safetensors >short.safetensors
expect_error 1 "short.safetensors" export --model short.safetensors --out x.onnx
[[ ! -e x.onnx && ! -e x.npz && ! -e x.c ]] || fail "a failed command left a file"
