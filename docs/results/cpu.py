#!/usr/bin/env python3
"""Makes docs/results/cpu.md: Retort and PyTorch on the CPU, interleaved on one machine.

    docs/results/cpu.py [--retort build/retort] [--rounds 3] [--repeats 2]      (needs torch and torchvision)

Every round times Retort and PyTorch one after the other in fresh processes; the ratio is taken round by round, so that
a machine that speeds up or slows down meanwhile moves both. Run it on a machine that does nothing else.
"""
import json
import resource
import statistics
import sys
import time

import pages

NETWORKS = {"resnet50": 224, "vgg16": 224, "inception_v3": 299}  # and the size of their images
STEPS = [(name, mode) for name in NETWORKS for mode in ("train", "infer")]
BATCH, MEMORY_BATCH = 8, 16
LOSS_ROWS, LOSS_CLASSES = 4096, 1000
AVX2 = {"RETORT_SIMD": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


# ---- PyTorch's side, in a process of its own

def torch_step(name, size, mode, precision, batch, repeats):
    """Steps or forward passes, channels_last; bf16 by autocast. Median seconds and the process's peak memory."""
    import torch
    import torchvision
    extra = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    model = getattr(torchvision.models, name)(num_classes=1000, **extra).to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    y = torch.randint(0, 1000, (batch,))
    model.train(mode == "train")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9) if mode == "train" else None

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")

    def train():
        optimizer.zero_grad()
        with autocast():
            loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    def infer():
        with torch.inference_mode(), autocast():
            model(x)

    return measured(train if mode == "train" else infer, repeats)


def torch_loss(repeats):
    """The distillation loss and its gradient as one composes them from PyTorch's functions."""
    import torch
    import torch.nn.functional as F
    z = torch.randn(LOSS_ROWS, LOSS_CLASSES, requires_grad=True)
    v, y = torch.randn(LOSS_ROWS, LOSS_CLASSES), torch.randint(0, LOSS_CLASSES, (LOSS_ROWS,))

    def step():
        z.grad = None
        soft = F.kl_div(F.log_softmax(z / 4, 1), F.softmax(v / 4, 1), reduction="batchmean")
        (0.1 * F.cross_entropy(z, y) + 0.9 * 16 * soft).backward()

    return measured(step, repeats)


def measured(step, repeats):
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds[1:]),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def torch_main(what, *words):
    """The measurement that Bench.torch asks for, as JSON on stdout."""
    if what == "loss":
        return torch_loss(int(words[0]))
    name, size, mode, precision, batch, repeats = words
    return torch_step(name, int(size), mode, precision, int(batch), int(repeats))


# ---- one measurement of either

class Bench:
    def __init__(self, runs):
        self.program, self.options, self.machine = runs.retort, runs.options, None

    def run(self, command, environment):
        return json.loads(pages.output(command, environment).splitlines()[-1])

    def retort(self, *words, environment={}):
        report = self.run([self.program, "bench", *map(str, words), "--json", "--quiet"], environment)
        self.machine = report["machine"] if self.machine is None or not environment else self.machine
        return [{**row, "peak_gflops": report["machine"]["peak_gflops"]} for row in report["results"]]

    def torch(self, *words, environment={}):
        return self.run([sys.executable, __file__, "--torch", *map(str, words)], environment)

    def retort_step(self, name, mode, precision="fp32", batch=BATCH, repeats=None, threads=None, environment={}):
        return self.retort("step", "--backend", "cpu", "--model", name, "--image-size", NETWORKS[name], "--mode", mode,
                           "--precision", precision, "--batch-size", batch, "--repeats", repeats or self.options.repeats,
                           *(["--threads", threads] if threads else []), environment=environment)[0]

    def torch_step(self, name, mode, precision="fp32", batch=BATCH, repeats=None, environment={}):
        return self.torch("step", name, NETWORKS[name], mode, precision, batch, repeats or self.options.repeats,
                          environment=environment)


# ---- the facts of the page's tables, by row and column

