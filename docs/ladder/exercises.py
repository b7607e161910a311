#!/usr/bin/env python3
"""Makes docs/ladder/exercises.md: a change to each step of the ladder, and what the simulator says of it.

    docs/ladder/exercises.py [BUILD]   makes each change in a copy, runs it, holds what is printed to the answer, and writes the page
    docs/ladder/exercises.py --check   compares the page with this script, and the changes with the sources, without running anything
    BUILD  a build with the simulator and the ladder (default: build)

A change is compiled alone, in one line, and linked in front of the build's libraries.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
LADDER = "kernels/cuda/ladder"
CONV = "conv --pass fprop --n 1 --c 16 --h 14 --k 40"
SOFTMAX, LOSS = "softmax --rows 40 --classes 100", "loss --rows 8 --classes 100"
WRONG = r"WRONG: off by [0-9.e+]+ times"


class Exercise(NamedTuple):
    step: str
    source: str  # within LADDER
    before: str  # what is in the source, once
    after: str
    task: str
    command: str  # of retort bench
    before_says: str  # a pattern in what the step prints as it is; "" where nothing is compared
    says: str  # a pattern in what the changed step prints
    answer: str


EXERCISES = [
    Exercise("conv2d.1_naive", "conv2d_1_naive.cu",
             "row = static_cast<int>(i / g.k), channel = static_cast<int>(i % g.k);",
             "row = static_cast<int>(i % g.m), channel = static_cast<int>(i / g.m);",
             "Neighbouring threads now make neighbouring pixels of one channel. What becomes of the sectors a load, and why?",
             f"{CONV} --counters", r"loads 2\.\d+ sectors a request", r"loads (1[0-9]|9)\.\d+ sectors a request",
             """Coalescing done wrong: 32 lanes read x a pixel apart, 64 bytes here, so each lane's 4 bytes come with a sector of their own; w is now the element
that all share. The result is right, and its stores lie a pixel apart, too."""),
    Exercise("conv2d.2_tiled", "conv2d_2_tiled.cu",
             "    dev::syncthreads();  // all have read it: the slice may be overwritten\\n", "",
             "Which two lines does the simulator name, and which threads can be at them at once?",
             CONV, "right", r"race",
             "A thread that has finished a slice fetches the next one into it, while another still multiplies: a write at the fetch against a read at the product."),
    Exercise("conv2d.2_tiled", "conv2d_2_tiled.cu",
             "slice.a[ty][i] * slice.b[i][tx]", "slice.a[ty][i] * slice.b[tx][i]",
             """B's slice is read along its other axis. The result is wrong; store it the other way round, too (`slice.b[tx][ty]`), and it is right. What does it cost
in wavefronts?""",
             f"{CONV} --counters", r"loads 1\.00 x the least", r"shared memory: loads ([4-9]|1\d)\.\d+ x the least",
             """Bank conflicts: rows are 16 words long, so the 16 columns that a half of a warp reads lie in two banks, eight words in each. One column of padding
(`b[kTile][kTile + 1]`) spreads them again."""),
    Exercise("conv2d.3_registers", "conv2d_3_registers.cu",
             "return thread * 4 + item / 4 * 64 + item % 4;", "return thread * 8 + item;",
             "A thread's eight rows and columns now lie side by side. Still right: where do the wavefronts come from?",
             f"{CONV} --counters", r"shared memory: loads 2\.67 x the least", r"shared memory: loads 4\.00 x the least",
             """Loads of 16 bytes are served eight lanes at a time. 32 bytes apart, eight lanes of B's reach every other four banks, twice: eight wavefronts a load in
place of four. (A's lanes share two places, which the least counts as one wavefront and eight lanes at a time as four: hence 2.67 before.)"""),
    Exercise("conv2d.4_tensor_cores", "conv2d_4_tensor_cores.cu",
             "slice.b[k + within + r * 4][warp_n + j * 8 + quad]", "slice.b[k + within * 2 + r][warp_n + j * 8 + quad]",
             "The lanes load the same eight depths of B in another order, the one in which they hold their columns of C. Does the order matter?",
             CONV, "right", WRONG,
             "A and B have to agree on which depth a lane holds: A's lanes still hold depths `within` and `within + 4`, so products of different depths are added."),
    Exercise("softmax.1_thread_per_row", "softmax_1_thread_per_row.cu", "(rows.rows + 127) / 128", "rows.rows / 128",
             "The grid now rounds down. Which rows are wrong at 200, and what do they hold? What does the simulator say at 40?",
             "softmax --rows 200 --classes 100", "right", "WRONG",
             """Rows 128 to 199 have no thread, and hold what fresh memory holds here: NaN. A GPU would leave what was there before, perhaps the right result of the call before. At 40 rows
the grid has no blocks, which no GPU launches."""),
    Exercise("softmax.2_block_per_row", "softmax_2_block_per_row.cu",
             "  dev::syncthreads();  // all have read it: the next tree may begin\\n", "",
             "One barrier fewer a tree. Why is it needed, if every tree begins with one?",
             SOFTMAX, "right", r"race",
             "The barrier of the next tree comes after its first write: a fast thread stores its sum over the maximum that a slow one has still to read."),
    Exercise("softmax.3_warp_per_row", "softmax_3_warp_per_row.cu",
             "  if (row >= rows) return;\\n", "  if (row >= rows || lane >= classes % kWarp) return;\\n",
             "Lanes without an element of the row's last part leave early, for what should they wait for? What do the others say?",
             SOFTMAX, "right", r"(returned|lane|mask)",
             "A shuffle of all lanes waits for all: who has left cannot give its part, which on a GPU is undefined and here an error that names the lanes."),
    Exercise("loss.1_composed", "loss_1_composed.cu",
             "terms.soft_loss_scale() * block_reduce<kThreads>(cross, Sum{}, scratch);", "terms.soft_loss_scale() * cross;",
             "The soft loss is no longer added up over the block. Is it too large or too small, and is the gradient right?",
             LOSS, "right", WRONG,
             """Thread 0 writes its own share: of 100 classes the one that it adds. The gradient comes from another kernel and is right: a training that looks well while the loss
it prints is not."""),
    Exercise("loss.2_fused_block", "loss_2_fused_block.cu",
             "  if (first == 0) losses[row] = loss;\\n", "  losses[row] = loss;\\n",
             "All threads of a block now store the row's loss. Is it wrong? What do the counters say?",
             f"{LOSS} --counters", r"loss_2_fused_block", r" right",
             """All store the same, so the result is right and no rule is broken, as races on global memory are not looked for. But each of the eight warps makes a request of
its own for what one lane could write."""),
    Exercise("loss.3_warp_registers", "loss_3_warp_registers.cu", "  top_z = max(top_z);\\n", "",
             "A lane now keeps the maximum of its own logits. Softmax does not depend on what is subtracted: is the loss still right?",
             LOSS, "right", WRONG,
             "It does not where all subtract the same. Here each lane's exponentials are over a maximum of its own, and their sums are added as if over one."),
]


