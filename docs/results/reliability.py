#!/usr/bin/env python3
"""Makes docs/results/reliability.md: what the harnesses of faults, the fuzzers and the long runs counted.

    docs/results/reliability.py [--work WORK]
    WORK  where the counts and the drawn pictures go   (default: build/results-reliability); what has finished there, a
          harness for one command, or one reader, is not run again

Needs a release build with its tests (build/retort, build/tests) and clang for the fuzzers. KILLS, FUZZ_SECONDS (of the processor, a
reader), STEPS, FILES and JOBS in the environment are the budget, EVERY_CHANGE and EVERY_CALL the strides of what is struck; with both 1
and FUZZ_SECONDS=3600 it takes a day. LONGEST is that of tests/fuzz/run.sh.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pages

sys.path.insert(0, str(pages.ROOT / "tests/faults"))
import faults  # noqa: E402

KILLS, JOBS, FUZZ_SECONDS = pages.setting("KILLS", 500), pages.setting("JOBS", 2), pages.setting("FUZZ_SECONDS", 10)
LONGEST = pages.setting("LONGEST", 1)
EVERY_CHANGE, EVERY_CALL = pages.setting("EVERY_CHANGE", 31), pages.setting("EVERY_CALL", 97)
STEPS, FILES = pages.setting("STEPS", 20000), pages.setting("FILES", 100000)
GIB = 2**30
# Of those that write one file at once, one: page needs a compiler that few have.
COMMANDS = [command for command in faults.COMMANDS if command not in ("export", "page")]
CALLED = ("train", "distill", "logits")  # sweep and specialists are made of these
READERS = (*sorted(folder.name for folder in (pages.ROOT / "tests/fuzz/corpus").iterdir()), "memory")
FAILING = [(call, how) for call, hows in faults.CALLS.items() for how in hows]
ENDS = ("calls", "well", "said", "killed")
COUNTED = {"kills": ("rounds", "clock", "calls", "writes"), "power": ("moments", "disks")}
BIG = {"photo.jpg": "eval --model WORK/teacher.safetensors --data WORK/big", "scores.csv": "verify WORK/scores.csv",
       "store.npy": "verify WORK/store.npy", "model.safetensors": "verify WORK/model.safetensors",
       "model.onnx": "summary --model WORK/model.onnx"}


def kept(runs, name, make):
    """What make() returns, made once and kept as JSON."""
    path = runs.work / f"{name}.json"
    if not path.exists():
        pages.write(path, json.dumps(make()))
    return json.loads(path.read_text())


def struck(runs, harness, count, commands=COMMANDS):
    """Rows of counts of tests/faults/faults.py, which ends this program where a promise broke."""
    def rows(command):
        found = runs.work / f"{harness}-{command}-found.json"
        pages.output(["tests/faults/faults.py", runs.retort, str(pathlib.Path(runs.retort).parent / "tests"), harness, str(count),
                      "--only", command, "--jobs", str(JOBS), "--json", str(found)])
        return json.loads(found.read_text())["rows"]

    return [row for command in commands for row in kept(runs, f"{harness}-{command}", lambda: rows(command))]


def fuzz(runs):
    """Rows of tests/fuzz/run.sh: reader, inputs, seconds, coverage, found."""
    def row(reader):
        printed = subprocess.run(["tests/fuzz/run.sh", str(FUZZ_SECONDS), reader], stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "LONGEST": str(LONGEST)}).stdout
        return [cell.strip() for cell in printed.splitlines()[-1].strip("|").split("|")]

    return [kept(runs, f"fuzz-{reader}", lambda: row(reader)) for reader in READERS]


def draw(folder, count):
    """`count` pictures of 8 x 8 in two classes."""
    for i in range(count):
        path = folder / ("red", "blue")[i % 2] / f"{i}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = [200, 30, 40 + i % 100][:: 1 - i % 2 * 2]
        path.write_bytes(b"P6 8 8 255\n" + bytes(colour) * 64)


def watched(runs, command, moments=()):
    """Runs a command: its status, its last line, its seconds, and its memory in MiB: the peak, and with open files at
    each moment, a file that comes to be."""
    start, seen = time.monotonic(), []
    command = command.replace("WORK", str(runs.work))
    process = subprocess.Popen([runs.retort, *command.split()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    waiting = list(moments)
    while waiting and not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if waiting[0]():
            waiting.pop(0)
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            seen.append([int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, len(os.listdir(f"/proc/{process.pid}/fd"))])
        time.sleep(0.05)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), "said": printed.strip().splitlines()[-1:],
            "seconds": time.monotonic() - start, "peak": usage.ru_maxrss / 1024, "seen": seen}


def long_run(runs):
    """Memory and open files of one training after a tenth, a half, and the whole of its steps but one epoch."""
    epochs, log = 20, runs.work / "long.jsonl"
    draw(runs.work / "pictures", 4 * STEPS // epochs)
    at = [lambda epoch=epoch: log.exists() and len(log.read_text().splitlines()) >= epoch
          for epoch in (epochs // 10, epochs // 2, epochs - 1)]
    found = watched(runs, f"train --model resnet8 --data WORK/pictures --val-split 0 --image-size 8 --batch-size 4 --epochs {epochs}"
                    " --threads 1 --augment crop,flip --quiet --out WORK/long.safetensors --log WORK/long.jsonl", at)
    if found["status"] or len(found["seen"]) != len(at):
        sys.exit(f"the long run: {found}")
    return found


def many_files(runs):
    draw(runs.work / "many", FILES)
    common = "--data WORK/many --val-split 0 --image-size 8 --threads 2 --quiet"
    return [watched(runs, f"train --model mlp:4 --epochs 1 --batch-size 256 {common} --out WORK/teacher.safetensors"),
            watched(runs, f"logits --model WORK/teacher.safetensors {common} --split train --out WORK/many.npy")]


def big_files(runs):
    """Files of 4 GiB of which nothing but the length is there: what the program says of each."""
    (runs.work / "big/red").mkdir(parents=True, exist_ok=True)
    draw(runs.work / "big", 2)
    found = {}
    for name, command in BIG.items():
        path = runs.work / ("big/red" if name.endswith("jpg") else "") / name
        with open(path, "wb") as file:
            file.truncate(4 * GIB)
        found[name] = watched(runs, command)
        path.unlink()
    return found


def measure(runs):
    runs.work = pathlib.Path(runs.options.work)
    runs.work.mkdir(parents=True, exist_ok=True)
    facts = {}
    kills = struck(runs, "kills", KILLS)
    facts["killed"] = f"{sum(sum(row[2:]) for row in kills):,}"
    for harness, rows in (("kills", kills), ("power", struck(runs, "power", EVERY_CHANGE))):
        for command, *counts in rows:
            facts.update({f"{harness}.{command}.{name}": f"{count:,}" for name, count in zip(COUNTED[harness], counts)})
    ends = {}
    for _, call, how, *counts in struck(runs, "calls", EVERY_CALL, CALLED):
        row = ends.setdefault(f"{call}.{how}", [0] * len(counts))
        row[:] = map(sum, zip(row, counts))
    for name, counts in ends.items():
        facts.update({f"{name}.{end}": f"{count:,}" for end, count in zip(ENDS, counts)})
    for reader, inputs, seconds, coverage, found in fuzz(runs):
        facts.update({f"{reader}.inputs": f"{int(inputs):,}", f"{reader}.seconds": seconds, f"{reader}.coverage": coverage,
                      f"{reader}.found": found})
    long = kept(runs, "long", lambda: long_run(runs))
    for moment, (memory, files) in zip(("tenth", "half", "end"), long["seen"]):
        facts[f"{moment}.memory"], facts[f"{moment}.files"] = f"{memory:.1f}", str(files)
    for name, found in zip(("train", "logits"), kept(runs, "many", lambda: many_files(runs))):
        facts[f"{name}.peak"], facts[f"{name}.seconds"] = f"{found['peak']:.0f}", f"{found['seconds']:.0f}"
    for name, found in kept(runs, "big", lambda: big_files(runs)).items():
        said = re.sub(r"\S*/", "", " ".join(found["said"])).replace("|", "/")
        facts[f"{name}.said"] = f"{found['status']}: `{said}`"
        facts[f"{name}.peak"], facts[f"{name}.seconds"] = f"{found['peak']:.0f}", f"{found['seconds']:.1f}"
    return {**facts, "machine": os.environ.get("MACHINE", "two cores beside much other work")}


def page(facts):
    def counted(harness, columns):
        return pages.table(["command", *columns], [[command, *facts.row(f"{harness}.{command}", COUNTED[harness])] for command in COMMANDS])

    def every(stride):
        return "each of them" if stride == 1 else f"one in {stride}"

    return pages.Page(
        "Faults, hostile files, long runs: the counts",
        f""" on {facts.words("machine")}. What is promised stands in
