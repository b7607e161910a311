#!/usr/bin/env python3
"""Makes docs/results/cifar-losses.md: every loss on CIFAR-10, one teacher, one small student, one budget, with the
labels and without.

    docs/results/cifar-losses.py [DATA] [WORK]
    DATA  folder with cifar10/*.bin.xz and pretrained/  (default: $RETORT_DATA, else ../shared/data)
    WORK  where models and logs go                      (default: build/results-cifar-losses); what has finished there
          is not run again, but for another budget take another folder

The test images choose nothing: training does not see them, and every number is that of the last epoch.
The budget comes from the environment; as it stands, an hour and a half on two cores. A night's, in another folder:
    EPOCHS=25 VIEWS=8 docs/results/cifar-losses.py DATA build/results-cifar-night
"""
import array
import math
import os
from typing import NamedTuple

import pages

IMAGES, EPOCHS, SIZE = pages.setting("IMAGES", 50000), pages.setting("EPOCHS", 4), pages.setting("SIZE", 32)
VIEWS, AUGMENT = pages.setting("VIEWS", 4), pages.setting("AUGMENT", "crop,flip")
SEEDS = pages.setting("SEEDS", "0 1 2").split()
STUDENT = pages.setting("STUDENT", "resnet8")
JOBS = pages.setting("JOBS", 2)
COMMON = (f"--data WORK/train --val-split 0 --limit {IMAGES} --image-size {SIZE} --epochs {EPOCHS} --batch-size 64"
          " --optimizer sgd --momentum 0.9 --nesterov --lr 0.05 --weight-decay 0.0005 --max-norm 5 --warmup-epochs 0.5"
          " --schedule cosine --checkpoint-every 1000 --threads 1 --quiet --seed SEED")
EVAL = "--data WORK/test --split test"
ADDITIVE = "--convention additive --lambda 1"


class Row(NamedTuple):
    name: str  # of its files
    label: str
    flags: str = ""


LABELLED = [
    Row("labels", "labels alone"),
    Row("kd", "`kd`", "--temperature 4 --lambda 0.1"),
    Row("kd-std", "`kd --standardize-logits`", "--standardize-logits --temperature 2 --lambda 0.1 --soft-weight 10"),
    Row("mse", "`mse`", "--loss mse --lambda 0.1"),
    Row("dkd", "`dkd`", f"--loss dkd {ADDITIVE} --temperature 4 --soft-ramp-epochs {EPOCHS / 10:g}"),
    Row("nkd", "`nkd`", f"--loss nkd {ADDITIVE} --temperature 1"),
    Row("dist", "`dist`", f"--loss dist {ADDITIVE} --temperature 4 --soft-weight 32"),
    Row("ttm", "`ttm`", f"--loss ttm {ADDITIVE} --temperature 10 --soft-weight 45"),
    Row("wttm", "`wttm`", f"--loss wttm {ADDITIVE} --temperature 5 --soft-weight 4"),
]
UNLABELLED = [
    Row("kd-0", "`kd`", "--temperature 4 --lambda 0"),
    Row("kd-std-0", "`kd --standardize-logits`", "--standardize-logits --temperature 2 --lambda 0 --soft-weight 9"),
    Row("mse-0", "`mse`", "--loss mse --lambda 0"),
    Row("dist-0", "`dist`", "--loss dist --lambda 0 --temperature 4 --soft-weight 32"),
    Row("ttm-0", "`ttm`", "--loss ttm --lambda 0 --temperature 10 --soft-weight 45"),
    Row("wttm-0", "`wttm`", "--loss wttm --lambda 0 --temperature 5 --soft-weight 4"),
]


class Column(NamedTuple):
    key: str  # of what `retort eval --json` prints
    label: str
    scale: int
    digits: int


COLUMNS = [
    Column("accuracy", "accuracy, %", 100, 2),
    Column("agreement", "agreement with the teacher, %", 100, 1),
    Column("kl", "KL to the teacher", 1, 2),
    Column("confidence", "mean confidence, %", 100, 1),
]


def prepare(runs):
    """Brings images and teacher, and stores the teacher's logits."""
    pages.cifar10_and_teacher(runs)
    runs.make("train.npy", "logits --model WORK/teacher.safetensors --data WORK/train --split train --val-split 0"
              f" --limit {IMAGES} --views {VIEWS} --augment {AUGMENT} --quiet")
    runs.make("test.npy", f"logits --model WORK/teacher.safetensors {EVAL} --quiet")


def train(runs, row, seed):
    """One student, and what `retort eval` says of it on the test images."""
    if row.name == "labels":
        command = f"train --model {STUDENT} {COMMON} --augment {AUGMENT}"
    else:
        command = f"distill --student {STUDENT} {COMMON} --logits WORK/train.npy {row.flags}"
    runs.make(f"{row.name}-SEED.safetensors", command, seed)
    return runs.evaluate(f"{row.name}-SEED", f"{EVAL} --logits WORK/test.npy --threads 1", seed)


