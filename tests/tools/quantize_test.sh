#!/usr/bin/env bash
# quantize: a model in 8-bit integers that every command takes, and what is refused.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/train/{blue,red} data/test/{blue,red} flat
for i in 1 2 3 4 5 6; do
  ppm 16 $((150 + 15 * i)) $((20 * i)) 30 >data/train/red/$i.ppm
  ppm 16 30 $((20 * i)) $((150 + 15 * i)) >data/train/blue/$i.ppm
done
cp data/train/red/2.ppm data/test/red/1.ppm
cp data/train/blue/3.ppm data/test/blue/1.ppm
cp data/train/red/1.ppm flat/a.ppm
cp data/train/blue/1.ppm flat/b.ppm
expect 0 train --model resnet8 --data data --image-size 16 --epochs 2 --batch-size 4 --out net.safetensors --quiet

expect 0 quantize --model net.safetensors --data data --images 8 --out small.safetensors --json
expect_json_alone
expect_json out small.safetensors
expect_json calibrated_on 8
expect_json samples 2
holds "$(json agreement)" '>=' 0 || fail "no agreement"
holds "$(json accuracy_float)" '>=' 0 || fail "no accuracy in float"
holds "$(json accuracy_int8)" '>=' 0 || fail "no accuracy in 8 bits"
holds "$(json bytes)" '<' "$(($(json bytes_float) / 3))" || fail "small.safetensors is no third of net.safetensors"
grep -q '"dtype":"I8"' small.safetensors || fail "no weight is stored in 8 bits"

# As any other model.
expect 0 predict --model small.safetensors data/test/red/1.ppm --json
expect 0 eval --model small.safetensors --data data --json
expect_json samples 2
expect 0 logits --model small.safetensors --data data --split train --out logits.npy
expect 0 distill --student resnet8 --data data --image-size 16 --epochs 1 --batch-size 4 --logits logits.npy --out student.safetensors --quiet
expect 0 summary --model small.safetensors
grep -q 'Conv2d int8' stdout || fail "summary does not say that layers are in 8 bits"
grep -q '^quantized .*int8, calibrated on 8 images' stdout || fail "summary does not say how it was quantized"
grep -q '^accuracy_int8 ' stdout || fail "the file does not keep its accuracy"
grep -q '^layer3.0.downsample.0 .*layer3.0.conv2' stdout || fail "summary does not say where the branches of an 8-bit network meet"
expect 0 graph --model small.safetensors --out small.svg --json
expect_json joins 3
expect_json forks 3
expect 0 verify small.safetensors
expect 0 export --model small.safetensors --out small.onnx
for op in QuantizeLinear DequantizeLinear; do grep -q $op small.onnx || fail "the ONNX file has no $op"; done

# A folder without labels: what stays to say is how often the answers are the same.
expect 0 quantize --model net.safetensors --data flat --out unlabelled.safetensors
grep -q '^same answer ' stdout || fail "no agreement is printed"
if grep -q '^accuracy' stdout; then fail "an accuracy without labels"; fi

# A student that learns on while it rounds as 8 bits will, and is saved in them; resumed, to the same bits.
expect 0 logits --model net.safetensors --data data --split train --out train.npy
learn=(distill --student net.safetensors --data data --image-size 16 --logits train.npy --epochs 3 --batch-size 4 --lr 0.0005 --schedule constant --precision int8 --quiet)
expect 0 "${learn[@]}" --out learnt.safetensors --log learnt.jsonl
grep -q '"dtype":"I8"' learnt.safetensors || fail "--precision int8 saves no 8-bit weights"
expect 0 eval --model learnt.safetensors --data data --json
expect_json samples 2
expect 0 summary --model learnt.safetensors
grep -q '^quantized .*int8, trained so, calibrated on 10 images' stdout || fail "summary does not say how it was made"
expect 0 train --model net.safetensors --data data --image-size 16 --epochs 1 --batch-size 4 --precision int8 --quiet --out plain.safetensors
other_weights learnt.safetensors plain.safetensors "the teacher does nothing"
expect 0 "${learn[@]}" --epochs 2 --keep-state --out resumed.safetensors
expect 0 "${learn[@]}" --resume --out resumed.safetensors
cmp -s <(weights learnt.safetensors) <(weights resumed.safetensors) || fail "a resumed run has other bits"
expect 0 "${learn[@]}" --resume --out resumed.safetensors --report again.html
expect_error 1 '--precision' "${learn[@]}" --resume --precision fp32 --out learnt.safetensors
expect_error 2 '--precision: int8 rounds a network that is trained; give its file in place of an architecture' \
  distill --student resnet8 --data data --logits train.npy --epochs 1 --precision int8 --out again.safetensors --quiet

expect_error 1 'small.safetensors: its layers are 8-bit already; give the model that it was made of' \
  quantize --model small.safetensors --data data --out again.safetensors
expect_error 1 'its layers are 8-bit, which have no gradient; give the model that it was made of' \
  train --model small.safetensors --data data --epochs 1 --out again.safetensors --quiet
expect_error 1 'its layers are 8-bit, which have no gradient; give the model that it was made of' \
  distill --student small.safetensors --data data --logits logits.npy --epochs 1 --out again.safetensors --quiet
expect_error 1 'holds 8-bit integers, from which no training starts' \
  train --model resnet8 --warm-start small.safetensors --data data --image-size 16 --epochs 1 --out again.safetensors --quiet
expect_error 2 '--out: net.safetensors is the model itself; name another file' \
  quantize --model net.safetensors --data data --out net.safetensors
expect_error 2 '--images' quantize --model net.safetensors --data data --images 0 --out again.safetensors
expect_error 1 'small.safetensors: its layers are 8-bit, and a C file computes in float' export --model small.safetensors --out small.c
[[ ! -e again.safetensors ]] || fail "a refused command wrote its file"
