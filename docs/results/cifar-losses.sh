#!/usr/bin/env bash
# Generates docs/results/cifar-losses.md: every loss on CIFAR-10, one teacher, one small student, one budget, with the
# labels and without. Usage: docs/results/cifar-losses.sh [DATA] [WORK]
#   DATA  folder with cifar10/*.bin.xz and pretrained/  (default: $RETORT_DATA, else ../shared/data)
#   WORK  where models and logs go                      (default: build/results-cifar); what is there already is not
#         run again, but for another budget take another folder
# The test images choose nothing: training does not see them, and every number is that of the last epoch.
# The budget, from the environment; as it stands, an hour and a half on two cores. A night's, in another folder:
#   EPOCHS=25 VIEWS=8 docs/results/cifar-losses.sh DATA build/results-cifar-night
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-${RETORT_DATA:-../shared/data}}
work=${2:-build/results-cifar}
retort=${RETORT:-build/retort}
images=${IMAGES:-50000} epochs=${EPOCHS:-4} size=${SIZE:-32} views=${VIEWS:-4} augment=${AUGMENT:-crop,flip} seeds=${SEEDS:-0 1 2}
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
import array, json, math, os, sys
work, seeds, images, epochs, size, views, augment, student, machine = sys.argv[1:]
seeds = seeds.split()
read = lambda name: json.load(open(f"{work}/{name}.json"))
def text(values, digits):
    mean, lowest, highest = sum(values) / len(values), min(values), max(values)
    return f"{mean:.{digits}f} ({lowest:.{digits}f} to {highest:.{digits}f})"
def parsed(rows):
    """Of each row its name, what the page calls it, its flags, and what the test images say of each seed's student."""
    for row in rows.splitlines():
        name, label, flags = (part.strip() for part in row.split("|"))
        yield name, label, flags, [read(f"{name}-{seed}") for seed in seeds]
def table(rows):
    lines = ["| soft term | accuracy, % | agreement with the teacher, % | KL to the teacher | mean confidence, % | flags |",
             "|---|---|---|---|---|---|"]
    for _, label, flags, runs in parsed(rows):
        of = lambda key, scale=1: [scale * run[key] for run in runs]
        lines.append(f"| {label} | {text(of('accuracy', 100), 2)} | {text(of('agreement', 100), 1)} | {text(of('kl'), 2)} "
                     f"| {text(of('confidence', 100), 1)} | {f'`{flags}`' if flags else ''} |")
    return "\n".join(lines)
def sureness(path, classes):
    """Mean of the highest probability of each row of a NumPy array of float32 logits."""
    with open(path, "rb") as file:
        file.seek(8)
        file.seek(int.from_bytes(file.read(2), "little"), 1)
        values = array.array("f", file.read())
    rows = [values[i:i + classes] for i in range(0, len(values), classes)]
    return sum(1 / sum(math.exp(z - max(row)) for z in row) for row in rows) / len(rows)
def off_by(sign):
    """Rows whose confidence lies more than 5 points above or below their accuracy, in the mean."""
    names = []
    for name, label, _, runs in parsed(os.environ["LABELLED"] + "\n" + os.environ["UNLABELLED"]):
        if sign * sum(run["confidence"] - run["accuracy"] for run in runs) / len(runs) > 0.05:
            names.append(label + (" (labels unread)" if name.endswith("-0") else ""))
    return ", ".join(names) or "none"
net, teacher = read("student"), read("teacher")
seen = "no augmentation: one stored view of each image" if augment == "none" else \
    f"{views} stored views of each image ({augment}), but new views in every epoch for labels alone"
print(f"""# CIFAR-10: every loss, one budget

Generated by `docs/results/cifar-losses.sh` on {machine}. On the 10,000 test images after the last epoch: mean of
{len(seeds)} seeds (lowest to highest). The test images chose nothing, and nothing was tuned.

The teacher is a ResNet-56 that was trained elsewhere (`retort import`): {100 * teacher["accuracy"]:.2f}%. The student is a {student} on images
of {size} x {size} px: {net["parameters"]:,} parameters, {net["macs"]:,} multiply-adds. The budget of each run: {int(images):,} training
images, {epochs} epochs, {seen}.
The students are far from converged; the variables at the script's top make it a night's.

## With the labels

{table(os.environ["LABELLED"])}

## The same images as a transfer set, labels unread

`dkd` and `nkd` read labels, so they are not here.

{table(os.environ["UNLABELLED"])}

The teacher was trained on all 50,000 training images. Its mean confidence is {100 * sureness(f"{work}/train.npy", 10):.1f}% on what the students see of them,
{100 * teacher["confidence"]:.1f}% on the test images. KL and agreement are against its logits of the test images, at T = 1. A student is
as sure as it should be where its mean confidence equals its accuracy. More than 5 points surer: {off_by(1)}.
More than 5 points less sure: {off_by(-1)}.
Differences within the seeds' ranges say nothing.

SGD with momentum 0.9 (Nesterov), learning rate 0.05 along a cosine after half an epoch of warm-up, batches of 64, weight
decay 5e-4, gradient norm clipped to 5: the same for all and tuned for none, though weights of the soft term from 0.9 to 45 make
steps of different sizes. The flags of `kd --standardize-logits`, `dkd` and `nkd` are the papers', those of `dist`, `ttm` and
`wttm` are from the authors' released code ([which loss](../guide/losses.md)); the papers of `kd` and `mse` give none. `dkd`'s ramp takes the
first tenth of the epochs, and its factor of 8 is of the paper's ResNet-32x4 pair: the authors' code has 2 for a ResNet-56.""")
P
mv "$work/page.md" docs/results/cifar-losses.md
cat docs/results/cifar-losses.md
