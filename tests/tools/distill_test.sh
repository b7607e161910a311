#!/usr/bin/env bash
# logits and distill: a store gives the same bits as the live teacher, and a store that does not match is refused.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p data/blue data/red
for i in 1 2 3 4 5 6 7 8 9; do
  ppm 12 $((150 + 10 * i)) $((20 * i)) 30 >data/red/$i.ppm
  ppm 12 30 $((20 * i)) $((150 + 10 * i)) >data/blue/$i.ppm
done
part=(--data data --val-split 0.25)
expect 0 train --model resnet8x4 "${part[@]}" --image-size 16 --epochs 3 --batch-size 5 --optimizer adamw --out teacher.safetensors

# The store: the array, the index, the table; independent of the batch.
expect 0 logits --model teacher.safetensors "${part[@]}" --split train --out train.npy --csv train.csv --json
expect_json_alone
expect_json rows 14
expect 0 logits --model teacher.safetensors "${part[@]}" --split val --out val.npy
[[ $(wc -l <train.csv) == 15 && $(head -n 1 train.csv) == "name,blue,red" ]] || fail "train.csv"
[[ $(stat -c %s train.npy) == $((128 + 14 * 2 * 4)) ]] || fail "train.npy has $(stat -c %s train.npy) bytes"
for key in names hashes classes teacher preprocessing views; do grep -q "\"$key\"" train.json || fail "no $key in train.json"; done
for batch in 1 5; do
  expect 0 logits --model teacher.safetensors "${part[@]}" --out batch.npy --batch-size $batch --threads $batch
  cmp -s train.npy batch.npy || fail "logits depend on the batch around a sample ($batch)"
done

net=(--student mlp:6 --val-split 0.25 --image-size 8 --epochs 6 --batch-size 4 --optimizer adamw)
student=("${net[@]}" --data data --temperature 3 --lambda 0.2)
expect 0 distill "${student[@]}" --logits train.npy --val-logits val.npy --out cached.safetensors --log log.jsonl --json
expect_json_alone
for key in train_loss train_hard_loss train_soft_loss train_kl val_kl val_accuracy val_top5_accuracy; do
  grep -q "\"$key\":" log.jsonl || fail "the log has no $key"
done
grep -q "hard 20%, soft 80%" stderr || fail "the effective share is not printed"
expect 0 distill "${student[@]}" --teacher teacher.safetensors --augment none --out live.safetensors
cmp -s cached.safetensors live.safetensors || fail "cached and live teacher give other bits"
expect 0 distill "${student[@]}" --logits train.csv --out csv.safetensors
for name in cached live; do
  from=(--logits train.npy --val-logits val.npy)
  [[ $name == live ]] && from=(--teacher teacher.safetensors --augment none)
  expect 0 distill "${student[@]}" "${from[@]}" --precision bf16 --out $name-bf16.safetensors
done
cmp -s cached-bf16.safetensors live-bf16.safetensors || fail "cached and live teacher give other bits in bf16"

# Augmented views too.
expect 0 logits --model teacher.safetensors "${part[@]}" --views 3 --augment flip,jitter --out views.npy --csv views.csv
grep -qxF "saved 42 rows of 2 logits (3 views of 14 images) in views.npy; of the first view 14 rows in views.csv" stderr || fail "which views are where"
[[ $(wc -l <views.csv) == 15 ]] || fail "views.csv"
expect 0 distill "${student[@]}" --logits views.npy --out cached.safetensors
expect 0 distill "${student[@]}" --teacher teacher.safetensors --views 3 --augment flip,jitter --out live.safetensors
cmp -s cached.safetensors live.safetensors || fail "cached and live views give other bits"
expect_error 2 "--augment" distill "${student[@]}" --logits views.npy --augment crop --out x.safetensors --quiet

expect 0 distill "${student[@]}" --teacher teacher.safetensors --convention additive --out additive.safetensors
grep -q "hard 64.28[0-9]*%, soft 35.7" stderr || fail "the effective share under additive"
expect 0 distill "${student[@]}" --teacher teacher.safetensors --augment flip --mixup 0.4 --out mixup.safetensors

# Itself as a teacher: what a run on the labels with the same flags ends with.
expect 0 distill "${student[@]}" --teacher self --out own.safetensors
grep -q "^--teacher self: mlp:6 first learns from the labels alone, in own.self.safetensors" stderr || fail "self is not explained"
expect 0 train --model mlp:6 --data data "${net[@]:2}" --out first.safetensors
cmp -s <(weights own.self.safetensors) <(weights first.safetensors) || fail "the first generation is another run"
expect 0 distill "${student[@]}" --teacher first.safetensors --out second.safetensors
cmp -s <(weights own.safetensors) <(weights second.safetensors) || fail "the second generation is another run"

