#!/usr/bin/env bash
# sweep: a student for each temperature, lambda and seed; what it chooses and reports; stopping and going on.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/green data/red
for i in 1 2 3 4 5 6 7 8 9; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((150 + 10 * i)) $((20 * i)) >data/green/$i.ppm
  ppm 8 $((20 * i)) 30 $((150 + 10 * i)) >data/blue/$i.ppm
done
part=(--data data --val-split 0.25 --image-size 8)
expect 0 train --model mlp:8 "${part[@]}" --epochs 20 --batch-size 5 --lr 0.05 --out teacher.safetensors
expect 0 logits --model teacher.safetensors "${part[@]}" --split train --out store.npy
sweep=(sweep --student mlp:4 "${part[@]}" --logits store.npy --epochs 4 --batch-size 5 --lr 0.05 --hold-out 0.3)

# 7 images of each class to train on; 2 of them are held out, and 2 more are the validation part.
expect 0 "${sweep[@]}" --temperature 1,4 --lambda 0.1,1 --seeds 2 --out one --json
expect_json_alone
[[ $(grep -o '"seed":' stdout | wc -l) == 10 ]] || fail "not 8 runs and the 2 of the choice"
[[ $(wc -l <one/sweep.csv) == 9 ]] || fail "sweep.csv has not a line a run"
grep -q "on 6 training images held out" one/sweep.md || fail "sweep.md does not say how many chose"
grep -q "On the 6 images" one/sweep.md || fail "sweep.md does not say how many it reports on"

grep -qF "lambda" one/sweep.svg && [[ $(grep -c class=.cell. one/sweep.svg) == 4 ]] || fail "sweep.svg has not a cell a pair"

# The choice has the highest mean held-out accuracy, and ties go to the lower cross-entropy, then to the first.
best=$(awk -F, 'NR > 1 { k = $1 "," $2; if (!(k in a)) order[++n] = k; a[k] += $4; c[k] += $5 }
  END { for (i = 1; i <= n; ++i) { k = order[i]; if (b == "" || a[k] > a[b] || (a[k] == a[b] && c[k] < c[b])) b = k }; print b }' one/sweep.csv)
grep -q "Chosen: T = ${best%,*}, lambda = ${best#*,}, " one/sweep.md || fail "the choice is not $best"

# A student of a sweep is what eval says it is.
accuracy=$(awk -F, '$1 == 4 && $2 == 0.1 && $3 == 1 { print $6 }' one/sweep.csv)
expect 0 eval --model one/T4-lambda0.1-seed1.safetensors "${part[@]}" --split val --json
expect_json accuracy "$accuracy"

# Views other than the store's are refused before a run.
expect 0 logits --model teacher.safetensors "${part[@]}" --split train --views 2 --augment flip --out views.npy
expect_error 2 "--augment: teacher and student must see the same views, and those of views.npy were drawn otherwise" \
  sweep --student mlp:4 "${part[@]}" --logits views.npy --temperature 1 --lambda 0.1 --seeds 1 --augment crop --quiet --out refused

# With soft targets the temperature counts; with labels alone it does not.
other_weights one/T1-lambda0.1-seed0.safetensors one/T4-lambda0.1-seed0.safetensors "the temperature changes nothing"
[[ $(grep -c '^[14],1,0' one/sweep.csv) == 2 && $(grep '^[14],1,0' one/sweep.csv | cut -d, -f4- | sort -u | wc -l) == 1 ]] ||
  fail "the temperature counts at lambda 1"

[[ $(ls one/T*-lambda1-seed?.safetensors | wc -l) == 2 ]] || fail "lambda 1 is not trained once a seed"

# The same command finds everything done; a sweep that was begun smaller ends with the same numbers.
cp one/sweep.csv first.csv
expect 0 "${sweep[@]}" --temperature 1,4 --lambda 0.1,1 --seeds 2 --out one
cmp -s one/sweep.csv first.csv || fail "a finished sweep gives other numbers"
expect 0 "${sweep[@]}" --temperature 4 --lambda 1 --seeds 1 --out two
expect 0 "${sweep[@]}" --temperature 1,4 --lambda 0.1,1 --seeds 2 --out two
cmp -s two/sweep.csv first.csv || fail "a continued sweep gives other numbers"
expect_error 1 "--batch-size" "${sweep[@]}" --batch-size 4 --temperature 1 --lambda 1 --out two --quiet
for other in "--epochs 3" "--epochs 5" "--early-stop 2" "--mean 0.4,0.4,0.4" "--weights one/T1-lambda0.1-seed0.safetensors" "--no-winograd"; do
  flag=${other%% *}
  expect_error 1 "${flag#--} '" "${sweep[@]}" $other --temperature 1 --lambda 1 --out two --quiet
done

# Two classes take from some losses what sets them apart: said once, though the runs are quiet.
two=(--data data --classes red,blue --val-split 0.25 --image-size 8 --batch-size 5)
expect 0 train --model mlp:4 "${two[@]}" --epochs 1 --out two.safetensors
expect 0 logits --model two.safetensors "${two[@]:0:6}" --image-size 8 --split train --out two.npy
trap_sweep=(sweep --student mlp:4 "${two[@]}" --logits two.npy --epochs 1 --temperature 1,4 --lambda 0.1 --seeds 1 --hold-out 0.3)
expect 0 "${trap_sweep[@]}" --loss dist --out dist
[[ $(grep -c "warning: --loss dist: with two classes" stderr) == 1 ]] || fail "the binary trap is not named once"
expect 0 "${trap_sweep[@]}" --loss mse --out mse
grep -q "warning" stderr && fail "mse: a warning without a reason"
[[ $(ls mse/T*-seed?.safetensors | wc -l) == 1 ]] || fail "--loss mse, which has no temperature, is trained twice"
expect_error 2 "--standardize-logits: two" "${trap_sweep[@]}" --standardize-logits --out x

expect_error 2 "--logits: missing" sweep --student mlp:4 "${part[@]}" --out x
expect_error 2 "--temperature: 0 " "${sweep[@]}" --temperature 1,0 --out x
expect_error 2 "--lambda: 2 " "${sweep[@]}" --lambda 0,2 --out x
expect_error 2 "--seeds" "${sweep[@]}" --seeds 0 --out x
expect_error 2 "--hold-out: 1 " "${sweep[@]}" --hold-out 1 --out x
expect_error 2 "--mixup" "${sweep[@]}" --mixup 0.2 --out x
expect_error 2 "--val-split: 0 " sweep --student mlp:4 --data data --val-split 0 --image-size 8 --logits store.npy --out x
