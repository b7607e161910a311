#!/usr/bin/env bash
# import: a checkpoint without metadata becomes a model file that every command takes.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4; do
  ppm 2 $((150 + 20 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 2 30 $((20 * i)) $((150 + 20 * i)) >data/blue/$i.ppm
done
# One linear map of 12 pixels to 2 classes, as torch saves it: no metadata.
shape='{"layers.0.weight":{"dtype":"F32","shape":[2,12],"data_offsets":[0,96]},"layers.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[96,104]}}'
{ floats 0 0 0 0 0 0 0 0 1 1 1 1 1 1 1 1 0 0 0 0 0 0 0 0; floats 0 0; } | safetensors "$shape" >torch.safetensors
import=(import --model mlp: --weights torch.safetensors --data data)
expect_error 1 "torch.safetensors" eval --model torch.safetensors --data data
expect 0 "${import[@]}" --image-size 2 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --out model.safetensors --json
expect_json_alone
expect_json model model.safetensors
grep -q '"classes":\["blue","red"\]' stdout || fail "the classes are not the data's"
expect 0 eval --model model.safetensors --data data --split val --val-split 0.5 --json
expect_json accuracy 1.0
cp stdout imported
expect 0 eval --model mlp: --weights torch.safetensors --data data --split val --val-split 0.5 --image-size 2 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --json
cmp -s stdout imported || fail "an imported model is another than its checkpoint"
expect 0 logits --model model.safetensors --data data --split train --out train.npy
expect 0 distill --student mlp:3 --data data --image-size 2 --epochs 1 --teacher model.safetensors --out student.safetensors

expect_error 2 "--model: 'mlq:' is no architecture" import --model mlq: --weights torch.safetensors --data data --out x.safetensors
expect_error 2 "--out" "${import[@]}" --image-size 2 --out x.npy
expect_error 1 "missing.safetensors" import --model mlp: --weights missing.safetensors --data data --image-size 2 --out x.safetensors
expect_error 1 "layers.0.weight" "${import[@]}" --image-size 3 --out x.safetensors
mkdir -p other/blue other/red other/green && cp data/red/1.ppm other/red && cp data/red/2.ppm other/green && cp data/blue/1.ppm other/blue
expect_error 1 "layers.0.weight" import --model mlp: --weights torch.safetensors --data other --image-size 2 --out x.safetensors
[[ ! -e x.safetensors && ! -e x.npy ]] || fail "a failed command left a file"
