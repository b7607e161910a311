#!/usr/bin/env python3
"""Makes docs/results/cifar-controls.md: was it the teacher? Every loss beside the same loss without one.

    docs/results/cifar-controls.py [DATA] [WORK]
    DATA  folder with cifar10/*.bin.xz and pretrained/  (default: $RETORT_DATA, else ../shared/data)
    WORK  where models and logs go                      (default: build/results-cifar-controls); what has finished there
          is not run again, but for another budget take another folder

As it stands, an hour on two cores. IMAGES, EPOCHS, SEEDS and JOBS in the environment are the budget. The step size
of each row is the one that does best, with the first seed, on training images that are held out. The test images choose nothing.
"""
import csv
import os
import statistics
from typing import NamedTuple

import pages

IMAGES, EPOCHS = pages.setting("IMAGES", 4000), pages.setting("EPOCHS", 4)
SEEDS = pages.setting("SEEDS", "0 1 2").split()
JOBS = pages.setting("JOBS", 2)
VIEWS, AUGMENT = 8, "crop,flip"
LRS = (0.1, 0.3)
STUDENT = "resnet8"
COMMON = (f"--data WORK/train --val-split 0.5 --limit {IMAGES} --epochs {EPOCHS} --batch-size 64 --optimizer sgd --momentum 0.9"
          " --nesterov --weight-decay 0.0005 --max-norm 5 --warmup-epochs 0.5 --schedule cosine --checkpoint-every 1000 --threads 1"
          " --quiet --seed SEED")
ADDITIVE = "--convention additive --lambda 1"


class Loss(NamedTuple):
    name: str
    label: str
    flags: str
    margin: bool = False  # the control by the mean margin, too


LOSSES = [
    Loss("kd", "`kd`", "--temperature 4 --lambda 0.1", margin=True),
    Loss("kd-std", "`kd --standardize-logits`", "--standardize-logits --temperature 2 --lambda 0.1 --soft-weight 10"),
    Loss("mse", "`mse`", "--loss mse --lambda 0.1"),
    Loss("dkd", "`dkd`", f"--loss dkd --dkd-beta 2 {ADDITIVE} --temperature 4 --soft-ramp-epochs {EPOCHS / 10:g}"),
    Loss("nkd", "`nkd`", f"--loss nkd {ADDITIVE} --temperature 1"),
    Loss("dist", "`dist`", f"--loss dist {ADDITIVE} --temperature 4 --soft-weight 2"),
    Loss("ttm", "`ttm`", f"--loss ttm {ADDITIVE} --temperature 10 --soft-weight 45", margin=True),
    Loss("wttm", "`wttm`", f"--loss wttm {ADDITIVE} --temperature 5 --soft-weight 4"),
]

class Row(NamedTuple):
    name: str  # of its files
    flags: str = ""
    scores: str = ""  # of the training images, where they are stored


LABELS = Row("labels")
ROWS = [LABELS, *(Row(f"{loss.name}-{kind}", loss.flags, scores)
                  for loss in LOSSES for kind, scores in (("taught", "train.npy"), ("means", "means.csv"), ("margin", "margin.csv"))
                  if kind != "margin" or loss.margin)]


def prepare(runs):
    """Brings images and teacher, stores the teacher's logits, and the tables that labels alone decide."""
    pages.cifar10_and_teacher(runs)
    stored = f"logits --model WORK/teacher.safetensors --data WORK/train --split train --val-split 0.5 --limit {IMAGES} --quiet"
    runs.make("train.npy", f"{stored} --views {VIEWS} --augment {AUGMENT}")
    runs.make("whole.npy", f"{stored} --csv WORK/whole.csv")
    with open(runs.work / "whole.csv", newline="") as file:
        classes, *rows = list(csv.reader(file))
    write_untaught(runs, classes[1:], {name: list(map(float, scores)) for name, *scores in rows}, labels_of(runs))


