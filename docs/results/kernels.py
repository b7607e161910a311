#!/usr/bin/env python3
"""Makes docs/results/kernels.md: what the CUDA kernels ask of the hardware, counted in the simulator, and times modelled from it.

    docs/results/kernels.py

Needs no GPU, and a build with the simulator and the ladder. The counts are the same on every machine and in every run.
"""
import json

import pages

CHIP = "H200"
LADDERS = {
    "convolution, 64 to 64 channels, 3 x 3, 28 x 28 px": ("conv --pass fprop --n 1 --c 64 --h 28 --k 64", [
        "conv2d.1_naive", "conv2d.2_tiled", "conv2d.3_registers", "conv2d.4_tensor_cores", "conv2d.5_multistage", "conv2d.6_bf16"]),
    "softmax, 256 rows of 1,000": ("softmax --rows 256 --classes 1000", [
        "softmax.1_thread_per_row", "softmax.2_block_per_row", "softmax.3_warp_per_row", "softmax.4_registers"]),
    "distillation loss, 256 rows of 1,000": ("loss --rows 256 --classes 1000", [
        "loss.1_composed", "loss.2_fused_block", "loss.3_warp_registers", "loss.4_wide_loads"]),
}
COLUMNS = ("launches", "sectors a load", "of each used", "sectors loaded", "of them distinct", "wavefronts over the least", "lanes", "modelled us", "bound")


def ratio(part, whole, digits):
    return f"{part / whole:.{digits}f}" if whole else "-"


def cells(kernels):
    """The columns but the last two, of several kernels together."""
    def total(*path):
        values = [kernel for kernel in kernels]
        for key in path:
            values = [value[key] for value in values]
        return sum(values)

    loads = ("global_load", "async_copy")
    requests, sectors, asked = (sum(total(way, key) for way in loads) for key in ("requests", "sectors", "bytes"))
    shared = ("shared_load", "shared_store", "shared_async_copy")
    wavefronts, least = (sum(total(way, key) for way in shared) for key in ("wavefronts", "least"))
    lanes = sum(kernel["active_lanes"] * kernel["launches"] for kernel in kernels) / total("launches")
    return [str(total("launches")), ratio(sectors, requests, 1), ratio(asked, 32 * sectors, 2), f"{sectors:,}",
            ratio(total("unique_load_bytes"), 32 * sectors, 2), ratio(wavefronts, least, 2), f"{lanes:.1f}"]


def modelled(result):
    time = result["modelled"][CHIP]
    return [f"{1e6 * time['seconds']:.1f}", time["bound"]]


def rung(runs, command, step):
    printed = pages.output([runs.retort, "bench", *command.split(), "--backend", f"simt:{step}", "--repeats", "1", "--counters", "--json"])
    result = json.loads(printed)["results"][0]
    return [*cells(result["counters"]["kernels"]), *modelled(result["counters"])]


def measure(runs):
    return {f"{step}.{i}": cell for command, steps in LADDERS.values() for step in steps
             for i, cell in enumerate(rung(runs, command, step))}


def page(facts):
    parts = []
    for title, (_, steps) in LADDERS.items():
        parts += [f"### {title}", pages.table(["step", *COLUMNS], [
            [f"`{step}`", *(facts.words(f"{step}.{i}") for i in range(len(COLUMNS)))] for step in steps])]
    return pages.Page(
        "What the CUDA kernels ask of the hardware",
        f""". No GPU had a part in this: accesses are counted by the
[simulator](../simulator.md), exactly; times are **modelled** from them for an {CHIP}, never measured.""",
        ("""*Sectors a load*: of 32 bytes, a request of a warp; 4 where 32 lanes read neighbouring floats, 16 where each reads 16 bytes. *Of each used*: the share of
those bytes that a lane asked for, more than 1 where several ask for the same. *Of them distinct*: what memory must give at least; the rest comes from caches.
*Wavefronts over the least*: of shared memory, 1 without bank conflicts. *Modelled*: the slowest of memory, L2, wavefronts and tensor cores; instructions
are not in it, so a kernel bound by their issue takes longer.""",
         "## The ladder",
         """The shapes are small, so that large tiles give few blocks and leave most of the chip idle: compare what the steps ask for, and modelled times
among steps of as many blocks.""", *parts))


if __name__ == "__main__":
    pages.main(__file__, measure, page)
