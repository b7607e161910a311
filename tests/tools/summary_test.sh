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

expect 0 summary --model mlp:800x800 --json
expect_json parameters 1276810  # 784 * 800 + 800 + 800 * 800 + 800 + 800 * 10 + 10
expect 0 summary --model resnet20 --image-size 64 --json
expect_json macs 163250816  # four times the pixels of 32 px but for the classifier's 640
expect 0 summary --model mlp:
grep -qE '^total +7,850 +7,840$' stdout || fail "the table's last line"
expect_error 2 "too small" summary --model inception_v3 --image-size 32
