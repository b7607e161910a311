#!/usr/bin/env bash
# distill with pictures of which only some have labels: scores by name from several tables, or from a live teacher.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red pile more
for i in 1 2 3 4 5 6 7 8; do
  ppm 12 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 12 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
  ppm 12 20 $((18 * i)) $((150 + 12 * i)) >more/m$i.ppm
done
for i in 1 2 3 4 5; do
  ppm 12 $((150 + 11 * i)) $((19 * i)) 25 >pile/r$i.ppm
  ppm 12 25 $((19 * i)) $((150 + 11 * i)) >pile/b$i.ppm
done
expect 0 train --model mlp:6 --data data --val-split 0.25 --image-size 8 --epochs 4 --lr 0.1 --out teacher.safetensors
expect 0 logits --model teacher.safetensors --data data --val-split 0.25 --split train --out train.npy --csv train.csv
expect 0 logits --model teacher.safetensors --data pile --val-split 0 --split train --out pile.npy --csv pile.csv
expect 0 logits --model teacher.safetensors --data more --val-split 0 --split train --out more.npy --csv more.csv

# Folders within a pile are no classes.
mkdir -p nested/2023 nested/2024/may && cp pile/r*.ppm nested/2023 && cp pile/b*.ppm nested/2024/may
expect_error 1 "classes" logits --model teacher.safetensors --data nested --out nested.npy --quiet
expect 0 logits --model teacher.safetensors --data nested --no-labels --out nested.npy --csv nested.csv
[[ $(wc -l <nested.csv) == 11 && $(grep -c '^2024/may/b[1-5].ppm,' nested.csv) == 5 ]] || fail "what is scored of a pile with folders"
expect 0 distill --student mlp:5 --data data --val-split 0.25 --image-size 8 --epochs 1 --unlabelled nested --logits train.npy --logits nested.npy --out of-nested.safetensors
expect_error 2 "--no-labels: takes the pictures of every part" logits --model teacher.safetensors --data nested --no-labels --split val --out y.npy --quiet
expect_error 2 "--no-labels: reads no classes" logits --model teacher.safetensors --data nested --no-labels --classes 2023 --out y.npy --quiet

student=(distill --student mlp:5 --data data --val-split 0.25 --image-size 8 --epochs 3 --batch-size 7)
both=(--unlabelled pile --unlabelled more)
expect 0 "${student[@]}" "${both[@]}" --logits train.npy --logits pile.npy --logits more.npy --out stores.safetensors
# 12 labelled, 18 others: of 7 rows round(7 * 18 / 30) are without, and 30 pictures are 4 batches.
grep -qF "data: 12 pictures with labels, 18 without (10 of pile, 8 of more); of the 7 in a batch 4 are without, 57%; an epoch has 4 batches" stderr ||
  fail "what was taken is not said"
grep -q "^teacher: right on [0-9.]*% of 12 labelled pictures, [0-9.]*% sure on average; at T = 4 " stderr || fail "the teacher is not judged"

# The same bits whichever form the scores have, in whichever order, and with the teacher itself.
expect 0 "${student[@]}" "${both[@]}" --logits more.csv --logits pile.csv --logits train.csv --out tables.safetensors
cmp -s <(weights stores.safetensors) <(weights tables.safetensors) || fail "tables teach other bits than stores"
{ cat train.csv; tail -n +2 pile.csv; tail -n +2 more.csv; } >all.csv
cp all.csv 'all,of them.csv'
expect 0 "${student[@]}" "${both[@]}" --logits 'all,of them.csv' --out table.safetensors
cmp -s <(weights stores.safetensors) <(weights table.safetensors) || fail "one table teaches other bits than three"
expect 0 "${student[@]}" "${both[@]}" --teacher teacher.safetensors --augment none --out live.safetensors
cmp -s <(weights stores.safetensors) <(weights live.safetensors) || fail "the live teacher teaches other bits"
mkdir bare && cp pile.npy bare/pile.npy
expect 0 "${student[@]}" "${both[@]}" --logits train.npy --logits bare/pile.npy --logits more.npy --out bare.safetensors
grep -qF "warning: bare/pile.npy: no index names its rows: they are taken for the 10 images without labels in the data's order" stderr ||
  fail "what is assumed of a .npy alone"
cmp -s <(weights stores.safetensors) <(weights bare.safetensors) || fail "a .npy alone teaches other bits"

