#!/usr/bin/env python3
"""Makes docs/results/mystery-photos.md: a model trained elsewhere teaches students photos of cats and dogs.

    docs/results/mystery-photos.py [DATA] [WORK]
    DATA  folder with teachers/, cats-dogs/, cats-dogs-test/, photos-unlabelled/   (default: $RETORT_DATA, else ../shared/data)
    WORK  where models and scores go   (default: build/results-mystery-photos); what has finished there is not run again

As it stands, half an hour on two cores with AVX-512 BF16. PHOTOS_SEEN, SEEDS and the labelled photos of each network,
INCEPTION_LABELS and RESNET_LABELS, in the environment are the budget; for another one take another folder WORK. The test
photos choose nothing: they lie apart, and every number is that of the last epoch.
"""
import csv
import os
import shutil
import statistics
from typing import NamedTuple

import pages

SEEDS = pages.setting("SEEDS", "0 1 2").split()
PHOTOS_SEEN = pages.setting("PHOTOS_SEEN", 18000)  # by each student, photos that are seen again counted again
JOBS = pages.setting("JOBS", 2)
CLASSES = ("cat", "dog")
PILE_IMAGES = 1999
VIEWS = 8
AUGMENT = "crop,flip"
LRS = (0.0005, 0.0015, 0.003)
# The lines of ImageNet's classes, from 0, that are cats and dogs.
IMAGENET = {"cat": range(281, 286), "dog": range(151, 269)}
SOFT = "--temperature 2 --lambda 0.1"


class Network(NamedTuple):
    name: str
    label: str
    size: int
    lr: float  # of all rows but the tuned one
    labels: list  # numbers of labelled photos


def counts(name, default):
    return [int(count) for count in pages.setting(name, default).split()]


NETWORKS = [Network("inception_v3", "InceptionV3", 107, 0.003, counts("INCEPTION_LABELS", "")),
            Network("resnet18", "ResNet-18", 64, 0.0015, counts("RESNET_LABELS", "100 300 1120"))]
NETWORKS = [network for network in NETWORKS if network.labels]
LABELS = sorted({count for network in NETWORKS for count in network.labels})


class Row(NamedTuple):
    name: str  # of its files
    label: str
    scores: str = ""  # of the labelled photos, where it learns from any
    pile: bool = False  # the photos without labels too
    lr: float = 0  # where it is not the network's


LABELS_ROW = Row("labels", "labels alone")
UNTAUGHT = [
    Row("margin", "same loss, no teacher: its mean margin on the labelled class", "margin-N.csv"),
    Row("means", "same loss, no teacher: its mean scores of the labelled class", "means-N.csv"),
]
TAUGHT = [
    Row("bare", "the teacher's scores of whole photos, crops share them", "whole-N.npy"),
    Row("views", f"the teacher's scores of {VIEWS} views of each photo", "views-N.npy"),
    Row("pile", f"the same, and {PILE_IMAGES:,} photos without labels", "views-N.npy", pile=True),
]
TUNED = "tuned"  # the best of the rows of labels by the validation loss
CONTROLS = [LABELS_ROW.name, TUNED, *(row.name for row in UNTAUGHT)]


def labels_at_other_rates(network):
    return [Row(f"labels-{lr:g}", "", lr=lr) for lr in LRS if lr != network.lr]


# ---- What the students learn from

def photos_of(folder):
    """The photos of a folder of classes, as CLASS/NAME, cats and dogs in turn."""
    each = [[f"{kind}/{path.name}" for path in sorted((folder / kind).glob("*.jpg"))] for kind in CLASSES]
    both = min(map(len, each))
    return [name for pair in zip(*each) for name in pair] + [name for names in each for name in names[both:]]


