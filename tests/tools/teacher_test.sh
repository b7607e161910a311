#!/usr/bin/env bash
# A model from elsewhere as it is: an .onnx as teacher, as student and as a model file, and PyTorch's weights.
keras=$(cd "$(dirname "$0")/../golden/keras" && pwd)
source "$(dirname "$0")/common.sh"

# Four classes of 8 x 8 pixels: red, green, blue and grey, by what colour a picture is on the whole. Opset 17: Conv,
# HardSwish, GlobalAveragePool, Flatten, Gemm, Softmax.
base64 -d >tiny.onnx <<'BASE64'
CAg6rQMKHwoBeAoLc3RlbS53ZWlnaHQSAWEaBHN0ZW0iBENvbnYKFgoBYRIBYhoDYWN0IglIYXJkU3dpc2gKGQoBYhIBYyIRR2xvYmFsQXZlcm
FnZVBvb2wKDwoBYxIBZCIHRmxhdHRlbgo5CgFkCgtoZWFkLndlaWdodAoJaGVhZC5iaWFzEgFsGgRoZWFkIgRHZW1tKg0KBnRyYW5zQhgBoAEC
Cg8KAWwSAXAiB1NvZnRtYXgSAWcqSQgECAMIAQgBEAFCC3N0ZW0ud2VpZ2h0SjAAAIA/AAAAvwAAAL8AAAC/AACAPwAAAL8AAAC/AAAAvwAAgD
8AAAAAAAAAAAAAAAAqVQgECAQQAUILaGVhZC53ZWlnaHRKQAAAgEAAAAAAAAAAAAAAAAAAAAAAAACAQAAAAAAAAAAAAAAAAAAAAAAAAIBAAAAA
AAAAAAAAAAAAAAAAAAAAgEAqIQgEEAFCCWhlYWQuYmlhc0oQAAAAAAAAAAAAAAAAzcxMPVocCgF4EhcKFQgBEhEKAxIBbgoCCAMKAggICgIICG
IUCgFwEg8KDQgBEgkKAxIBbgoCCARCBAoAEBE=
BASE64
printf 'red\ngreen\nblue\ngrey\n' >names.txt
printf 'teacher,student\nred,warm\nblue,cold\ngreen,cold\n' >map.csv

# An image of one colour: write_ppm FILE RED GREEN BLUE
write_ppm() {
  mkdir -p "$(dirname "$1")"
  local pixel
  pixel=$(printf '\\x%02x\\x%02x\\x%02x' "$2" "$3" "$4")
  { printf 'P6\n8 8\n255\n'; for _ in $(seq 64); do printf "$pixel"; done; } >"$1"
}
for i in 0 1 2 3 4 5 6 7; do
  write_ppm data/warm/$i.ppm $((220 + i)) $((20 + 5 * i)) 30
  write_ppm data/cold/$i.ppm 30 $((20 + 9 * i)) $((210 + i))
done
pixels=(--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5)

# As it is: what the file does not say is said.
expect 0 predict --model tiny.onnx --class-names names.txt data/warm/0.ppm --top 1 "${pixels[@]}"
grep -qE '^data/warm/0.ppm  red ' stdout || fail "the teacher does not see red"
grep -qF 'tiny.onnx: its last op, Softmax, is left out' stderr || fail "the softmax is left out in silence"
! grep -qF 'does not' stderr || fail "what the flags say is said to be missing"
expect 0 predict --model tiny.onnx data/warm/0.ppm --top 1
grep -qF 'tiny.onnx: does not say how it takes pixels' stderr || fail "the pixels are taken in silence"
grep -qF 'tiny.onnx: does not name its classes: they are 0 to 3' stderr || fail "the classes are numbered in silence"
expect 0 eval --model tiny.onnx --class-names names.txt --class-map map.csv --data data --split train "${pixels[@]}" --json
expect_json accuracy 1.0
expect 0 summary --model tiny.onnx --quiet
grep -qE '^stem .*Conv2d' stdout || fail "summary does not show the layers"
expect 0 summary --model tiny.onnx --json --quiet
expect_json parameters 32
expect 0 graph --model tiny.onnx --out net.svg --quiet

