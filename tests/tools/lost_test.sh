#!/usr/bin/env bash
# What must not be lost: an unfinished run, a user's own files, a store that is being replaced; and what a run must say.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9; do
  ppm 8 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 8 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
net=(train --model mlp:8 --image-size 8 --data data --val-split 0.2 --batch-size 4 --lr 0.01 --threads 1)

# Starts a run of many epochs in the background and waits until its log has lines: begin <name> <flags>...
begin() {
  local name=$1
  shift
  set -m
  "$RETORT" "${net[@]}" --epochs 100000 --out $name.safetensors --log $name.jsonl "$@" 2>$name.said &
  pid=$!
  trap 'kill -KILL $pid 2>/dev/null || true; rm -rf "$scratch"' EXIT
  set +m
  for ((i = 0; i < 4000; ++i)); do
    [[ -f $name.jsonl && $(wc -l <$name.jsonl) -ge 3 ]] && return
    sleep 0.005
  done
  fail "$name: no log after twenty seconds"
}
# Ends it by a signal; its status goes to `status`.
finish() {
  status=0
  kill -$1 $pid
  wait $pid 2>/dev/null || status=$?
}

# An unfinished run's epochs stay until the user says otherwise; a finished one's files are replaced as ever.
begin run
finish KILL
cp run.state.safetensors state.safetensors && cp run.jsonl log.jsonl && cp run.best.safetensors best.safetensors
expect_error 1 "run.state.safetensors: the state of a run that is not finished" "${net[@]}" --epochs 2 --out run.safetensors --log run.jsonl
grep -q -- "continue that with --resume, or throw it away with --restart" stderr || fail "no way out is offered"
for pair in run.state.safetensors:state.safetensors run.jsonl:log.jsonl run.best.safetensors:best.safetensors; do
  cmp -s ${pair%:*} ${pair#*:} || fail "${pair%:*} changed though the run was refused"
done
expect_error 2 "--restart: throws away what --resume continues" "${net[@]}" --epochs 2 --out run.safetensors --resume --restart
expect 0 "${net[@]}" --epochs 2 --out run.safetensors --restart
expect 0 "${net[@]}" --epochs 3 --out run.safetensors --keep-state
expect 0 "${net[@]}" --epochs 4 --out run.safetensors --resume
grep -q "resumed from" stderr || fail "--resume does not continue a run"
printf 'nonsense' >odd.state.safetensors
expect_error 1 "or give --restart" "${net[@]}" --epochs 1 --out odd.safetensors
[[ $(cat odd.state.safetensors) == nonsense ]] || fail "a file that is no state was overwritten"

# An earlier run's best epoch does not stand beside a model that it is not of.
cp best.safetensors alone.best.safetensors
expect 0 train --model mlp:8 --image-size 8 --data data --val-split 0 --epochs 1 --out alone.safetensors
[[ ! -e alone.best.safetensors ]] || fail "the best epoch of another run stands beside the model"

# What a run reads is never what it writes.
expect 0 logits --model run.safetensors --data data --out store.npy
for flags in "--weights run.best.safetensors" "--weights run.safetensors" "--weights ./run.state.safetensors"; do
  cp run.best.safetensors before.safetensors
  expect_error 2 "is a file that --out writes" "${net[@]}" $flags --epochs 1 --lr 1e30 --out run.safetensors
  cmp -s run.best.safetensors before.safetensors || fail "$flags: the file is another"
done
student=(distill --student mlp:4 --image-size 8 --data data --val-split 0 --epochs 1)
expect_error 2 "--teacher: run.best.safetensors is a file that --out writes" "${student[@]}" --teacher run.best.safetensors --out run.safetensors
expect_error 2 "--report: run.safetensors.html is the file that --log writes" "${net[@]}" --out x.safetensors \
  --report run.safetensors.html --log run.safetensors.html
expect_error 2 "--csv: ./store.npy is the file that --out writes" logits --model run.safetensors --data data --out store.npy --csv ./store.npy
expect_error 2 "--csv: store.json is the file that --out writes" logits --model run.safetensors --data data --out store.npy --csv store.json
expect_error 2 "--model: run.safetensors is a file that --csv writes" logits --model run.safetensors --data data --out store.npy --csv run.safetensors

# Two runs do not share an --out; a killed one leaves no lock, and its half-written files go.
begin two
expect_error 1 "two.safetensors: another run is writing it" "${net[@]}" --epochs 1 --out two.safetensors --restart
expect_error 1 "two.jsonl: another run is writing it" "${net[@]}" --epochs 1 --out other.safetensors --log two.jsonl
finish KILL
printf half >.two.safetensors.0123456789abcdef.tmp
expect 0 "${net[@]}" --epochs 1 --out two.safetensors --log two.jsonl --restart
[[ -z $(find . -name '.two*') ]] || fail "left behind: $(find . -name '.two*')"

# Closed streams: what is said there lands in no file of the run.
set -m
"$RETORT" "${net[@]}" --epochs 100000 --out closed.safetensors --log closed.jsonl 0<&- 1>&- 2>&- &
pid=$!
set +m
trap 'kill -KILL $pid 2>/dev/null || true; rm -rf "$scratch"' EXIT
for ((i = 0; i < 4000; ++i)); do [[ ! -s closed.jsonl ]] || break; sleep 0.005; done
for stream in 0 1 2; do [[ $(readlink /proc/$pid/fd/$stream) == /dev/null ]] || fail "stream $stream is $(readlink /proc/$pid/fd/$stream)"; done
[[ -e .closed.safetensors.lock && ! -s .closed.safetensors.lock ]] || fail "the lock holds $(head -c 100 .closed.safetensors.lock)"
finish TERM
! "$RETORT" predict --model run.safetensors data/red/1.ppm 1>&- 2>stderr || fail "a lost stdout is no error"
grep -q "stdout: cannot write" stderr || fail "a lost stdout: $(cat stderr)"

# A terminal that hangs up, and a limit on processor time, are no reason to lose an epoch.
for signal in HUP XCPU TERM; do
  begin signal-$signal
  finish $signal
  [[ $status == 130 ]] || fail "SIG$signal: status $status"
  grep -q "stopped; continue with the same command and --resume" signal-$signal.said || fail "SIG$signal: $(cat signal-$signal.said)"
done

# A file that may not grow further is an error like a full disk: the files before stay, and nothing else.
expect 0 "${net[@]}" --epochs 1 --out limit.safetensors --keep-state
mkdir limited && cp limit.* limited
(ulimit -f 4; expect_error 1 "cannot write: File too large; free space" "${net[@]}" --epochs 2 --out limit.safetensors --quiet)
for file in limited/*; do cmp $file ${file#*/} || fail "$file changed though the run could not write"; done
[[ $(find . -maxdepth 1 -name '*limit.*' | wc -l) == $(ls limited | wc -l) ]] || fail "left behind: $(find . -maxdepth 1 -name '*limit.*')"

