#!/usr/bin/env bash
# train: the same bits again, after Ctrl-C, after a kill and from a shorter run; and every way to stop early.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
common=(--model mlp:8 --image-size 8 --val-split 0.2 --augment flip,jitter --dropout 0.2 --schedule constant)
net=("${common[@]}" --data data --batch-size 4 --optimizer adamw --lr 0.003)

# The files, the log, the numbers.
expect 0 train "${net[@]}" --epochs 40 --out a.safetensors --log a.jsonl --json
expect_json_alone
expect_json model a.safetensors
[[ $(wc -l <a.jsonl) == 40 ]] || fail "a log of $(wc -l <a.jsonl) lines"
for key in epoch step lr train_loss val_loss train_accuracy val_accuracy images_per_second seconds; do
  tail -n 1 a.jsonl | grep -q "\"$key\":" || fail "the log has no $key"
done
for file in a a.best a.state; do [[ -s $file.safetensors ]] || fail "no $file.safetensors"; done
weights_of_state=$(weights a.state.safetensors | wc -c)
((weights_of_state == 0)) || fail "a finished run's state keeps $weights_of_state bytes of tensors"
expect 0 eval --model a.safetensors --data data --val-split 0.2 --json
expect_json accuracy 1.0

same() { cmp -s a.safetensors "$1.safetensors" || fail "$1: other bits than a run never interrupted"; }

expect 0 train "${net[@]}" --epochs 40 --out again.safetensors
same again
expect 0 train "${net[@]}" --epochs 40 --out seed.safetensors --seed 1
cmp -s a.safetensors seed.safetensors && fail "another seed gave the same bits"

# What is finished is not trained again, and not by other flags; what was not kept is not continued in silence.
cp a.safetensors kept.safetensors
cp a.jsonl kept.jsonl
expect 0 train "${net[@]}" --epochs 40 --out a.safetensors --log a.jsonl --resume --json
expect_json_alone
expect_json model a.safetensors
[[ -n $(json epoch) ]] || fail "the epoch that is best is not told again"
grep -q "a.safetensors: its run is finished, after 40 epochs; nothing is left to do" stderr || fail "a finished run does not say so"
expect_error 1 "a.safetensors: its run is finished after 40 epochs, and the state from which 50 would go on was not kept; start from these weights with --weights a.safetensors and another --out, or train all of them with --restart" \
  train "${net[@]}" --epochs 50 --out a.safetensors --log a.jsonl --resume --quiet
expect_error 1 "a.state.safetensors: the run was started with --lr" train "${net[@]}" --lr 0.001 --epochs 40 --out a.safetensors --resume --quiet
mv a.safetensors away.safetensors
expect_error 1 "a.safetensors: not there, though a.state.safetensors says that its run is finished" \
  train "${net[@]}" --epochs 40 --out a.safetensors --resume --quiet
mv away.safetensors a.safetensors
cmp a.safetensors kept.safetensors && cmp a.jsonl kept.jsonl || fail "a finished run's files were changed"

# A shorter run, continued.
expect 0 train "${net[@]}" --epochs 15 --out longer.safetensors --log longer.jsonl --keep-state
(($(weights longer.state.safetensors | wc -c) > 2 * $(weights longer.safetensors | wc -c))) || fail "--keep-state keeps none"
expect 0 train "${net[@]}" --epochs 40 --out longer.safetensors --log longer.jsonl --resume --keep-state
grep -q "resumed from longer.state.safetensors at step [0-9]*, epoch 16" stderr || fail "a longer run does not say what it starts from"
(($(weights longer.state.safetensors | wc -c) > 0)) || fail "--keep-state keeps none at the longer end"
same longer
[[ $(wc -l <longer.jsonl) == 40 ]] || fail "the resumed log has $(wc -l <longer.jsonl) lines"

# Killed without warning, and stopped by Ctrl-C, somewhere in the middle.
for signal in KILL INT; do
  name=stopped-$signal status=0
  # A job in the background ignores Ctrl-C unless it is a process group of its own.
  set -m
  "$RETORT" train "${net[@]}" --epochs 40 --out $name.safetensors --log $name.jsonl 2>stderr &
  pid=$!
  set +m
  for ((i = 0; i < 2000; ++i)); do
    [[ -f $name.jsonl && $(wc -l <$name.jsonl) -ge 3 ]] && break
    sleep 0.005
  done
  kill -$signal $pid 2>/dev/null || true
  wait $pid 2>/dev/null || status=$?
  [[ -f $name.jsonl ]] || fail "$name: no log after ten seconds"
  lines=$(wc -l <$name.jsonl)
  if ((lines == 40)); then
    echo "not tested: $name ended before it was stopped"
  else
    [[ $signal == KILL || $status == 130 ]] || fail "Ctrl-C: status $status"
  fi
  compgen -G ".stopped-INT*.tmp" >/dev/null && fail "half-written files after Ctrl-C"
  expect 0 train "${net[@]}" --epochs 40 --out $name.safetensors --log $name.jsonl --resume
  same $name
