#!/usr/bin/env bash
# watch: curves from logs, once and while they grow, as text and as a page.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

epoch() { # number, training loss, validation loss, accuracy
  printf '{"epoch":%d,"step":%d,"lr":0.01,"train_loss":%s,"train_accuracy":0.5,"val_loss":%s,"val_accuracy":%s,"selected":true,"images_per_second":210.4,"seconds":1.5}\n' \
    "$1" "$((10 * $1))" "$2" "$3" "$4"
}
mkdir runs
{ epoch 1 2.0 2.1 0.25; epoch 2 1.0 1.5 0.75; epoch 3 0.5 1.6 0.5; } >runs/a.jsonl
{ epoch 1 3.0 3.1 0.10; epoch 2 2.0 2.5 0.20; } >runs/b.jsonl

# One run: its last epoch, its best, training and validation.
expect 0 watch runs/a.jsonl
[[ $(sed -n 1p stdout) == "a  epoch 3  loss 0.5, val 1.6  accuracy 50.00%, best 75.00% in epoch 2  210/s" ]] || fail "the line of a run: $(sed -n 1p stdout)"
grep -q "^accuracy, %   a training   b validation$" stdout && grep -q "^loss   a training   b validation$" stdout || fail "the charts"
! grep -q "KL" stdout || fail "a chart of what there is not"
# The highest accuracy stands on top, the lowest at the bottom, epochs from left to right.
grep -qE '^ +75 \| *b' stdout && grep -qE '^ +25 \|b' stdout && grep -qE '^ +1 +epoch +3$' stdout || fail "the axes"
[[ $(awk '{ print length }' stdout | sort -n | tail -n 1) -le 80 ]] || fail "lines are longer than 80 columns"

# Several: a letter each, of validation.
expect 0 watch runs/a.jsonl runs/b.jsonl --once
grep -q "^a a  epoch 3 " stdout && grep -q "^b b  epoch 2 " stdout && grep -q "^loss on validation$" stdout || fail "two runs"
mkdir x y && cp runs/a.jsonl x/run.jsonl && cp runs/b.jsonl y/run.jsonl
expect 0 watch x/run.jsonl y/run.jsonl
grep -q "^a x/run  epoch 3" stdout && grep -q "^b y/run  epoch 2" stdout || fail "names that tell runs apart"

expect 0 watch runs/a.jsonl --json
expect_json_alone
expect_json epochs 3
expect_json val_accuracy 0.5
[[ $(values val_accuracy | sed -n 2p) == 0.75 ]] || fail "the best epoch"

# As a page, once: without refreshing itself.
expect 0 watch runs/a.jsonl runs/b.jsonl --once --html page.html
grep -q "<title>Training: 2 runs</title>" page.html && grep -q "75.00% in epoch 2" page.html && grep -q "<svg" page.html || fail "the page"
! grep -q 'http-equiv="refresh"' page.html || fail "a page that is done refreshes itself"

# As a page, while a run goes on: a half-written line is none yet, and the end takes the refreshing away.
head -c -20 <(epoch 4 0.4 1.2 0.9) >>runs/a.jsonl
"$RETORT" watch runs/a.jsonl runs/later.jsonl --html live.html >stdout 2>stderr &
watcher=$!
wait_for() { for _ in $(seq 100); do grep -q "$1" live.html 2>/dev/null && return; sleep 0.1; done; fail "the page never says $1"; }
wait_for "75.00% in epoch 2"
grep -q 'http-equiv="refresh"' live.html || fail "a live page does not refresh itself"
{ epoch 1 2.0 2.1 0.25; epoch 2 1.0 1.5 0.75; epoch 3 0.5 1.6 0.5; epoch 4 0.4 1.2 0.9; } >runs/a.jsonl
epoch 1 9 9 0.4 >runs/later.jsonl
wait_for "90.00% in epoch 4"
wait_for "40.00% in epoch 1"
kill -TERM $watcher
wait $watcher || fail "watch ended with $?"
! grep -q 'http-equiv="refresh"' live.html || fail "the page still refreshes itself"
[[ ! -s stdout && ! -s stderr ]] || fail "watch without a terminal says something"

# In a terminal: drawn anew, in colours.
if command -v script >/dev/null; then
  drawn() { grep -qs $'\033\[H' typed && grep -q $'\033\[36m' typed && grep -q "Ctrl-C ends this view" typed; }
  timeout 60 script -qfec "'$RETORT' watch runs/a.jsonl" typed >/dev/null 2>&1 </dev/null &
  viewer=$!
  for _ in $(seq 300); do drawn && break; sleep 0.1; done
  kill $viewer 2>/dev/null || true
  wait $viewer || true
  drawn || fail "the terminal's view"
fi

# A run's own log.
mkdir -p data/blue data/red
for i in 1 2 3 4; do ppm 8 200 20 $((20 * i)) >data/red/$i.ppm; ppm 8 20 $((20 * i)) 200 >data/blue/$i.ppm; done
expect 0 train --model mlp: --data data --image-size 8 --epochs 2 --batch-size 4 --val-split 0 --out n.safetensors --log n.jsonl --quiet
expect 0 watch n.jsonl
grep -q "^n  epoch 2  loss " stdout && grep -q "^accuracy, %   a training$" stdout || fail "a log without validation"

printf '{"epoch":1,"train_loss":nonsense}\n{"epoch":2}\n' >broken.jsonl
expect_error 1 "broken.jsonl: line 1 is no epoch of a run; give a file that --log wrote" watch broken.jsonl
expect_error 1 "missing.jsonl: no epoch is there yet" watch missing.jsonl
expect_error 2 "--html: n.jsonl.html" watch n.jsonl.html --once --html n.jsonl.html
expect_error 2 "LOG" watch
# What a name holds steers no terminal.
cp n.jsonl $'\033[31mred.jsonl'
expect 0 watch $'\033[31mred.jsonl'
! grep -q $'\033' stdout || fail "a name steers the terminal"