def speeds(bench, group, precision="fp32", environment={}):
    """Images a second of both, and the ratio; in bf16 also the ratio to our own fp32."""
    facts = {}
    for name, mode in STEPS:
        ours, theirs, fp32, work = [], [], [], None
        for _ in range(bench.options.rounds):
            work = bench.retort_step(name, mode, precision, environment=environment)
            ours.append(work["seconds"])
            if precision == "bf16":
                fp32.append(bench.retort_step(name, mode, "fp32", environment=environment)["seconds"])
            theirs.append(bench.torch_step(name, mode, precision, environment=environment)["seconds"])
        own, row = statistics.median(ours), f"{group}.{name}.{mode}"
        facts.update({f"{row}.ours": f"{BATCH / own:.1f}", f"{row}.theirs": f"{BATCH / statistics.median(theirs):.1f}",
                      f"{row}.ratio": pages.median_ratio(ours, theirs),
                      f"{row}.gflops": f"{work['flops'] / own * 1e-9:.0f}"})
        if fp32:
            facts[f"{row}.of fp32"] = pages.median_ratio(ours, fp32)
    return facts


def memory(bench):
    facts = {}
    for name, mode in STEPS:
        own = bench.retort_step(name, mode, batch=MEMORY_BATCH, repeats=1)["peak_bytes"]["process"]
        peer = bench.torch_step(name, mode, batch=MEMORY_BATCH, repeats=1)["peak_bytes"]
        row = f"memory.{name}.{mode}"
        facts.update({f"{row}.ours": f"{own * 1e-6:.0f}", f"{row}.theirs": f"{peer * 1e-6:.0f}",
                      f"{row}.ratio": f"{own / peer:.2f}"})
    return facts


def loss(bench):
    ours, theirs, work = [], [], None
    for _ in range(bench.options.rounds):
        work = bench.retort("loss", "--backend", "cpu", "--rows", LOSS_ROWS, "--classes", LOSS_CLASSES)[0]
        ours.append(work["seconds"])
        theirs.append(bench.torch("loss", 10)["seconds"])
    return {"loss.ours": f"{1000 * statistics.median(ours):.2f}",
            "loss.theirs": f"{1000 * statistics.median(theirs):.2f}",
            "loss.ratio": pages.median_ratio(ours, theirs), "loss.gbps": f"{work['gbps']:.0f}",
            "loss.bandwidth": f"{bench.machine['bandwidth_gbps']:.0f}"}


def scaling(bench, threads):
    """The share of linear scaling that a step reaches, and that of the machine's own multiply-add peak."""
    def share(values):
        return f"{statistics.median(values):.0%} ({min(values):.0%} to {max(values):.0%})"

    facts = {}
    for name in NETWORKS:
        one, all_ = [], []
        for _ in range(bench.options.rounds):
            one.append(bench.retort_step(name, "train", threads=1))
            all_.append(bench.retort_step(name, "train", threads=threads))
        for run, seconds in (("one", one), ("all", all_)):
            facts[f"scaling.{name}.{run}"] = f"{statistics.median(step['seconds'] for step in seconds):.2f}"
        pairs = list(zip(one, all_))
        facts[f"scaling.{name}.steps"] = share([o["seconds"] / a["seconds"] / threads for o, a in pairs])
        facts[f"scaling.{name}.peaks"] = share([a["peak_gflops"] / o["peak_gflops"] / threads for o, a in pairs])
    return facts


def layers(bench, name):
    """The rows of a network's table: the program names the layers."""
    found = bench.retort("conv", "--backend", "cpu", "--net", name, "--n", BATCH, "--repeats", 3)
    return "\n".join(f"| {layer['name'].removeprefix('conv.')} | {layer['shape']} | {1000 * layer['seconds']:.2f} | "
                     f"{layer['gflops']:.0f} | {100 * layer['roofline_share']:.0f}% |" for layer in found)


def measure(runs):
    import torch
    bench = Bench(runs)

    def say(words):
        print(words, file=sys.stderr, flush=True)

    say("loss")
    facts = loss(bench)
    machine = bench.machine
    say("fp32")
    facts.update(speeds(bench, "fp32"))
    if machine["simd"] == "avx512_bf16":
        say("bf16")
        facts.update(speeds(bench, "bf16", "bf16"))
    say("memory")
    facts.update(memory(bench))
    say("threads")
    facts.update(scaling(bench, machine["threads"]))
    if machine["simd"].startswith("avx512"):
        say("avx2")
        facts.update(speeds(bench, "avx2", environment=AVX2))
    say("layers")
    facts.update({f"layers.{name}": layers(bench, name) for name in NETWORKS})
    return {**facts, "torch": torch.__version__.split("+")[0], "machine": pages.machine_line(machine),
            "rounds": str(runs.options.rounds), "repeats": str(runs.options.repeats), "threads": str(machine["threads"]),
            "peak": f"{machine['peak_gflops']:.0f}", "bandwidth": f"{machine['bandwidth_gbps']:.0f}"}


