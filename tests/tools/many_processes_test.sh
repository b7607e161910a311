#!/usr/bin/env bash
# Several processes under mpirun: the bits of --accumulate, resume, agreement, and what becomes of a job that goes wrong.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-}  # Open MPI leaves memory of its own behind

command -v mpirun >/dev/null || { echo "skipped: no mpirun (tools/install_dependencies.sh --checks)"; exit 77; }
export OMPI_MCA_btl_vader_single_copy_mechanism=none  # which containers often forbid, with a warning on stderr
start=(mpirun) more=()  # of MPICH
if [[ $(mpirun --version) == *"Open MPI"* ]]; then start+=(--oversubscribe --allow-run-as-root --bind-to none) more=(--oversubscribe); fi

# Runs N processes: many STATUS N ARGUMENTS...
many() {
  local wanted=$1 n=$2 status=0
  shift 2
  timeout 120 "${start[@]}" -np "$n" "$RETORT" "$@" >stdout 2>stderr </dev/null || status=$?
  [[ $status == "$wanted" ]] || fail "$n processes: retort $*: status $status, expected $wanted"
}
# The lines on stderr that are the program's, not mpirun's.
own_lines() { grep -E '^(rank [0-9]+: )?retort' stderr || true; }
many_error() {
  local wanted=$1 n=$2 message=$3
  shift 3
  many "$wanted" "$n" "$@"
  [[ $(own_lines | wc -l) == 1 ]] || fail "retort $*: not one line of its own: $(own_lines)"
  own_lines | grep -qF -- "$message" || fail "retort $*: '$(own_lines)' does not say '$message'"
}

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
  ppm 8 $((150 + 8 * i)) $((19 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((19 * i)) $((150 + 8 * i)) >data/blue/$i.ppm
done
data=(--data data --image-size 8 --val-split 0.2 --batch-size 9 --epochs 2 --threads 1)

status=0
"${start[@]}" -np 2 "$RETORT" train --model mlp:8 "${data[@]}" --epochs 1 --out probe.safetensors >stdout 2>stderr </dev/null || status=$?
if grep -q "this build has no MPI" stderr; then
  [[ $(own_lines | wc -l) == 1 && ! -e probe.safetensors ]] || fail "a build without MPI does not refuse in one line"
  echo "skipped: this build has no MPI"
  exit 77
fi
[[ $status == 0 ]] || fail "two processes: status $status"

# The numbers of a log, without times.
numbers() { sed -E 's/"(images_per_second|seconds)":[^,}]*,?//g' "$1"; }
# N processes against --accumulate N: same NAME N COMMAND ARGUMENTS...
same() {
  local name=$1 n=$2
  shift 2
  expect 0 "$@" --accumulate "$n" --out "$name.one.safetensors" --log "$name.one.jsonl" --keep-state --quiet
  many 0 "$n" "$@" --out "$name.many.safetensors" --log "$name.many.jsonl" --keep-state --quiet
  cmp -s <(weights "$name.one.safetensors") <(weights "$name.many.safetensors") || fail "$name: $n processes have other weights than --accumulate $n"
  cmp -s <(weights "$name.one.state.safetensors") <(weights "$name.many.state.safetensors") || fail "$name: another state"
  cmp -s <(numbers "$name.one.jsonl") <(numbers "$name.many.jsonl") || fail "$name: another log"
}

# 21 pictures in batches of 9 end with one of 3, in which the last rank has no rows.
for n in 2 3; do
  same "mlp$n" "$n" train --model mlp:8 "${data[@]}" --optimizer sgd --dropout 0.3 --mixup 0.3 --augment flip,jitter
  same "resnet$n" "$n" train --model resnet8 "${data[@]}" --optimizer adamw --max-norm 0.5 --ema 0.9 --augment flip,crop
done
same resnet4 4 train --model resnet20 "${data[@]}" --optimizer sgd --max-norm 0.5
same inception 2 train --model inception_v3 "${data[@]}" --image-size 75 --batch-size 12 --epochs 1 --dropout 0.2 --optimizer adamw
# 45 MB of gradients: three buckets, of which the first are on their way while backward computes; then with what else is exchanged meanwhile.
same buckets 3 train --model resnet18 "${data[@]}" --optimizer adamw
many 0 2 train --model resnet18 "${data[@]}" --batch-size 8 --sync-batch-norm --quiet --out synced-buckets.safetensors
many 0 2 train --model resnet18 "${data[@]}" --batch-size 8 --sync-batch-norm --quiet --out synced-buckets-again.safetensors
cmp -s synced-buckets.safetensors synced-buckets-again.safetensors || fail "--sync-batch-norm: other bits the second time"
expect 0 train --model mlp:8 "${data[@]}" --out teacher.safetensors --quiet
expect 0 logits --model teacher.safetensors --data data --val-split 0.2 --split train --out store.npy --views 2 --augment flip --quiet
same stored 2 distill --student resnet8 "${data[@]}" --logits store.npy --optimizer sgd --loss kd
same live 3 distill --student resnet8 "${data[@]}" --teacher teacher.safetensors --optimizer adamw --loss dist

# --sync-batch-norm: one process with the whole batch, but for rounding. 20 pictures in batches of 8, 8 and 4, of
# which a rank may have a single one.
synced=(train --model resnet8 "${data[@]}" --batch-size 8 --optimizer sgd --lr 0.01 --augment none --bn-recalibrate off --quiet)
expect 0 "${synced[@]}" --out whole-batch.safetensors --log whole-batch.jsonl
floats_of() { tail_floats "$1" $(($(wc -c <"$1") - 8 - $(header_bytes "$1"))) | tr ' ' '\n'; }
from_whole_batch() {
  paste <(floats_of "$1") <(floats_of whole-batch.safetensors) |
    awk '{ d = $1 - $2; d = d < 0 ? -d : d; if (!(d <= worst)) worst = d } END { print worst }'
}
for n in 2 3; do
  many 0 "$n" "${synced[@]}" --sync-batch-norm --out synced.safetensors --log synced.jsonl
  # Six steps, whose sums of some hundred products round otherwise; what they round is around 1.
  worst=$(from_whole_batch synced.safetensors)
  holds "$worst" '<' 2e-5 || fail "--sync-batch-norm: $n processes are $worst from one with the whole batch"
  holds "$(distance "$(last train_loss synced.jsonl)" "$(last train_loss whole-batch.jsonl)")" '<' 2e-5 || fail "--sync-batch-norm: another loss"
  many 0 "$n" "${synced[@]}" --out apart.safetensors
  worst=$(from_whole_batch apart.safetensors)
  holds "$worst" '>' 2e-3 || fail "without --sync-batch-norm $n processes are only $worst from the whole batch: this test sees nothing"
done
expect_error 2 "--sync-batch-norm: joins what the processes of a run normalise, and this run has one" "${synced[@]}" --sync-batch-norm --out none.safetensors
many_error 2 2 "--sync-batch-norm: joins the batches of all processes, and --accumulate cuts them" \
  "${synced[@]}" --sync-batch-norm --accumulate 2 --out none.safetensors
many_error 2 2 "--sync-batch-norm: the network has no batch norm that trains" \
  train --model mlp:8 "${data[@]}" --sync-batch-norm --out none.safetensors --quiet

# A rank prints nothing of its own; the files are rank 0's.
many 0 2 train --model mlp:8 "${data[@]}" --out said.safetensors
[[ $(grep -c '^epoch\|epoch 1' stderr) -ge 1 ]] || fail "nothing is said"
[[ $(grep -c 'saved said.safetensors' stderr) == 1 ]] || fail "it is said more than once"

# Resume: the same bits, and only at the same number of processes.
constant=(train --model resnet8 "${data[@]}" --schedule constant --quiet)
many 0 2 "${constant[@]}" --epochs 1 --keep-state --out part.safetensors
expect_error 1 "part.state.safetensors: the run was started with processes '2', not ''" \
  "${constant[@]}" --out part.safetensors --resume
many_error 1 3 "part.state.safetensors: the run was started with processes '2', not '3'" "${constant[@]}" --out part.safetensors --resume
many 0 2 "${constant[@]}" --keep-state --out part.safetensors --resume
many 0 2 "${constant[@]}" --keep-state --out whole.safetensors
cmp -s part.safetensors whole.safetensors || fail "a resumed run has other bits"
many 0 2 "${constant[@]}" --out done.safetensors
many 0 2 "${constant[@]}" --out done.safetensors --resume  # finished: nothing is left to do

# Ranks that were started otherwise, and faults of all or of one.
unequal() {
  local message=$1 own=$2
  local status=0
  shift 2
  timeout 60 "${start[@]}" -np 1 "$RETORT" "$@" : "${more[@]}" -np 1 "$RETORT" "$@" $own >stdout 2>stderr </dev/null || status=$?
  [[ $status == 1 || $status == 2 ]] || fail "unequal ranks: status $status"
  [[ $(own_lines | wc -l) == 1 ]] || fail "unequal ranks: not one line: $(own_lines)"
  own_lines | grep -qF -- "$message" || fail "unequal ranks: '$(own_lines)' does not say '$message'"
}
cp -r data other
rm other/red/1.ppm
mlp=(train --model mlp:8 "${data[@]}" --out unequal.safetensors --quiet)
unequal "rank 1: was started with --lr '0.5', rank 0 with '0.002'" "--lr 0.5" "${mlp[@]}"
unequal "rank 1: was started with epochs '7', rank 0 with '2'" "--epochs 7" "${mlp[@]}"
unequal "rank 1: was started with labels" "--data other" "${mlp[@]}"
unequal "rank 1: retort: nowhere" "--data nowhere" "${mlp[@]}"
many_error 2 2 "--batch-size" train --model mlp:8 "${data[@]}" --batch-size 0 --out none.safetensors
many_error 2 3 "--accumulate: a batch of 2 cannot be cut into 3 parts (1 a process); give a larger --batch-size" \
  train --model mlp:8 "${data[@]}" --batch-size 2 --out none.safetensors
many_error 2 2 "predict: runs in one process" predict --model teacher.safetensors --data data

# Logits by turns: the store of one process, resumed too. Validation, sweeps and specialists.
store=(logits --model teacher.safetensors --data data --split train --val-split 0.2 --views 2 --augment flip --batch-size 4 --threads 1 --quiet)
expect 0 "${store[@]}" --out alone.npy
many 0 3 "${store[@]}" --out together.npy
cmp -s alone.npy together.npy || fail "three processes write other logits than one"
judged=(eval --model teacher.safetensors --data data --batch-size 9 --threads 1 --quiet)
expect 0 "${judged[@]}"
cp stdout alone.txt
many 0 2 "${judged[@]}"
cmp -s stdout alone.txt || fail "two processes judge otherwise than one: $(cat stdout)"
swept=(sweep --student mlp:8 --data data --image-size 8 --val-split 0.2 --logits store.npy --epochs 1 --temperature 1,4 --lambda 0.5,1 --seeds 1 --threads 1 --quiet)
expect 0 "${swept[@]}" --out alone
many 0 3 "${swept[@]}" --out together
cmp -s alone/sweep.csv together/sweep.csv || fail "three processes sweep otherwise than one: $(cat together/sweep.csv)"
mkdir -p three
cp -r data/blue data/red three
mkdir -p three/green
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do ppm 8 30 $((150 + 8 * i)) $((19 * i)) >three/green/$i.ppm; done
expect 0 train --model mlp:8 --data three --image-size 8 --val-split 0.2 --epochs 1 --out generalist.safetensors --quiet
committee=(specialists --model generalist.safetensors --student mlp:8 --data three --image-size 8 --val-split 0.2 --epochs 1 --specialist-epochs 1 --groups 2 --threads 1 --quiet)
expect 0 "${committee[@]}" --out committee-alone
many 0 2 "${committee[@]}" --out committee-together
cmp -s committee-alone/train.npy committee-together/train.npy || fail "two processes make other specialists than one"
cmp -s committee-alone/specialists.md committee-together/specialists.md || fail "two processes report other specialists than one"
unequal_pictures=(eval --model teacher.safetensors --quiet --data)
status=0
timeout 60 "${start[@]}" -np 1 "$RETORT" "${unequal_pictures[@]}" data : "${more[@]}" -np 1 "$RETORT" "${unequal_pictures[@]}" ./data >stdout 2>stderr </dev/null || status=$?
[[ $status == 1 ]] || fail "unequal commands: status $status"
own_lines | grep -qF "rank 1: was started with the command" || fail "unequal commands: '$(own_lines)'"
many_error 1 2 "after step" train --model mlp:8 "${data[@]}" --optimizer sgd --lr 1e30 --out none.safetensors --quiet

# A signal to one rank stops all, and the state goes on to the same bits; a killed rank ends the job.
long=(train --model resnet8 "${data[@]}" --epochs 60 --quiet)
many 0 2 "${long[@]}" --out end.safetensors
launch() { "${start[@]}" -np 2 "$RETORT" "${long[@]}" "$@" >stdout 2>stderr </dev/null & job=$!; }
# The process that has a rank and writes a file: process_of RANK FILE
process_of() {
  local process
  for process in $(pgrep -f -- "^$RETORT .*--out $2\$"); do
    tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | grep -qxE "(OMPI_COMM_WORLD_RANK|PMI_RANK)=$1" && echo "$process"
  done
}
for signal in TERM KILL; do
  launch --out "stop$signal.safetensors"
  for ((i = 0; i < 200; ++i)); do
    [[ -s stop$signal.state.safetensors ]] && break
    sleep 0.05
  done
  kill -"$signal" "$(process_of 1 "stop$signal.safetensors")" 2>/dev/null || fail "the job was over before the signal"
  status=0
  wait "$job" || status=$?
  ((status != 0)) || fail "$signal: status 0"
  many 0 2 "${long[@]}" --out "stop$signal.safetensors" --resume
  cmp -s end.safetensors "stop$signal.safetensors" || fail "$signal: other bits than a run that was never stopped"
done
