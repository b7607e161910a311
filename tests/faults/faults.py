#!/usr/bin/env python3
"""Kills retort, lets its calls fail, cuts its power, and looks at what is left.

  faults.py RETORT LIBRARIES kills N           N SIGKILLs over all commands that write: every other one at a random moment, the
                                               others in place of a random call, or right after it, or in the middle of a write
  faults.py RETORT LIBRARIES calls [EVERY]     every (or each EVERY-th) write, fsync, rename, open, close, unlink, mmap and
                                               thread creation fails, or is the last thing that the process does; and malloc, once
                                               from every stack of callers
  faults.py RETORT LIBRARIES power [EVERY]     the power fails after every (or each EVERY-th) change to a file
Options: --jobs N (default 1), --json FILE (the counts), --only COMMAND[,COMMAND], --forget-syncs (power: as if the program
synced nothing, which must be found). LIBRARIES is the folder of tests/faults/*.c, built. SEED=n draws other moments. A failure is a line that begins with FAILED; the tables are Markdown.

What must hold: the program ends with 0, 1 or 2 and says so in one line, or was killed; every file is as it was or
new, whole (retort verify); and the same command, with --resume where it has one, then ends with the bits of a run that
nothing happened to, its log too, and with nothing left behind. What a command has said to be done survives the power.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import power_loss
from workshop import COMMANDS, Workshop

CALLS = {"write": ("ENOSPC", "EIO", "EINTR", "short", "kill", "killed-after"), "fsync": ("EIO", "EINTR", "kill", "killed-after"),
         "rename": ("EACCES", "EIO", "kill", "killed-after"), "open": ("EMFILE", "EACCES", "EINTR", "kill"),
         "close": ("EIO", "EINTR", "killed-after"), "unlink": ("EACCES", "killed-after"), "malloc": ("ENOMEM",),
         "mmap": ("ENOMEM",), "thread": ("EAGAIN",)}
HARMLESS = ("EINTR", "short")
STRUCK = {"write": power_loss.WRITE, "fsync": power_loss.SYNC, "rename": power_loss.RENAME, "unlink": power_loss.REMOVE,
          "open": power_loss.CREATE}  # where kills fall that are not left to the clock

shop = None  # of this process


def random_of(*what):
    return random.Random(repr((os.environ.get("SEED", "0"), *what)))


def failing(call, nth, how):
    """The environment in which a call fails."""
    return {"LD_PRELOAD": shop.fail_nth, "FAULT_CALL": call, "FAULT_NTH": str(nth), "FAULT_HOW": how,
            "FAULT_UNDER": str(shop.folder), "FAULT_REPORT": str(shop.folder / "reached"),
            **({"FAULT_STACKS": "1"} if call == "malloc" else {})}


# ---- Each of these runs in a process of its own and returns counts.

def kill_some(command, numbers):
    counts = {"rounds": 0, "clock": 0, "calls": 0, "writes": 0}
    changes = collections.Counter(call[0] for call in power_loss.parse(shop.record(command)))
    for number in numbers:
        draw = random_of(command, number)
        shop.fresh(command)
        for _ in range(draw.choice((1, 1, 2, 3))):
            if number // len(COMMANDS) % 2:  # every other one of the command's
                moment = draw.uniform(0, 1.1 * shop.seconds[command])
                what = f"killed after {moment:.4f} s"
                process = shop.start(command)
                try:
                    process.wait(moment)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    counts["clock"] += 1
            else:
                call, how = draw.choice(("write", *STRUCK)), draw.choice(("kill", "killed-after"))
                nth = draw.randint(1, changes[STRUCK[call]])
                what = f"{how} at {call} {nth}"
                process = shop.start(command, failing(call, nth, how))
                if process.wait() == -signal.SIGKILL:
                    counts["writes" if call == "write" else "calls"] += 1
            shop.check_whole(command, what)
        counts["rounds"] += 1
        shop.check_resumed(command, f"round {number}, {what}")
    return counts


def fail_each(command, call, how, every):
    counts = {"calls": 0, "well": 0, "said": 0, "killed": 0}
    reached = shop.folder / "reached"
    nth = 1
    while True:
        shop.fresh(command)
        reached.unlink(missing_ok=True)
        done = shop.run(COMMANDS[command], **failing(call, nth, how))
        if not reached.exists():
            return counts
        counts["calls"] += 1
        what = f"{call} {nth} {how}"
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode == -signal.SIGKILL and "kill" in how:
            counts["killed"] += 1
        elif done.returncode == -signal.SIGABRT and call == "malloc" and "std::bad_alloc" in said[-1]:
            counts["killed"] += 1  # within the JSON library, whose destructors allocate
        elif done.returncode == 0:
            counts["well"] += 1
        elif done.returncode in (1, 2) and said and ": " in said[-1]:
            counts["said"] += 1
        else:
            shop.fail(f"{command}, {what}: status {done.returncode}: {said[-1:]}")
        if how in HARMLESS and done.returncode != 0:
            shop.fail(f"{command}, {what}: is no failure, and ended with {done.returncode}: {said[-1:]}")
        shop.check(command, what)
        nth += every


def cut_power(command, every, syncs):
    counts = {"moments": 0, "disks": 0}
    calls = [call for call in power_loss.parse(shop.record(command)) if syncs or call[0] != power_loss.SYNC]
    done = shop.content()
    shop.fresh(command)
    disk, out = power_loss.Disk(shop.folder / "out"), shop.folder / "out"

    def lose(keep, what):
        shutil.rmtree(out)
        disk.write_to(out, keep)
        known = len(shop.known)
        found = shop.content()
        shop.check(command, what)
        counts["disks"] += len(shop.known) - known
        return found

    for moment, call in enumerate(calls):
        disk.apply(call)
        if moment % every:
            continue
        counts["moments"] += 1
        draw = random_of(command, moment)
        for how, keep in (("nothing", lambda: False), ("all", lambda: True),
                          *[("some", lambda: draw.choice((True, False, None)))] * 3):
            lose(keep, f"power lost after change {moment}, {how} of what was not synced is there")
    found = lose(lambda: False, "power lost at the end")
    for name in sorted(done.keys() | found.keys()):
        if not Path(name).name.startswith(".") and done.get(name) != found.get(name):
            shop.fail(f"{command}, power lost after its end: {name} is not what it wrote")
    return counts


# ---- The three harnesses: what is done in parallel, and the table.

def kills(options):
    numbers = {command: range(i, options.count, len(COMMANDS)) for i, command in enumerate(COMMANDS)}
    parts = 8  # so that all processes have work until the end
    return "| command | rounds | killed by the clock | at a call | at a write | whole, and the same bits after resuming |", [
        ((command,), kill_some, (command, list(numbers[command])[part::parts])) for command in options.only for part in range(parts)]


def calls(options):
    return "| command | call | how | calls | ended well | said what failed | killed |", [
        ((command, call, how), fail_each, (command, call, how, options.count))
        for command in options.only for call, hows in CALLS.items() for how in hows]


def power(options):
    return "| command | moments | disks | whole, and the same bits after resuming |", [
        ((command,), cut_power, (command, options.count, not options.forget_syncs)) for command in options.only]


def begin(retort, libraries):
    global shop
    shop = Workshop(retort, libraries)


def work(function, arguments):
    shop.failures.clear()
    return function(*arguments), list(shop.failures), str(shop.folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("retort", type=Path)
    parser.add_argument("libraries", type=Path)
    parser.add_argument("harness", choices=("kills", "calls", "power"))
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--forget-syncs", action="store_true")
    parser.add_argument("--only", type=lambda words: words.split(","), default=list(COMMANDS))
    options = parser.parse_args()
    for command, program in (("bundle", "retort-classify"), ("page", "retort-page.wasm")):  # what their files begin with
        if not options.retort.with_name(program).exists():
            COMMANDS.pop(command)
    options.only = [command for command in options.only if command in COMMANDS]
    header, tasks = {"kills": kills, "calls": calls, "power": power}[options.harness](options)
    rows, failures, folders = {}, [], set()
    print(header + "\n|" + "---|" * (header.count("|") - 1), flush=True)
    with concurrent.futures.ProcessPoolExecutor(options.jobs, initializer=begin,
                                                initargs=(str(options.retort.resolve()), options.libraries.resolve())) as pool:
        futures = [(key, pool.submit(work, function, arguments)) for key, function, arguments in tasks]
        for at, (key, future) in enumerate(futures):
            counts, failed, folder = future.result()
            folders.add(folder)
            failures += failed
            for line in failed:
                print("FAILED:", line, flush=True)
            row = rows.setdefault(key, {})
            for name, count in counts.items():
                row[name] = row.get(name, 0) + count
            if at + 1 < len(futures) and futures[at + 1][0] == key:
                continue
            verdict = [] if options.harness == "calls" else ["no" if failures else "all"]
            print("| " + " | ".join(map(str, [*key, *row.values(), *verdict])) + " |", flush=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    print("failures:", len(failures))
    if options.json:
        options.json.write_text(json.dumps({"rows": [[*key, *row.values()] for key, row in rows.items()], "failures": failures}))
    sys.exit(len(failures) > 0)


if __name__ == "__main__":
    main()
