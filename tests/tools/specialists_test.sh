#!/usr/bin/env bash
# specialists: from a generalist to one student; what is written, what is reported, stopping and going on.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Reds and oranges are alike, so are blues and violets; green is alone.
mkdir -p data/blue data/green data/orange data/red data/violet
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
  ppm 8 $((190 + 5 * i)) $((8 * i)) 20 >data/red/$i.ppm
  ppm 8 $((190 + 5 * i)) $((60 + 8 * i)) 20 >data/orange/$i.ppm
  ppm 8 $((8 * i)) 20 $((190 + 5 * i)) >data/blue/$i.ppm
  ppm 8 $((60 + 8 * i)) 20 $((190 + 5 * i)) >data/violet/$i.ppm
  ppm 8 20 $((190 + 5 * i)) $((8 * i)) >data/green/$i.ppm
done
part=(--data data --val-split 0.25 --image-size 8 --batch-size 5)
expect 0 train --model mlp:8 "${part[@]}" --epochs 20 --lr 0.02 --out generalist.safetensors
run=(specialists --model generalist.safetensors --student mlp:6 "${part[@]}" --epochs 10 --lr 0.02 --temperature 2 --groups 3
  --specialist-epochs 6 --specialist-lr 0.01)
expect 0 "${run[@]}" --out one --json
expect_json_alone
grep -qF '"groups":[["blue","violet"],["green"],["orange","red"]]' stdout || fail "other groups"
grep -qF "specialist-1: blue, violet" stderr || fail "the list is not shown"
grep -qF "specialist-2: green (alone" stderr || fail "a class alone is not shown"
[[ -e one/specialist-1.safetensors && ! -e one/specialist-2.safetensors && -e one/specialist-3.safetensors ]] || fail "specialists"
[[ -z $(find one -name '*.start.*') ]] || fail "left behind: a specialist's start"
[[ $(grep -c '^| ' one/specialists.md) == 8 ]] || fail "specialists.md"
cp stdout result
expect 0 "${run[@]}" --out cached --cache pixels.cache
cmp -s one/student.safetensors cached/student.safetensors || fail "--cache gives other bits"

# The table's first and last rows are what eval says, the store between them is a store like any other.
reported() { sed -E "s/.*\"$1\":\\{\"accuracy\":([^,]*),.*/\\1/" result; }
expect 0 eval --model generalist.safetensors "${part[@]}" --json
expect_json accuracy "$(reported generalist)"
expect 0 eval --model one/student.safetensors "${part[@]}" --json --logits one/val.npy
expect_json accuracy "$(reported student)"
holds "$(json kl)" '>=' 0 || fail "no KL to the specialists' store"
expect 0 predict --model one/specialist-1.safetensors data/red/1.ppm --json
expect_json class dustbin
expect 0 distill --student mlp:6 "${part[@]}" --epochs 10 --lr 0.02 --temperature 2 --logits one/train.npy \
  --val-logits one/val.npy --out again.safetensors
expect 0 eval --model again.safetensors "${part[@]}" --json
expect_json accuracy "$(reported student)"

# Again: everything is there, the numbers are the same. Another generalist, or other settings, are refused.
expect 0 "${run[@]}" --out one --json
cmp -s stdout result || fail "a second call gives other numbers"
expect_error 1 "--lr" "${run[@]}" --specialist-lr 0.02 --out one --quiet
expect 0 train --model mlp:8 "${part[@]}" --epochs 20 --lr 0.02 --seed 1 --out other.safetensors
expect_error 1 "generalist" "${run[@]}" --model other.safetensors --out one --quiet

# Augmented views: the specialists train on such images, and the student sees those of the store.
expect 0 "${run[@]}" --views 3 --augment flip,jitter --out views --json
cp stdout result
expect 0 distill --student mlp:6 "${part[@]}" --epochs 10 --lr 0.02 --temperature 2 --logits views/train.npy --views 3 \
  --augment flip,jitter --out again.safetensors
expect 0 eval --model again.safetensors "${part[@]}" --json
expect_json accuracy "$(reported student)"
other_weights one/specialist-1.safetensors views/specialist-1.safetensors "--augment does not reach the specialists"

# Pictures without labels: the specialists do not train on them, the student does, by what all agree on.
mkdir pile
for i in 1 2 3 4 5 6 7 8; do ppm 8 $((187 + 6 * i)) $((30 + 9 * i)) 20 >pile/p$i.ppm; done
expect 0 "${run[@]}" --unlabelled pile --out more --json
cp stdout result
for i in 1 3; do
  cmp -s one/specialist-$i.safetensors more/specialist-$i.safetensors || fail "specialist $i trains on pictures without labels"
done
grep -qF '"p8.ppm"' more/train.json || fail "the store lacks the pictures without labels"
expect 0 distill --student mlp:6 "${part[@]}" --epochs 10 --lr 0.02 --temperature 2 --logits more/train.npy --unlabelled pile \
  --out again.safetensors
expect 0 eval --model again.safetensors "${part[@]}" --json
expect_json accuracy "$(reported student)"
other_weights one/student.safetensors more/student.safetensors "--unlabelled does not reach the student"
expect_error 1 "the run was started with" "${run[@]}" --out more --quiet
expect_error 2 "--unlabelled-share: there are no pictures" "${run[@]}" --unlabelled-share 0.5 --out x

# Every class alone: no specialist, and what is combined is the generalist.
expect 0 "${run[@]}" --groups 5 --out alone --json
[[ -z $(find alone -name 'specialist-*') ]] || fail "a specialist for a class alone"
cp stdout result
[[ $(reported combined) == $(reported generalist) ]] || fail "without specialists the generalist's answers change"

expect_error 2 "--views" "${run[@]}" --views 0 --out x
expect_error 2 "--groups: 9 " "${run[@]}" --groups 9 --out x
expect_error 2 "--groups" "${run[@]}" --groups 1 --out x
expect_error 2 "--specialist-lr: 0 " "${run[@]}" --specialist-lr 0 --out x
expect_error 2 "--val-split: 0 " "${run[@]}" --val-split 0 --out x
expect_error 2 "--lambda: 2 " "${run[@]}" --lambda 2 --out x
expect_error 2 "two classes leave nothing" "${run[@]}" --model "$(
  "$RETORT" train --model mlp:8 "${part[@]}" --classes red,blue --epochs 1 --out two.safetensors --quiet; echo two.safetensors)" \
  --classes red,blue --out x
expect_error 1 "has 5 classes where 3" "${run[@]}" --classes red,blue,green --out x