def split(runs):
    """Copies N photos to WORK/fit-N for each number of labels, each set within the next. Every fifth photo is a test
    photo, as are those of cats-dogs-test."""
    done = runs.work / "split.done"
    if not done.exists():
        photos = photos_of(runs.data / "cats-dogs")
        by_class = {kind: [name for name in photos if name.startswith(kind)] for kind in CLASSES}
        tests = [name for names in by_class.values() for name in names[4::5]]
        for name in tests:
            copy(runs.data / "cats-dogs" / name, runs.work / "test" / name)
        for name in photos_of(runs.data / "cats-dogs-test"):
            copy(runs.data / "cats-dogs-test" / name, runs.work / "test" / name)
        fit = [name for name in photos if name not in set(tests)]
        for count in LABELS:
            for name in fit[:count]:
                copy(runs.data / "cats-dogs" / name, runs.work / f"fit-{count}" / name)
        done.touch()


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def score(runs):
    """The teacher's scores of what the students may learn from, and of the test photos."""
    names = (runs.data / "teachers/imagenet-classes.txt").read_text().splitlines()
    pages.write(runs.work / "map.csv", "".join(["teacher,student\n", *(
        f'"{names[line]}",{kind}\n' for kind, lines in IMAGENET.items() for line in lines)]))
    runs.make("teacher.safetensors", "import --weights DATA/teachers/efficientnet_lite0.onnx --class-names"
              " DATA/teachers/imagenet-classes.txt --mean 0.498039,0.498039,0.498039 --std 0.501961,0.501961,0.501961 --quiet")
    common = "logits --model WORK/teacher.safetensors --class-map WORK/map.csv --split train --quiet"
    views = f"--views {VIEWS} --augment {AUGMENT}"
    for count in LABELS:
        runs.make(f"whole-{count}.npy", f"{common} --data WORK/fit-{count} --csv WORK/whole-{count}.csv")
        runs.make(f"views-{count}.npy", f"{common} --data WORK/fit-{count} {views}")
    runs.make("pile.npy", f"{common} --data DATA/photos-unlabelled --val-split 0 {views}")
    runs.make("test.npy", f"{common} --data WORK/test --val-split 0 --csv WORK/test.csv")


def table_of(path):
    """The scores of each photo by name, from the table that `retort logits` writes."""
    with open(path, newline="") as file:
        return {row["name"]: [float(row[kind]) for kind in CLASSES] for row in csv.DictReader(file)}


def write_untaught(runs, count):
    """Tables of scores that the labels alone decide, as large as the teacher's of the same photos."""
    taught = table_of(runs.work / f"whole-{count}.csv")
    names = list(taught)
    label = {name: CLASSES.index(name.split("/")[0]) for name in names}
    margin = statistics.mean(taught[name][label[name]] - taught[name][1 - label[name]] for name in names)
    means = [[statistics.mean(taught[name][kind] for name in names if label[name] == of) for kind in range(2)]
             for of in range(2)]
    for file, row_of in (("margin", lambda own: [margin / 2 if kind == own else -margin / 2 for kind in range(2)]),
                         ("means", lambda own: means[own])):
        lines = [",".join([name, *(f"{z:.5f}" for z in row_of(label[name]))]) for name in names]
        pages.write(runs.work / f"{file}-{count}.csv", "\n".join(["name,cat,dog", *lines]) + "\n")


# ---- The students

def train(runs, network, count, row, seed):
    """One student: which test photos it has right, by name, and its last validation loss."""
    photos = count - count // 10 + (PILE_IMAGES if row.pile else 0)
    lr = row.lr or network.lr
    name = f"{network.name}-{count}-{row.name}-SEED"
    common = (f"--data WORK/fit-{count} --image-size {network.size} --epochs {round(PHOTOS_SEEN / photos)}"
              f" --batch-size 32 --optimizer adamw --weight-decay 0.05 --lr {lr:g} --schedule cosine --warmup-epochs 1"
              f" --augment {AUGMENT} --precision bf16 --checkpoint-every 1000 --threads 1 --quiet --seed SEED"
              f" --log WORK/{name}.jsonl")
    if row.scores:
        scores = f"--logits WORK/{row.scores.replace('N', str(count))}"
        pile = " --unlabelled DATA/photos-unlabelled --logits WORK/pile.npy" if row.pile else ""
        common = common.replace(f" --augment {AUGMENT}", "") if row.scores == "views-N.npy" else common
        runs.make(f"{name}.safetensors", f"distill --student {network.name} {common} {scores}{pile} {SOFT}", seed)
    else:
        runs.make(f"{name}.safetensors", f"train --model {network.name} {common}", seed)
    runs.run(f"{name}-test", f"predict --model WORK/{name}.safetensors --data WORK/test --val-split 0"
             f" --csv WORK/{name}.csv --threads 1 --quiet", seed)
    file = name.replace("SEED", seed)
    with open(runs.work / f"{file}.csv", newline="") as read:
        right = {line["name"]: line["true"] == line["prediction"] for line in csv.DictReader(read)}
    # The files of a student take some hundred megabytes, and its answers are kept.
    for extra in runs.work.glob(f"{file}.*safetensors"):
        extra.unlink()
    return right, pages.json_lines(runs.work / f"{file}.jsonl")[-1]["val_loss"]


