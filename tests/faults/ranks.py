#!/usr/bin/env python3
"""Kills ranks of a run under mpirun, at random, and looks at what is left.

  ranks.py RETORT N [--ranks R]       N SIGKILLs, each of a random one of R ranks (default 3) at a random moment

What must hold: all ranks end within ten seconds (mpirun too, but for Open MPI 4.1, whose mpirun may wait for itself for ever, PMIx's lock held,
where a rank is killed as it starts: counted), every file is the old one or the new one, whole (retort verify), and the same command with
--resume, which may be killed again, ends with the bits of a run that nothing happened to, with nothing left behind. SEED=n draws other
moments. Prints the counts; a failure is a line that begins with FAILED.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MPIRUN = ["mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", "none"]
RUN = ["train", "--model", "resnet8", "--image-size", "8", "--data", "data", "--val-split", "0.2", "--batch-size", "9", "--epochs", "12",
       "--threads", "1", "--quiet", "--out", "out/m.safetensors", "--log", "out/m.jsonl"]
SECONDS_TO_END = 10


def make_data(folder):
    for c, name in enumerate(("blue", "red")):
        (folder / "data" / name).mkdir(parents=True)
        for i in range(13):
            pixel = [30, 30, 30]
            pixel[2 * c], pixel[1] = 100 + 10 * i, 19 * i
            (folder / "data" / name / f"{i}.ppm").write_bytes(b"P6 8 8 255\n" + bytes(pixel) * 64)


def processes_of(job):
    """By rank: the processes that mpirun started."""
    found = {}
    for child in subprocess.run(["pgrep", "-P", str(job.pid)], stdout=subprocess.PIPE).stdout.split():
        try:
            variables = Path(f"/proc/{int(child)}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                found[int(variable.split(b"=")[1])] = int(child)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("retort", type=Path)
    parser.add_argument("kills", type=int)
    parser.add_argument("--ranks", type=int, default=3)
    options = parser.parse_args()
    if not shutil.which("mpirun"):
        print("skipped: no mpirun (tools/install_dependencies.sh --checks)")
        sys.exit(77)
    retort = str(options.retort.resolve())
    draw = random.Random(os.environ.get("SEED", "0"))
    environment = {**os.environ, "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
    folder = Path(tempfile.mkdtemp(prefix="retort-ranks-"))
    make_data(folder)
    command = [*MPIRUN, "-np", str(options.ranks), retort, *RUN]

    def start(resumed):
        return subprocess.Popen(command + ["--resume"] * resumed, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def whole():
        return (folder / "out" / "m.safetensors").read_bytes()

    (folder / "out").mkdir()
    began = time.monotonic()
    job = start(resumed=False)
    said = job.communicate()[1].decode()
    if job.returncode != 0:
        if "this build has no MPI" in said:
            print("skipped: this build has no MPI")
            sys.exit(77)
        sys.exit(said)
    length, expected = time.monotonic() - began, whole()
    counts = {"kills": 0, "of a rank that was not there": 0, "of mpirun alone that hung": 0, "runs": 0}
    by_rank, slowest, failures = [0] * options.ranks, 0.0, []
    while counts["kills"] < options.kills:
        shutil.rmtree(folder / "out")
        (folder / "out").mkdir()
        counts["runs"] += 1
        for attempt in range(draw.choice((1, 1, 2, 3))):
            job = start(resumed=attempt > 0)
            rank, moment = draw.randrange(options.ranks), draw.uniform(0, 1.1 * length)
            time.sleep(moment)
            what = f"run {counts['runs']}, rank {rank} killed after {moment:.3f} s"
            victim = processes_of(job).get(rank)
            try:
                os.kill(victim or 2**22 + 1, signal.SIGKILL)
            except ProcessLookupError:
                counts["of a rank that was not there"] += 1
                job.communicate()
                continue
            counts["kills"] += 1
            by_rank[rank] += 1
            killed = time.monotonic()
            try:
                job.communicate(timeout=SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                if processes_of(job):
                    failures.append(f"{what}: the job goes on")
                else:
                    counts["of mpirun alone that hung"] += 1
                job.kill()
                job.communicate()
            else:
                slowest = max(slowest, time.monotonic() - killed)
            files = [str(p) for p in (folder / "out").glob("*.safetensors") if not p.name.startswith(".")]
            if files:
                done = subprocess.run([retort, "verify", "--threads", "1", *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                if done.returncode != 0:
                    failures.append(f"{what}: {done.stdout.decode()}")
        job = start(resumed=True)
        said = job.communicate()[1].decode()
        if job.returncode != 0:
            failures.append(f"{what}, resumed: status {job.returncode}: {said}")
        elif whole() != expected:
            failures.append(f"{what}, resumed: other bits than a run that nothing happened to")
        left = [p.name for p in (folder / "out").iterdir() if p.name.endswith(".tmp")]
        if left:
            failures.append(f"{what}, resumed: {left} is left behind")
    hung = counts["of mpirun alone that hung"]
    if hung > max(1, options.kills // 20):
        failures.append(f"mpirun hung {hung} times: more than of a fault of its own")
    shutil.rmtree(folder)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    print("by rank:", *by_rank, f"; the slowest job ended {slowest:.2f} s after the kill")
    for failure in failures:
        print("FAILED:", failure)
    print("failures:", len(failures))
    sys.exit(len(failures) > 0)


if __name__ == "__main__":
    main()