# As a model file, which says everything.
expect 0 import --weights tiny.onnx --class-names names.txt "${pixels[@]}" --out teacher.safetensors --quiet
expect 0 predict --model teacher.safetensors data/cold/0.ppm --top 1
grep -qE '^data/cold/0.ppm  blue ' stdout || fail "the imported teacher does not see blue"
[[ ! -s stderr ]] || fail "the model file leaves something open"

# As a live teacher, on views of the pictures; as a student, with another head.
expect 0 distill --student mlp:4 --data data --image-size 8 --epochs 2 --threads 1 --teacher teacher.safetensors \
  --class-map map.csv --augment flip --out student.safetensors
grep -qF 'cold = 2 classes (corrected for 2' stderr || fail "the classes are folded in silence"
expect 0 train --model tiny.onnx --data data --epochs 12 --batch-size 4 --lr 0.1 --threads 1 "${pixels[@]}" --out tuned.safetensors
grep -qF 'its head `head` has 4 classes, not 2: it is replaced' stderr || fail "the head is replaced in silence"
expect 0 eval --model tuned.safetensors --data data --split train --threads 1 --json
holds "$(json accuracy)" '>=' 0.9 || fail "the network that was trained on is right on $(json accuracy)"
expect 0 distill --student tuned.safetensors --new-head --data data --epochs 1 --threads 1 --teacher teacher.safetensors \
  --class-map map.csv --out student.safetensors
grep -qF 'the layer of head.weight starts from fresh weights (--new-head)' stderr || fail "--new-head says nothing"

# Layers in place of the last one, of a file's network and of an architecture.
for model in tiny.onnx mlp:4; do
  expect 0 train --model $model --head 6,relu,dropout:0.2 --data data --image-size 8 --epochs 12 --batch-size 4 --lr 0.1 --threads 1 \
    "${pixels[@]}" --out headed.safetensors
  expect 0 eval --model headed.safetensors --data data --split train --threads 1 --json
  expect 0 summary --model headed.safetensors --quiet
  grep -qE '^new_head.0 .*Linear' stdout || fail "$model: summary does not show the head"
done
expect 0 distill --student headed.safetensors --data data --epochs 1 --threads 1 --teacher teacher.safetensors \
  --class-map map.csv --out again.safetensors
expect 0 summary --model again.safetensors --quiet
grep -qE '^new_head.0 .*Linear' stdout || fail "summary does not show the head"

# Attention: patches, a class token and two heads, as a teacher for a store and live, and as a network that trains.
cp "$keras/../../fuzz/corpus/onnx/attention" vit.onnx
printf 'teacher,student\n0,warm\n1,cold\n2,cold\n' >three.csv
small=(--data data --image-size 8 --epochs 1 --threads 1 --quiet)
expect 0 logits --model vit.onnx --data data --split train --class-map three.csv --out vit.npy --threads 1 --quiet
expect 0 distill --student mlp:4 "${small[@]}" --logits vit.npy --out from_store.safetensors
expect 0 distill --student mlp:4 "${small[@]}" --teacher vit.onnx --class-map three.csv --augment flip --out live.safetensors
expect 0 train --model vit.onnx --data data --epochs 2 --batch-size 4 --threads 1 --out vit.safetensors --quiet
expect 0 summary --model vit.safetensors --quiet
for kind in Token Position LayerNorm; do grep -qE " $kind " stdout || fail "summary does not show the $kind"; done
expect_error 1 "give images of the size that the network was made for" summary --model vit.onnx --image-size 6 --quiet

# Keras's files, where this build reads them: their layers, and pixels as their first layer takes them.
if "$RETORT" summary --model "$keras/net.h5" --quiet 2>&1 | grep -q 'which this build does not read'; then
  echo "skipped: this build reads no HDF5"