def changed(exercise):
    """The source with the change."""
    path = ROOT / LADDER / exercise.source
    text, before = path.read_text(), exercise.before.replace("\\n", "\n")
    if text.count(before) != 1:
        sys.exit(f"{path}: '{exercise.before}' stands there {text.count(before)} times; change exercises.py with it")
    return text.replace(before, exercise.after.replace("\\n", "\n"))


def compiled(exercise, build, folder):
    """The program with the changed step in it."""
    source, program = folder / exercise.source, folder / "retort"
    source.write_text(changed(exercise))
    libraries = [str(build / part / f"libretort_{part}.a") for part in ("tools", "models", "engine", "kernels")]
    link = subprocess.run(["ninja", "-C", build, "-t", "commands", "retort"], stdout=subprocess.PIPE, text=True, check=True).stdout
    others = [word for word in link.splitlines()[-1].split(" && ")[1].split() if re.match(r"/.*\.(a|so)$|-l|-L|-Wl,-rpath", word)]
    subprocess.run(["g++", "-std=c++20", "-O1", "-DNDEBUG", "-g1", "-fsanitize=thread", "-fno-threadsafe-statics", "-Wno-unknown-pragmas", "-I", ROOT,
                    "-x", "c++", "-c", source, "-o", folder / "step.o"], check=True)
    subprocess.run(["g++", build / "tools/CMakeFiles/retort.dir/main.cpp.o", folder / "step.o", "-Wl,--start-group", *libraries, "-Wl,--end-group",
                    *others, "-o", program], check=True)
    return program


def says(program, exercise):
    done = subprocess.run([program, "bench", *exercise.command.split(), "--backend", f"simt:{exercise.step}", "--repeats", "1"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def run(exercise, build):
    """Ends this program where the simulator says something else than the answer."""
    print(f"{exercise.step}: {exercise.before.strip()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for program, pattern in ((build / "retort", exercise.before_says), (compiled(exercise, build, pathlib.Path(folder)), exercise.says)):
            said = says(program, exercise)
            if not re.search(pattern, said):
                sys.exit(f"{exercise.step}: '{pattern}' is not in what {program} says:\n{said}")


def page():
    parts = ["# Exercises", """Made by `docs/ladder/exercises.py`, which also makes each change, runs it in the [simulator](../simulator.md) and holds what is said to the answer. Change the
line in [kernels/cuda/ladder](../../kernels/cuda/ladder), build, and run `build/retort bench` with what stands below the change; the answers are at the end."""]
    for number, exercise in enumerate(EXERCISES, 1):
        after = exercise.after.strip().replace("\\n", "")
        parts += [f"## {number}. `{exercise.step}`",
                  f"In `{exercise.source}`, " + (f"replace\n```\n{exercise.before.strip()}\n```\nby\n```\n{after}\n```" if after else
                                               f"leave out\n```\n{exercise.before.strip()}\n```").replace("\\n", ""),
                  f"`{exercise.command} --backend simt:{exercise.step} --repeats 1`", exercise.task]
    parts += ["## Answers", *(f"**{number}.** {exercise.answer}" for number, exercise in enumerate(EXERCISES, 1))]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", metavar="BUILD", nargs="?", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--check", action="store_true", help="compares, and runs nothing")
    given = parser.parse_args()
    path = ROOT / "docs/ladder/exercises.md"
    for exercise in EXERCISES:
        changed(exercise)
    if given.check:
        sys.exit(None if path.read_text() == page() else f"{path}: is not what exercises.py makes; run that")
    for exercise in EXERCISES:
        run(exercise, given.build.resolve())
    path.write_text(page())
