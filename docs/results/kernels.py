#!/usr/bin/env python3
"""Makes docs/results/kernels.md: what the CUDA kernels ask of the hardware, counted in the simulator, and times modelled from it.

    docs/results/kernels.py [--batch-size 256] [--sample 2]

Needs no GPU, and a build with the simulator and the ladder. The counts are the same on every machine and in every run; the
steps take some minutes each.
"""
import json
import pathlib
import sys
import tempfile

import pages

CHIP = "H200"
NETWORKS = {"resnet50": "ResNet-50", "inception_v3": "InceptionV3", "vgg16": "VGG16"}
# Kernels by what they are for: names begin with one of the words.
FAMILIES = {
    "convolutions and products, forward": ("conv2d_fprop", "hopper_fprop"),
    "gradients of their inputs": ("conv2d_dgrad", "hopper_dgrad"),
    "gradients of their filters": ("conv2d_wgrad", "hopper_wgrad"),
    "parts of these added": ("add_splits",),
    "batch norm forward, statistics": ("batch_norm_statistics",),
    "batch norm backward, sums": ("batch_norm_gradients",),
    "batch norm backward, the gradient": ("batch_norm_apply_gradients",),
    "batch norm forward, applied": ("batch_norm_apply",),
    "pooling": ("max_pool", "average_pool"),
    "additions, ReLU, copies": ("add", "relu", "concat", "copy", "fill", "scale", "dropout", "sum_rows"),
    "conversions, padding": ("convert", "pad_channels"),
    "loss": ("cross_entropy", "distillation", "mean_losses"),
    "optimizer": ("sgd",),
}
# Measured on an H200: bytes a second of a copy, read and written, and products of random bf16 matrices.
BYTES, FLOPS = 4.3e12, 790e12
NODE = 1.4e-6  # seconds of a node of a graph beside what its kernel does: an estimate
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


def family_of(kernel):
    for family, words in FAMILIES.items():
        if kernel["kernel"].startswith(words):
            return family
    sys.exit(f"{kernel['kernel']}: of no family; add its name to one of FAMILIES in kernels.py")


def floor_of(kernel):
    """Seconds that a launch takes at least: each distinct sector moved once, and the products."""
    sectors = kernel["unique_load_bytes"] + kernel["unique_store_bytes"]
    return max(sectors / BYTES, kernel["tensor_flops_16"] / FLOPS)


def modelled_of(kernels, chip):
    return sum(kernel["modelled"][chip]["seconds"] for kernel in kernels)


def step_of(runs, network, capability):
    """The launches of a training step, as far as they have one name and geometry together."""
    with tempfile.TemporaryDirectory() as folder:
        counted = pathlib.Path(folder) / "step.json"
        pages.output([runs.retort, "bench", "step", "--model", network, "--batch-size", str(runs.options.batch_size), "--precision", "bf16",
                      "--backend", "simt", "--sample", str(runs.options.sample), "--compute-capability", str(capability),
                      "--counters", str(counted)])
        return json.loads(counted.read_text())["kernels"]


def step_facts(runs, network):
    """The numbers of a network's step: in whole, and as FAMILY.COLUMN."""
    steps = {capability: step_of(runs, network, capability) for capability in (80, 90)}
    facts = {}
    for family in FAMILIES:
        older, now = ([kernel for kernel in steps[capability] if family_of(kernel) == family] for capability in (80, 90))
        bounds = {}
        for kernel in now:
            time = kernel["modelled"][CHIP]
            bounds[time["bound"]] = bounds.get(time["bound"], 0) + time["seconds"]
        gigabytes = sum(kernel["unique_load_bytes"] + kernel["unique_store_bytes"] for kernel in now) / 1e9
        cells = (sum(kernel["launches"] for kernel in now), f"{gigabytes:.1f}",
                 f"{sum(kernel['tensor_flops_16'] for kernel in now) / 1e12:.2f}", f"{1e3 * sum(map(floor_of, now)):.2f}",
                 f"{1e3 * modelled_of(now, CHIP):.2f}", max(bounds, key=bounds.get) if bounds else "-", f"{1e3 * modelled_of(older, CHIP):.2f}")
        facts.update({f"{family}.{i}": str(cell) for i, cell in enumerate(cells)})
    launches = {capability: sum(kernel["launches"] for kernel in kernels) for capability, kernels in steps.items()}
    times = {name: modelled_of(steps[capability], chip) + NODE * launches[capability]
             for name, capability, chip in (("H200", 90, "H200"), ("H100", 90, "H100"), ("older", 80, "H200"), ("A100", 80, "A100"))}
    facts.update({"launches": str(launches[90]), "floor": f"{1e3 * sum(map(floor_of, steps[90])):.1f}",
                  "images": f"{runs.options.batch_size / times['H200']:,.0f}", **{name: f"{1e3 * seconds:.1f}" for name, seconds in times.items()}})
    return {f"{network}.{name}": fact for name, fact in facts.items()}