def measure(runs):
    split(runs)
    score(runs)
    for count in LABELS:
        write_untaught(runs, count)
    rows = [LABELS_ROW, *TAUGHT, *UNTAUGHT]
    # All rows of one seed before the next: SEEDS=0 makes a page of what is there.
    calls = [(network, count, row, seed) for seed in SEEDS for network in NETWORKS for count in network.labels
             for row in [*rows, *labels_at_other_rates(network)]]
    results = pages.side_by_side(JOBS, [lambda call=call: train(runs, *call) for call in calls])
    found = {}
    for (network, count, row, _), result in zip(calls, results):
        found.setdefault((network.name, count, row.name), []).append(result)

    teacher = table_of(runs.work / "test.csv")
    facts = {"tests": f"{len(teacher):,}", "seeds": str(len(SEEDS)), "machine": os.environ.get("MACHINE", "two cores"),
             "teacher": f"{pages.accuracy({n: z[CLASSES.index(n.split('/')[0])] == max(z) for n, z in teacher.items()}):.1f}"}
    for network in NETWORKS:
        for count in network.labels:
            tried = [LABELS_ROW, *labels_at_other_rates(network)]
            of = {row.name: found[network.name, count, row.name] for row in [*rows, *tried]}
            tuned = min(tried, key=lambda row: sum(loss for _, loss in of[row.name]))
            of[TUNED] = of[tuned.name]
            rights = {name: [right for right, _ in results] for name, results in of.items()}
            means = {name: statistics.mean(map(pages.accuracy, values)) for name, values in rights.items()}
            best = max(CONTROLS, key=means.get)
            at = f"{network.name}.{count}"
            facts[f"{at}.lr"] = f"{tuned.lr or network.lr:g}"
            for name in [*CONTROLS, *(row.name for row in TAUGHT)]:
                facts[f"{at}.{name}"] = pages.mean_and_range(list(map(pages.accuracy, rights[name])), 1)
            for row in TAUGHT:
                lead, error = pages.advantage(rights[row.name], rights[best])
                facts[f"{at}.{row.name}.lead"] = f"{lead:+.1f} (± {error:.1f})"
    return facts


def page(facts):
    def table(network):
        def cells(name, lead):
            return [cell for count in network.labels for cell in
                    (facts.numbers(f"{network.name}.{count}.{name}"),
                     facts.words(f"{network.name}.{count}.{name}.lead") if lead else "")]

        tuned = "labels alone, learning rate tuned: " + ", ".join(
            facts.numbers(f"{network.name}.{count}.lr") for count in network.labels)
        return pages.table(
            ["", *(head for count in network.labels for head in (f"{count:,} labels", "over the best control"))],
            [[LABELS_ROW.label, *cells(LABELS_ROW.name, False)], [tuned, *cells(TUNED, False)],
             *([row.label, *cells(row.name, False)] for row in UNTAUGHT),
             *([row.label, *cells(row.name, True)] for row in TAUGHT)])

    parts = []
    for network in NETWORKS:
        parts += [f"## {network.label}, {network.size} px, learning rate {network.lr:g}", table(network)]
    return pages.Page(
        "A model trained elsewhere teaches photos of cats and dogs",
        f""" on {facts.words("machine")}. The teacher is
an EfficientNet-Lite0 with ImageNet's weights, an .onnx file of which the students see only scores: its 118 dogs and 5 cats
folded into two classes, corrected for their number. It has {facts.numbers("teacher")}% of the {facts.numbers("tests")} test photos right. Percent of the test photos
right after the last epoch: mean of {facts.numbers("seeds")} seeds (lowest to highest).""",
        (*parts,
         f"""*Over the best control*: points above the best of the four rows without a teacher, chosen by the test photos themselves, which
favours the control; in parentheses the standard error, of the test photos (paired) or of the seeds, whichever is larger.""",
         f"""All rows see {PHOTOS_SEEN:,} photos, as often as that takes, under the same crops and flips, in bf16, by AdamW, weight decay 0.05, a cosine
after one epoch of warm-up, batches of 32. Of the labelled photos a tenth validates: it chooses the tuned row's learning rate among
{", ".join(f"{lr:g}" for lr in LRS)} by the loss, over all seeds, and nothing else. The taught rows and those of the same loss take the network's rate,
temperature 2, lambda 0.1. All networks start from random weights.""",
         "The rows without a teacher hold scores that the labels alone decide, as large as the teacher's are: what they gain comes"
         " of the loss, not of the teacher. Read each advantage beside its error: one below two errors says nothing."
         " InceptionV3 is not in the table: the script runs it (`INCEPTION_LABELS=\"100 300 1120\"`), in some hours."))


if __name__ == "__main__":
    pages.main(__file__, measure, page,
               pages.Needs("", ("teachers", "cats-dogs", "cats-dogs-test", "photos-unlabelled"),
                           "the folder that holds teachers, cats-dogs, cats-dogs-test and photos-unlabelled"))
