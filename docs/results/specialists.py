#!/usr/bin/env python3
"""Makes docs/results/specialists.md: a generalist, its specialists, and all of them distilled back into one network of
the generalist's size (Hinton et al. 2015, arXiv 1503.02531, section 5; the last step is not in the paper).

    docs/results/specialists.py [DATA] [WORK]
    DATA  folder with mnist/ and cifar10/*.bin.xz  (default: $RETORT_DATA, else ../shared/data)
    WORK  where models and logs go                 (default: build/results-specialists); what has finished there is not
          run again, but for another budget take another folder

The test images choose nothing: training does not see them, and every number is that of the last epoch.
CIFAR-10's budget comes from the environment. A night on two cores:
    IMAGES=50000 SIZE=32 EPOCHS=30 SPECIALIST_EPOCHS=10 docs/results/specialists.py DATA build/results-specialists-night
"""
import os
import shutil
from typing import NamedTuple

import pages

IMAGES, SIZE = pages.setting("IMAGES", 10000), pages.setting("SIZE", 16)
EPOCHS, SPECIALIST_EPOCHS = pages.setting("EPOCHS", 6), pages.setting("SPECIALIST_EPOCHS", 4)
SEEDS = pages.setting("SEEDS", "0 1 2")
CIFAR_SEEDS = pages.setting("CIFAR_SEEDS", SEEDS)
MNIST_IMAGES, MNIST_EPOCHS, MNIST_SPECIALIST_EPOCHS = 20000, 6, 6
# Batches of 100 divide every set, so that no step sees a handful of images.
COMMON = "--optimizer sgd --momentum 0.9 --schedule cosine --batch-size 100 --checkpoint-every 1000"


class Experiment(NamedTuple):
    name: str  # of its files
    title: str
    recipe: str  # what the page says of it
    seeds: list
    architecture: str
    epochs: int
    specialist_epochs: int
    images: str  # flags of everything that reads images
    training: str  # flags of training alone


EXPERIMENTS = [
    Experiment("mnist", "MNIST",
               f"Two hidden layers of 30 on {MNIST_IMAGES:,} training images, {MNIST_EPOCHS} epochs, specialists"
               f" {MNIST_SPECIALIST_EPOCHS} epochs from the generalist at a tenth of its learning rate.",
               SEEDS.split(), "mlp:30x30", MNIST_EPOCHS, MNIST_SPECIALIST_EPOCHS,
               f"--data DATA/mnist --limit {MNIST_IMAGES} --threads 1",
               "--mean 0 --std 0.5 --lr 0.1 --weight-decay 0 --warmup-epochs 0 --max-norm 1"),
    Experiment("cifar10", "CIFAR-10",
               f"resnet8 on {IMAGES:,} training images of {SIZE} x {SIZE} px, {EPOCHS} epochs, specialists"
               f" {SPECIALIST_EPOCHS} epochs: a budget of minutes; the variables at\nthe script's top make it a night's.",
               CIFAR_SEEDS.split(), "resnet8", EPOCHS, SPECIALIST_EPOCHS,
               f"--data WORK/cifar10 --limit {IMAGES} --threads 1",
               f"--image-size {SIZE} --lr 0.05 --nesterov --weight-decay 0.0005 --max-norm 5 --warmup-epochs 0.5"),
]
# What the table calls the networks, by their names in the JSON of `retort specialists` but for the last.
ROWS = {
    "generalist": "the generalist",
    "combined": "generalist and specialists together",
    "student": "one network distilled from them",
    "alone": "for comparison: one network distilled from the generalist alone",
}


