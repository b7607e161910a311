#!/usr/bin/env python3
"""Makes docs/results/ranks.md: what a training step costs in two processes of one thread, against one process of two threads.

    docs/results/ranks.py [--retort build/retort]

Needs mpirun, two idle cores, and root for the machines with a link of 1 Gbit/s between them. Draws its own pictures. ROUNDS, STEPS and BATCH
in the environment are the budget. RETORT_BEFORE=PROGRAM, of commit 504ee2a, exchanges gradients after backward and
runs in turns with this one.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import pages

ROUNDS, STEPS, BATCH = pages.setting("ROUNDS", 3), pages.setting("STEPS", 3), pages.setting("BATCH", 16)
BEFORE = os.environ.get("RETORT_BEFORE")
NETWORKS = {"resnet50": 224, "resnet20": 32}  # image size
LINKED, LINKED_SIZE = "resnet50", 112
MPIRUN = ["mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", "none", "-np", "2"]


def draw(folder, size, count):
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for i in range(count // 2):
            (folder / name / f"{i}.ppm").write_bytes(f"P6 {size} {size} 255\n".encode() + os.urandom(3 * size * size))


# Two machines' worth of a command, over a link of 1 Gbit/s.
LINK = ["bash", "-c", """
source tests/faults/two_machines.sh
scratch=$(mktemp -d); cd "$scratch"
trap 'remove_machines; rm -rf "$scratch"' EXIT
make_machines 1gbit || { cat why; exit 1; }
together 10.213.77 "$@"
""", "-"]


def run_all(commands):
    environment = {**os.environ, "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
    for process in [subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) for command in commands]:
        if process.wait() != 0:
            sys.exit(f"{' '.join(process.args)}: failed with status {process.returncode}")


class Workshop:
    """A folder of pictures, and runs that train on them."""

    def __init__(self, folder, model, size):
        self.folder, self.model, self.size = folder, model, size
        self.batch = BATCH if size > 32 else 8 * BATCH
        draw(folder / "data", size, self.batch * STEPS)

    def command(self, retort, name, images, threads):
        return [retort, "train", "--model", self.model, "--image-size", str(self.size), "--data", str(self.folder / "data"),
                "--val-split", "0", "--batch-size", str(images), "--epochs", "3", "--augment", "none", "--bn-recalibrate", "off",
                "--optimizer", "sgd", "--lr", "1e-6", "--quiet", "--threads", str(threads), "--restart",
                "--out", str(self.folder / f"{name}.safetensors"), "--log", str(self.folder / f"{name}.jsonl")]

    def rate(self, name):
        """Images a second: the mean of the epochs after the first, which makes memory and reads the pictures."""
        return statistics.mean(epoch["images_per_second"] for epoch in pages.json_lines(self.folder / f"{name}.jsonl")[-2:])


def rates_of(retort, model, size):
    """Images a second in each round: of one process, of two under mpirun, and of two that know nothing of each other together."""
    with tempfile.TemporaryDirectory() as scratch:
        shop = Workshop(pathlib.Path(scratch), model, size)
        one, two, lone = [], [], []
        for _ in range(ROUNDS):
            run_all([[*shop.command(retort, "one", shop.batch, 2), "--accumulate", "2"]])
            one.append(shop.rate("one"))
            run_all([[*MPIRUN, *shop.command(retort, "two", shop.batch, 1)]])
            two.append(shop.rate("two"))
            run_all([shop.command(retort, f"lone{i}", shop.batch // 2, 1) for i in range(2)])
            lone.append(shop.rate("lone0") + shop.rate("lone1"))
    return one, two, lone


def rates_across(starts, programs):
    """Images a second in each round, by how two processes are started and by program."""
    with tempfile.TemporaryDirectory() as scratch:
        shop = Workshop(pathlib.Path(scratch), LINKED, LINKED_SIZE)
        rates = {(start, program): [] for start in starts for program in programs}
        for _ in range(ROUNDS):
            for start, program in rates:
                run_all([[*starts[start], *shop.command(programs[program], "linked", shop.batch, 1)]])
                rates[start, program].append(shop.rate("linked"))
    return rates


def measure(runs):
    retort = str(pathlib.Path(runs.retort).resolve())
    machine = json.loads(pages.output([retort, "bench", "conv", "--n", "1", "--repeats", "1", "--json", "--quiet"]))["machine"]
    facts = {"machine": pages.machine_line(machine, cores=True)}
    for model, size in NETWORKS.items():
        one, two, lone = rates_of(retort, model, size)
        facts[f"{model}.one"] = f"{statistics.median(one):.1f}"
        facts[f"{model}.two"] = f"{statistics.median(two):.1f}"
        facts[f"{model}.ratio"] = pages.median_ratio([1 / rate for rate in two], [1 / rate for rate in one])
        shares = sorted(100 * (1 - together / alone) for together, alone in zip(two, lone))
        facts[f"{model}.exchange"] = f"{statistics.median(shares):.1f}% ({shares[0]:.1f}% to {shares[-1]:.1f}%)"
    starts, programs = {"memory": MPIRUN, "link": LINK}, {"now": retort}
    if BEFORE:
        programs["before"] = str(pathlib.Path(BEFORE).resolve())
    rates = rates_across(starts, programs)
    for (start, program), measured in rates.items():
        facts[f"{program}.{start}"] = f"{statistics.median(measured):.1f}"
    if BEFORE:
        for start in starts:
            facts[f"before.{start}.ratio"] = pages.median_ratio([1 / rate for rate in rates[start, "now"]],
                                                                [1 / rate for rate in rates[start, "before"]])
    return facts


STARTS = {"memory": "on one machine", "link": "1 Gbit/s between them"}


def buckets_table(facts):
    if not facts.has("before"):
        return pages.table(["two processes", "images/s"], [[words, facts.numbers(f"now.{start}")] for start, words in STARTS.items()])
    return pages.table(["two processes", "images/s, exchange after backward", "images/s, in buckets meanwhile", "times as fast"],
                       [[words, *[facts.numbers(name) for name in (f"before.{start}", f"now.{start}", f"before.{start}.ratio")]]
                        for start, words in STARTS.items()])


def page(facts):
    return pages.Page(
        "Two processes of one thread against one process of two",
        f""": training on one machine, the processes under Open MPI.
Machine: {facts.words("machine")}. {ROUNDS} rounds, in which the forms run in turns; medians, and the range of ratios taken within rounds.""",
        (pages.table(["network", "images/s, one process", "images/s, two", "times as fast", "exchange"],
                     [[f"{model}, {size} x {size}", *facts.row(model, ("one", "two", "ratio", "exchange"))]
                      for model, size in NETWORKS.items()]),
         f"""Of {STEPS} steps an epoch with {BATCH} pictures each ({8 * BATCH} of 32 x 32), in two micro-batches or on two ranks, which compute the
same bits. *Exchange*: the share of two processes' time that they lose to two that know nothing of each other and train on half the batch
each: exchanging gradients, and waiting for the slower of both.""",
         "## Gradients exchanged while backward computes",
         buckets_table(facts),
         f"""{LINKED} at {LINKED_SIZE} x {LINKED_SIZE}, {BATCH} pictures a step: 102 MB of gradients. The link joins two network namespaces of one machine by a veth
pair, which `tc` holds to 1 Gbit/s each way. *After backward* is commit 504ee2a, whose program runs in turns with this one.""",
         """Two cores say nothing of more ranks: docs/guide/many-machines.md has the arithmetic."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page, forms=(("before",), ()))
