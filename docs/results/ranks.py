#!/usr/bin/env python3
"""Makes docs/results/ranks.md: what a training step costs in two processes of one thread, against one process of two threads.

    docs/results/ranks.py [--retort build/retort]

Needs mpirun and two idle cores. Draws its own pictures. ROUNDS, STEPS and BATCH in the environment are the budget.
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
NETWORKS = {"resnet50": 224, "resnet20": 32}  # image size
MPIRUN = ["mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", "none", "-np", "2"]


def draw(folder, size, count):
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for i in range(count // 2):
            (folder / name / f"{i}.ppm").write_bytes(f"P6 {size} {size} 255\n".encode() + os.urandom(3 * size * size))


def run_all(commands):
    environment = {**os.environ, "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
    for process in [subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) for command in commands]:
        if process.wait() != 0:
            sys.exit(f"{' '.join(process.args)}: failed with status {process.returncode}")


def rates_of(retort, model, size):
    """Images a second in each round: of one process, of two under mpirun, and of two that know nothing of each other together."""
    batch = BATCH if size > 32 else 8 * BATCH
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        draw(folder / "data", size, batch * STEPS)

        def command(name, images, threads):
            return [retort, "train", "--model", model, "--image-size", str(size), "--data", str(folder / "data"), "--val-split", "0",
                    "--batch-size", str(images), "--epochs", "3", "--augment", "none", "--bn-recalibrate", "off", "--optimizer", "sgd",
                    "--lr", "1e-6", "--quiet", "--threads", str(threads), "--restart", "--out", str(folder / f"{name}.safetensors"),
                    "--log", str(folder / f"{name}.jsonl")]

        def rate(name):
            """The mean of the epochs after the first, which makes memory and reads the pictures."""
            return statistics.mean(epoch["images_per_second"] for epoch in pages.json_lines(folder / f"{name}.jsonl")[-2:])

        one, two, lone = [], [], []
        for _ in range(ROUNDS):
            run_all([[*command("one", batch, 2), "--accumulate", "2"]])
            one.append(rate("one"))
            run_all([[*MPIRUN, *command("two", batch, 1)]])
            two.append(rate("two"))
            run_all([command(f"lone{i}", batch // 2, 1) for i in range(2)])
            lone.append(rate("lone0") + rate("lone1"))
    return one, two, lone


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
    return facts


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
         """Two cores say nothing of more ranks, and nothing of a network between them: docs/guide/many-machines.md has the arithmetic."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page)