# A formula's constant: the paper's is the default, and it belongs to one loss.
mkdir many
for class in a b c; do
  mkdir many/$class
  for i in 1 2 3 4; do ppm 8 $((20 * i)) $((RANDOM % 200)) $((60 * ${#class})) >many/$class/$i.ppm; done
done
expect 0 train --model mlp:6 --data many --val-split 0 --image-size 8 --epochs 1 --out wise.safetensors
three=(distill --student mlp:6 --data many --val-split 0 --image-size 8 --epochs 2 --teacher wise.safetensors)
for constant in "dkd --dkd-beta 8 2" "nkd --nkd-gamma 1.5 0.5" "dist --dist-gamma 1 3"; do
  read -r loss flag paper other <<<"$constant"
  expect 0 "${three[@]}" --loss $loss --out papers.safetensors
  expect 0 "${three[@]}" --loss $loss $flag $paper --out same.safetensors
  expect 0 "${three[@]}" --loss $loss $flag $other --out other.safetensors
  cmp -s <(weights papers.safetensors) <(weights same.safetensors) || fail "$flag $paper is not the default"
  other_weights papers.safetensors other.safetensors "$flag does nothing"
  expect_error 2 "$flag: is of --loss $loss, not of kd" "${three[@]}" $flag $other --out x.safetensors
done

# Every loss; what two classes take from it is said by name.
all=$(losses) trapped=""
for loss in $all; do
  expect 0 distill "${student[@]}" --logits train.npy --val-logits val.npy --loss $loss --out $loss.safetensors
  [[ $loss == kd ]] || grep -q "loss: $loss" stderr || fail "the loss $loss is not named"
  if grep -q "warning" stderr; then
    grep -q "warning: --loss $loss: with two classes" stderr || fail "$loss: a warning without a reason"
    trapped+=" $loss"
  fi
done
[[ $trapped == " dkd nkd dist" ]] || fail "the binary trap is named for:$trapped"
[[ $(for loss in $all; do weights $loss.safetensors | cksum; done | sort -u | wc -l) == $(wc -w <<<"$all") ]] ||
  fail "two losses give the same student"
expect_error 2 "--standardize-logits" distill "${student[@]}" --logits train.npy --standardize-logits --out x.safetensors --quiet
expect_error 2 "--mixup" distill "${student[@]}" --teacher teacher.safetensors --loss dkd --mixup 0.3 --out x.safetensors
expect_error 2 "--soft-weight" distill "${student[@]}" --logits train.npy --soft-weight 0 --out x.safetensors
expect_error 2 "--soft-ramp-epochs" distill "${student[@]}" --logits train.npy --soft-ramp-epochs -1 --out x.safetensors
expect 0 distill "${student[@]}" --logits train.npy --convention additive --lambda 1 --soft-weight 2 --soft-ramp-epochs 3 --loss mse --out ramped.safetensors
grep -q "weights: hard 1, soft 2" stderr || fail "the weights of a loss are not said"
mv ramped.safetensors whole.safetensors
expect 0 distill "${student[@]}" --logits train.npy --convention additive --lambda 1 --soft-weight 2 --loss mse --out flat.safetensors
other_weights whole.safetensors flat.safetensors "the ramp does nothing"

# Schedules: each epoch's log has the last step's values; the student's file has both ends.
expect 0 distill "${student[@]}" --logits train.npy --temperature-end 1 --lambda-end 0.8 --log scheduled.jsonl --out scheduled.safetensors
grep -q "T = 3 to 1, lambda = 0.2 to 0.8" stderr || fail "the schedule is not said"
column() { sed -E "s/.*\"$1\":([^,}]*).*/\1/" $2; }
# 14 images in batches of 4, 6 epochs: the last step of epoch e is e - 1 + 3.5 / 4 epochs in.
[[ $(column temperature scheduled.jsonl | sed -n 2p) == $(awk 'BEGIN { print 3 - 2 * 1.875 / 6 }') ]] || fail "the log's temperature"
holds "$(column lambda scheduled.jsonl | sed -n 2p)" '>' 0.3874999 && holds "$(column lambda scheduled.jsonl | sed -n 2p)" '<' 0.3875001 ||
  fail "the log's lambda"
[[ $(column temperature log.jsonl | sort -u) == 3.0 && $(column lambda log.jsonl | sort -u) == 0.2 ]] || fail "settings that stay"
grep -q '"temperature-end":"1"' scheduled.safetensors || fail "the student's file does not say where T went"
expect_error 1 "--temperature-end" distill "${student[@]}" --logits train.npy --temperature-end 2 --lambda-end 0.8 --resume \
  --out scheduled.safetensors --quiet
# A schedule that goes nowhere is none, to the bit.
expect 0 distill "${student[@]}" --logits train.npy --temperature-end 3 --lambda-end 0.2 --log still.jsonl --out still.safetensors
[[ $(column train_loss still.jsonl) == $(column train_loss log.jsonl) ]] || fail "a schedule from T to T changes the losses"
expect_error 2 "--temperature-end: 0 " distill "${student[@]}" --logits train.npy --temperature-end 0 --out x.safetensors
expect_error 2 "--lambda-end: 2 " distill "${student[@]}" --logits train.npy --lambda-end 2 --out x.safetensors

# How strongly each part pulls.
for key in train_hard_gradient train_soft_gradient; do
  holds "$(column $key log.jsonl | tail -n 1)" '>' 0 || fail "the log has no $key"
done

# A table from elsewhere may hold both parts of the data.
expect 0 logits --model teacher.safetensors "${part[@]}" --split val --out val.npy --csv val.csv
{ cat train.csv; tail -n +2 val.csv; } >scores.csv
expect 0 distill "${student[@]}" --logits scores.csv --val-logits scores.csv --log table.jsonl --out table.safetensors
grep -q '"val_kl"' table.jsonl || fail "no validation from a table"

# A model of which only the answers are known: probabilities, or the predicted class alone.
awk -F, 'NR == 1 { print; next } { p = exp($2) / (exp($2) + exp($3)); printf "%s,%.6f,%.6f\n", $1, p, 1 - p }' train.csv >probabilities.csv
expect 0 distill "${student[@]}" --logits probabilities.csv --out probabilities.safetensors
grep -q "warning: probabilities.csv: every row adds up to 1" stderr || fail "what probabilities lose is not said"
awk -F, 'NR == 1 { print "name,class"; next } { print $1 "," ($2 > $3 ? "blue" : "red") }' train.csv >answers.csv
expect 0 distill "${student[@]}" --logits answers.csv --temperature 1 --lambda 0 --log answers.jsonl --out answers.safetensors
grep -q "warning: answers.csv: holds predictions alone" stderr || fail "what predictions lose is not said"
sed 's/,red$/,green/' answers.csv >other.csv
expect_error 1 "other.csv: predicts 'green'" distill "${student[@]}" --logits other.csv --out x.safetensors --quiet

# Several teachers.
expect 0 train --model resnet8x4 "${part[@]}" --image-size 12 --epochs 1 --seed 5 --out second.safetensors
for combine in logit arithmetic geometric; do
  expect 0 logits --model teacher.safetensors,second.safetensors --combine $combine "${part[@]}" --out both-$combine.npy
done
cmp -s both-logit.npy both-arithmetic.npy && fail "logit and arithmetic mean are the same"
expect 0 distill "${student[@]}" --logits both-geometric.npy --out both.safetensors

# Without labels.
mkdir pile && for i in 1 2 3 4; do cp data/red/$i.ppm pile/r$i.ppm; cp data/blue/$i.ppm pile/b$i.ppm; done
expect 0 distill --student mlp: --data pile --image-size 8 --epochs 2 --batch-size 4 --lambda 0 --teacher teacher.safetensors --out unlabelled.safetensors
expect_error 2 "--lambda" distill --student mlp: --data pile --image-size 8 --lambda 0.5 --teacher teacher.safetensors --out x.safetensors
expect_error 2 "--loss" distill --student mlp: --data pile --image-size 8 --loss dkd --teacher teacher.safetensors --out x.safetensors
expect 0 predict --model unlabelled.safetensors data/red/1.ppm --json
grep -qE '"class":"(red|blue)"' stdout || fail "an unlabelled student does not know its teacher's classes"

expect 0 train --model mlp:4 "${part[@]}" --image-size 8 --epochs 1 --out stranger.safetensors
expect 0 logits --model stranger.safetensors "${part[@]}" --split val --out other-val.npy
expect 0 logits --model teacher.safetensors "${part[@]}" --split val --views 2 --augment flip --out views-val.npy

# A store that does not match its images names the first file at fault.
refuse() { expect_error 1 "$1" distill "${student[@]}" --logits train.npy --out x.safetensors --quiet "${@:2}"; }
name=$(sed -n 2p train.csv | cut -d, -f1)
cp -r data saved
ppm 12 1 2 3 >data/$name
refuse "$name"
rm data/$name
refuse "$name"
rm -r data && cp -r saved data
mkdir other && cp -r data/blue other/blue && cp -r data/red other/green
expect_error 1 "red" distill "${net[@]}" --data other --logits train.npy --out x.safetensors --quiet
refuse "train.npy" --teacher second.safetensors
head -c 200 train.npy >short.npy && cp train.json short.json
expect_error 1 "short.npy" distill "${student[@]}" --logits short.npy --out x.safetensors --quiet
expect_error 1 "missing.npy" distill "${student[@]}" --logits missing.npy --out x.safetensors --quiet

# A store that does not fit because of --limit names it.
expect 0 logits --model teacher.safetensors "${part[@]}" --limit 6 --split train --out limited.npy
expect_error 1 "others of the 14 images; write the logits again from these images (it has 6 rows: if they were written with --limit, give it here too)" \
  distill "${student[@]}" --logits limited.npy --out x.safetensors --quiet
expect_error 1 "--limit 8 leaves images out here: a store goes with the --limit that it was written with" \
  distill "${student[@]}" --logits limited.npy --limit 8 --out x.safetensors --quiet
expect 0 distill "${student[@]}" --logits limited.npy --limit 6 --out limited.safetensors

# Stores that do not fit what is asked.
refuse "val.npy: comes from another teacher" --val-logits other-val.npy
refuse "views-val.npy: holds augmented views" --val-logits views-val.npy
expect_error 1 "views.npy: holds augmented views" eval --model teacher.safetensors "${part[@]}" --split train --logits views.npy --quiet

# Hints: layers of a live teacher.
hinted=(distill --student resnet8 "${part[@]}" --image-size 12 --epochs 2 --batch-size 5 --teacher)
expect 0 "${hinted[@]}" teacher.safetensors --hint layer3.0.bn2:layer3.0.bn2 --hint fc:fc --hint-weight 0.01 --lr 0.001 --out hinted.safetensors --log hinted.jsonl
[[ $(grep -cE '"train_hint_loss":[0-9.]+' hinted.jsonl) == 2 ]] || fail "the log lacks the hints' loss"
expect 0 summary --model hinted.safetensors
! grep -q hint stdout || fail "the regressors are left behind"
expect 0 "${hinted[@]}" teacher.safetensors --lr 0.001 --out plain.safetensors
! cmp -s hinted.safetensors plain.safetensors || fail "hints do nothing"
for loss in attention contrast; do
  expect 0 "${hinted[@]}" teacher.safetensors --hint layer3.0.bn2:layer3.0.bn2 --hint-loss $loss --lr 0.001 --out $loss.safetensors
  ! cmp -s $loss.safetensors plain.safetensors || fail "--hint-loss $loss does nothing"
done
expect_error 2 "--hint-loss attention: fc gives [1, 2], a vector" "${hinted[@]}" teacher.safetensors --hint fc:fc --hint-loss attention --out x.safetensors --quiet
expect_error 2 "--hint: a store holds no outputs" distill "${student[@]}" --logits train.npy --hint a:b --out x.safetensors
expect_error 2 "--hint: the teacher has no layer 'layer9'" "${hinted[@]}" teacher.safetensors --hint layer9:fc --out x.safetensors --quiet
expect_error 2 "--hint: the student has no layer 'layer9'" "${hinted[@]}" teacher.safetensors --hint fc:layer9 --out x.safetensors --quiet
expect_error 2 "--hint: 2 teachers" "${hinted[@]}" teacher.safetensors,second.safetensors --hint fc:fc --out x.safetensors --quiet

# Usage.
expect_error 2 "--student: 'resnet51' is no architecture" distill "${student[@]}" --student resnet51 --logits train.npy --out x.safetensors
expect_error 2 "--views: views.npy holds 3 views, not 2" distill "${student[@]}" --logits views.npy --views 2 --out x.safetensors --quiet
expect_error 2 "--views: -1" distill "${student[@]}" --logits views.npy --views -1 --out x.safetensors
expect_error 2 "--val-logits: goes with --logits" distill "${student[@]}" --teacher teacher.safetensors --val-logits val.npy --out x.safetensors
expect_error 2 "--batch-size: 0" logits --model teacher.safetensors "${part[@]}" --batch-size 0 --out x.npy
expect_error 2 "--temperature" distill "${net[@]}" --data data --logits train.npy --temperature 0 --out x.safetensors
expect_error 2 "--lambda" distill "${net[@]}" --data data --logits train.npy --lambda 1.5 --out x.safetensors
expect_error 2 "--convention" distill "${student[@]}" --logits train.npy --convention keras --out x.safetensors
expect_error 2 "--loss" distill "${student[@]}" --logits train.npy --loss l1 --out x.safetensors
expect_error 2 "--teacher" distill "${student[@]}" --out x.safetensors
expect_error 2 "--mixup" distill "${student[@]}" --logits train.npy --mixup 0.3 --out x.safetensors
expect_error 2 "--combine" logits --model teacher.safetensors "${part[@]}" --combine median --out x.npy
expect_error 2 "--views" logits --model teacher.safetensors "${part[@]}" --views 0 --out x.npy
expect_error 2 "--out" logits --model teacher.safetensors "${part[@]}" --out x.txt
[[ ! -e x.safetensors && ! -e x.npy ]] || fail "a failed command left a file"
