#!/usr/bin/env python3
"""Makes docs/results/mnist.md: a 1200-1200 teacher and an 800-800 student, with and without soft targets, after
Hinton et al. 2015, section 3.

    docs/results/mnist.py [DATA] [WORK]
    DATA  folder with MNIST's four files   (default: $RETORT_DATA/mnist, else ../shared/data/mnist)
    WORK  where models and logs go         (default: build/results-mnist); what has finished there is not run again

TEACHER_EPOCHS and STUDENT_EPOCHS in the environment are the budget.
The 10,000 test images choose nothing: every score is that of the last epoch.
"""
from typing import NamedTuple

import pages

TEACHER_EPOCHS = pages.setting("TEACHER_EPOCHS", 30)
STUDENT_EPOCHS = pages.setting("STUDENT_EPOCHS", 20)
SEEDS = ["0", "1", "2"]
COMMON = ("--data DATA --val-split 0 --optimizer sgd --momentum 0.9 --lr 0.03 --batch-size 128 --schedule cosine --max-norm 1 --quiet"
          " --weight-decay 0 --warmup-epochs 0"
          " --log WORK/NAME.jsonl")
STUDENT = f"{COMMON} --epochs {STUDENT_EPOCHS} --seed SEED"


class Row(NamedTuple):
    name: str  # of its files
    label: str
    seeds: list
    paper: str
    command: str


ROWS = [
    Row("teacher", f"teacher, 1200-1200, dropout 0.3, images shifted by up to 2 pixels, {TEACHER_EPOCHS} epochs",
        ["0"], "67", f"train --model mlp:1200x1200 {COMMON} --epochs {TEACHER_EPOCHS} --augment jitter"
        " --dropout 0.3 --seed SEED"),
    Row("student-labels-SEED", f"student, 800-800, labels alone, {STUDENT_EPOCHS} epochs", SEEDS, "146",
        f"train --model mlp:800x800 {STUDENT} --augment none"),
    Row("student-soft-SEED", "the same, soft targets at T = 20, lambda 0.1, images not shifted", SEEDS, "74",
        f"distill --student mlp:800x800 {STUDENT} --logits WORK/train.npy --temperature 20 --lambda 0.1"),
]


def measure(runs):
    errors = {}
    for row in ROWS:
        counts = []
        for seed in row.seeds:
            runs.make(f"{row.name}.safetensors", row.command, seed)
            counts.append(pages.wrong(runs.evaluate(row.name, "--data DATA --split test", seed)))
        if row.name == "teacher":
            runs.make("train.npy", "logits --model WORK/teacher.safetensors --data DATA --val-split 0 --split train --quiet")
        errors[row.name] = " ".join(map(str, counts))
    return errors


def page(facts):
    return pages.Page(
        "MNIST: a 1200-1200 teacher and an 800-800 student",
        """. Errors among the 10,000 test images after the last epoch; the test images chose
nothing. The paper's column is Hinton et al. 2015, section 3.""",
        (pages.table(["network", f"errors, by seed ({' '.join(SEEDS)})", "paper"],
                     [[row.label, facts.numbers(row.name), row.paper] for row in ROWS]),
         """A first run: SGD with momentum 0.9, learning rate 0.03 falling along a cosine, batches of 128, gradient norm clipped
to 1. It differs from the paper in its teacher (no weight constraint; dropout 0.3 on hidden units only; fewer epochs),
and nothing was tuned."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page, pages.MNIST)