done

# Mixed precision: the same bits again, from a shorter run too, and near float32.
conv=(--model resnet8x4 --image-size 16 --data data --val-split 0.2 --batch-size 4 --optimizer adamw --lr 0.003 --schedule constant)
expect 0 train "${conv[@]}" --epochs 2 --out fp32.safetensors --log fp32.jsonl
for name in bf16 bf16-again; do
  expect 0 train "${conv[@]}" --epochs 2 --precision bf16 --out $name.safetensors --log $name.jsonl
done
cmp -s bf16.safetensors bf16-again.safetensors || fail "bf16: other bits the second time"
cmp -s bf16.safetensors fp32.safetensors && fail "bf16 gave the bits of fp32"
expect 0 train "${conv[@]}" --epochs 1 --precision bf16 --out bf16-longer.safetensors --keep-state
expect 0 train "${conv[@]}" --epochs 2 --precision bf16 --out bf16-longer.safetensors --resume
cmp -s bf16.safetensors bf16-longer.safetensors || fail "bf16: other bits than a run never interrupted"
first_loss() { head -n 1 $1.jsonl >first.jsonl && last train_loss first.jsonl; }
# bf16 keeps 8 bits: 0.4% a rounding, through nine layers and four steps.
holds "$(distance "$(first_loss fp32)" "$(first_loss bf16)")" '<' 0.05 ||
  fail "training loss $(first_loss bf16) in bf16, $(first_loss fp32) in fp32"
expect 0 eval --model bf16.safetensors --data data --val-split 0.2 --json
expect_error 1 "--precision" train "${conv[@]}" --epochs 3 --out bf16-longer.safetensors --resume --quiet

# Other flags than the run's own.
expect_error 1 "--batch-size" train "${common[@]}" --data data --batch-size 5 --optimizer adamw --lr 0.003 --epochs 40 \
  --out longer.safetensors --resume --quiet

# What goes wrong keeps the last good model.
cp a.safetensors kept.safetensors
expect_error 1 "learning rate" train "${common[@]}" --data data --epochs 3 --lr 1e30 --out kept.safetensors --quiet
same kept
RETORT_MEMORY_LIMIT=4096 expect_error 1 "try smaller batches or images" train "${net[@]}" --epochs 3 --out kept.safetensors --quiet
same kept
expect_error 1 "data/none" train --model mlp:8 --image-size 8 --data data/none --out x.safetensors
expect_error 1 "data/red" train --model mlp:8 --image-size 8 --data data/red --out x.safetensors
mkdir -p one/red && cp data/red/1.ppm one/red
expect_error 1 "one: one class only" train --model mlp:8 --image-size 8 --data one --out x.safetensors
touch file
expect_error 1 "file/x.safetensors" train "${net[@]}" --out file/x.safetensors
expect_error 1 "file/x.jsonl" train "${net[@]}" --out x.safetensors --log file/x.jsonl --quiet
expect_error 1 "the training part holds 1 image, and a step leaves out a last batch of fewer than 2" train --model mlp:8 --image-size 8 --data data --limit 1 --out x.safetensors --quiet
mkdir -p latin/red latin/$'\xe9' && cp data/red/1.ppm data/red/2.ppm latin/red && cp data/blue/1.ppm latin/$'\xe9'
expect_error 1 "is not UTF-8; rename it" train --model mlp:8 --image-size 8 --data latin --out x.safetensors
mkdir cifar && for label in 0 1; do bytes 1 $label && head -c 3072 /dev/zero; done >cifar/data_batch_1.bin
expect 0 train --model mlp:8 --data cifar --val-split 0 --epochs 1 --batch-size 2 --out unvalidated.safetensors
head -c 3000 cifar/data_batch_1.bin >cifar/test_batch.bin
expect 0 train --model mlp:8 --data cifar --val-split 0 --epochs 1 --batch-size 2 --out unvalidated.safetensors  # the test part is left alone
expect_error 1 "test_batch.bin" eval --model unvalidated.safetensors --data cifar
cp -r data bad && head -c 40 data/red/1.ppm >bad/red/1.ppm
expect_error 1 "red/1.ppm" train "${common[@]}" --data bad --out x.safetensors --quiet
expect 0 train "${common[@]}" --data bad --skip-bad --epochs 1 --out skipped.safetensors
grep -qE "^skipped bad/red/1.ppm: can't be decoded: [^;]*$" stderr || fail "--skip-bad does not list the file, or advises what is done"
[[ ! -e x.safetensors ]] || fail "a failed run left a model"

# A state whose numbers cannot be read.
expect 0 train "${common[@]}" --data data --epochs 1 --out damaged.safetensors --keep-state
LC_ALL=C sed -i 's/\\"batch\\":/\\"botch\\":/' damaged.state.safetensors
expect_error 1 "its metadata is damaged; delete it" train "${common[@]}" --data data --epochs 2 --out damaged.safetensors --resume --quiet

