#!/usr/bin/env bash
# Generates docs/results/cifar-losses.md: every loss on CIFAR-10, one teacher, one small student, one budget, with the
# labels and without. Usage: docs/results/cifar-losses.sh [DATA] [WORK]
#   DATA  folder with cifar10/*.bin.xz and pretrained/  (default: $RETORT_DATA, else ../shared/data)
#   WORK  where models and logs go                      (default: build/results-cifar); what is there already is not
#         run again, but for another budget take another folder
# The test images choose nothing: training does not see them, and every number is that of the last epoch.
# The budget, from the environment. A night on two cores:
#   IMAGES=50000 EPOCHS=30 SIZE=32 VIEWS=8 AUGMENT=crop,flip docs/results/cifar-losses.sh DATA build/results-cifar-night
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-${RETORT_DATA:-../shared/data}}
work=${2:-build/results-cifar}
retort=${RETORT:-build/retort}
images=${IMAGES:-10000} epochs=${EPOCHS:-6} size=${SIZE:-16} views=${VIEWS:-1} augment=${AUGMENT:-none} seeds=${SEEDS:-0 1 2}
student=${STUDENT:-resnet8} jobs=${JOBS:-2} machine=${MACHINE:-two cores}
[ -e "$data/cifar10" ] || { echo "$data/cifar10: not there; give the folder that holds cifar10 and pretrained" >&2; exit 1; }

