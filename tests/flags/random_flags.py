#!/usr/bin/env python3
"""Draws command lines and looks at how they end: tests/flags/random_flags.py RETORT N [COMMAND...]

Each is a command line that works, with some flags of the command's --help added or changed; values are mostly of the kind that the flag
wants. What must hold: the program ends by itself, with 0, 1 or 2, and where that is not 0, its last line says what is at fault. SEED=n
draws others. A failure is a line that begins with FAILED.
"""
import collections
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = ["--data", "data", "--threads", "1"]
TRAINING = [*DATA, "--image-size", "8", "--val-split", "0.2", "--batch-size", "4", "--epochs", "1"]
COMMANDS = {
    "train": ["--model", "mlp:4", *TRAINING],
    "distill": ["--student", "mlp:4", "--logits", "s.npy", *TRAINING],
    "sweep": ["--student", "mlp:4", "--logits", "s.npy", *TRAINING, "--temperature", "1", "--lambda", "0.1", "--seeds", "1"],
    "specialists": ["--model", "t.safetensors", "--student", "mlp:4", *TRAINING, "--groups", "2", "--specialist-epochs", "1"],
    "logits": ["--model", "t.safetensors", *DATA],
    "views": ["--data", "data", "--views", "2", "--image-size", "8"],
    "combine": ["s.npy", "v.npy"],
    "eval": ["--model", "t.safetensors", *DATA],
    "predict": ["--model", "t.safetensors", *DATA],
    "bias": ["--model", "t.safetensors", "--data", "data", "--classes", "blue"],
    "quantize": ["--model", "r.safetensors", "--data", "data"],
    "import": ["--model", "resnet8", "--weights", "r.safetensors"],
    "export": ["--model", "r.safetensors", "--format", "onnx"],
    "graph": ["--model", "r.safetensors"],
    "summary": ["--model", "r.safetensors"],
    "verify": ["t.safetensors", "s.npy"],
}
WITHOUT_OUT = ("eval", "predict", "summary", "verify")
# What a flag wants, some of it not of this run; other flags take any of WORDS.
WANTED = {
    "--augment": "none flip crop flip,crop crop,flip,jitter randaugment erase", "--class-map": "map.csv damaged.csv", "--classes": "blue,red green",
    "--convention": "blend additive", "--device": "cpu simt", "--format": "onnx npz c", "--head": "16,relu 8,relu,dropout:0.3 64",
    "--hint": "layer3.0.bn2:layer3.0.bn2 layer1.0.bn2:layer2.0.bn2 fc:fc", "--hint-loss": "regression attention contrast",
    "--kernel": "gemm.run=reference conv2d.fprop=reference", "--logits": "s.npy s.csv v.npy s.npy,v.npy damaged.npy damaged.csv",
    "--loss": "kd mse dkd nkd dist ttm wttm", "--model": "mlp:4 resnet8 t.safetensors r.safetensors q.safetensors r.onnx",
    "--optimizer": "adam adamw sgd", "--precision": "fp32 bf16 int8", "--schedule": "constant cosine step plateau", "--split": "train val test all",
    "--student": "mlp:4 resnet8 vgg8 t.safetensors r.safetensors", "--teacher": "t.safetensors r.safetensors q.safetensors r.onnx self",
    "--unlabelled": "more data", "--warm-start": "t.safetensors r.safetensors", "--weights": "t.safetensors r.safetensors q.safetensors r.onnx",
}
WORDS = "t.safetensors q.safetensors s.npy s.csv empty missing /dev/null data data/blue/0.ppm damaged.npy relu 16 blue zzz x=y :".split() + [""]
NUMBERS = "0 1 2 3 5 -1 0.5 1e-3 1e30 nan inf 99999999999 18446744073709551616 x".split()
SECONDS = 120


