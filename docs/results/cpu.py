#!/usr/bin/env python3
"""Generates docs/results/cpu.md: Retort and PyTorch on the CPU, interleaved on one machine.

Usage: docs/results/cpu.py [--retort build/retort] [--rounds 3] [--repeats 2]      (needs torch and torchvision)

Every round times Retort and PyTorch one after the other in fresh processes; the ratio is taken round by round, so that
a machine that speeds up or slows down meanwhile moves both. Run it on a machine that does nothing else.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

NETWORKS = [("resnet50", 224), ("vgg16", 224), ("inception_v3", 299)]
BATCH, MEMORY_BATCH = 8, 16
ROOT = pathlib.Path(__file__).resolve().parents[2]
LOSS_ROWS, LOSS_CLASSES = 4096, 1000


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


# ---- one measurement of either

class Bench:
    def __init__(self, options):
        self.options, self.machine = options, None

    def run(self, command, environment):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
        return json.loads(done.stdout.splitlines()[-1])

    def retort(self, *words, environment={}):
        report = self.run([self.options.retort, "bench", *map(str, words), "--json", "--quiet"], environment)
        self.machine = report["machine"] if self.machine is None or not environment else self.machine
        return [{**row, "peak_gflops": report["machine"]["peak_gflops"]} for row in report["results"]]

    def torch(self, *words, environment={}):
        return self.run([sys.executable, __file__, "--torch", *map(str, words)], environment)

    def retort_step(self, name, size, mode, precision="fp32", batch=BATCH, repeats=None, threads=None, environment={}):
        return self.retort("step", "--backend", "cpu", "--model", name, "--image-size", size, "--mode", mode, "--precision",
                           precision, "--batch-size", batch, "--repeats", repeats or self.options.repeats,
                           *(["--threads", threads] if threads else []), environment=environment)[0]

    def torch_step(self, name, size, mode, precision="fp32", batch=BATCH, repeats=None, environment={}):
        return self.torch("step", name, size, mode, precision, batch, repeats or self.options.repeats,
                          environment=environment)


def ratio_text(ours, theirs):
    """How many times as fast: the median over the rounds, and the range."""
    ratios = sorted(t / o for o, t in zip(ours, theirs))
    return f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def speed_rows(bench, precision, environment={}):
    """A row a network and mode: images a second of both, and the ratio; in bf16 also the ratio to our own fp32."""
    rows = []
    for name, size in NETWORKS:
        for mode in ("train", "infer"):
            ours, theirs, fp32, work = [], [], [], None
            for _ in range(bench.options.rounds):
                work = bench.retort_step(name, size, mode, precision, environment=environment)
                ours.append(work["seconds"])
                if precision == "bf16":
                    fp32.append(bench.retort_step(name, size, mode, "fp32", environment=environment)["seconds"])
                theirs.append(bench.torch_step(name, size, mode, precision, environment=environment)["seconds"])
            own, peer = statistics.median(ours), statistics.median(theirs)
            row = (f"| {name} at {size} | {mode} | {BATCH / own:.1f} | {BATCH / peer:.1f} | {ratio_text(ours, theirs)} | "
                   f"{work['flops'] / own * 1e-9:.0f} |")
            rows.append(f"{row} {ratio_text(ours, fp32)} |" if fp32 else row)
    return rows


def memory_rows(bench):
    rows = []
    for name, size in NETWORKS:
        for mode in ("train", "infer"):
            own = bench.retort_step(name, size, mode, batch=MEMORY_BATCH, repeats=1)["peak_bytes"]["process"]
            peer = bench.torch_step(name, size, mode, batch=MEMORY_BATCH, repeats=1)["peak_bytes"]
            rows.append(f"| {name} at {size} | {mode} | {own * 1e-6:.0f} | {peer * 1e-6:.0f} | {own / peer:.2f} |")
    return rows


def loss_row(bench):
    ours, theirs, work = [], [], None
    for _ in range(bench.options.rounds):
        work = bench.retort("loss", "--backend", "cpu", "--rows", LOSS_ROWS, "--classes", LOSS_CLASSES)[0]
        ours.append(work["seconds"])
        theirs.append(bench.torch("loss", 10)["seconds"])
    return (f"| {1000 * statistics.median(ours):.2f} | {1000 * statistics.median(theirs):.2f} | {ratio_text(ours, theirs)} | "
            f"{work['gbps']:.0f} GB/s of {bench.machine['bandwidth_gbps']:.0f} |")


def scaling_rows(bench, threads):
    """A row a network: the share of linear scaling that a step reaches, and that of the machine's own multiply-add peak."""
    rows = []
    for name, size in NETWORKS:
        one, all_ = [], []
        for _ in range(bench.options.rounds):
            one.append(bench.retort_step(name, size, "train", threads=1))
            all_.append(bench.retort_step(name, size, "train", threads=threads))
        steps = [o["seconds"] / a["seconds"] / threads for o, a in zip(one, all_)]
        peaks = [a["peak_gflops"] / o["peak_gflops"] / threads for o, a in zip(one, all_)]
        share = lambda values: f"{statistics.median(values):.0%} ({min(values):.0%} to {max(values):.0%})"
        seconds = lambda runs: f"{statistics.median(run['seconds'] for run in runs):.2f}"
        rows.append(f"| {name} at {size} | {seconds(one)} | {seconds(all_)} | {share(steps)} | {share(peaks)} |")
    return rows


