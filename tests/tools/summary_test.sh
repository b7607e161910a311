#!/usr/bin/env bash
# Parameters and multiply-adds of networks whose counts are known.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The published count of ResNet-18 (torchvision), and 1,814,073,344 multiply-adds at 224 px.
expect 0 summary --model resnet18 --json
expect_json_alone
expect_json parameters 11689512
expect_json macs 1814073344
expect_json image_size 224
[[ ! -s stderr ]] || fail "stderr is not empty"
# The layers' parameters add up to the total: no running statistics, nothing twice.
sum=$(sed 's/.*"layers"//' stdout | grep -oE '"parameters":[0-9]+' | awk -F: '{ sum += $2 } END { print sum }')
[[ $sum == 11689512 ]] || fail "the layers' parameters add up to $sum"
grep -q '"name":"layer1.0.conv1","kind":"Conv2d","output":"64x56x56","parameters":36864,"macs":115605504' stdout ||
  fail "layer1.0.conv1"

# Shortcuts: the first block's sum reads its last convolution and what came into the block.
grep -qF '{"name":"add 1","inputs":["layer1.0.conv2","conv1"]}' stdout || fail "the first shortcut"
expect 0 summary --model inception_v3
grep -qE '^concat 1  <-  Mixed_5b.branch1x1.conv, Mixed_5b.branch5x5_2.conv, Mixed_5b.branch3x3dbl_3.conv, Mixed_5b.branch_pool.conv$' stdout ||
  fail "Inception's branches: $(grep concat stdout | head -1)"

expect 0 summary --model mlp:800x800 --json
expect_json parameters 1276810  # 784 * 800 + 800 + 800 * 800 + 800 + 800 * 10 + 10
expect 0 summary --model resnet20 --image-size 64 --json
expect_json macs 163250816  # four times the pixels of 32 px but for the classifier's 640
expect 0 summary --model mlp:
grep -qE '^total +7,850 +7,840$' stdout || fail "the table's last line"
expect_error 2 "too small" summary --model inception_v3 --image-size 32

# What a model's file says of itself: classes, input, and of a student T, lambda and teacher.
mkdir -p data/red data/blue
for i in 1 2 3 4; do ppm 4 200 $i 30 >data/red/$i.ppm; ppm 4 30 $i 200 >data/blue/$i.ppm; done
part=(--data data --val-split 0 --image-size 4 --batch-size 4 --epochs 1 --threads 1)
expect 0 train --model mlp:4 "${part[@]}" --out teacher.safetensors
expect 0 distill --student mlp:2 "${part[@]}" --teacher teacher.safetensors --temperature 3 --lambda 0.25 --out student.safetensors
expect 0 summary --model student.safetensors
for row in "architecture +mlp:2" "classes +2: blue, red" "input +4 x 4 x 3, mean .*" "temperature +3" "lambda +0.25" "teacher's hash +[0-9a-f]+"; do
  grep -qE "^$row\$" stdout || fail "summary of a student has no row '$row'"
done
hash=$(sed -nE "s/^teacher's hash +//p" stdout)
expect 0 summary --model student.safetensors --json
expect_json temperature 3
expect_json teacher "$hash"
grep -qF '"class_names":["blue","red"]' stdout || fail "class_names"
