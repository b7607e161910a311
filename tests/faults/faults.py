#!/usr/bin/env python3
"""Kills retort, and lets its calls fail, and looks at what is left.

  faults.py RETORT kills N                 N SIGKILLs at random moments, over all commands that write; each is resumed
  faults.py RETORT calls LIBRARY [EVERY]   every (or each EVERY-th) write, fsync, rename, open, close, unlink fails, or is
                                           the last thing that the process does; also malloc, mmap and thread creation.
                                           LIBRARY: tests/faults/fail_nth.c, built
A failure is a line that begins with FAILED; the tables are Markdown. SEED=n draws other moments.

What must hold: the program ends with 0, 1 or 2 and says so in one line, or was killed; every file is as it was or
new, whole (retort verify); and the same command, with --resume where it has one, then ends with the bits of a run that
nothing happened to, its log too, and with nothing left behind.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = ("blue", "green", "red")
NET = ["--image-size", "8", "--data", "data", "--val-split", "0.2", "--batch-size", "4", "--lr", "0.01", "--threads", "1"]
COMMANDS = {
    "train": ["train", "--model", "mlp:8", *NET, "--augment", "flip", "--epochs", "6", "--out", "out/m.safetensors", "--log", "out/m.jsonl"],
    "distill": ["distill", "--student", "mlp:4", "--teacher", "teacher.safetensors", *NET, "--epochs", "6",
                "--out", "out/m.safetensors", "--log", "out/m.jsonl"],
    "logits": ["logits", "--model", "teacher.safetensors", "--data", "data", "--threads", "1", "--views", "2",
               "--out", "out/s.npy", "--csv", "out/s.csv"],
    "sweep": ["sweep", "--student", "mlp:4", "--logits", "store.npy", *NET, "--temperature", "1,4", "--lambda", "0,0.5",
              "--seeds", "1", "--epochs", "2", "--out", "out"],
    "specialists": ["specialists", "--model", "teacher.safetensors", "--student", "mlp:4", *NET, "--groups", "2",
                    "--epochs", "3", "--specialist-epochs", "2", "--out", "out"],
}
RESUMED = ("train", "distill")
TIMES = ("images_per_second", "seconds")
failures = 0


def fail(words):
    global failures
    failures += 1
    print("FAILED:", words, flush=True)


class Workshop:
    """A folder with images, a teacher, its store, and an older store where `logits` writes."""

    def __init__(self, retort):
        self.retort = retort
        self.folder = Path(tempfile.mkdtemp(prefix="retort-faults-"))
        for c, name in enumerate(CLASSES):
            (self.folder / "data" / name).mkdir(parents=True)
            for i in range(9):
                pixel = [30, 30, 30]
                pixel[c], pixel[(c + 1) % 3] = 150 + 10 * i, 20 * i
                (self.folder / "data" / name / f"{i}.ppm").write_bytes(b"P6 8 8 255\n" + bytes(pixel) * 64)
        self.must("train", "--model", "mlp:4", *NET, "--epochs", "2", "--out", "teacher.safetensors")
        self.must("logits", "--model", "teacher.safetensors", "--data", "data", "--val-split", "0.2", "--out", "store.npy")
        self.must("train", "--model", "mlp:3", *NET, "--epochs", "1", "--out", "older.safetensors")
        self.must("logits", "--model", "older.safetensors", "--data", "data", "--threads", "1", "--out", "older/s.npy")
        self.reference = {}
        for command in COMMANDS:
            self.fresh(command)
            start = time.monotonic()
            self.must(*COMMANDS[command])
            self.reference[command] = (self.content(), time.monotonic() - start)

    def must(self, *arguments):
        done = self.run(arguments)
        if done.returncode != 0:
            sys.exit(f"{' '.join(arguments)}: {done.stderr.decode()}")

    def run(self, arguments, **environment):
        return subprocess.run([self.retort, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, env={**os.environ, **environment}, timeout=300)

    def fresh(self, command):
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        if command == "logits":
            shutil.copytree(self.folder / "older", self.folder / "out")
        else:
            (self.folder / "out").mkdir()

    def content(self):
        """Every file under out, hidden ones too; a log without its times."""
        files = {}
        for path in sorted((self.folder / "out").rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if path.suffix == ".jsonl":
                    content = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in content.splitlines()]
                files[str(path.relative_to(self.folder))] = content
        return files

    def check_whole(self, command, what):
        """Every file that is there can be read to its end; the store is the old one or the new one."""
        files = [str(p.relative_to(self.folder)) for p in (self.folder / "out").rglob("*")
                 if p.is_file() and not p.name.startswith(".") and p.suffix in (".safetensors", ".npy") or p.name == "s.csv"]
        if not files:
            return
        done = subprocess.run([self.retort, "verify", "--threads", "1", *files], cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if done.returncode != 0:
            fail(f"{command}, {what}: {done.stdout.decode()}")

    def resume(self, command, what):
        """The same command again ends as if nothing had happened."""
        arguments = COMMANDS[command] + (["--resume"] if command in RESUMED else [])
        done = self.run(arguments)
        if done.returncode != 0:
            return fail(f"{command}, {what}, resumed: status {done.returncode}: {done.stderr.decode()}")
        found, expected = self.content(), self.reference[command][0]
        if found.keys() != expected.keys():
            return fail(f"{command}, {what}, resumed: other files: {sorted(found.keys() ^ expected.keys())}")
        for name, content in expected.items():
            if found[name] != content:
                fail(f"{command}, {what}, resumed: {name} is another than of a run that was never interrupted")

    def close(self):
        shutil.rmtree(self.folder)


def kills(workshop, count):
    draw = random.Random(int(os.environ.get("SEED", "0")))
    table = {command: [0, 0] for command in COMMANDS}
    for i in range(count):
        command = list(COMMANDS)[i % len(COMMANDS)]
        workshop.fresh(command)
        rounds = draw.choice((1, 1, 2, 3))
        for _ in range(rounds):
            resumed = command in RESUMED and (workshop.folder / "out" / "m.state.safetensors").exists()
            process = subprocess.Popen([workshop.retort, *COMMANDS[command], *(["--resume"] if resumed else [])],
                                       cwd=workshop.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            moment = draw.uniform(0, 1.1 * workshop.reference[command][1])
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                table[command][1] += 1
            workshop.check_whole(command, f"killed after {moment:.4f} s")
        table[command][0] += 1
        workshop.resume(command, f"kill {i}")
    print("| command | runs | killed | whole and the same bits after resuming |\n|---|---|---|---|")
    for command, (runs, killed) in table.items():
        print(f"| {command} | {runs} | {killed} | {'all' if failures == 0 else 'no'} |")


CALLS = {"write": ("ENOSPC", "EIO", "EINTR", "short", "kill", "killed-after"), "fsync": ("EIO", "EINTR", "kill", "killed-after"),
         "rename": ("EACCES", "EIO", "kill", "killed-after"), "open": ("EMFILE", "EACCES", "EINTR", "kill"),
         "close": ("EIO", "EINTR", "killed-after"), "unlink": ("EACCES", "killed-after"), "malloc": ("ENOMEM",),
         "mmap": ("ENOMEM",), "thread": ("EAGAIN",)}
HARMLESS = ("EINTR", "short")
MEMORY = ("malloc", "mmap")


def calls(workshop, library, every):
    print("| command | call | how | calls | ended well | said what failed | killed |\n|---|---|---|---|---|---|---|")
    for command in ("train", "distill", "logits"):
        for call, hows in CALLS.items():
            for how in hows:
                fail_each(workshop, library, command, call, how, every)


def fail_each(workshop, library, command, call, how, every):
    report = workshop.folder / "reached"
    counts = {"well": 0, "said": 0, "killed": 0}
    nth, tried = 1, 0
    while True:
        workshop.fresh(command)
        report.unlink(missing_ok=True)
        done = workshop.run(COMMANDS[command], LD_PRELOAD=library, FAULT_CALL=call, FAULT_NTH=str(nth), FAULT_HOW=how,
                            FAULT_UNDER=str(workshop.folder), FAULT_REPORT=str(report))
        if not report.exists():
            break
        tried += 1
        what = f"{call} {nth} {how}"
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode == -signal.SIGKILL and "kill" in how:
            counts["killed"] += 1
        elif done.returncode == 0:
            counts["well"] += 1
        elif done.returncode in (1, 2) and said and ": " in said[-1]:
            counts["said"] += 1
        else:
            fail(f"{command}, {what}: status {done.returncode}: {said[-1:]}")
        if how in HARMLESS and done.returncode != 0:
            fail(f"{command}, {what}: is no failure, and ended with {done.returncode}: {said[-1:]}")
        workshop.check_whole(command, what)
        workshop.resume(command, what)
        # Thousands of allocations: all of the first, then ever fewer.
        nth += every if call not in MEMORY else max(every, nth // 8)
    if tried:
        print(f"| {command} | {call} | {how} | {tried} | {counts['well']} | {counts['said']} | {counts['killed']} |", flush=True)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    workshop = Workshop(str(Path(sys.argv[1]).resolve()))
    if sys.argv[2] == "kills":
        kills(workshop, int(sys.argv[3]))
    else:
        calls(workshop, str(Path(sys.argv[3]).resolve()), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    workshop.close()
    print("failures:", failures)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