def measure(runs):
    facts = {f"{step}.{i}": cell for command, steps in LADDERS.values() for step in steps
             for i, cell in enumerate(rung(runs, command, step))}
    for network in NETWORKS:
        facts.update(step_facts(runs, network))
    return {**facts, "batch": str(runs.options.batch_size), "sample": str(runs.options.sample)}


def step_parts(facts):
    def family(network, name):
        texts = (facts.words if i == 5 else facts.numbers for i in range(7))
        return [text(f"{network}.{name}.{i}") for i, text in enumerate(texts)]

    parts = ["## A training step",
             f"""Forward, loss, backward and SGD on {facts.numbers("batch")} images of random numbers in bf16, at each network's own image size. Every launch has its full size,
and the kernels are those that the table chooses there; {facts.numbers("sample")} blocks of each launch run, and their counts stand for all
([how](../simulator.md#launches-too-large-to-run)). *Floor*: each launch's distinct sectors at 4.3 TB/s or its products at 790 TFLOP/s, what an H200 was
measured to copy and to multiply, whichever takes longer, added over launches: what better kernels of the same launches could reach.
*By mma.sync*: the kernels for compute capability 8.0, which an A100 runs, on the other chips. To each launch 1.4 us are added for its node of the graph, an estimate.""",
             pages.table(["network", "launches", "floor, ms", "H200, ms", "images/s", "H100, ms", "H200 by mma.sync, ms", "A100, ms"],
                         [[label, *facts.row(network, ("launches", "floor", "H200", "images", "H100", "older", "A100"))]
                          for network, label in NETWORKS.items()]),
             """Uploads of the images are not in it, nor waits for latency, nor the issue of instructions, so the true step is longer. What issue adds can be seen from
[the instructions counted](../cuda.md), at three quarters of four a clock and multiprocessor: batch norm's apply needs a quarter of its memory's time
for them, its gradient a third, the backward sums 0.85, the statistics 1.2; main loops by mma.sync reach 590 TFLOP/s, above what L2 lets them. Before batch
norm, the epilogue, the cut of products and pooling were rewritten, a model by hand, with issue in it, gave 90 ms (62 to 110) for ResNet-50 on an H200 by
mma.sync, and 27 with all its passes at their floor. VGG16's products by mma.sync cannot take less than 62 ms
there, what L2 gives to tiles of 128 x 128.""",
             """From its second step on a device with the memory keeps batch norm's outputs for the backward pass. Where it has not, ResNet-50 normalises 32 times more a step,
3.4 GB that take 0.9 ms by this model."""]
    for network, label in NETWORKS.items():
        parts += [f"### {label} on an {CHIP}, by what kernels are for",
                  pages.table(["kernels", "launches", "GB", "TFLOP", "floor, ms", "modelled, ms", "bound by", "by mma.sync, ms"],
                              [[name, *family(network, name)] for name in FAMILIES])]
    return parts


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
among steps of as many blocks.""", *parts, *step_parts(facts)))


if __name__ == "__main__":
    pages.main(__file__, measure, page, options=(("batch-size", 256), ("sample", 2)))