# Other labels, or other names, are another run's.
cp -r data relabelled
net[6]=relabelled
begin labels
finish TERM
mv relabelled/red/9.ppm relabelled/blue/10.ppm
mv relabelled/blue/9.ppm relabelled/red/10.ppm
expect_error 1 "the images' names or labels have changed" "${net[@]}" --epochs 100000 --out labels.safetensors --resume --quiet
net[6]=data

# Numbers that are none: said, not measured.
cp run.safetensors nan.safetensors
printf '\x00\x00\xc0\x7f' | dd of=nan.safetensors bs=1 seek=$(($(wc -c <nan.safetensors) - 4)) conv=notrunc status=none
expect_error 1 "nan.safetensors: tensor layers.1.bias holds nan" eval --model nan.safetensors --data data
expect_error 1 "holds nan" predict --model nan.safetensors data/red/1.ppm

# A name that the store's index cannot hold is refused before the teacher runs.
cp -r data latin && cp data/red/1.ppm latin/red/$'\xe9'.ppm
expect_error 1 "is not UTF-8; rename it" logits --model run.safetensors --data latin --out latin.npy --quiet
[[ ! -e latin.npy ]] || fail "a store of a name that is not UTF-8"

# What a run reads is never what it writes: a store's index and a cache are read, too.
expect 0 logits --model run.safetensors --data data --out taught.npy --quiet
cp taught.json index.json
distilled=(distill --student mlp:4 --image-size 8 --data data --epochs 1 --logits taught.npy --out distilled.safetensors --quiet)
expect_error 2 "--logits: taught.json is a file that --log writes" "${distilled[@]}" --log taught.json
cmp taught.json index.json || fail "a store's index is written over"
expect_error 2 "--cache: cached.safetensors is a file that --out writes" train --model mlp:4 --image-size 8 --data data --epochs 1 --cache cached.safetensors --out cached.safetensors --quiet
expect_error 2 "stores: taught.npy is a file that --out writes" combine taught.npy taught.npy --out taught.npy
expect_error 2 "--out: run.safetensors is the model itself" bias --model run.safetensors --data data --shift red --out run.safetensors
expect_error 2 "lies in the folder of --data" views --data data --val-split 0 --views 1 --image-size 8 --out data
expect_error 2 "lies in the folder of --data" views --data data --val-split 0 --views 1 --image-size 8 --out data/red/views
[[ ! -e data/views.json && ! -e data/red/views ]] || fail "views among the pictures"

