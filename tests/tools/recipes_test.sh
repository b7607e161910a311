#!/usr/bin/env bash
# train's recipes: averaged weights, batch norm's statistics anew, milestones, learning rates by layer, pictures mixed.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9; do
  ppm 12 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 12 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
net=(train --model resnet8 --data data --val-split 0.25 --image-size 16 --batch-size 5 --epochs 3)
expect 0 "${net[@]}" --out base.safetensors --log base.jsonl
[[ $(grep -c "^batch norm's statistics were estimated anew over 14 training pictures before" stderr) == 1 ]] || fail "what is done to batch norm is not said once"
[[ $(grep -c '"recalibrated":14' base.jsonl) == 3 ]] || fail "the log does not say it"
expect 0 "${net[@]}" --bn-recalibrate off --out off.safetensors --log off.jsonl
grep -q "estimated anew" stderr && fail "off: statistics were estimated anew"
grep -q recalibrated off.jsonl && fail "off: the log says otherwise"
cmp -s <(tensor base.safetensors conv1.weight) <(tensor off.safetensors conv1.weight) || fail "statistics change the weights"
cmp -s <(tensor base.safetensors bn1.running_mean) <(tensor off.safetensors bn1.running_mean) && fail "statistics are the running ones"
expect 0 "${net[@]}" --bn-recalibrate 10 --out ten.safetensors --log ten.jsonl
[[ $(grep -c '"recalibrated":10' ten.jsonl) == 3 ]] || fail "not ten pictures"
expect_error 1 "--bn-recalibrate" "${net[@]}" --bn-recalibrate 6 --resume --out off.safetensors --quiet

# What a run does is said, and what of it is not the default. Without --epochs few pictures are passed over a hundred times.
said() { grep -qxF "recipe: $1" stderr || fail "the recipe is told otherwise than '$1'"; }
expect 0 "${net[@]}" --out told.safetensors
said "adamw, learning rate 0.002, weight decay 0.05, cosine, 3 epochs, augmentation flip,crop; other than the default: --batch-size 5"
expect 0 train --model mlp:2 --data data --image-size 4 --out tiny.safetensors
said "adamw, learning rate 0.002, weight decay 0.05, cosine, 100 epochs, augmentation flip,crop; the default"
expect 0 train --model mlp:2 --data data --image-size 4 --optimizer sgd --lr 0.1 --nesterov --augment none --epochs 1 --out plain.safetensors
said "sgd, learning rate 0.1, weight decay 0.0005, cosine, 1 epoch, augmentation none; other than the default: --optimizer sgd --lr 0.1 --nesterov"

differs() {
  expect 0 "${net[@]}" "$@" --out changed.safetensors --log changed.jsonl
  other_weights base.safetensors changed.safetensors "$* does nothing"
  expect_error 1 "$1" "${net[@]}" --resume --out changed.safetensors --quiet
}
differs --ema 0.9
differs --cutmix 1
differs --head-lr 0.3
differs --layer-decay 0.5
# Of three epochs the first moves the classifier alone.
expect 0 "${net[@]}" --unfreeze-every 1 --epochs 1 --schedule constant --out first.safetensors
expect 0 "${net[@]}" --lr 1e-30 --epochs 1 --schedule constant --out still.safetensors
cmp -s <(tensor first.safetensors layer3.0.conv2.weight) <(tensor still.safetensors layer3.0.conv2.weight) || fail "a frozen block moved"
cmp -s <(tensor first.safetensors fc.weight) <(tensor still.safetensors fc.weight) && fail "the classifier stood still"
expect 0 "${net[@]}" --unfreeze-every 1 --schedule constant --out later.safetensors
cmp -s <(tensor later.safetensors layer3.0.conv2.weight) <(tensor still.safetensors layer3.0.conv2.weight) && fail "a block never thawed"
cmp -s <(tensor later.safetensors conv1.weight) <(tensor still.safetensors conv1.weight) || fail "the stem thawed in three epochs"
expect_error 1 "--unfreeze-every" "${net[@]}" --resume --epochs 4 --schedule constant --out later.safetensors --quiet
# What fits of another network.
expect 0 train --model resnet14 --data data --val-split 0.25 --image-size 16 --batch-size 5 --epochs 1 --out deeper.safetensors
expect 0 "${net[@]}" --warm-start deeper.safetensors --lr 1e-30 --bn-recalibrate off --out warm.safetensors
grep -q "^deeper.safetensors: 29 of 29 parameters fit and are taken$" stderr || fail "what fits is not said"
cmp -s <(tensor warm.safetensors layer2.0.conv1.weight) <(tensor deeper.safetensors layer2.0.conv1.weight) || fail "what fits is not taken"
expect 0 train --model resnet14 --data data --val-split 0.25 --image-size 16 --batch-size 5 --epochs 1 --warm-start base.safetensors --out deep.safetensors
grep -q "^base.safetensors: 29 of 47 parameters fit and are taken; fresh: layer1.1.conv1.weight, layer1.1.bn1.weight, layer1.1.bn1.bias, ...$" stderr || fail "what starts fresh is not named"
expect_error 1 "base.safetensors: none of its " train --model mlp:6 --data data --val-split 0.25 --image-size 16 --epochs 1 --warm-start base.safetensors --out y.safetensors --quiet
expect_error 2 "--warm-start: --weights gives every tensor" "${net[@]}" --weights base.safetensors --warm-start base.safetensors --out y.safetensors --quiet
for words in erase randaugment flip,erase; do differs --augment $words; done
differs --milestones 1,2.5 --schedule step
[[ $(sed -E 's/.*"lr":([^,]*),.*/\1/' changed.jsonl | awk '{ printf "%.4g ", $1 }') == "0.002 0.0002 2e-05 " ]] || fail "milestones: the rates"
expect 0 "${net[@]}" --weight-decay 0.1 --out decayed.safetensors
expect 0 "${net[@]}" --weight-decay 0.1 --no-norm-decay --out spared.safetensors
other_weights decayed.safetensors spared.safetensors "--no-norm-decay does nothing"
# A resumed run has the average of one never stopped.
expect 0 "${net[@]}" --ema 0.9 --schedule constant --epochs 1 --out resumed.safetensors --keep-state
expect 0 "${net[@]}" --ema 0.9 --schedule constant --resume --out resumed.safetensors
expect 0 "${net[@]}" --ema 0.9 --schedule constant --out whole.safetensors
cmp -s <(weights resumed.safetensors) <(weights whole.safetensors) || fail "a resumed average has other bits"