[reliability.md](../reliability.md). A broken promise ends the script, so that every row here is one that held: files whole, one line
of what failed, and after `--resume` the bits, the log too, of a run that nothing happened to.""",
        ("## Kills",
         f"{facts.numbers('killed')} times SIGKILL: by the clock, in place of or after a call, in the middle of a write. A round ends with a resumed run.",
         counted("kills", ["rounds", "killed by the clock", "at a call", "at a write"]),
         "## Calls that fail",
         f"""The N-th call fails, for N from 1 until the command makes no more: {every(EVERY_CALL)} from the first on, of {', '.join(CALLED)}.
malloc counts once from every stack of callers.""",
         pages.table(["call", "calls", "ended well", "said what failed", "killed"],
                     [[f"{call}, {how}", *facts.row(f"{call}.{how}", ENDS)] for call, how in FAILING]),
         "## Power",
         f"""After every change to a file, {every(EVERY_CHANGE)}, the power fails: nothing, all, or three drawn parts of what was not synced are on the disk. A disk
that was seen before is not looked at again.""",
         counted("power", ["moments", "disks"]),
         "## Fuzzing",
         f"""libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, and for `memory`, which is pictures without WebP, MemorySanitizer; from the
seeds in the tree. An input may take 1 GiB and {LONGEST} seconds of the processor; a child process that reads HDF5 for `keras` has its own limits.
Seconds are of the processor, too. Coverage: edges reached in the sources that read files, which alone are instrumented.""",
         pages.table(["reader", "inputs", "seconds", "coverage", "found"],
                     [[reader, *facts.row(reader, ("inputs", "seconds", "coverage")), facts.words(f"{reader}.found")] for reader in READERS]),
         "## Long runs",
         f"A resnet8 trained for {STEPS:,} steps of 4 pictures of 8 x 8 px, with crops and flips:",
         pages.table(["after", "resident memory, MiB", "open files"],
                     [[label, *facts.row(moment, ("memory", "files"))] for moment, label in
                      (("tenth", "a tenth"), ("half", "a half"), ("end", "all but an epoch"))]),
         "## Many files, large files",
         pages.table([f"{FILES:,} pictures in two folders", "seconds", "peak memory, MiB"],
                     [[f"`{command}`", *facts.row(command, ("seconds", "peak"))] for command in ("train", "logits")]),
         "Files of 4 GiB of zeros, without a block on the disk:",
         pages.table(["file", "status and last line", "seconds", "peak memory, MiB"],
                     [[name, facts.words(f"{name}.said"), *facts.row(name, ("seconds", "peak"))] for name in BIG]),
         "Counts hold for the program that made them; seconds were taken beside other work."))


if __name__ == "__main__":
    pages.main(__file__, measure, page, options=(("work", "build/results-reliability"),))