def layer_rows(bench, name):
    rows = []
    for layer in bench.retort("conv", "--backend", "cpu", "--net", name, "--n", BATCH, "--repeats", 3):
        rows.append(f"| {layer['name'].removeprefix('conv.')} | {layer['shape']} | {1000 * layer['seconds']:.2f} | "
                    f"{layer['gflops']:.0f} | {100 * layer['roofline_share']:.0f}% |")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retort", default="build/retort")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--torch", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        what, *words = options.torch
        result = torch_loss(int(words[0])) if what == "loss" else torch_step(
            words[0], int(words[1]), words[2], words[3], int(words[4]), int(words[5]))
        print(json.dumps(result))
        return

    import torch
    bench = Bench(options)
    say = lambda words: print(words, file=sys.stderr, flush=True)
    say("loss")
    loss = loss_row(bench)
    machine = bench.machine
    say("fp32")
    fp32 = speed_rows(bench, "fp32")
    bf16 = []
    if machine["simd"] == "avx512_bf16":
        say("bf16")
        bf16 = speed_rows(bench, "bf16")
    say("memory")
    memory = memory_rows(bench)
    say("threads")
    scaling = scaling_rows(bench, machine["threads"])
    avx2 = []
    if machine["simd"].startswith("avx512"):
        say("avx2")
        avx2 = speed_rows(bench, "fp32", {"RETORT_SIMD": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"})
    say("layers")
    layers = {name: layer_rows(bench, name) for name, _ in NETWORKS}

    steps = "| network | mode | Retort, images/s | PyTorch, images/s | speed against PyTorch | GFLOP/s of the direct sum |"
    lines = [f"""# Speed on the CPU

Generated by `docs/results/cpu.py`. Retort beside PyTorch {torch.__version__.split("+")[0]} (eager, channels_last, as many threads), one after the other in
{options.rounds} rounds of {options.repeats} steps after a warm-up, each in a fresh process: medians, the ratio's range over the rounds. A training
step is forward, cross-entropy, backward and SGD with momentum, at batch {BATCH}. What each change brought stands in
[its history](cpu-history.md). Where a range is wide, others had a share of the machine: a ratio compares what ran within the same
minute, the rates of different rows may come from better and worse minutes.

Machine: {machine["cpu"]}, {machine["threads"]} threads, {machine["simd"]}; multiply-add peak {machine["peak_gflops"]:.0f} GFLOP/s and copying at
{machine["bandwidth_gbps"]:.0f} GB/s, as measured by `retort bench`.

## fp32
Operations are counted as the direct sum would need them; [Winograd's algorithm](../numerics.md) does with a quarter of those of a 3 x 3
convolution and three sevenths of a 1 x 7's, so that a rate may lie above the peak.

{steps}
|---|---|---|---|---|---|""", *fp32]
    if bf16:
        lines += ["\n## bf16\nPyTorch by autocast. The last column: against our own fp32, in the same rounds.\n", f"{steps} of our fp32 |",
                  "|---|---|---|---|---|---|---|", *bf16]
    lines += [f"""
## Peak memory of the process, batch {MEMORY_BATCH}, fp32
PyTorch's holds Python and the libraries too, as it does for whoever uses it.

| network | mode | Retort, MB | PyTorch, MB | ratio |
|---|---|---|---|---|""", *memory, f"""
## Distillation loss, forward and backward, {LOSS_ROWS} x {LOSS_CLASSES}

| Retort, ms | PyTorch, ms | speed against PyTorch | traffic |
|---|---|---|---|""", loss, f"""
## From one thread to {machine["threads"]}
The last column is what the machine itself gives: the multiply-add peak, which touches no memory, on as many threads in the
same rounds.

| network, training | one thread, s | {machine["threads"]} threads, s | of linear scaling | the peak, of linear scaling |
|---|---|---|---|---|""", *scaling]
    if avx2:
        lines += ["\n## Both held to AVX2\n", steps, "|---|---|---|---|---|---|", *avx2]
    lines += [f"""
## Layer by layer, batch {BATCH}
`retort bench conv --net NAME`. The roofline is the lesser of the multiply-add peak and what the bandwidth feeds, for the direct sum; above
100% is Winograd's doing or, by some percent, that of a machine which was slower while its peak was measured.
"""]
    for name, rows in layers.items():
        lines += [f"<details><summary>{name}</summary>\n", "| pass | shape | ms | GFLOP/s | of the roofline |", "|---|---|---|---|---|",
                  *rows, "\n</details>\n"]
    (ROOT / "docs/results/cpu.md").write_text("\n".join(lines).rstrip() + "\n")
    print("docs/results/cpu.md")


if __name__ == "__main__":
    main()