else
  expect 0 import --weights "$keras/net.keras" --out keras.safetensors
  grep -qF 'its first layers normalise pixels: mean [0.5,0.5,0.5]' stderr || fail "the pixels of Keras's model are taken in silence"
  grep -qF 'its last op, softmax, is left out' stderr || fail "the softmax of Keras's model is left out in silence"
  expect 0 predict --model keras.safetensors data/warm/0.ppm --top 1
  expect 0 summary --model "$keras/weights/net.weights.h5"
  grep -qF 'its network is read from' stderr || fail "the network beside the weights is taken in silence"
  cp "$keras/weights/net.weights.h5" lone.weights.h5
  expect_error 1 "lone.weights.h5: holds weights without their network; put the model's config.json beside it" summary \
    --model lone.weights.h5 --quiet
  expect_error 1 "layer conv1_conv (Conv2D) has a kernel of [3, 3, 3, 8], expected [7, 7, 3, 64]" import --model keras:ResNet50 --weights lone.weights.h5 \
    --out x.safetensors --quiet
  expect_error 1 "keras:ResNet: no network of Keras's that is built in; give keras:ResNet50" import --model keras:ResNet \
    --weights lone.weights.h5 --out x.safetensors --quiet
fi

# What is wrong is named.
expect_error 2 "--head: 'fly' is no layer; give widths" train --model mlp:4 --head 5,fly --data data --image-size 8 --out x.safetensors
expect_error 2 "--head: relu,5 begins with no width" train --model mlp:4 --head relu,5 --data data --image-size 8 --out x.safetensors
expect_error 1 "names.txt: has 4 names, and student.safetensors has 2 classes" predict --model student.safetensors \
  --class-names names.txt data/warm/0.ppm --quiet
head -c 300 tiny.onnx >short.onnx
expect_error 1 "short.onnx" summary --model short.onnx --quiet
printf '\x89HDF\r\n\x1a\n........' >keras.h5
expect_error 1 "keras.h5: is HDF5" summary --model keras.h5 --quiet
expect_error 2 "--new-head: a network that starts fresh has one in any case" train --model mlp:4 --new-head --data data \
  --image-size 8 --out x.safetensors
expect_error 2 "has weights of its own; leave --weights out" train --model tiny.onnx --weights tiny.onnx --data data \
  --out x.safetensors
[[ ! -e x.safetensors ]] || fail "a refused run wrote a model"

# EfficientNet-Lite0 sees cats and dogs on real photos: 118 breeds of these and 5 kinds of cat lean towards dogs by
# log(118 / 5), which the map takes back.
data=${RETORT_DATA:-$(dirname "$RETORT")/../../shared/data}
if [[ ! -f $data/teachers/efficientnet_lite0.onnx || ! -d $data/cats-dogs-test ]]; then
  echo "skipped: no teachers and cats-dogs-test in RETORT_DATA"
  exit 0
fi
names=$data/teachers/imagenet-classes.txt
{
  sed -n 282,286p "$names" | sed 's/$/,cat/'
  sed -n 152,269p "$names" | sed 's/.*/"&",dog/'
} >cats-dogs.csv
lite0=(--model "$data/teachers/efficientnet_lite0.onnx" --class-names "$names" --class-map cats-dogs.csv
  --data "$data/cats-dogs-test" --val-split 0 --split train --limit 60 --mean 0.498,0.498,0.498 --std 0.502,0.502,0.502)
expect 0 eval "${lite0[@]}" --json
corrected=$(json accuracy)
grep -qF 'dog = 118 classes (corrected for 118: -4.771)' stderr || fail "118 breeds are folded in silence"
expect 0 eval "${lite0[@]}" --no-prior --json
holds "$corrected" '>=' 0.93 || fail "EfficientNet-Lite0 is right on $corrected"
holds "$(json accuracy)" '<=' "$corrected" || fail "the correction makes it worse"