# The training images lie apart, so that no run can look at the others.
mkdir -p "$work/train" "$work/test"
for packed in "$data"/cifar10/*.bin.xz; do
  name=$(basename "$packed" .xz)
  [[ $name == test* ]] && part=test || part=train
  [ -e "$work/$part/$name" ] || { xz -dc "$packed" > "$work/$name.part"; mv "$work/$name.part" "$work/$part/$name"; }
done
cp -f "$data/cifar10/batches.meta.txt" "$work/train"
cp -f "$data/cifar10/batches.meta.txt" "$work/test"
once() { # FILE command...: not again what is there
  local file=$1; shift
  [ -e "$file" ] || "$retort" "$@" --out "$file" --quiet
}
once "$work/teacher.safetensors" import --model resnet56_a --weights "$data/pretrained/resnet56-4bfd9763.safetensors" \
  --data "$work/train"
once "$work/train.npy" logits --model "$work/teacher.safetensors" --data "$work/train" --split train --val-split 0 \
  --limit "$images" --views "$views" --augment "$augment"
once "$work/test.npy" logits --model "$work/teacher.safetensors" --data "$work/test" --split val

common=(--data "$work/train" --val-split 0 --limit "$images" --image-size "$size" --epochs "$epochs" --batch-size 64
  --optimizer sgd --momentum 0.9 --nesterov --lr 0.05 --weight-decay 0.0005 --max-norm 5 --warmup-epochs 0.5
  --schedule cosine --checkpoint-every 1000 --threads 1 --quiet)
ramp=$(awk "BEGIN { print $epochs / 10 }")
additive="--convention additive --lambda 1"
# NAME | what the page says of it | flags
labelled="labels | labels alone |
kd | \`kd\` | --temperature 4 --lambda 0.1
kd-std | \`kd --standardize-logits\` | --standardize-logits --temperature 2 --lambda 0.1 --soft-weight 10
mse | \`mse\` | --loss mse --lambda 0.1
dkd | \`dkd\` | --loss dkd $additive --temperature 4 --soft-ramp-epochs $ramp
nkd | \`nkd\` | --loss nkd $additive --temperature 1
dist | \`dist\` | --loss dist $additive --temperature 4 --soft-weight 32
ttm | \`ttm\` | --loss ttm $additive --temperature 10 --soft-weight 45
wttm | \`wttm\` | --loss wttm $additive --temperature 5 --soft-weight 4"
unlabelled="kd-0 | \`kd\` | --temperature 4 --lambda 0
kd-std-0 | \`kd --standardize-logits\` | --standardize-logits --temperature 2 --lambda 0 --soft-weight 9
mse-0 | \`mse\` | --loss mse --lambda 0
dist-0 | \`dist\` | --loss dist --lambda 0 --temperature 4 --soft-weight 32
ttm-0 | \`ttm\` | --loss ttm --lambda 0 --temperature 10 --soft-weight 45
wttm-0 | \`wttm\` | --loss wttm --lambda 0 --temperature 5 --soft-weight 4"

train_one() { # NAME SEED FLAG...: one student, and what the test images say of it
  local out=$work/$1-$2 seed=$2 name=$1
  shift 2
  [ ! -e "$out.json" ] || return 0
  if [ "$name" = labels ]; then
    "$retort" train --model "$student" "${common[@]}" --augment "$augment" --seed "$seed" --out "$out.safetensors"
  else
    "$retort" distill --student "$student" "${common[@]}" --logits "$work/train.npy" --seed "$seed" "$@" --out "$out.safetensors"
  fi
  "$retort" eval --model "$out.safetensors" --data "$work/test" --split val --logits "$work/test.npy" --threads 1 --quiet \
    --json > "$out.part"
  mv "$out.part" "$out.json"
}
for seed in $seeds; do # all losses of one seed before the next: a table can be made of what is there
  while IFS='|' read -r name _ flags; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    # shellcheck disable=SC2086
    train_one "${name// /}" "$seed" $flags &
  done <<< "$labelled
$unlabelled"
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do wait -n; done

"$retort" eval --model "$work/teacher.safetensors" --data "$work/test" --split val --quiet --json > "$work/teacher.json"
"$retort" summary --model "$student" --image-size "$size" --json > "$work/student.json"
LABELLED=$labelled UNLABELLED=$unlabelled python3 - "$work" "$seeds" "$images" "$epochs" "$size" "$views" "$augment" "$student" "$machine" \
  > "$work/page.md" <<'P'
import json, os, sys
work, seeds, images, epochs, size, views, augment, student, machine = sys.argv[1:]
seeds = seeds.split()
read = lambda name: json.load(open(f"{work}/{name}.json"))
def text(values, digits):
    mean, lowest, highest = sum(values) / len(values), min(values), max(values)
    return f"{mean:.{digits}f} ({lowest:.{digits}f} to {highest:.{digits}f})"
def table(rows):
    lines = ["| soft term | accuracy, % | agreement with the teacher, % | KL to the teacher | mean confidence, % | flags |",
             "|---|---|---|---|---|---|"]
    for row in rows.splitlines():
        name, label, flags = (part.strip() for part in row.split("|"))
        runs = [read(f"{name}-{seed}") for seed in seeds]
        of = lambda key, scale=1: [scale * run[key] for run in runs]
        lines.append(f"| {label} | {text(of('accuracy', 100), 2)} | {text(of('agreement', 100), 1)} | {text(of('kl'), 2)} "
                     f"| {text(of('confidence', 100), 1)} | {f'`{flags}`' if flags else ''} |")
    return "\n".join(lines)
net = read("student")
seen = "no augmentation: one stored view of each image" if augment == "none" else f"{views} stored views of each image ({augment})"
print(f"""# CIFAR-10: every loss, one budget

Generated by `docs/results/cifar-losses.sh` on {machine}. On the 10,000 test images after the last epoch: mean of
{len(seeds)} seeds (lowest to highest). The test images chose nothing, and nothing was tuned.

The teacher is a ResNet-56 that was trained elsewhere (`retort import`): {100 * read("teacher")["accuracy"]:.2f}%. The student is a {student} on images
of {size} x {size} px: {net["parameters"]:,} parameters, {net["macs"]:,} multiply-adds. The budget of each run: {int(images):,} training
images, {epochs} epochs, {seen}. With budgets this small the
table says which losses teach fast; the variables at the script's top make it a night's.

## With the labels

{table(os.environ["LABELLED"])}

## The same images as a transfer set, labels unread

`dkd` and `nkd` read labels, so they are not here.

{table(os.environ["UNLABELLED"])}

The teacher was trained on all 50,000 training images, so it is nearly certain of each that the students see. KL and
agreement are against its logits of the test images, at T = 1. A confidence above the accuracy is more than the student
is entitled to: soft targets hand on the teacher's certainty of images that it had learnt by heart, unless the loss leaves
the scale to the student or softens the teacher alone. Differences within the seeds' ranges say nothing.

SGD with momentum 0.9 (Nesterov), learning rate 0.05 along a cosine after half an epoch of warm-up, batches of 64, weight
decay 5e-4, gradient norm clipped to 5: the same for all. The flags are the papers', for `dist`, `ttm` and `wttm` those
of the authors' released code ([which loss](../guide/losses.md)); `dkd`'s ramp takes the first tenth of the epochs.""")
P
mv "$work/page.md" docs/results/cifar-losses.md
cat docs/results/cifar-losses.md
