#!/usr/bin/env bash
# combine: an ensemble from stores equals the live one. distill --omit-classes and bias: classes that are never seen.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/green data/red
for i in 1 2 3 4 5 6 7 8 9; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((150 + 10 * i)) $((20 * i)) >data/green/$i.ppm
  ppm 8 $((20 * i)) 30 $((150 + 10 * i)) >data/blue/$i.ppm
done
part=(--data data --val-split 0.25 --image-size 8)
for seed in 1 2; do
  expect 0 train --model mlp:8 "${part[@]}" --epochs 20 --batch-size 5 --optimizer sgd --lr 0.05 --augment none --seed $seed --out teacher$seed.safetensors
  expect 0 logits --model teacher$seed.safetensors "${part[@]}" --split train --out store$seed.npy
done

# The same bits as the teachers run together, whatever the mean.
for combine in logit arithmetic geometric; do
  expect 0 logits --model teacher1.safetensors,teacher2.safetensors --combine $combine "${part[@]}" --split train --out live.npy
  expect 0 combine store1.npy store2.npy --combine $combine --out stored.npy --json
  expect_json_alone
  expect_json stores 2
  cmp -s live.npy stored.npy || fail "$combine: stores and live teachers give other bits"
  cmp -s live.json stored.json || fail "$combine: stores and live teachers give other indices"
