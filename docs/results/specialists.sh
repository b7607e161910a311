#!/usr/bin/env bash
# Generates docs/results/specialists.md: a generalist, its specialists, and all of them distilled back into one network
# of the generalist's size (Hinton et al. 2015, arXiv 1503.02531, section 5; the last step is not in the paper).
# Usage: docs/results/specialists.sh [DATA] [WORK]
#   DATA  folder with mnist/ and cifar10/*.bin.xz  (default: $RETORT_DATA, else ../shared/data)
#   WORK  where models and logs go                 (default: build/results-specialists); what is there already is not
#         run again, but for another budget take another folder
# The test images choose nothing: training does not see them, and every number is that of the last epoch.
# CIFAR-10's budget, from the environment. A night on two cores:
#   IMAGES=50000 SIZE=32 EPOCHS=30 SPECIALIST_EPOCHS=10 docs/results/specialists.sh DATA build/results-specialists-night
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-${RETORT_DATA:-../shared/data}}
work=${2:-build/results-specialists}
retort=${RETORT:-build/retort}
images=${IMAGES:-10000} size=${SIZE:-16} epochs=${EPOCHS:-6} specialist_epochs=${SPECIALIST_EPOCHS:-4} seeds=${SEEDS:-0 1 2}
cifar_seeds=${CIFAR_SEEDS:-$seeds}
machine=${MACHINE:-two cores}
mnist_images=20000 mnist_epochs=6 mnist_specialist_epochs=6
for set in mnist cifar10; do
  [ -e "$data/$set" ] || { echo "$data/$set: not there; give the folder that holds mnist and cifar10" >&2; exit 1; }
done
mkdir -p "$work/cifar10"
for packed in "$data"/cifar10/*.bin.xz; do
  name=$(basename "$packed" .xz)
  [ -e "$work/cifar10/$name" ] || { xz -dc "$packed" > "$work/part"; mv "$work/part" "$work/cifar10/$name"; }
done
cp -f "$data/cifar10/batches.meta.txt" "$work/cifar10"

once() { # FILE command...: not again what is there
  local file=$1; shift
  [ -e "$file" ] || "$retort" "$@" --out "$file" --quiet
}
# NAME SEEDS ARCH EPOCHS SPECIALIST_EPOCHS FLAG...: generalist, specialists, and for comparison a student of the generalist
# alone, and what the test images say of all, NAME-SEED.json
experiment() {
  local name=$1 seeds=$2 arch=$3 length=$4 specialist_length=$5 seed at
  shift 5
  for seed in $seeds; do
    at=$work/$name-$seed
    [ ! -e "$at.json" ] || continue
    once "$at-generalist.safetensors" train --model "$arch" "$@" --epochs "$length" --seed "$seed"
    "$retort" specialists --model "$at-generalist.safetensors" --student "$arch" "$@" --epochs "$length" --seed "$seed" \
      --specialist-epochs "$specialist_length" --temperature 2 --lambda 0.1 --groups 4 --out "$at" --quiet --json > "$at.part"
    once "$at-alone.npy" logits --model "$at-generalist.safetensors" --split train $(data_flags "$@")
    once "$at-alone.safetensors" distill --student "$arch" "$@" --epochs "$length" --seed "$seed" --logits "$at-alone.npy" \
      --temperature 2 --lambda 0.1
    "$retort" eval --model "$at-alone.safetensors" $(data_flags "$@") --json --quiet > "$at-alone-eval.json"
    mv "$at.part" "$at.json"
  done
}
data_flags() { # of the flags of a run, those that logits and eval take too
  while [ $# -gt 1 ]; do
    case $1 in --data|--limit|--threads) echo "$1 $2" ;; esac
    shift
  done
}
# Batches of 100 divide every set, so that no step sees a handful of images.
common=(--optimizer sgd --momentum 0.9 --schedule cosine --batch-size 100 --checkpoint-every 1000 --threads 1)
experiment mnist "$seeds" mlp:30x30 "$mnist_epochs" "$mnist_specialist_epochs" --data "$data/mnist" --limit "$mnist_images" --mean 0 --std 0.5 \
  "${common[@]}" --lr 0.1 --max-norm 1 &
mnist=$!
experiment cifar10 "$cifar_seeds" resnet8 "$epochs" "$specialist_epochs" --data "$work/cifar10" --limit "$images" --image-size "$size" \
  "${common[@]}" --lr 0.05 --nesterov --weight-decay 0.0005 --max-norm 5 --warmup-epochs 0.5
wait "$mnist"

python3 - "$work" "$seeds" "$cifar_seeds" "$images" "$size" "$epochs" "$specialist_epochs" "$mnist_images" "$mnist_epochs" "$mnist_specialist_epochs" \
  "$machine" \
  > "$work/page.md" <<'P'
import json, sys
work, seeds, cifar_seeds, images, size, epochs, specialist_epochs, mnist_images, mnist_epochs, mnist_specialist_epochs, machine = sys.argv[1:]
def text(values, digits):
    return f"{sum(values) / len(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
def table(name, seeds):
    seeds = seeds.split()
    runs = [json.load(open(f"{work}/{name}-{seed}.json")) for seed in seeds]
    alone = [json.load(open(f"{work}/{name}-{seed}-alone-eval.json")) for seed in seeds]
    rows = [("the generalist", [run["generalist"] for run in runs]),
            ("generalist and specialists together", [run["combined"] for run in runs]),
            ("one network distilled from them", [run["student"] for run in runs]),
            ("for comparison: one network distilled from the generalist alone", alone)]
    lines = ["| on the test images | accuracy, % | cross-entropy |", "|---|---|---|"]
    for label, results in rows:
        lines.append(f"| {label} | {text([100 * r['accuracy'] for r in results], 2)} "
                     f"| {text([r['cross_entropy'] for r in results], 4)} |")
    gain = lambda over: ", ".join(f"{100 * (run['student']['accuracy'] - base['accuracy']):+.2f}" for run, base in zip(runs, over))
    lines += ["", f"Points that the network distilled from them has over the generalist, by seed: {gain([run['generalist'] for run in runs])};",
              f"over the one distilled from the generalist alone: {gain(alone)}."]
    lines += ["", "| seed | its groups |", "|---|---|"]
    for seed, run in zip(seeds, runs):
        lines.append(f"| {seed} | {'; '.join(', '.join(group) for group in run['groups'])} |")
    return "\n".join(lines)
print(f"""# Specialists, and back into one network

Generated by `docs/results/specialists.sh` on {machine}. On the 10,000 test images after the last epoch: mean of the
seeds (lowest to highest). The test images chose nothing. Hinton et al. 2015 (arXiv 1503.02531,
section 5) gained 4.4% relative with 61 specialists on a set of 15,000 classes; they left distilling them back open.

Four groups, a number chosen by hand, by k-means on the covariance of the generalist's predictions at T = 2 scaled to unit variances;
students learn at T = 2 with lambda 0.1. All networks of a set have one architecture; the last two rows are trained alike and
differ in their teacher alone. Generalist and specialists together have been trained for longer than the generalist.

## MNIST

Two hidden layers of 30 on {int(mnist_images):,} training images, {mnist_epochs} epochs, specialists {mnist_specialist_epochs} epochs from the generalist at a tenth of its learning rate.

{table("mnist", seeds)}

## CIFAR-10

resnet8 on {int(images):,} training images of {size} x {size} px, {epochs} epochs, specialists {specialist_epochs} epochs: a budget of minutes; the variables at
the script's top make it a night's.

{table("cifar10", cifar_seeds)}""")
P
mv "$work/page.md" docs/results/specialists.md
cat docs/results/specialists.md
