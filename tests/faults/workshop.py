"""A folder in which commands that write are run, interrupted, and run again; and what must hold of it afterwards."""
import hashlib
import json
import os
import re
import shutil
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
              "--seeds", "1", "--epochs", "2", "--out", "out/of/folders"],
    "specialists": ["specialists", "--model", "teacher.safetensors", "--student", "mlp:4", *NET, "--groups", "2",
                    "--epochs", "3", "--specialist-epochs", "2", "--out", "out"],
    "export": ["export", "--model", "teacher.safetensors", "--threads", "1", "--out", "out/net.onnx"],
    "bundle": ["bundle", "--model", "teacher.safetensors", "--threads", "1", "--out", "out/classify"],
    "page": ["page", "--model", "teacher.safetensors", "--threads", "1", "--out", "out/page.html"],
}
RESUMED = ("train", "distill", "logits")
AT_ONCE = ("export", "bundle", "page")  # write one file, when it is all there
TIMES = ("images_per_second", "seconds")
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp$")


class Workshop:
    """A folder with images, a teacher, its store, and an older store where `logits` writes.

    `failures` are lines, each a promise broken.
    """

    def __init__(self, retort, libraries):
        self.retort, self.failures, self.known = retort, [], set()
        self.fail_nth, self.record_calls = (str(libraries / f"lib{name}.so") for name in ("fail_nth", "record_calls"))
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
        self.reference, self.seconds = {}, {}
        for command in COMMANDS:
            self.fresh(command)
            start = time.monotonic()
            self.must(*COMMANDS[command])
            self.seconds[command] = time.monotonic() - start
            self.reference[command] = self.content()

    def close(self):
        shutil.rmtree(self.folder)

    def must(self, *arguments):
        done = self.run(arguments)
        if done.returncode != 0:
            sys.exit(f"{' '.join(arguments)}: {done.stderr.decode()}")

    def run(self, arguments, **environment):
        return subprocess.run([self.retort, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, env={**os.environ, **environment}, timeout=3600)

    def start(self, command, environment=()):
        """Begins the command, or goes on with it where it was stopped."""
        resumed = ["--resume"] if command in RESUMED else []
        return subprocess.Popen([self.retort, *COMMANDS[command], *resumed], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **dict(environment)})

    def record(self, command):
        """The calls of the whole command, as record_calls.c writes them."""
        self.fresh(command)
        records = self.folder / "records"
        records.write_bytes(b"")
        done = self.run(COMMANDS[command], LD_PRELOAD=self.record_calls, RECORD_TO=str(records), RECORD_UNDER=str(self.folder))
        if done.returncode != 0:
            sys.exit(f"{command}, recorded: {done.stderr.decode()}")
        return records.read_bytes()

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
                    content = [without_times(line) for line in content.splitlines()]
                files[str(path.relative_to(self.folder))] = content
        return files

    def check(self, command, what):
        """Every file is whole, and the same command, resumed, ends as if nothing had happened.

        What was seen once is not looked at again: the program's answer to the same files is the same.
        """
        seen = hashlib.sha256(repr((command, [(TEMPORARY.sub("", k), v) for k, v in self.content().items()])).encode()).digest()
        if seen in self.known:
            return
        self.known.add(seen)
        self.check_whole(command, what)
        self.check_resumed(command, what)

    def check_whole(self, command, what):
        """Every file that is there can be read to its end; the store is the old one or the new one."""
        if command in AT_ONCE:
            for name, content in self.content().items():
                if not TEMPORARY.search(name) and content != self.reference[command].get(name):
                    self.fail(f"{command}, {what}: {name} is half there, with {len(content)} bytes")
        files = [str(p.relative_to(self.folder)) for p in (self.folder / "out").rglob("*")
                 if p.is_file() and not p.name.startswith(".") and p.suffix in (".safetensors", ".npy") or p.name in ("s.csv", "classify")]
        if not files:
            return
        done = subprocess.run([self.retort, "verify", "--threads", "1", *files], cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if done.returncode != 0:
            self.fail(f"{command}, {what}: {done.stdout.decode()}")

    def check_resumed(self, command, what):
        arguments = COMMANDS[command] + (["--resume"] if command in RESUMED else [])
        done = self.run(arguments)
        if done.returncode != 0:
            return self.fail(f"{command}, {what}, resumed: status {done.returncode}: {done.stderr.decode()}")
        found, expected = self.content(), self.reference[command]
        if found.keys() != expected.keys():
            return self.fail(f"{command}, {what}, resumed: other files: {sorted(found.keys() ^ expected.keys())}")
        for name, content in expected.items():
            if found[name] != content:
                self.fail(f"{command}, {what}, resumed: {name} is another than of a run that was never interrupted")

    def fail(self, words):
        self.failures.append(words)


def without_times(line):
    """A log's line as an object without its times; as it is where it was cut short."""
    try:
        return {key: value for key, value in json.loads(line).items() if key not in TIMES}
    except ValueError:
        return line
