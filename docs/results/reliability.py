#!/usr/bin/env python3
"""Makes docs/results/reliability.md: what is left after kills, failing calls and power losses, counted.

    docs/results/reliability.py [--retort build/retort] [--libraries build/tests] [--kills 500] [--calls 7] [--power 1]

kills: so many SIGKILLs; calls: each so many-th call of a kind fails; power: it is lost after each so many-th change to a
file. As it stands, some twenty minutes on two cores. The promises that these figures hold stand in docs/reliability.md.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import pages


COMMANDS = ("train", "distill", "logits", "sweep", "specialists")
CALLS = ("write", "fsync", "rename", "open", "close", "unlink", "malloc", "mmap", "thread")
# What the harness counts, in its order.
COUNTS = {"kills": ["rounds", "clock", "calls", "writes"], "calls": ["calls", "well", "said", "killed"],
          "power": ["moments", "disks"]}


def harness(runs, name, count):
    """The rows of tests/faults/faults.py's table, and its failures."""
    with tempfile.TemporaryDirectory() as folder:
        counts = pathlib.Path(folder) / "counts.json"
        command = [sys.executable, "tests/faults/faults.py", runs.retort, runs.options.libraries, name, str(count), "--jobs", "2",
                   "--json", str(counts)]
        subprocess.run(command, check=False, stdout=sys.stderr)  # its status says what the failures say
        found = json.loads(counts.read_text())
    return found["rows"], found["failures"]


def measure(runs):
    facts = {}
    for name, columns in COUNTS.items():
        count = getattr(runs.options, name)
        rows, failures = harness(runs, name, count)
        sums = {}
        for row in rows:  # of the calls one sum over the ways in which they fail
            key, counts = ".".join(row[:-len(columns)][:2]), row[-len(columns):]
            sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(counts)), counts)]
        for key, counts in sums.items():
            facts.update({f"{name}.{key}.{column}": f"{n:,}" for column, n in zip(columns, counts)})
        facts[f"{name}.failures"], facts[f"{name}.count"] = str(len(failures)), str(count)
    return facts


def page(facts):
    def table(name, header, keys):
        return pages.table(header, [[*key, *facts.row(".".join([name, *key]), COUNTS[name])] for key in keys])

    one = [(command,) for command in COMMANDS]
    return pages.Page(
        "Kills, failing calls, power losses",
        " by `tests/faults/faults.py`. After each event every file must be the old one or the new one, whole; then the same\n"
        "command, with `--resume` where it has one, must end with the bits of a run that nothing happened to, weights and log, and leave\n"
        "nothing behind. What does not is a failure.",
        ("## Kills",
         f"SIGKILL, {facts.numbers('kills.count')} rounds: every other one at a random moment, the others in place of a random call, right after it, or in"
         f" the middle of\na write. Failures: {facts.numbers('kills.failures')}.",
         table("kills", ["command", "rounds", "killed by the clock", "at a call", "at a write"], one),
         "## Failing calls",
         f"Every {facts.numbers('calls.count')}th call of each kind fails, in each way in which it can (no space, an error of the device, interrupted, short), or is the"
         f" last thing\nthat the process does; malloc from every stack of callers in turn. Failures: {facts.numbers('calls.failures')}.",
         table("calls", ["command", "call", "calls", "ended well", "said what failed", "killed"],
               [(command, call) for command in COMMANDS for call in CALLS]),
         "## Power losses",
         f"After every {facts.numbers('power.count')}th change to a file the power fails: of what came after the last fsync nothing, all, or some parts in"
         f" any order are\nthere. Failures: {facts.numbers('power.failures')}.",
         table("power", ["command", "moments", "different disks"], one),
         "The power losses are a model's, of what POSIX promises, not a disk's: none was pulled. Calls that the harness does not interpose are not counted;"
         "\nnetworks are small, so that runs are short."))


if __name__ == "__main__":
    pages.main(__file__, measure, page, options=(("libraries", "build/tests"), ("kills", 500), ("calls", 7), ("power", 1)))