# Usage.
train=(train --data data --image-size 8 --out x.safetensors)
expect_error 2 "--epochs" "${train[@]}" --model mlp: --epochs 0
expect_error 2 "--batch-size" "${train[@]}" --model mlp: --batch-size 0
expect_error 2 "--lr" "${train[@]}" --model mlp: --lr 0
expect_error 2 "--optimizer" "${train[@]}" --model mlp: --optimizer lion
expect_error 2 "--schedule" "${train[@]}" --model mlp: --schedule none
expect_error 2 "--weight-decay: -1" "${train[@]}" --model mlp: --weight-decay -1
expect_error 2 "--warmup-epochs: 4" "${train[@]}" --model mlp: --epochs 3 --warmup-epochs 4
expect_error 2 "--max-norm: -1" "${train[@]}" --model mlp: --max-norm -1
expect_error 2 "--early-stop: -1" "${train[@]}" --model mlp: --early-stop -1
expect_error 2 "--checkpoint-every: 0" "${train[@]}" --model mlp: --checkpoint-every 0
expect_error 2 "--mean: inf" "${train[@]}" --model mlp: --mean inf,0,0
expect_error 2 "--freeze: leaves nothing" "${train[@]}" --model mlp: --freeze '*' --quiet
expect_error 2 "--label-smoothing" "${train[@]}" --model mlp: --label-smoothing 1
expect_error 2 "--mixup" "${train[@]}" --model mlp: --mixup -1
expect_error 2 "--dropout" "${train[@]}" --model mlp: --dropout 1
expect_error 2 "--momentum" "${train[@]}" --model mlp: --momentum 1
expect_error 2 "--augment" "${train[@]}" --model mlp: --augment blur
expect_error 2 "--precision: 'fp16' is not known; give fp32, bf16 or int8" "${train[@]}" --model mlp: --precision fp16
expect_error 2 "--nesterov" "${train[@]}" --model mlp: --nesterov --momentum 0
expect_error 2 "--model" "${train[@]}" --model resnet51
expect_error 2 "--out" train --data data --image-size 8 --model mlp: --out x.pt
expect_error 2 "--freeze" "${train[@]}" --model mlp: --freeze nothing --quiet
expect_error 2 "inception_v3" train --data data --out x.safetensors --model inception_v3 --image-size 40 --quiet

# A file to start from brings its own size, mean and std; flags win.
expect 0 train --model mlp:8 --image-size 6 --mean 0.1,0.2,0.3 --std 1,2,4 --data data --epochs 1 --out six.safetensors
expect 0 train --model mlp:8 --data data --weights six.safetensors --std 2,2,2 --epochs 1 --out six-more.safetensors
grep -q "images 6 x 6 x 3" stderr || fail "the file's image size is not taken"
head -c 2000 six-more.safetensors | grep -aq '"mean":"\[0.1,0.2,0.3\]"' || fail "the file's mean is not taken"
head -c 2000 six-more.safetensors | grep -aq '"std":"\[2.0,2.0,2.0\]"' || fail "--std does not win over the file's"

# Frozen parameters stay, the others move.
expect 0 train --model mlp:8 --image-size 8 --data data --weights a.safetensors --freeze layers.0 --epochs 1 --out frozen.safetensors
grep -q "frozen: 2 tensors" stderr || fail "--freeze does not say what it keeps"
for name in layers.0.weight layers.0.bias; do
  [[ -n $(tensor a.safetensors $name | od -An) ]] || fail "no $name"
  cmp -s <(tensor a.safetensors $name) <(tensor frozen.safetensors $name) || fail "$name is frozen and moves"
done
! cmp -s <(tensor a.safetensors layers.1.weight) <(tensor frozen.safetensors layers.1.weight) || fail "--freeze keeps what is not named"

# Flags that change the steps do so.
base=(train --model mlp:8 --image-size 8 --data data --epochs 2 --batch-size 4 --optimizer sgd --lr 0.05)
expect 0 "${base[@]}" --out base.safetensors
for flags in "--max-norm 0.01" "--warmup-epochs 1" "--weight-decay 0.1" "--nesterov" "--label-smoothing 0.3" "--momentum 0.5" \
  "--mixup 0.4" "--dropout 0.5" "--schedule step" "--augment jitter"; do
  expect 0 "${base[@]}" $flags --out flags.safetensors
  other_weights base.safetensors flags.safetensors "$flags changes nothing"
done

# It stops two epochs after the best. The images are learnt long before the last epoch.
expect 0 train "${net[@]}" --epochs 400 --early-stop 2 --out early.safetensors --log early.jsonl
lines=$(wc -l <early.jsonl)
((lines < 400)) || fail "--early-stop does not stop"
[[ $(grep -n '"selected":true' early.jsonl | tail -n 1 | cut -d: -f1) == $((lines - 2)) ]] || fail "--early-stop waits for another number of epochs"