refuse() { expect_error 2 "$1" "${net[@]}" --out y.safetensors "${@:2}"; }
refuse "--milestones: go with --schedule step" --milestones 2
refuse "--no-norm-decay: there is no decay" --weight-decay 0 --no-norm-decay
refuse "--bn-recalibrate: 'some' is not allowed; give off, auto or a number of pictures" --bn-recalibrate some
refuse "--bn-recalibrate: '0' is not allowed" --bn-recalibrate 0
refuse "--ema: 1 " --ema 1
refuse "--layer-decay: 0 " --layer-decay 0
refuse "--head-lr: 0 " --head-lr 0
refuse "--cutmix: -1 " --cutmix -1
refuse "--augment" --augment turn

# A packed set's own mean and deviation: half the pixels 0, half 255, so 0.5 and 0.5.
mkdir digits
idx() { printf '\x00\x00\x08'; printf "\\x0$1"; shift; local n; for n in "$@"; do printf "\\x00\\x00\\x00\\x$(printf %02x "$n")"; done; }
images() { idx 3 "$1" 4 4; for ((i = 0; i < $1; ++i)); do if ((i % 2)); then bytes 1 255 255 255 255 255 255 255 255 0 0 0 0 0 0 0 0; else bytes 1 0 0 0 0 0 0 0 0 255 255 255 255 255 255 255 255; fi; done; }
labels() { idx 1 "$1"; for ((i = 0; i < $1; ++i)); do bytes 1 $((i % 2)); done; }
for part in train t10k; do
  images 20 >digits/$part-images-idx3-ubyte
  labels 20 >digits/$part-labels-idx1-ubyte
done
digits=(train --model mlp:4 --data digits --epochs 2 --batch-size 5)
expect 0 "${digits[@]}" --out measured.safetensors
grep -qF "pixels: normalised by the training set's own mean 0.5000, deviation 0.5000" stderr || fail "measured pixels are not said: $(cat stderr)"
grep -q '"mean":"\[0.5\]"' measured.safetensors || fail "the model's file does not keep the mean"
expect 0 "${digits[@]}" --mean 0.5 --std 0.5 --out given.safetensors
grep -q "training set's own" stderr && fail "--mean: measured all the same"
cmp -s <(weights measured.safetensors) <(weights given.safetensors) || fail "0.5 measured and 0.5 given differ"
expect 0 "${digits[@]}" --weights measured.safetensors --out warm.safetensors
grep -q '"mean":"\[0.5\]"' warm.safetensors || fail "a file's own mean does not win"

# A run that learns nothing says so after its first epoch, and once.
mkdir -p same/a same/b
for i in 1 2 3 4 5; do ppm 12 124 116 104 | tee same/a/$i.ppm >same/b/$i.ppm; done
expect 0 train --model mlp: --data same --val-split 0.2 --image-size 8 --epochs 3 --batch-size 4 --out idle.safetensors
[[ $(grep -c "^nothing was learnt in this epoch: the labels' loss is that of guessing, ln 2 = 0.693" stderr) == 1 ]] || fail "a run that learns nothing says nothing"
expect 0 "${digits[@]}" --epochs 3 --lr 0.5 --out learning.safetensors
! grep -q "nothing was learnt" stderr || fail "a run that learns is said to learn nothing"
