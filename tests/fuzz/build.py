#!/usr/bin/env python3
"""Builds fuzzers by clang, in minutes: what reads files is compiled again with instruments, by the commands of a release build, and
linked with the libraries of that build, which stay as they are.

  build.py BUILD OUT          AddressSanitizer and UndefinedBehaviorSanitizer: OUT/readers, of which READER in the environment names one
  build.py BUILD OUT memory   MemorySanitizer: OUT/memory, which decodes pictures, all but WebP: libwebp has no instruments
BUILD holds compile_commands.json, build.ninja and tests/fuzz_replay. JOBS (default: the cores) compile at a time.
"""
import argparse
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READERS = ["tests/fuzz/readers.cpp", "engine/io/*.cpp",
           *(f"engine/data/{name}.cpp" for name in ("bounded_memory", "decode", "exif", "gif", "idx", "image_check", "indexed_bmp", "jpeg_check", "packed",
                                                    "pixel_cache", "pnm", "webp")),
           *(f"engine/distill/{name}.cpp" for name in ("logit_store", "partial_logits", "stored_logits")),
           *(f"models/{name}.cpp" for name in ("bundle", "checkpoint", "model_file", "pytorch")),
           *(f"models/graph/{name}.cpp" for name in ("keras*", "network", "onnx*", "record", "spec"))]
PICTURES = [f"engine/data/{name}.cpp" for name in ("bounded_memory", "decode", "exif", "gif", "image_check", "indexed_bmp", "jpeg_check",
                                                   "pnm", "webp")]
ADDRESS = "-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"
# What the standard library builds of its own it would take for memory that nobody wrote.
MEMORY = f"-O1 -g1 -fno-omit-frame-pointer -fsanitize=memory -fsanitize-ignorelist={ROOT}/tests/fuzz/memory_ignored.txt -URETORT_HAVE_WEBP"
LAUNCHER = ["ccache"] if shutil.which("ccache") else []


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}\n{done.stderr[-4000:]}")


def compiled(entry, out, instruments):
    """Compiles a source by its command of the release build with instruments; returns the object."""
    source = Path(entry["file"]).relative_to(ROOT)
    made = out / (str(source).replace("/", "+") + (".o" if instruments == ADDRESS else ".memory.o"))
    words = shlex.split(re.sub(r"-D_FORTIFY_SOURCE=\S+|-fstack-protector\S*|-Werror\b|-O3", "", entry["command"]))
    words[words.index("-o") + 1] = str(made)
    run([*LAUNCHER, "clang++", *words[1:], *shlex.split(instruments), "-fsanitize=fuzzer-no-link"], entry["directory"])
    return str(made)


def libraries(build):
    """What tests/fuzz_replay is linked with."""
    text = (build / "build.ninja").read_text()
    rule = text[text.index("\nbuild tests/fuzz_replay:"):]
    return shlex.split(re.search(r"LINK_LIBRARIES = (.*)", rule)[1] + " " + (re.search(r"LINK_PATH = (.*)", rule) or ["", ""])[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=lambda path: Path(path).resolve())
    parser.add_argument("out", type=lambda path: Path(path).resolve())
    parser.add_argument("kind", nargs="?", choices=["memory"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    entries = {entry["file"]: entry for entry in json.loads((options.build / "compile_commands.json").read_text())}
    instruments, patterns, main_file, made = ((MEMORY, PICTURES, "memory.cpp", "memory") if options.kind else
                                              (ADDRESS, READERS, "fuzzer.cpp", "readers"))
    sources = [str(source) for pattern in patterns for source in sorted(ROOT.glob(pattern))]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        objects = list(pool.map(lambda source: compiled(entries[source], options.out, instruments), sources))
    run(["clang++", "-std=c++20", f"-I{ROOT}", *shlex.split(instruments), "-fsanitize=fuzzer", str(ROOT / "tests/fuzz" / main_file), *objects,
         *libraries(options.build), "-o", str(options.out / made)], options.build)


if __name__ == "__main__":
    main()
