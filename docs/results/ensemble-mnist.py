#!/usr/bin/env python3
"""Makes docs/results/ensemble-mnist.md: ten networks, their ensemble, and one network distilled from it, as in
Hinton et al. 2015 (arXiv 1503.02531), section 4.

    docs/results/ensemble-mnist.py [DATA] [WORK]
    DATA  folder with MNIST's four files   (default: $RETORT_DATA/mnist, else ../shared/data/mnist)
    WORK  where models and logs go         (default: build/results-ensemble-mnist); what has finished there is not run
          again

The 10,000 test images choose nothing: every number is that of the last epoch.
"""
import csv
import gzip
from typing import NamedTuple

import pages

MEMBERS, EPOCHS, VIEWS, STUDENT_EPOCHS = 10, 24, 12, 48
MEMBER_SEEDS = [str(100 + member) for member in range(MEMBERS)]
SEEDS = ["0", "1", "2"]
COMMON = ("--data DATA --val-split 0 --mean 0 --std 0.5 --optimizer sgd --momentum 0.9 --lr 0.1 --max-norm 1 --batch-size 128"
          " --schedule cosine --weight-decay 0 --warmup-epochs 0 --checkpoint-every 1000 --quiet --seed SEED")
FILES = ",".join(f"WORK/member-{seed}.safetensors" for seed in MEMBER_SEEDS)


class Row(NamedTuple):
    name: str  # of its files
    label: str
    seeds: list = []
    command: str = ""


ROWS = [
    Row("member-SEED", f"one of {MEMBERS} networks, 800-800, {EPOCHS} epochs", MEMBER_SEEDS,
        f"train --model mlp:800x800 {COMMON} --epochs {EPOCHS} --augment jitter --dropout 0.3"),
    Row("alone-SEED", f"one network trained as long as the students, {STUDENT_EPOCHS} epochs, three seeds", SEEDS,
        f"train --model mlp:800x800 {COMMON} --epochs {STUDENT_EPOCHS} --augment jitter --dropout 0.3"),
    Row("ensemble", f"the ensemble of the {MEMBERS}, geometric mean of the probabilities"),
    Row("student-SEED", f"one network, 800-800, distilled from the ensemble, {STUDENT_EPOCHS} epochs, three seeds", SEEDS,
        f"distill --student mlp:800x800 {COMMON} --epochs {STUDENT_EPOCHS} --logits WORK/train.npy --temperature 4"
        " --lambda 0"),
]


def train(runs, row):
    """The wrong answers of a row's networks, one for each seed."""
    counts = []
    for seed in row.seeds:
        runs.make(f"{row.name}.safetensors", row.command, seed)
        counts.append(pages.wrong(runs.evaluate(row.name, "--data DATA --split test", seed)))
    return counts


def ensemble_errors(runs):
    """Wrong answers in the ensemble's logits of the test images, whose names end with their number in the file."""
    packed, plain = (runs.data / f"t10k-labels-idx1-ubyte{ending}" for ending in (".gz", ""))
    labels = (gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes())[8:]
    wrong = 0
    with open(runs.work / "val.csv") as file:
        for name, *row in list(csv.reader(file))[1:]:
            logits = [float(z) for z in row]
            wrong += logits.index(max(logits)) != labels[int(name.split("/")[1])]
    return wrong


def measure(runs):
    members, alone, ensemble, students = ROWS
    counts = {"member": train(runs, members)}
    logits = f"logits --model {FILES} --data DATA --val-split 0 --combine geometric --quiet"
    runs.make("train.npy", f"{logits} --split train --views {VIEWS} --augment jitter --batch-size 256")
    runs.make("val.npy", f"{logits} --split test --csv WORK/val.csv")
    counts["student"], counts["alone"] = train(runs, students), train(runs, alone)
    wrong = ensemble_errors(runs)
    member, lone, student = (sum(counts[name]) / len(counts[name]) for name in ("member", "alone", "student"))
    return {members.name: pages.mean_and_range(counts["member"], 1, 0),
            alone.name: pages.mean_and_range(counts["alone"], 1, 0), ensemble.name: str(wrong),
            students.name: pages.mean_and_range(counts["student"], 1, 0),
            "kept of members": f"{100 * (member - student) / (member - wrong):.0f}%",
            "kept of alone": f"{100 * (lone - student) / (lone - wrong):.0f}%",
            "error": f"{pages.error_of_count(wrong):.0f}"}


def page(facts):
    return pages.Page(
        "MNIST: ten networks distilled into one",
        """. Wrong answers among the 10,000 test images after the last epoch: mean
(lowest to highest). The paper's speech experiment (Hinton et al. 2015, arXiv 1503.02531, section 4) kept more than 80% of
what its ensemble of ten gained.""",
        (pages.table(["network", "errors"], [[row.label, facts.numbers(row.name)] for row in ROWS]),
         f"""Share of the ensemble's gain that the students keep: {facts.numbers("kept of members")} of that over its members, {facts.numbers("kept of alone")} of that over networks
trained as long as the students. There is one ensemble; {facts.numbers("ensemble")} errors have a standard error of {facts.numbers("error")}.""",
         f"""Members: images shifted by up to 2 pixels, dropout 0.3. Students: no dropout, the labels unread (lambda 0), T = 4, {VIEWS} stored
shifted views of each image in turn, each seen by both. SGD with momentum 0.9, learning rate 0.1 along a cosine,
batches of 128, gradient norm clipped to 1. The test images chose nothing."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page, pages.MNIST)
