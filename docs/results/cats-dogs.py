#!/usr/bin/env python3
"""Makes docs/results/cats-dogs.md: teachers and students on real photos of cats and dogs.

    docs/results/cats-dogs.py [DATA] [WORK]
    DATA  folder with cat/ and dog/   (default: $RETORT_DATA/cats-dogs, else ../shared/data/cats-dogs)
    WORK  where models and logs go    (default: build/results-cats-dogs); what has finished there is not run again

TEACHER_SIZE, STUDENT_SIZE, VGG_EPOCHS, RESNET_EPOCHS and STUDENT_EPOCHS in the environment are the budget.
Every fifth photo of each class is held out as the test set and chooses nothing. Of the rest a tenth validates: it
selects an epoch. Reported are the last epoch and the selected one, both on the test set.
"""
import shutil
from typing import NamedTuple

import pages

TEACHER_SIZE, STUDENT_SIZE = pages.setting("TEACHER_SIZE", 128), pages.setting("STUDENT_SIZE", 139)
VGG_EPOCHS, RESNET_EPOCHS = pages.setting("VGG_EPOCHS", 8), pages.setting("RESNET_EPOCHS", 16)
STUDENT_EPOCHS = pages.setting("STUDENT_EPOCHS", 10)
SEEDS = ["0", "1", "2"]
COMMON = ("--data WORK/fit --optimizer adamw --weight-decay 0.05 --batch-size 32 --warmup-epochs 1 --augment crop,flip"
          " --quiet --log WORK/NAME.jsonl --resume")
STUDENT = f"{COMMON} --lr 0.0005 --image-size {STUDENT_SIZE} --epochs {STUDENT_EPOCHS} --seed SEED"


class Teacher(NamedTuple):
    name: str  # of its files
    label: str
    epochs: int
    command: str


class Student(NamedTuple):
    name: str  # of its files
    label: str
    command: str


TEACHERS = [
    Teacher("vgg16", "VGG16", VGG_EPOCHS,
            f"train --model vgg16 {COMMON} --lr 0.0001 --image-size {TEACHER_SIZE} --epochs {VGG_EPOCHS}"),
    Teacher("resnet50", "ResNet-50", RESNET_EPOCHS,
            f"train --model resnet50 {COMMON} --lr 0.0005 --image-size {TEACHER_SIZE} --epochs {RESNET_EPOCHS}"),
]
STUDENTS = [
    Student("labels-SEED", "labels alone", f"train --model inception_v3 {STUDENT}"),
    Student("distilled-SEED", "distilled from ResNet-50, T = 4, lambda = 0.1, live teacher on the same crops",
            f"distill --student inception_v3 {STUDENT} --teacher WORK/resnet50.best.safetensors"
            " --temperature 4 --lambda 0.1"),
]


def split(runs):
    """Copies the photos to WORK/fit and WORK/test. Returns how many there are in all and for the test."""
    done = runs.work / "split.done"
    if not done.exists():
        for kind in ("cat", "dog"):
            folder = runs.data / kind
            for count, photo in enumerate(sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg")), 1):
                target = runs.work / ("test" if count % 5 == 0 else "fit") / kind
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / photo, target)
        done.touch()
    fit, test = (sum(path.is_file() for path in (runs.work / part).rglob("*")) for part in ("fit", "test"))
    return fit + test, test


def scores(runs, name, seed=""):
    """Percent of the test photos right, after the last epoch and the selected one."""
    found = [runs.evaluate(f"{name}{which}", "--data WORK/test --val-split 0 --split train", seed)
             for which in ("", ".best")]
    return " / ".join(f"{100 * evaluation['accuracy']:.1f}" for evaluation in found)


def measure(runs):
    photos, tests = split(runs)
    facts = {"photos": str(photos), "tests": str(tests)}
    for teacher in TEACHERS:
        runs.make(f"{teacher.name}.safetensors", teacher.command)
        facts[teacher.name] = scores(runs, teacher.name)
    for seed in SEEDS:
        for student in STUDENTS:
            runs.make(f"{student.name}.safetensors", student.command, seed)
            facts[f"{student.name}.{seed}"] = scores(runs, student.name, seed)
    return facts


def page(facts):
    tests = facts.numbers("tests")
    return pages.Page(
        "Cats and dogs: real photos",
        f""". {facts.numbers("photos")} photos; every fifth is a test photo ({tests} of them) and
chose nothing. Of the rest a tenth validates. Percent of test photos right, as *last epoch / epoch selected on
validation*. All networks start from random weights: nothing was pretrained.""",
        (pages.table(["teacher", "size", "epochs", "last / selected"],
                     [[teacher.label, f"{TEACHER_SIZE} px", teacher.epochs, facts.numbers(teacher.name)]
                      for teacher in TEACHERS]),
         pages.table([f"InceptionV3 student, {STUDENT_SIZE} px, {STUDENT_EPOCHS} epochs",
                      *(f"seed {seed}" for seed in SEEDS)],
                     [[student.label, *facts.row(student.name, SEEDS)] for student in STUDENTS]),
         f"""AdamW, weight decay 0.05, cosine after one epoch of warm-up, random crops and flips, batches of 32; learning rate 0.0005
(VGG16: 0.0001). Nothing was tuned. With {tests} test photos the standard error of one score is about 3 points.""",
         "Where a teacher has seen as few photos as its student it has little to hand on: compare its score with the"
         " students'."))


if __name__ == "__main__":
    pages.main(__file__, measure, page, pages.Needs("cats-dogs", ("cat", "dog"), "the folder with cat/ and dog/"))