def run(runs, experiment, seed):
    """Generalist, specialists, and for comparison a student of the generalist alone: what the test images say of all."""
    at = f"{experiment.name}-SEED"
    training = f"{experiment.images} {experiment.training} {COMMON} --epochs {experiment.epochs} --seed SEED"
    student = f"--student {experiment.architecture} {training} --temperature 2 --lambda 0.1"
    runs.make(f"{at}-generalist.safetensors", f"train --model {experiment.architecture} {training} --augment none --quiet", seed)
    found = runs.report(at, f"specialists --model WORK/{at}-generalist.safetensors {student}"
                        f" --specialist-epochs {experiment.specialist_epochs} --groups 4 --out WORK/{at}", seed)
    runs.make(f"{at}-alone.npy",
              f"logits --model WORK/{at}-generalist.safetensors --split train {experiment.images} --quiet", seed)
    runs.make(f"{at}-alone.safetensors", f"distill {student} --logits WORK/{at}-alone.npy --quiet", seed)
    return {**found, "alone": runs.evaluate(f"{at}-alone", experiment.images, seed)}


def facts_of(experiment, found):
    def gains(other):
        return ", ".join(f"{100 * (run['student']['accuracy'] - run[other]['accuracy']):+.2f}" for run in found)

    facts = {f"{experiment.name}.gain over {other}": gains(other) for other in ("generalist", "alone")}
    for row in ROWS:
        results, at = [run[row] for run in found], f"{experiment.name}.{row}"
        facts[f"{at}.accuracy"] = pages.mean_and_range([100 * result["accuracy"] for result in results], 2)
        facts[f"{at}.cross_entropy"] = pages.mean_and_range([result["cross_entropy"] for result in results], 4)
    for seed, run in zip(experiment.seeds, found):
        facts[f"{experiment.name}.groups of {seed}"] = "; ".join(", ".join(group) for group in run["groups"])
    return facts


def measure(runs):
    for packed in sorted((runs.data / "cifar10").glob("*.bin.xz")):
        pages.unpack(packed, runs.work / "cifar10")
    shutil.copy(runs.data / "cifar10/batches.meta.txt", runs.work / "cifar10")
    found = pages.side_by_side(2, [lambda each=each: [run(runs, each, seed) for seed in each.seeds] for each in EXPERIMENTS])
    facts = {"machine": os.environ.get("MACHINE", "two cores")}
    for experiment, runs_of_seeds in zip(EXPERIMENTS, found):
        facts.update(facts_of(experiment, runs_of_seeds))
    return facts


def section(facts, experiment):
    name = experiment.name
    return (f"## {experiment.title}", experiment.recipe,
            pages.table(["on the test images", "accuracy, %", "cross-entropy"],
                        [[label, *facts.row(f"{name}.{row}", ("accuracy", "cross_entropy"))]
                         for row, label in ROWS.items()]),
            f"""Points that the network distilled from them has over the generalist, by seed: {facts.numbers(f"{name}.gain over generalist")};
over the one distilled from the generalist alone: {facts.numbers(f"{name}.gain over alone")}.""",
            pages.table(["seed", "its groups"],
                        [[seed, facts.words(f"{name}.groups of {seed}")] for seed in experiment.seeds]))


def page(facts):
    return pages.Page(
        "Specialists, and back into one network",
        f""" on {facts.words("machine")}. On the 10,000 test images after the last epoch: mean of the
seeds (lowest to highest). The test images chose nothing. Hinton et al. 2015 (arXiv 1503.02531,
section 5) gained 4.4% relative with 61 specialists on a set of 15,000 classes; they left distilling them back open.""",
        ("""Four groups, a number chosen by hand, by k-means on the covariance of the generalist's predictions at T = 2 scaled to unit variances;
students learn at T = 2 with lambda 0.1. All networks of a set have one architecture; the last two rows are trained alike and
differ in their teacher alone. Generalist and specialists together have been trained for longer than the generalist.""",
         *(part for experiment in EXPERIMENTS for part in section(facts, experiment))))


if __name__ == "__main__":
    pages.main(__file__, measure, page,
               pages.Needs("", ("mnist", "cifar10"), "the folder that holds mnist and cifar10"))