# ---- the page

SPEED_COLUMNS = {"ours": "Retort, images/s", "theirs": "PyTorch, images/s", "ratio": "speed against PyTorch",
                 "gflops": "GFLOP/s of the direct sum"}


def steps_table(facts, group, columns):
    return pages.table(["network", "mode", *columns.values()],
                       [[f"{name} at {NETWORKS[name]}", mode, *facts.row(f"{group}.{name}.{mode}", columns)]
                        for name, mode in STEPS])


def layers_table(facts, name):
    header = pages.table(["pass", "shape", "ms", "GFLOP/s", "of the roofline"], [])
    return f"<details><summary>{name}</summary>\n\n{header}\n{facts.lines(f'layers.{name}')}\n\n</details>"


def page(facts):
    threads = facts.numbers("threads")
    bf16 = ("## bf16\nPyTorch by autocast. The last column: against our own fp32, in the same rounds.",
            steps_table(facts, "bf16", {**SPEED_COLUMNS, "of fp32": "of our fp32"})) if facts.has("bf16") else ()
    avx2 = ("## Both held to AVX2", steps_table(facts, "avx2", SPEED_COLUMNS)) if facts.has("avx2") else ()
    return pages.Page(
        "Speed on the CPU",
        f""". Retort beside PyTorch {facts.numbers("torch")} (eager, channels_last, as many threads), one after the other in
{facts.numbers("rounds")} rounds of {facts.numbers("repeats")} steps after a warm-up, each in a fresh process: medians, the ratio's range over the rounds. A training
step is forward, cross-entropy, backward and SGD with momentum, at batch {BATCH}. What each change brought stands in
[its history](cpu-history.md). Where a range is wide, others had a share of the machine: a ratio compares what ran within the same
minute, the rates of different rows may come from better and worse minutes.""",
        (f"""Machine: {facts.words("machine")}; multiply-add peak {facts.numbers("peak")} GFLOP/s and copying at
{facts.numbers("bandwidth")} GB/s, as measured by `retort bench`.""",
         """## fp32
Operations are counted as the direct sum would need them; [Winograd's algorithm](../numerics.md) does with a quarter of those of a 3 x 3
convolution and three sevenths of a 1 x 7's, so that a rate may lie above the peak.""",
         steps_table(facts, "fp32", SPEED_COLUMNS), *bf16,
         f"""## Peak memory of the process, batch {MEMORY_BATCH}, fp32
PyTorch's holds Python and the libraries too, as it does for whoever uses it.""",
         steps_table(facts, "memory", {"ours": "Retort, MB", "theirs": "PyTorch, MB", "ratio": "ratio"}),
         f"## Distillation loss, forward and backward, {LOSS_ROWS} x {LOSS_CLASSES}",
         pages.table(["Retort, ms", "PyTorch, ms", "speed against PyTorch", "traffic"],
                     [[*facts.row("loss", ("ours", "theirs", "ratio")),
                       f"{facts.numbers('loss.gbps')} GB/s of {facts.numbers('loss.bandwidth')}"]]),
         f"""## From one thread to {threads}
The last column is what the machine itself gives: the multiply-add peak, which touches no memory, on as many threads in the
same rounds.""",
         pages.table(["network, training", "one thread, s", f"{threads} threads, s", "of linear scaling",
                      "the peak, of linear scaling"],
                     [[f"{name} at {size}", *facts.row(f"scaling.{name}", ("one", "all", "steps", "peaks"))]
                      for name, size in NETWORKS.items()]),
         *avx2,
         f"""## Layer by layer, batch {BATCH}
`retort bench conv --net NAME`. The roofline is the lesser of the multiply-add peak and what the bandwidth feeds, for the direct sum; above
100% is Winograd's doing or, by some percent, that of a machine which was slower while its peak was measured.""",
         *(layers_table(facts, name) for name in NETWORKS)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--torch"]:
        print(json.dumps(torch_main(*sys.argv[2:])))
    else:
        pages.main(__file__, measure, page, forms=(("bf16", "avx2"), ("avx2",), ()),
                   options=[("rounds", 3), ("repeats", 2)])
