#!/usr/bin/env python3
"""Makes docs/results/data.md: photos a second from files to batches, and what --cache does for an epoch.

    docs/results/data.py [DATA] [WORK]
    DATA  folder of photos by class   (default: $RETORT_DATA/cats-dogs, else ../shared/data/cats-dogs)
    WORK  where models and logs go    (default: build/results-data); emptied first, as times are taken anew

RETORT_BEFORE=PROGRAM adds columns of an earlier build, measured in turns with this one. RUN="chrt -f 50" before each
measurement keeps other work off the cores. ROUNDS in the environment is the budget.
"""
import filecmp
import json
import os
import re
import shutil
import statistics
import sys
import time
from typing import NamedTuple

import pages

ROUNDS = pages.setting("ROUNDS", 5)
BEFORE, PREFIX = os.environ.get("RETORT_BEFORE", ""), os.environ.get("RUN", "").split()
STAGES = ["decode", "resize", "resize crop,flip", "decode+resize", "decode+resize crop,flip", "loader crop,flip",
          "loader crop,flip --cache"]
PHOTOS = {"drawn": "", "real": "--data DATA --images 128"}  # and the flags of `retort bench data`


class Network(NamedTuple):
    model: str
    size: int


NETWORKS = [Network("mlp:64", 64), Network("resnet20", 32)]


class Stages:
    """Photos a second of every stage in `retort bench data`, by program and photos."""

    def __init__(self, runs):
        self.runs, self.rates, self.machine = runs, {}, {}

    def measure(self, when, program, photos):
        flags = PHOTOS[photos].replace("DATA", str(self.runs.data)).split()
        with open(self.runs.work / "remarks", "a") as remarks:
            command = [*PREFIX, program, "bench", "data", "--repeats", "5", "--json", *flags]
            report = json.loads(pages.output(command, errors=remarks))
        for result in report["results"]:
            stage = result["name"].removeprefix("data.")
            if stage not in STAGES:
                sys.exit(f"{stage}: a stage of `retort bench data` that STAGES does not have; add it")
            self.rates.setdefault(f"{when}.{photos}.{stage}", []).append(result["images_per_second"])
        self.machine = report["machine"]

    def facts(self):
        """All stages; those that a program does not measure on the photos are empty."""
        return {name: f"{statistics.median(self.rates[name]):.0f}" if name in self.rates else ""
                for when in (["before"] if BEFORE else []) + ["now"] for photos in PHOTOS for stage in STAGES
                for name in [f"{when}.{photos}.{stage}"]}


class Epochs:
    """Seconds of the first and the later of three epochs of a small network, and of the program in all."""

    def __init__(self, runs):
        self.runs, self.seconds = runs, {}

    def train(self, name, network, *flags):
        at = self.runs.work / f"{name}-{network.model}"
        start = time.time()
        pages.output([*PREFIX, self.runs.retort, "train", "--model", network.model, "--data", str(self.runs.data),
                      "--image-size", str(network.size), "--augment", "crop,flip", "--epochs", "3", "--quiet",
                      "--out", f"{at}.safetensors", "--log", f"{at}.jsonl", *flags])
        total = time.time() - start
        first, *later = (epoch["seconds"] for epoch in pages.json_lines(self.runs.work / f"{at.name}.jsonl"))
        for which, values in (("first", [first]), ("later", later), ("total", [total])):
            self.seconds.setdefault(f"{name}.{network.model}.{which}", []).extend(values)

    def fastest(self, name):
        return f"{min(self.seconds[name]):.2f}"


def measure(runs):
    shutil.rmtree(runs.work)
    runs.work.mkdir(parents=True)
    stages, epochs, cache = Stages(runs), Epochs(runs), runs.work / "pixels.cache"
    for _ in range(ROUNDS):
        for photos in PHOTOS:
            if BEFORE:
                stages.measure("before", BEFORE, photos)
            stages.measure("now", runs.retort, photos)
    for _ in range(ROUNDS):
        for network in NETWORKS:
            epochs.train("plain", network)
            cache.unlink(missing_ok=True)
            epochs.train("made", network, "--cache", str(cache))
            epochs.train("found", network, "--cache", str(cache))
            plain, *others = (runs.work / f"{name}-{network.model}.safetensors" for name in ("plain", "made", "found"))
            for other in others:
                if not filecmp.cmp(plain, other, shallow=False):
                    sys.exit(f"{other}: differs from {plain}, trained without --cache")
    sizes = [path.stat().st_size for path in runs.data.rglob("*.jpg")]
    drawn = re.findall(r"\d+ x \d+ pixels, \d+ KB", (runs.work / "remarks").read_text())[-1]
    facts = {**stages.facts(), **{name: epochs.fastest(name) for name in epochs.seconds},
             "machine": pages.machine_line(stages.machine, cores=True), "drawn photos": drawn,
             "photos": str(len(sizes)), "photo KB": f"{sum(sizes) / len(sizes) / 1000:.0f}",
             "cache MB": f"{cache.stat().st_size / 1e6:.0f}"}
    facts["cache seconds"] = f"{float(facts['made.mlp:64.total']) - float(facts['found.mlp:64.total']):.1f}"
    cache.unlink()
    return facts


def page(facts):
    before = facts.has("before")
    columns = [(when, photos) for photos in PHOTOS for when in (["before"] if before else []) + ["now"]]
    return pages.Page(
        "Reading photos",
        f"""; photos a second, medians of {ROUNDS} rounds, of 5 passes each.
Machine: {facts.words("machine")}.
Drawn: JPEGs of {facts.words("drawn photos")} each, which the benchmark draws. Real: 128 of the {facts.numbers("photos")} photos of
cats and dogs, {facts.numbers("photo KB")} KB each in the mean. To 224 x 224, on all cores.""",
        (pages.table(["stage", *(f"{photos}, before" if when == "before" else photos for when, photos in columns)],
                     [[stage, *(facts.numbers(f"{when}.{photos}.{stage}") for when, photos in columns)]
                      for stage in STAGES]),
         """*decode*: file to pixels. *resize*: pixels to a network's input. *loader*: whole batches, decoded in every epoch, or from
`--cache`. *crop,flip*: augmented views.""",
         *(["""Before: an earlier program; both give the same bits. (Since the program that added `bench data`: stb_image is asked for four
channels, because only then does it convert colours with vectors; resizing's two passes run on vectors; a view is rendered
in place.)"""] if before else []),
         "## An epoch",
         f"""Seconds of an epoch on all {facts.numbers("photos")} photos (nine tenths train, one validates), batches of 32, crops and flips; the
fastest of {ROUNDS} runs. A later epoch without a cache still finds up to 512 MiB of decoded training photos in memory.""",
         pages.table(["network", "no cache: first epoch", "later", "`--cache`: first", "later"],
                     [[f"{network.model} at {network.size} px", *facts.row(f"plain.{network.model}", ("first", "later")),
                       *facts.row(f"found.{network.model}", ("first", "later"))] for network in NETWORKS]),
         f"Making the cache of {facts.numbers('cache MB')} MB takes {facts.numbers('cache seconds')} s."
         " The models have the same bits with and without it."))


if __name__ == "__main__":
    pages.main(__file__, measure, page, pages.Needs("cats-dogs", (".",), "a folder of photos by class"),
               forms=(("before",), ()))