# What steers a terminal is shown, in names and in errors; and no error goes on for ever.
mkdir odd && cp -r data/red odd/$'a\e[31m\xc2\x9b\n\t5m' && cp -r data/blue odd/plain
expect 0 train --model mlp:4 --image-size 8 --data odd --epochs 1 --out odd-names.safetensors --restart
cp data/red/1.ppm $'two\nlines.ppm'
odd_names() {
  expect 0 "$@"
  ! grep -q $'\e' stdout stderr || fail "$1: an escape sequence reaches the terminal"
  ! grep -q $'\xc2\x9b' stdout stderr || fail "$1: a control character reaches the terminal"
  grep -qF "a\\u001b[31m\\u" stdout || fail "$1: the class is not shown"
}
odd_names predict --model odd-names.safetensors $'two\nlines.ppm'
grep -qF 'a\u001b[31m\u009b\u000a\u00095m' stdout || fail "the class is not whole"
[[ $(grep -c '^two\\u000alines.ppm  ' stdout) == 1 && $(wc -l <stdout) == 1 ]] || fail "a picture in two lines"
odd_names eval --model odd-names.safetensors --data odd
odd_names summary --model odd-names.safetensors
cp odd-names.safetensors $'verified\nname.safetensors'
expect 0 verify $'verified\nname.safetensors'
[[ $(wc -l <stdout) == 1 ]] || fail "verify: a file in two lines"
expect_error 1 'no\u001b[2Jfile: ' predict --model odd-names.safetensors $'no\e[2Jfile'
long=$(printf '%*s' 100000 '' | tr ' ' x)
expect_error 2 "[...]" train --model "$long" --data data --out x.safetensors
(($(wc -c <stderr) < 3000)) || fail "an error of $(wc -c <stderr) bytes"

# Cells that a spreadsheet would take for formulas.
mkdir sheet && cp -r data/red "sheet/=1+1" && cp -r data/blue sheet/plain
expect 0 train --model mlp:4 --image-size 8 --data sheet --epochs 1 --out sheet.safetensors
expect 0 logits --model sheet.safetensors --data sheet --out sheet.npy --csv sheet.csv
[[ $(head -n 1 sheet.csv) == "name,'=1+1,plain" ]] || fail "the header is $(head -n 1 sheet.csv)"
expect 0 eval --model sheet.safetensors --data sheet --split train --logits sheet.csv
expect 0 predict --model sheet.safetensors data/red --csv predicted.csv
[[ $(head -n 1 predicted.csv) == "name,prediction,'=1+1,plain" ]] || fail "the header is $(head -n 1 predicted.csv)"

# Two classes of one name: a table of them would not say which is meant.
safetensors '{"__metadata__":{"architecture":"mlp:4","classes":"[\"a\",\"a\"]","image_size":"8","channels":"3","mean":"[0,0,0]","std":"[1,1,1]"}}' </dev/null >twice.safetensors
expect_error 1 "twice.safetensors: its metadata names the class 'a' twice" predict --model twice.safetensors data/red/1.ppm

# A few bytes that name a large network.
safetensors '{"__metadata__":{"architecture":"mlp:40000x40000","classes":"[\"a\",\"b\"]","image_size":"8","channels":"3","mean":"[0,0,0]","std":"[1,1,1]"}}' </dev/null >huge.safetensors
expect_error 1 "huge.safetensors: it names mlp:40000x40000" eval --model huge.safetensors --data data
if (ulimit -v 2000000 && "$RETORT" --version) >/dev/null 2>&1; then  # a program with sanitizers needs more than the limit
  (ulimit -v 2000000; expect_error 1 "huge.safetensors: it names mlp:40000x40000" eval --model huge.safetensors --data data)
fi