def prepare(run):
    for c, name in enumerate(("blue", "green", "red")):
        Path("data", name).mkdir(parents=True)
        for i in range(6):
            pixel = [30, 30, 30]
            pixel[c], pixel[(c + 1) % 3] = 150 + 10 * i, 20 * i
            Path("data", name, f"{i}.ppm").write_bytes(b"P6 8 8 255\n" + bytes(pixel) * 64)
    Path("more").mkdir()
    for i in range(5):
        Path("more", f"{i}.ppm").write_bytes(b"P6 8 8 255\n" + bytes([20 * i, 90, 30]) * 64)
    Path("empty").write_bytes(b"")
    Path("damaged.npy").write_bytes(b"\x93NUMPY\x01\x00" + bytes(range(60)))
    Path("damaged.csv").write_text("a,b\n1,2,3\nx\n")
    Path("map.csv").write_text("blue,red\nred,red\ngreen,green\n")
    for words in (["train", "--model", "mlp:4", *TRAINING, "--out", "t.safetensors"], ["train", "--model", "resnet8", *TRAINING, "--out", "r.safetensors"],
                  ["logits", "--model", "t.safetensors", *DATA, "--out", "s.npy", "--csv", "s.csv"],
                  ["logits", "--model", "t.safetensors", *DATA, "--views", "2", "--augment", "flip", "--out", "v.npy"],
                  ["quantize", "--model", "r.safetensors", "--data", "data", "--out", "q.safetensors"],
                  ["export", "--model", "r.safetensors", "--format", "onnx", "--out", "r.onnx"]):
        done = run(words)
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stderr.decode()}")


def flags_of(help_text):
    """Name, type (None: takes no value) and whether it takes several."""
    found = re.findall(r"^ +(?:-\w,)?(--[a-z0-9-]+)(?: (INT|UINT|FLOAT|TEXT)(.*))?", help_text, re.MULTILINE)
    return [(name, kind, "..." in rest) for name, kind, rest in found if name not in ("--help", "--version", "--config", "--out", "--epochs", "--threads")]


def value(draw, name, kind):
    if kind == "TEXT":
        return draw.choice(WANTED[name].split()) if name in WANTED and draw.random() < 0.9 else draw.choice(WORDS)
    usual = ("1", "2", "3", "8") if kind in ("INT", "UINT") else ("0.1", "0.5", "0.9", "2")
    return draw.choice(usual if draw.random() < 0.85 else NUMBERS)


def command_line(draw, command, flags):
    words = [command, *COMMANDS[command]] + ([] if command in WITHOUT_OUT else ["--out", "out/o.safetensors"])
    for name, kind, several in draw.sample(flags, min(len(flags), draw.randint(1, 4))):
        if not kind:
            words.append(name)
            continue
        given = ",".join(value(draw, name, kind) for _ in range(draw.randint(1, 2) if several else 1))
        if name in words:
            words[words.index(name) + 1] = given
        else:
            words += [name, given]
    return words


def main():
    retort, count, only = Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:] or list(COMMANDS)
    draw = random.Random(os.environ.get("SEED", "0"))
    folder = tempfile.mkdtemp(prefix="retort-flags-")
    os.chdir(folder)

    def run(words):
        return subprocess.run([retort, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS)

    prepare(run)
    flags = {command: flags_of(subprocess.run([retort, command, "--help"], stdout=subprocess.PIPE, text=True).stdout) for command in only}
    ends, failures = collections.Counter(), 0
    for _ in range(count):
        shutil.rmtree("out", ignore_errors=True)
        Path("out").mkdir()
        command = draw.choice(only)
        words = command_line(draw, command, flags[command])
        try:
            done = run(words)
            status, last = done.returncode, (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
        except subprocess.TimeoutExpired:
            status, last = f"none after {SECONDS} s", ""
        ends[status] += 1
        if status not in (0, 1, 2) or (status and not re.match("retort( [a-z]+)?: .", last)):
            failures += 1
            print(f"FAILED: status {status}: {' '.join(map(repr, words))}: {last!r}", flush=True)
    shutil.rmtree(folder)
    print(", ".join(f"{number} ended with {status}" for status, number in sorted(ends.items(), key=str)))
    print("failures:", failures)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