def labels_of(runs):
    """The class of each training image by its name, train/ROW, from the files of 3,073 bytes an image."""
    data = b"".join(path.read_bytes() for path in sorted((runs.work / "train").glob("*.bin")))
    return {f"train/{row:05}": data[3073 * row] for row in range(len(data) // 3073)}


def write_untaught(runs, classes, taught, labels):
    """Tables of scores that the labels alone decide, as large as the teacher's of the same images."""
    own = {name: labels[name] for name in taught}
    margin = statistics.mean(z[own[name]] - (sum(z) - z[own[name]]) / (len(z) - 1) for name, z in taught.items())
    means = [[statistics.mean(column) for column in zip(*(z for name, z in taught.items() if own[name] == of))]
             for of in range(len(classes))]
    for file, row_of in (("margin", lambda of: [margin * (kind == of) for kind in range(len(classes))]), ("means", lambda of: means[of])):
        lines = [",".join([name, *(f"{z:.5f}" for z in row_of(of))]) for name, of in own.items()]
        pages.write(runs.work / f"{file}.csv", "\n".join([",".join(["name", *classes]), *lines]) + "\n")


def train(runs, row, lr, seed):
    """One student: which test images it has right, by name, and its accuracy on the images held out."""
    name = f"{row.name}-{lr:g}-SEED"
    common = f"{COMMON} --lr {lr:g} --log WORK/{name}.jsonl"
    if row.scores.endswith(".npy"):
        command = f"distill --student {STUDENT} {common} --logits WORK/{row.scores} {row.flags}"
    elif row.scores:
        command = f"distill --student {STUDENT} {common} --augment {AUGMENT} --logits WORK/{row.scores} {row.flags}"
    else:
        command = f"train --model {STUDENT} {common} --augment {AUGMENT}"
    runs.make(f"{name}.safetensors", command, seed)
    runs.run(f"{name}-test", f"predict --model WORK/{name}.safetensors --data WORK/test --split test --csv WORK/{name}.csv"
             " --threads 1 --quiet", seed)
    file = name.replace("SEED", seed)
    with open(runs.work / f"{file}.csv", newline="") as read:
        right = {line["name"]: line["true"] == line["prediction"] for line in csv.DictReader(read)}
    return right, pages.json_lines(runs.work / f"{file}.jsonl")[-1]["val_accuracy"]


def measure(runs):
    prepare(runs)
    first = SEEDS[0]
    tried = [(row, lr) for row in ROWS for lr in LRS]
    results = pages.side_by_side(JOBS, [lambda one=one: train(runs, *one, first) for one in tried])
    of_first = dict(zip(tried, results))
    chosen = {row: max(LRS, key=lambda lr: of_first[row, lr][1]) for row in ROWS}
    more = [(row, seed) for seed in SEEDS[1:] for row in ROWS]
    results = pages.side_by_side(JOBS, [lambda one=one: train(runs, one[0], chosen[one[0]], one[1]) for one in more])
    rights = {row.name: [of_first[row, chosen[row]][0]] for row in ROWS}
    for (row, _), (right, _) in zip(more, results):
        rights[row.name].append(right)
    facts = {"machine": os.environ.get("MACHINE", "two cores"),
             "teacher": f"{100 * runs.evaluate('teacher', '--data WORK/test --split test')['accuracy']:.2f}"}
    means = {name: statistics.mean(map(pages.accuracy, values)) for name, values in rights.items()}
    for row in ROWS:
        facts[f"{row.name}.lr"] = f"{chosen[row]:g}"
        facts[f"{row.name}.accuracy"] = pages.mean_and_range(list(map(pages.accuracy, rights[row.name])), 1)
    for loss in LOSSES:
        best = max((name for name in means if name in (LABELS.name, f"{loss.name}-means", f"{loss.name}-margin")), key=means.get)
        lead, error = pages.advantage(rights[f"{loss.name}-taught"], rights[best])
        facts[f"{loss.name}.lead"] = f"{lead:+.1f} (± {error:.1f})"
    return facts


def page(facts):
    def cells(name):
        return [facts.numbers(f"{name}.accuracy"), facts.numbers(f"{name}.lr")]

    def losses():
        for loss in LOSSES:
            yield [loss.label, "the teacher", *cells(f"{loss.name}-taught"), facts.words(f"{loss.name}.lead"), f"`{loss.flags}`"]
            yield ["", "none: its mean scores of the labelled class", *cells(f"{loss.name}-means"), "", ""]
            if loss.margin:
                yield ["", "none: its mean margin on the labelled class", *cells(f"{loss.name}-margin"), "", ""]

    return pages.Page(
        "CIFAR-10: was it the teacher?",
        f""" on {facts.words("machine")}. Percent of the 10,000 test images right after
the last epoch: mean of {len(SEEDS)} seeds (lowest to highest).""",
        (f"""The teacher is a ResNet-56 that was trained elsewhere, {facts.numbers("teacher")}% right. The student is a {STUDENT} that learns from {IMAGES:,} labelled
images for {EPOCHS} epochs, under the same crops and flips in all rows (stored ones where the teacher's logits are, another one in each epoch).
Each row has the step size of {", ".join(f"{lr:g}" for lr in LRS)} that does best with its first seed on {IMAGES:,} other training images.""",
         pages.table(["soft term", "scores come from", "accuracy, %", "step size", "over the best control", "flags"],
                     [["none", "", *cells(LABELS.name), "", ""], *losses()]),
         """*Over the best control*: points above the best of labels alone and of the same loss without a teacher, whose rows hold scores that the
labels alone decide, as large as the teacher's; chosen by the test images, which favours the control. In parentheses the standard
error, of the test images (paired) or of the seeds, whichever is larger: an advantage below two of them says nothing.""",
         f"""SGD with momentum 0.9 (Nesterov), a cosine after half an epoch of warm-up, batches of 64, weight decay 5e-4, gradient norm clipped to 5.
The students are far from converged, and larger steps than {max(LRS):g}, which many rows choose, and other weights of the soft terms were not tried."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page, pages.Needs("", ("cifar10",), "the folder that holds cifar10 and pretrained"))
