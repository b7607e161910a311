#!/usr/bin/env python3
"""What a training step costs in two processes of one thread, against one process of two threads, on a machine of two idle cores.

    tools/ranks_cost.py [--retort build/retort] [--model resnet50] [--image-size 224] [--batch-size 16] [--rounds 5]    (needs mpirun)

Each round runs one process with --accumulate 2, two under mpirun, and two that know nothing of each other with half the batch each, one after the
other. Prints images a second as medians, the ratios to one process with their range, and the share of their time that the two under mpirun lose
to those that know nothing of each other: communication, waiting for the slower one included.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 3
MPIRUN = ["mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", "none", "-np", "2"]


def make_pictures(folder, size, count):
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for i in range(count // 2):
            (folder / name / f"{i}.ppm").write_bytes(f"P6 {size} {size} 255\n".encode() + os.urandom(3 * size * size))


def run_all(commands):
    environment = {**os.environ, "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
    for process in [subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) for command in commands]:
        if process.wait() != 0:
            sys.exit(f"{' '.join(process.args)}: failed with status {process.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retort", default="build/retort")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rates = {"one process, two threads": [], "two processes under mpirun": [], "two processes, each alone": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_pictures(folder / "data", given.image_size, given.batch_size * STEPS)

        def command(name, batch, threads):
            return [str(Path(given.retort).resolve()), "train", "--model", given.model, "--image-size", str(given.image_size), "--data",
                    str(folder / "data"), "--val-split", "0", "--batch-size", str(batch), "--epochs", "2", "--augment", "none",
                    "--bn-recalibrate", "off", "--optimizer", "sgd", "--lr", "1e-6", "--quiet", "--threads", str(threads), "--restart",
                    "--out", str(folder / f"{name}.safetensors"), "--log", str(folder / f"{name}.jsonl")]

        def rate(name):
            """Of the second epoch: the first one makes memory and reads the pictures."""
            return json.loads((folder / f"{name}.jsonl").read_text().splitlines()[-1])["images_per_second"]

        one, two, lone = rates.values()
        for _ in range(given.rounds):
            run_all([[*command("one", given.batch_size, 2), "--accumulate", "2"]])
            one.append(rate("one"))
            run_all([[*MPIRUN, *command("two", given.batch_size, 1)]])
            two.append(rate("two"))
            run_all([command(f"lone{i}", given.batch_size // 2, 1) for i in range(2)])
            lone.append(rate("lone0") + rate("lone1"))
    for name, found in rates.items():
        ratios = sorted(rate / base for rate, base in zip(found, one))
        print(f"{name}: {statistics.median(found):.2f} images/s, {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of one process")
    shares = sorted(1 - together / alone for together, alone in zip(two, lone))
    print(f"communication: {100 * statistics.median(shares):.0f}% ({100 * shares[0]:.0f} to {100 * shares[-1]:.0f}) of the time of two processes")


if __name__ == "__main__":
    main()
