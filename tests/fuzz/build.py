#!/usr/bin/env python3
"""Builds fuzzers by clang, in minutes: what reads files is compiled again with instruments, by the commands of a release build, and
linked with the libraries of that build, which stay as they are.

  build.py BUILD OUT                     AddressSanitizer and UndefinedBehaviorSanitizer: OUT/readers, of which READER names one
  build.py --memory BUILD OUT            MemorySanitizer, of the pictures alone: OUT/pictures
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
PICTURES = ["engine/data/" + name for name in ("bounded_memory.cpp", "decode.cpp", "exif.cpp", "image_check.cpp", "indexed_bmp.cpp",
                                               "jpeg_check.cpp", "pnm.cpp", "webp.cpp")]
READERS = ["tests/fuzz/readers.cpp", "engine/io/*.cpp", *PICTURES, "engine/data/idx.cpp", "engine/data/packed.cpp",
           "engine/data/pixel_cache.cpp", "engine/distill/logit_store.cpp", "engine/distill/partial_logits.cpp",
           "engine/distill/stored_logits.cpp", "models/bundle.cpp", "models/checkpoint.cpp", "models/model_file.cpp", "models/pytorch.cpp",
           "models/graph/keras*.cpp", "models/graph/onnx*.cpp", "models/graph/network.cpp", "models/graph/record.cpp",
           "models/graph/spec.cpp"]
COMMON = "-O1 -g1 -fno-omit-frame-pointer"
ADDRESS = f"{COMMON} -fsanitize=address,undefined -fno-sanitize-recover=undefined"
# Without libwebp, and with the templates that C++'s library would bring compiled.
MEMORY = f"{COMMON} -fsanitize=memory -URETORT_HAVE_WEBP -D_GLIBCXX_EXTERN_TEMPLATE=0"
LAUNCHER = ["ccache"] if shutil.which("ccache") else []


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}\n{done.stderr[-4000:]}")


def compiled(entry, out, flags):
    """Compiles a source by its command of the release build with other flags; returns the object."""
    source = Path(entry["file"]).relative_to(ROOT)
    made = out / (str(source).replace("/", "+") + ".o")
    words = shlex.split(re.sub(r"-D_FORTIFY_SOURCE=\S+|-fstack-protector\S*|-Werror\b|-O3", "", entry["command"]))
    words[words.index("-o") + 1] = str(made)
    run([*LAUNCHER, "clang++", *words[1:], *shlex.split(flags), "-fsanitize=fuzzer-no-link"], entry["directory"])
    return str(made)


def libraries(build):
    """What tests/fuzz_replay is linked with."""
    text = (build / "build.ninja").read_text()
    rule = text[text.index("\nbuild tests/fuzz_replay:"):]
    return shlex.split(re.search(r"LINK_LIBRARIES = (.*)", rule)[1] + " " + (re.search(r"LINK_PATH = (.*)", rule) or ["", ""])[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("build", type=lambda path: Path(path).resolve())
    parser.add_argument("out", type=lambda path: Path(path).resolve())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    entries = {entry["file"]: entry for entry in json.loads((options.build / "compile_commands.json").read_text())}
    patterns, flags = ([*PICTURES, "tests/fuzz/memory.cpp"], MEMORY) if options.memory else (READERS, ADDRESS)
    sources = [str(source) for pattern in patterns for source in sorted(ROOT.glob(pattern))]
    like = entries[str(ROOT / "tests/fuzz/readers.cpp")]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        objects = list(pool.map(lambda source: compiled(entries.get(source) or {**like, "file": source, "command": like["command"].replace(
            like["file"], source)}, options.out, flags), sources))
    entry = [] if options.memory else [str(ROOT / "tests/fuzz/fuzzer.cpp")]
    run(["clang++", "-std=c++20", f"-I{ROOT}", *shlex.split(flags), "-fsanitize=fuzzer", *entry, *objects, *libraries(options.build), "-o",
         str(options.out / ("pictures" if options.memory else "readers"))], options.build)


if __name__ == "__main__":
    main()
