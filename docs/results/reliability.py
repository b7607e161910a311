#!/usr/bin/env python3
"""Makes docs/results/reliability.md: killed runs, failing calls and fuzzed readers, counted.

    docs/results/reliability.py [--kills N] [--every N] [--seconds N]
    --kills    SIGKILLs at random moments (default: 500)
    --every    each N-th call fails (default: 1, all of them)
    --seconds  of fuzzing for each reader (default: 13; long: 3600)

What fails ends this program: a page stands for a round in which nothing did.
"""
import subprocess
import sys

import pages

COMMANDS = ("train", "distill", "logits", "sweep", "specialists")
CALLS = ("write", "fsync", "rename", "open", "close", "unlink", "malloc", "mmap", "thread")
READERS = ("cache", "csv", "idx", "image", "npy", "pickle", "pickled_dict", "safetensors", "store_index")


def rows(command):
    """The rows of the tables that a command prints, but for their headers."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stdout}")
    table = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in done.stdout.splitlines() if line.startswith("| ")]
    return table[1:]


def measure(runs):
    facts = {}
    faults = [sys.executable, "tests/faults/faults.py", runs.retort]
    for command, count, killed, _ in rows([*faults, "kills", str(runs.options.kills)]):
        facts[f"{command}.runs"], facts[f"{command}.killed"] = count, killed
    sums = {call: [0, 0, 0, 0] for call in CALLS}
    for _, call, _, *counts in rows([*faults, "calls", "build/tests/libfail_nth.so", str(runs.options.every)]):
        sums[call] = [a + int(b) for a, b in zip(sums[call], counts)]
    for call, counts in sums.items():
        for column, count in zip(("tried", "well", "said", "killed"), counts):
            facts[f"{call}.{column}"] = str(count)
    for reader, inputs, rate, coverage, _ in rows(["tests/fuzz/run.sh", str(runs.options.seconds)]):
        facts[f"{reader}.inputs"], facts[f"{reader}.rate"], facts[f"{reader}.coverage"] = inputs, rate, coverage
    facts["every"], facts["seconds"] = str(runs.options.every), str(runs.options.seconds)
    return facts


def page(facts):
    return pages.Page(
        "Faults, kills and hostile files",
        "; see [reliability.md](../reliability.md) for what is promised.",
        ("""## Kills

SIGKILL at random moments of a run, in one to three rounds, then the same command to its end: every file was whole after each kill
(`retort verify`), and models, logs, stores and tables came out with the bits of a run that nothing happened to. Nothing was left behind.""",
         pages.table(["command", "runs", "killed"],
                     [[command, *facts.row(command, ("runs", "killed"))] for command in COMMANDS]),
         f"""## Calls that fail

Of `train`, `distill` and `logits`: the N-th call of a kind fails with each error that it may give, does half of its work, or is the last
thing that the process does; for each {facts.numbers("every")}-th N (of allocations: all of the first, then each eighth part further). After each, files were whole
and the command went on to the same bits.""",
         pages.table(["call", "failed", "the command ended well", "it said what failed", "it was killed"],
                     [[call, *facts.row(call, ("tried", "well", "said", "killed"))] for call in CALLS]),
         f"""## Fuzzing

Each reader for {facts.numbers("seconds")} seconds under AddressSanitizer and UndefinedBehaviorSanitizer; an input may take a second and 1 GiB. Nothing was found in this round.""",
         pages.table(["reader", "inputs", "inputs a second", "edges covered"],
                     [[reader, *facts.row(reader, ("inputs", "rate", "coverage"))] for reader in READERS])))


if __name__ == "__main__":
    pages.main(__file__, measure, page, options=(("kills", 500), ("every", 1), ("seconds", 13)))