def mean_confidence(path, classes):
    """Mean of the highest probability of each row of a NumPy array of float32 logits."""
    with open(path, "rb") as file:
        file.seek(8)
        file.seek(int.from_bytes(file.read(2), "little"), 1)
        values = array.array("f", file.read())
    rows = [values[i:i + classes] for i in range(0, len(values), classes)]
    return sum(1 / sum(math.exp(z - max(row)) for z in row) for row in rows) / len(rows)


def off_by(found, sign):
    """Rows whose confidence lies more than 5 points above or below their accuracy, in the mean."""
    names = []
    for row in LABELLED + UNLABELLED:
        runs = found[row.name]
        if sign * sum(run["confidence"] - run["accuracy"] for run in runs) / len(runs) > 0.05:
            names.append(row.label + (" (labels unread)" if row in UNLABELLED else ""))
    return ", ".join(names) or "none"


def measure(runs):
    prepare(runs)
    rows = LABELLED + UNLABELLED
    # All losses of one seed before the next: SEEDS=0 makes a page of what is there.
    pairs = [(row, seed) for seed in SEEDS for row in rows]
    results = pages.side_by_side(JOBS, [lambda pair=pair: train(runs, *pair) for pair in pairs])
    found = {row.name: [result for pair, result in zip(pairs, results) if pair[0] == row] for row in rows}
    teacher = runs.evaluate("teacher", EVAL)
    student = runs.run("student", f"summary --model {STUDENT} --image-size {SIZE} --json")
    facts = {}
    for row in rows:
        for column in COLUMNS:
            values = [column.scale * run[column.key] for run in found[row.name]]
            facts[f"{row.name}.{column.key}"] = pages.mean_and_range(values, column.digits)
    return {**facts, "machine": os.environ.get("MACHINE", "two cores"),
            "teacher": f"{100 * teacher['accuracy']:.2f}%", "teacher confidence": f"{100 * teacher['confidence']:.1f}%",
            "train confidence": f"{100 * mean_confidence(runs.work / 'train.npy', 10):.1f}%",
            "parameters": f"{student['parameters']:,}", "macs": f"{student['macs']:,}",
            "surer": off_by(found, 1), "less sure": off_by(found, -1)}


def losses(facts, rows):
    return pages.table(["soft term", *(column.label for column in COLUMNS), "flags"],
                       [[row.label, *facts.row(row.name, (column.key for column in COLUMNS)),
                         f"`{row.flags}`" if row.flags else ""] for row in rows])


def page(facts):
    seen = "no augmentation: one stored view of each image" if AUGMENT == "none" else \
        f"{VIEWS} stored views of each image ({AUGMENT}), but new views in every epoch for labels alone"
    return pages.Page(
        "CIFAR-10: every loss, one budget",
        f""" on {facts.words("machine")}. On the 10,000 test images after the last epoch: mean of
{len(SEEDS)} seeds (lowest to highest). The test images chose nothing, and nothing was tuned.""",
        (f"""The teacher is a ResNet-56 that was trained elsewhere (`retort import`): {facts.numbers("teacher")}. The student is a {STUDENT} on images
of {SIZE} x {SIZE} px: {facts.numbers("parameters")} parameters, {facts.numbers("macs")} multiply-adds. The budget of each run: {IMAGES:,} training
images, {EPOCHS} epochs, {seen}.
The students are far from converged; the variables at the script's top make it a night's.""",
         "## With the labels", losses(facts, LABELLED),
         "## The same images as a transfer set, labels unread",
         "`dkd` and `nkd` read labels, so they are not here.", losses(facts, UNLABELLED),
         f"""The teacher was trained on all 50,000 training images. Its mean confidence is {facts.numbers("train confidence")} on what the students see of them,
{facts.numbers("teacher confidence")} on the test images. KL and agreement are against its logits of the test images, at T = 1. A student is
as sure as it should be where its mean confidence equals its accuracy. More than 5 points surer: {facts.words("surer")}.
More than 5 points less sure: {facts.words("less sure")}.
Differences within the seeds' ranges say nothing.""",
         """SGD with momentum 0.9 (Nesterov), learning rate 0.05 along a cosine after half an epoch of warm-up, batches of 64, weight
decay 5e-4, gradient norm clipped to 5: the same for all and tuned for none, though weights of the soft term from 0.9 to 45 make
steps of different sizes. The flags of `kd --standardize-logits`, `dkd` and `nkd` are the papers', those of `dist`, `ttm` and
`wttm` are from the authors' released code ([which loss](../guide/losses.md)); the papers of `kd` and `mse` give none. `dkd`'s ramp takes the
first tenth of the epochs, and its factor of 8 is of the paper's ResNet-32x4 pair: the authors' code has 2 for a ResNet-56."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page, pages.Needs("", ("cifar10",), "the folder that holds cifar10 and pretrained"))