# Logits under way: stopped and killed, continued to the same bits; never taken for whole, and not by other flags.
many=(logits --model run.safetensors --data data --batch-size 4 --augment flip,crop --views 4000 --threads 1)
expect 0 "${many[@]}" --out whole.npy
[[ ! -e whole.partial ]] || fail "the rows under way stay"
part_way() {
  set -m
  "$RETORT" "${many[@]}" --out part.npy "$@" 2>part.said &
  pid=$!
  trap 'kill -KILL $pid 2>/dev/null || true; rm -rf "$scratch"' EXIT
  set +m
  local before=0
  [[ ! -f part.partial ]] || before=$(wc -c <part.partial)
  for ((i = 0; i < 4000; ++i)); do
    [[ -f part.partial ]] && (($(wc -c <part.partial) > before + 5000)) && return
    sleep 0.002
  done
  fail "no rows after eight seconds"
}
part_way
finish KILL
[[ ! -e part.npy && -s part.partial ]] || fail "killed logits are taken for whole"
cp part.partial kept.partial
expect_error 1 "part.partial: the logits of a run that is not finished; continue it with --resume, or throw them away with --restart" \
  "${many[@]}" --out part.npy --quiet
expect_error 1 "part.partial: the run was started with --views '4000', not '2'" "${many[@]}" --views 2 --out part.npy --resume --quiet
expect_error 1 "part.partial: the run was started with --batch-size" "${many[@]}" --batch-size 5 --out part.npy --resume --quiet
expect_error 1 "part.partial: the run was started with --augment" "${many[@]}" --augment flip --out part.npy --resume --quiet
expect_error 1 "part.partial: the run was started with --model" "${many[@]}" --model two.safetensors --out part.npy --resume --quiet
expect_error 1 "part.partial: the run was started with --seed" "${many[@]}" --seed 3 --out part.npy --resume --quiet
expect_error 2 "--restart: throws away what --resume continues" "${many[@]}" --out part.npy --resume --restart
cmp part.partial kept.partial || fail "a refused run changed the rows under way"
part_way --resume
finish TERM
[[ $status == 130 ]] || fail "SIGTERM: status $status"
grep -qE "stopped; continue with the same command \([0-9]+ rows are in part.partial\)" part.said || fail "stopped logits: $(cat part.said)"
expect 0 "${many[@]}" --out part.npy --resume
grep -qE "resumed from part.partial: [0-9]+ of 64000 rows are there" stderr || fail "--resume does not say what is there"
cmp part.npy whole.npy || fail "resumed logits have other bits"
[[ ! -e part.partial ]] || fail "the rows under way stay"
cmp <(grep -v '"logits"' part.json) <(grep -v '"logits"' whole.json) || fail "resumed logits have another index"

# What does not fit into memory is refused before the first step, and what is said to fit does.
mkdir -p fit/a fit/b
for i in $(seq 12); do ppm 4 $((20 * i)) 0 0 >fit/a/$i.ppm && ppm 4 0 0 $((20 * i)) >fit/b/$i.ppm; done
small=(--image-size 32 --data fit --val-split 0 --epochs 1 --threads 1)
expect 0 train --model resnet8x4 "${small[@]}" --out fit-teacher.safetensors
fits() {  # <MiB> <out> <command>...: 24 images are too many for the limit, and the number that is named is not
  local limit=$(($1 << 20)) out=$2 largest
  shift 2
  RETORT_MEMORY_LIMIT=$limit expect_error 1 "where RETORT_MEMORY_LIMIT allows $((limit >> 20)).0 MiB; the largest batch that fits is " \
    "$@" --batch-size 24 --out $out --quiet
  grep -qE -- "--batch-size: 24 takes (about [0-9.]+ MiB|more than is there) of memory" stderr || fail "the need is not named"
  [[ ! -e $out ]] || fail "$out was written"
  largest=$(sed -E "s/.*batch that fits is ([0-9]+).*/\1/" stderr)
  ((largest >= 2 && largest < 24)) || fail "$largest images fit"
  RETORT_MEMORY_LIMIT=$limit expect 0 "$@" --batch-size $largest --out $out --quiet
}
fits 48 fit.safetensors train --model resnet8x4 "${small[@]}"
fits 48 fit-student.safetensors distill --student resnet8x4 --teacher fit-teacher.safetensors "${small[@]}"
fits 20 fit.npy logits --model fit-teacher.safetensors --data fit --val-split 0 --threads 1
[[ ! -e fit.partial ]] || fail "rows under way of a run that was refused"
RETORT_MEMORY_LIMIT=20000000 expect_error 1 "not even 2 images fit: take a smaller --image-size or network" \
  train --model resnet8x4 "${small[@]}" --batch-size 24 --out none.safetensors --quiet
RETORT_MEMORY_LIMIT=8G expect_error 2 "RETORT_MEMORY_LIMIT: '8G' is no number of bytes above 0" \
  train --model resnet8x4 "${small[@]}" --out none.safetensors --quiet