# Folders of classes are no labels here.
mkdir classed && cp -r data/red classed/x && cp -r data/blue classed/y
expect 0 "${student[@]}" --unlabelled classed --teacher teacher.safetensors --out classed.safetensors
grep -qF "without (16 of classed)" stderr || fail "folders of classes"
# An array of as many rows as two sets of the pictures have may belong to either.
mkdir sixteen && for file in pile/*; do cp $file sixteen/s$(basename $file); done && for i in 1 2 3 4 5 6; do cp more/m$i.ppm sixteen/; done
expect 0 logits --model teacher.safetensors --data sixteen --val-split 0 --split train --out sixteen.npy
mv sixteen.npy bare/sixteen.npy
expect_error 1 "bare/sixteen.npy: 16 rows and no index that names them, which are those of more than one set" \
  "${student[@]}" --unlabelled sixteen --logits train.npy --logits bare/sixteen.npy --out y.safetensors --quiet

# What they add, and how much of it.
expect 0 "${student[@]}" --logits train.npy --out labelled.safetensors
other_weights stores.safetensors labelled.safetensors "pictures without labels teach nothing"
expect 0 "${student[@]}" "${both[@]}" --logits all.csv --unlabelled-share 0.3 --out share.safetensors
grep -qF "of the 7 in a batch 2 are without, 29%" stderr || fail "the share is not said"
other_weights stores.safetensors share.safetensors "--unlabelled-share does nothing"
expect_error 1 "--unlabelled-share" "${student[@]}" "${both[@]}" --logits all.csv --unlabelled-share 0.5 --resume --out share.safetensors --quiet
expect_error 1 "the run was started with" "${student[@]}" --unlabelled pile --logits all.csv --unlabelled-share 0.3 --resume --out share.safetensors --quiet
expect 0 "${student[@]}" --unlabelled pile --logits all.csv --omit-classes red --out omitted.safetensors --report page.html
grep -qF "data: 6 pictures with labels, 10 without" stderr || fail "--omit-classes beside --unlabelled"
[[ -s page.html ]] || fail "no report"

# Views, and scores that stand for them.
expect 0 logits --model teacher.safetensors --data data --val-split 0.25 --split train --views 3 --augment flip,crop --out train-views.npy
expect 0 logits --model teacher.safetensors --data pile --val-split 0 --split train --views 3 --augment flip,crop --out pile-views.npy
expect 0 "${student[@]}" --unlabelled pile --logits train-views.npy --logits pile-views.npy --out cached.safetensors
expect 0 "${student[@]}" --unlabelled pile --teacher teacher.safetensors --views 3 --augment flip,crop --out live.safetensors
cmp -s <(weights cached.safetensors) <(weights live.safetensors) || fail "cached and live views of both kinds give other bits"
expect 0 "${student[@]}" --logits train.csv --out still.safetensors
for table in train.csv train.npy; do
  expect 0 "${student[@]}" --logits $table --augment crop,flip --out crops.safetensors
  [[ $(grep -c "^--augment: a picture's score in $table stands for all its views, which the teacher did not see" stderr) == 1 ]] ||
    fail "$table: what the teacher did not see is not said once"
  other_weights still.safetensors crops.safetensors "$table: --augment does nothing"
done
expect 0 "${student[@]}" --unlabelled pile --logits all.csv --augment crop --out crops.safetensors

# In a sweep.
expect 0 sweep "${student[@]:1}" --unlabelled pile --logits train.csv --logits pile.csv --augment flip --temperature 2 --lambda 0.1 --seeds 1 --hold-out 0.2 --out sweep
grep -qF "without (10 of pile)" stderr || fail "sweep: what was taken is not said"
[[ $(grep -c "did not see" stderr) == 1 ]] || fail "sweep: the remark is not there once"

# Refused.
refuse() { expect_error "$1" "$2" "${student[@]}" --out y.safetensors --quiet "${@:3}"; }
refuse 1 "has no logits in train.csv,more.csv, nor have 9 others of the 22 pictures; add theirs, or leave these pictures out" \
  --unlabelled pile --logits train.csv --logits more.csv
refuse 1 "has no logits in train.npy, nor have 9 others" --unlabelled pile --logits train.npy
refuse 2 "--unlabelled-share: there are no pictures without labels" --logits train.npy --unlabelled-share 0.5
refuse 2 "--unlabelled-share: 1 " --unlabelled pile --logits all.csv --unlabelled-share 1
refuse 2 "--loss" --unlabelled pile --logits all.csv --loss nkd
refuse 2 "--cutmix: a store has no logits for blended images" --unlabelled pile --logits all.csv --cutmix 1
mkdir twice && cp pile/r1.ppm twice/
refuse 1 "r1.ppm: two of the images are called so" --unlabelled pile --unlabelled twice --logits all.csv
expect_error 2 "have no labels either" distill --student mlp:5 --data pile --unlabelled more --logits all.csv --image-size 8 --out y.safetensors --quiet
[[ ! -e y.safetensors ]] || fail "a failed command left a file"
