#!/usr/bin/env python3
"""Makes docs/results/recipe.md: which recipe `retort train` follows where no flag says otherwise, tried on three sets.

    docs/results/recipe.py [DATA] [WORK]
    DATA  folder with cats-dogs/, cats-dogs-test/, cifar10/*.bin.xz, mnist/   (default: $RETORT_DATA, else ../shared/data)
    WORK  where models go   (default: build/results-recipe); what has finished there is not run again

SEEDS in the environment is the budget; as it stands, a quarter of an hour on two cores. The test pictures choose
nothing: every number is that of the last epoch, and the pictures held out of the training part choose the recipe.
"""
import statistics
from typing import NamedTuple

import pages

SEEDS = pages.setting("SEEDS", "0").split()
JOBS = pages.setting("JOBS", 2)


class Set(NamedTuple):
    name: str  # of its files
    label: str
    epochs: int
    train: str  # what is trained, and on what
    test: str
    augment: str


SETS = [
    Set("photos", "1,259 photos, resnet8, 48 px, 12 epochs", 12,
        "--model resnet8 --image-size 48 --epochs 12 --data WORK/cats-dogs",
        "--data WORK/cats-dogs-test --val-split 0 --split train", "crop,flip"),
    Set("cifar", "4,500 images of CIFAR-10, resnet8, 10 epochs", 10,
        "--model resnet8 --epochs 10 --data WORK/cifar10 --limit 4500", "--data WORK/cifar10 --split test", "crop,flip"),
    Set("mnist", "4,500 digits of MNIST, mlp:800x800, 12 epochs", 12,
        "--model mlp:800x800 --epochs 12 --data DATA/mnist --limit 4500", "--data DATA/mnist --split test", "crop"),
]


class Row(NamedTuple):
    name: str  # of its files
    label: str
    flags: str
    augmented: bool = True
    twice: bool = False  # as many epochs


def sgd(lr):
    return f"--optimizer sgd --lr {lr:g} --weight-decay 0.0005 --warmup-epochs 0.5"


def adamw(lr, decay=0.05):
    return f"--optimizer adamw --lr {lr:g} --weight-decay {decay:g} --warmup-epochs 0.5"


ROWS = [
    Row("former", "sgd, 0.02, nothing else: the defaults before this page",
        "--optimizer sgd --lr 0.02 --weight-decay 0 --warmup-epochs 0", augmented=False),
    *(Row(f"sgd-{lr:g}", f"sgd, {lr:g}", sgd(lr)) for lr in (0.005, 0.02, 0.05)),
    *(Row(f"adamw-{lr:g}", f"adamw, {lr:g}", adamw(lr)) for lr in (0.0005, 0.001, 0.002)),
    Row("adamw-plain", "adamw, 0.001, no augmentation", adamw(0.001), augmented=False),
    Row("adamw-plain-0.002", "adamw, 0.002, no augmentation", adamw(0.002), augmented=False),
    Row("adamw-twice", "adamw, 0.002, twice the epochs", adamw(0.002), twice=True),
    Row("adamw-plain-twice", "adamw, 0.002, no augmentation, twice the epochs", adamw(0.002), augmented=False, twice=True),
    Row("adamw-no-decay", "adamw, 0.001, no weight decay", adamw(0.001, decay=0)),
    Row("adamw-ema", "adamw, 0.001, --ema 0.98", adamw(0.001) + " --ema 0.98"),
]


def train(runs, of, row, seed):
    """The share right of the pictures held out and of the test pictures, after the last epoch."""
    name = f"{of.name}-{row.name}-SEED"
    augment = of.augment if row.augmented else "none"
    length = f" --epochs {2 * of.epochs}" if row.twice else ""
    outcome = runs.run(f"{name}.safetensors", f"train {of.train} {row.flags} --augment {augment} --batch-size 32 --schedule cosine"
                       f" --checkpoint-every 1000 --threads 1 --quiet --json --seed SEED{length} --out WORK/{name}.safetensors", seed)
    test = runs.evaluate(name, f"{of.test} --threads 1", seed)
    for extra in runs.work.glob(f"{name.replace('SEED', seed)}.*safetensors"):
        extra.unlink()
    return 100 * outcome["epochs"][-1]["val_accuracy"], 100 * test["accuracy"]


def measure(runs):
    for packed in sorted((runs.data / "cifar10").glob("*.bin.xz")):
        pages.unpack(packed, runs.work / "cifar10")
    pages.write(runs.work / "cifar10/batches.meta.txt", (runs.data / "cifar10/batches.meta.txt").read_text())
    for folder in ("cats-dogs", "cats-dogs-test"):  # scaled down once, to be read quickly
        runs.run(folder, f"views --data DATA/{folder} --val-split 0 --views 1 --augment none --image-size 64 --quiet --out WORK/{folder}")
    calls = [(of, row, seed) for seed in SEEDS for of in SETS for row in ROWS]
    results = pages.side_by_side(JOBS, [lambda call=call: train(runs, *call) for call in calls])
    found = {}
    for (of, row, _), result in zip(calls, results):
        found.setdefault((of.name, row.name), []).append(result)
    facts = {"seeds": str(len(SEEDS))}
    for row in ROWS:
        held = []
        for of in SETS:
            facts[f"{row.name}.{of.name}"] = pages.mean_and_range([test for _, test in found[of.name, row.name]], 1)
            held.append(statistics.mean(val for val, _ in found[of.name, row.name]))
        facts[f"{row.name}.held"] = f"{statistics.mean(held):.1f}"
    return facts


def page(facts):
    columns = [*(of.name for of in SETS), "held"]
    return pages.Page(
        "The default recipe",
        f""". Percent of the test pictures right after the last epoch (mean of the seeds, of which there are {facts.numbers("seeds")}; lowest to
highest), and the mean of the three sets' percentages on pictures held out of the training part, which choose.""",
        (pages.table(["", *(of.label for of in SETS), "held out, mean of the three"],
                     [[row.label, *facts.row(row.name, columns)] for row in ROWS]),
         """All rows: batches of 32, a cosine; but for the first row half an epoch of warm-up, weight decay 0.05 for adamw and 0.0005 for sgd, and random
crops and flips (of digits crops alone), unless the row says otherwise. Photos are scaled to 64 px beforehand. Test pictures: 1,000 photos, CIFAR-10's and MNIST's 10,000 each.""",
         """The default follows the row that is best on the pictures held out: adamw at 0.002, with augmentation, and 20 epochs or more, since at half of that
the pictures as they are do better. The photos' own test pictures, which do not choose, speak for no augmentation at either length. --ema and weight decay
make no difference. The standard error of one run is 1.4 points on the photos, 0.5 on CIFAR-10, 0.2 on MNIST, and that of the seeds unknown. The default
augmentation of digits, jitter, was not tried. Three small sets and small networks from random weights say nothing about long runs, large sets or
fine-tuning."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page,
               pages.Needs("", ("cats-dogs", "cats-dogs-test", "cifar10", "mnist"),
                           "the folder that holds cats-dogs, cats-dogs-test, cifar10 and mnist"))
