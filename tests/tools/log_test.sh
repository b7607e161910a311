#!/usr/bin/env bash
# What a run says while it trains: a line an epoch, what * means, why it stops, which numbers there are.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/red data/blue flat
for ((i = 0; i < 10; ++i)); do
  ppm 4 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 4 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
  cp data/red/$i.ppm flat/$i.ppm
done
part=(--image-size 4 --batch-size 4 --threads 1)
train=(train --model mlp: --data data --val-split 0.2 "${part[@]}")

# --early-stop: why the run ends before its last epoch. At this rate the loss soon rises.
expect 0 "${train[@]}" --lr 0.5 --epochs 400 --early-stop 2 --out early.safetensors
last=$(grep -oE '^epoch [0-9]+/400' stderr | tail -n 1 | grep -oE '[0-9]+/' | tr -d /)
((last < 400)) || fail "--early-stop does not stop"
grep -qxF "stopped after epoch $last of 400: the validation loss has not fallen for 2 epochs, and --early-stop asks for no more" stderr ||
  fail "a run stops early and does not say why"
expect 0 "${train[@]}" --epochs 2 --early-stop 2 --out whole.safetensors
! grep -q "^stopped" stderr || fail "a whole run says that it was stopped"

# *: explained once, by the line after the first that has one.
[[ $(grep -cF "* marks the epoch that is best on validation so far, kept in whole.best.safetensors" stderr) == 1 ]] || fail "* is not explained once"
grep -A1 -m1 '^epoch .* \* ' stderr | tail -n 1 | grep -q '^\* marks' || fail "* is explained elsewhere"

# A line has at most 100 columns: in a long run the rate and the KL are left to the log, before numbers grow past it.
expect 0 "${train[@]}" --epochs 1 --out teacher.safetensors
expect 0 logits --model teacher.safetensors --data data --val-split 0.2 --split val --out val.npy
expect 0 distill --student mlp:4 --data data --val-split 0.2 "${part[@]}" --teacher teacher.safetensors --epochs 120 --lr 1e-5 --out s.safetensors --log s.jsonl
longest=$(grep '^epoch ' stderr | awk '{ if (length > most) most = length } END { print most }')
grep -qE '^epoch 1/120  lr 1e-05  train [0-9.]+ \(hard [0-9.]+ soft [0-9.]+\) [0-9.]+%  val [0-9.]+ .*%' stderr || fail "a line without its parts"
[[ $(grep -c '"val_kl".*"images_per_second"' s.jsonl) == 120 ]] || fail "the log lacks what the lines leave out"
((longest <= 100)) || fail "a line has $longest columns"

# Without labels there is no hard loss and no accuracy, neither in the lines nor in the log.
expect 0 distill --student mlp:4 --data flat --val-split 0.2 "${part[@]}" --teacher teacher.safetensors --epochs 2 --out flat.safetensors --log flat.jsonl
[[ $(grep -c '^epoch ' stderr) == 2 ]] || fail "not two lines"
! grep '^epoch ' stderr | grep -E 'hard|%' || fail "a hard loss or an accuracy without labels"
! grep -E 'hard_loss|accuracy' flat.jsonl || fail "the log has a hard loss or an accuracy without labels"
grep -q '"train_soft_loss"' flat.jsonl || fail "the log has no soft loss"

# A loss that is no number is said in words.
expect 1 "${train[@]}" --model mlp:4 --lr 1e25 --epochs 3 --out nan.safetensors --quiet
grep -qE '^retort: (loss|validation loss|weights): .*(is not a number|is infinite|is not finite) after step [0-9]+' stderr || fail "a run that diverges"
! grep -qiE -- '-?nan\b' stderr || fail "nan"

# How long the whole run takes is said once it can be told, after some ten seconds of a run of minutes.
"$RETORT" "${train[@]}" --epochs 1000000 --out long.safetensors 2>long.said &
long=$!
for ((second = 0; second < 90; ++second)); do
  grep -q "at this rate" long.said && break
  sleep 1
done
kill -INT $long
wait $long || true
[[ $(grep -cE '^about ([0-9]+ (minutes|days)|[0-9]+ h [0-9]+ min) left for all 1000000 epochs at this rate, validation not counted$' long.said) == 1 ]] ||
  fail "the time of the whole run is not said once: $(grep 'at this rate' long.said)"

# A log that something else wrote into: lines that are of no epoch are named by verify, and dropped by a resumed run.
log=("${train[@]}" --out odd.safetensors --log odd.jsonl)
expect 0 "${log[@]}" --epochs 2 --keep-state
cp odd.jsonl sound.jsonl
nested=$(printf '%*s' 100000 '' | tr ' ' '[')
for line in '{"epoch":"one"}' '{"epoch":1.5}' '[1]' "{\"epoch\":$nested" 'words'; do
  { echo "$line" && cat sound.jsonl; } >odd.jsonl
  [[ $line == *1.5* ]] || expect_error 1 "odd.jsonl: line 1 is no epoch of a run" watch --once odd.jsonl
  expect 1 verify odd.jsonl
  grep -qE '^bad odd.jsonl: line 1 (is not of epoch 1|is nested more than 32 deep|is not JSON)' stdout || fail "verify says: $(head -c 300 stdout)"
done
expect 0 "${log[@]}" --epochs 3 --resume
head -n 2 odd.jsonl | cmp - sound.jsonl || fail "a resumed run keeps a line that is of no epoch"
truncate -s 8G long.jsonl
expect 1 verify long.jsonl
grep -q "^bad long.jsonl: has 8589934592 bytes, and a text that is read whole at most" stdout || fail "verify says: $(head -c 300 stdout)"