done
expect 0 combine store1.npy store2.npy --weights 3,1 --out weighted.npy --csv weighted.csv
expect 0 combine store1.npy store2.npy --out unweighted.npy
! cmp -s weighted.npy unweighted.npy || fail "weights change nothing"
expect 0 combine store1.npy store1.npy --weights 3,1 --out same.npy
cmp -s same.npy store1.npy || fail "a store combined with itself is another"
expect 0 logits --model teacher1.safetensors,teacher2.safetensors --teacher-weights 3,1 "${part[@]}" --split train --out live.npy
cmp -s live.npy weighted.npy || fail "weighted: stores and live teachers give other bits"
expect 0 combine store1.npy store2.npy --teacher-weights 3,1 --out named.npy
cmp -s named.npy weighted.npy || fail "--teacher-weights of stores"
# --weights is a file where networks are trained: help offers numbers under the other name alone.
expect 0 combine --help
grep -q -- "--teacher-weights" stdout && ! grep -q -- " --weights" stdout || fail "combine offers --weights"
expect_error 2 "--teacher-weights" combine store1.npy store2.npy --weights 1 --out x.npy
expect_error 2 "--teacher-weights" combine store1.npy store2.npy --weights 1,0 --out x.npy
expect_error 2 "two stores" combine store1.npy --out x.npy
expect_error 2 "--combine" combine store1.npy store2.npy --combine median --out x.npy
expect_error 2 "--out" combine store1.npy store2.npy --out x.txt
expect 0 logits --model teacher2.safetensors "${part[@]}" --split val --out val.npy
expect_error 1 "val.npy: has other image names than store1.npy" combine store1.npy val.npy --out x.npy
expect 0 train --model mlp:4 "${part[@]}" --classes blue,green --epochs 1 --out two.safetensors
expect 0 logits --model two.safetensors "${part[@]}" --classes blue,green --split train --out two.npy
expect_error 1 "two.npy: has other classes than store1.npy" combine store1.npy two.npy --out x.npy
expect 0 logits --model teacher2.safetensors "${part[@]}" --split train --augment flip --out views.npy
expect_error 1 "views.npy: has other views than store1.npy" combine store1.npy views.npy --out x.npy
cp -r data changed && for image in changed/red/*; do ppm 8 9 9 9 >"$image"; done
expect 0 logits --model teacher2.safetensors "${part[@]}" --data changed --split train --out changed.npy
expect_error 1 "changed.npy: has other image contents than store1.npy" combine store1.npy changed.npy --out x.npy
expect_error 1 "data: has 3 classes where two.safetensors has 2" eval --model two.safetensors "${part[@]}"

# Live teachers are weighed as stores are.
taught=(distill --student mlp:8 "${part[@]}" --epochs 5 --batch-size 5)
both=(--teacher teacher1.safetensors,teacher2.safetensors --augment none)
expect 0 "${taught[@]}" --logits weighted.npy --out stored.safetensors
expect 0 "${taught[@]}" "${both[@]}" --teacher-weights 3,1 --out live.safetensors

for name in stored live; do
  expect 0 eval --model $name.safetensors "${part[@]}" --json
  mv stdout $name.eval
done
cmp -s stored.eval live.eval || fail "weighted live teachers give another student than the weighted store"
expect 0 "${taught[@]}" "${both[@]}" --out equal.safetensors
expect 0 eval --model equal.safetensors "${part[@]}" --json
cmp -s stdout live.eval && fail "--teacher-weights changes nothing"
expect_error 1 "--teacher-weights" "${taught[@]}" "${both[@]}" --teacher-weights 1,3 --resume --out live.safetensors --quiet
expect_error 2 "--teacher-weights: 1 for 2 teachers" "${taught[@]}" "${both[@]}" --teacher-weights 1 --out x.safetensors
expect_error 2 "--teacher-weights: 0 " "${taught[@]}" "${both[@]}" --teacher-weights 1,0 --out x.safetensors
expect_error 2 "--teacher-weights: goes with" "${taught[@]}" --logits store1.npy --teacher-weights 1,2 --out x.safetensors
expect_error 2 "--teacher-weights: 3 for 2 teachers" logits --model teacher1.safetensors,teacher2.safetensors \
  --teacher-weights 1,2,3 "${part[@]}" --out x.npy

# Flags of the input win over the file's, and the store keeps what was used.
expect 0 logits --model teacher1.safetensors --mean 0.1,0.1,0.1 "${part[@]}" --split train --out mean.npy
! cmp -s mean.npy store1.npy || fail "--mean changes nothing in logits"
tr -d ' \n' <mean.json | grep -q '"mean":\[0.1,0.1,0.1\]' || fail "the store does not keep --mean"
expect_error 2 "',' names no model file" logits --model , "${part[@]}" --split train --out x.npy

# A class that the student never sees, from a store and live, to the same bits; its bias then wins some of it back.
student=(--student mlp:8 "${part[@]}" --epochs 30 --batch-size 5 --optimizer sgd --lr 0.05 --lambda 0 --temperature 4)
expect 0 distill "${student[@]}" --logits store1.npy --omit-classes red --out blind.safetensors
expect 0 distill "${student[@]}" --teacher teacher1.safetensors --augment none --omit-classes red --out live.safetensors
cmp -s blind.safetensors live.safetensors || fail "cached and live teacher give other bits with a class left out"
grep -q '"omitted":"red"' blind.safetensors || fail "the student's file does not say what it has not seen"
expect 0 distill "${student[@]}" --logits store1.npy --out seeing.safetensors
other_weights blind.safetensors seeing.safetensors "--omit-classes leaves nothing out"
# One of the students that see least of red, and tell it apart all the same.
expect 0 distill "${student[@]}" --logits store1.npy --omit-classes red --temperature 1 --seed 1 --out blind.safetensors
expect 0 bias --model blind.safetensors "${part[@]}" --split train --shift red --out shifted.safetensors --json
expect_json_alone
expect_json samples 21
holds "$(json errors)" '<' "$(json errors_before)" || fail "the shift saves no errors"
expect 0 bias --model blind.safetensors "${part[@]}" --shift red --mean 0.1,0.1,0.1 --out mean.safetensors
head -c 2000 mean.safetensors | grep -aq '"mean":"\[0.1,0.1,0.1\]"' || fail "--mean changes nothing in bias"
expect 0 bias --model shifted.safetensors "${part[@]}" --split train --shift red --out again.safetensors --json
expect_json shift 0.0
expect_error 2 "--omit-classes: no class 'pink'" distill "${student[@]}" --logits store1.npy --omit-classes pink --out x.safetensors --quiet
expect_error 2 "--omit-classes: leaves no image" distill "${student[@]}" --logits store1.npy --omit-classes red,green,blue --out x.safetensors --quiet
expect_error 2 "--shift: no class 'pink'" bias --model blind.safetensors "${part[@]}" --shift pink --out x.safetensors
expect_error 2 "--shift: names every class" bias --model blind.safetensors "${part[@]}" --shift red,green,blue --out x.safetensors
expect_error 2 "--out" bias --model blind.safetensors "${part[@]}" --shift red --out x.npy
mkdir pile && cp data/red/1.ppm data/blue/2.ppm pile
expect_error 2 "--omit-classes: the images have no labels" distill --student mlp: --data pile --image-size 8 --lambda 0 --teacher teacher1.safetensors --omit-classes red --out x.safetensors --quiet
[[ ! -e x.safetensors && ! -e x.npy ]] || fail "a failed command left a file"
