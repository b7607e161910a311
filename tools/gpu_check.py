#!/usr/bin/env python3
"""Measures Retort on a GPU beside cuBLAS, cuDNN and PyTorch, and writes the report; tools/gpu_check.sh runs it.

    gpu_check.py --retort build/retort --seconds 240 --out DIR    # measures, into DIR/measured.json
    gpu_check.py --report --out DIR                               # writes DIR/report.md and DIR/report.json

Retort and the libraries take turns within one run of `retort bench`; PyTorch (eager and compiled, channels_last, bf16
by autocast, cuDNN's autotuning on) follows at once on the same shapes, and in whole steps takes turns with Retort. A
ratio is their time by ours: above 1 we are faster.
"""

import argparse
import functools
import json
import math
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

NETWORKS = {"resnet50": 256, "inception_v3": 256, "vgg16": 128}  # batch of a step
CONV_BATCH = 64
PASSES = ("fprop", "dgrad", "wgrad")
GEMMS = ((8192, 8192, 8192), (4096, 4096, 4096), (256, 1000, 2048), (256, 4096, 25088))
ROWS = (65536, 1000)
SOFT_LOSSES = ("mse", "dkd", "nkd", "dist", "ttm", "wttm")
COLD_BYTES = 128e6  # buffers rotate over more than twice the L2 cache


class Clock:
    """The time that is left; what no longer fits is skipped, and said."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds
        self.skipped = []

    def left(self):
        return self.end - time.monotonic()

    def allows(self, what, seconds):
        if self.left() >= seconds:
            return True
        self.skipped.append(f"{what}: no time left")
        return False


def bench(retort, clock, what, arguments, most_seconds):
    """The results of one `retort bench`, without the peer where the peer fails; or none. clock.skipped says why."""
    name = f"bench {what} {' '.join(arguments)}"
    if not clock.allows(name, 5):
        return [], {}
    command = [retort, "bench", what, *arguments, "--json", "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=min(most_seconds, clock.left()))
        failure = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        failure = "not finished in its time"
    if failure:
        clock.skipped.append(f"{name}: {failure}")
        peers = [i for i, word in enumerate(arguments) if word in ("cublas", "cudnn")]
        if not peers:
            return [], {}
        alone = arguments[:peers[0] - 1] + arguments[peers[0] + 1:]
        return bench(retort, clock, what, alone, most_seconds)
    report = json.loads(done.stdout)
    return report["results"], report["machine"]


def backends(peer, has):
    return ["--backend", "cuda"] + (["--backend", peer] if has else [])


def usable(retort, what, peer):
    """Whether the library can be opened: asked of the program, on the smallest shape."""
    small = {"gemm": ["--m", "8", "--n", "8", "--k", "8"], "conv": ["--n", "1", "--h", "8", "--pass", "fprop"]}[what]
    command = [retort, "bench", what, *small, "--precision", "bf16", "--backend", peer, "--repeats", "1", "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return False, "not opened within 20 s"
    return done.returncode == 0, done.stderr.strip()


# ---- PyTorch


def pair(words):
    """"2" or "3x1", rows x columns, as two numbers."""
    parts = [int(word) for word in words.split("x")]
    return parts if len(parts) == 2 else 2 * parts


def soft_loss(torch, name, z, v, labels, t):
    """The soft term of kernels/loss.h as PyTorch composes it: logits z and v [n, classes], temperature t."""
    functional = torch.nn.functional
    softened = lambda logits: functional.log_softmax(logits / t, -1)
    kl = lambda log_a, log_b: functional.kl_div(log_b, log_a, log_target=True, reduction="none").sum(-1)
    if name == "kd":
        return t * t * kl(softened(v), softened(z)).mean()
    if name == "mse":
        return functional.mse_loss(z, v) / 2
    if name in ("ttm", "wttm"):
        rows = kl(softened(v), functional.log_softmax(z, -1))
        return (rows * functional.softmax(v, -1).pow(1 / t).sum(-1) if name == "wttm" else rows).mean()
    if name == "dist":
        def correlation(a, b, axis):
            a, b = a - a.mean(axis, keepdim=True), b - b.mean(axis, keepdim=True)
            norm = ((a * a).sum(axis) + 1e-8) * ((b * b).sum(axis) + 1e-8)
            return ((a * b).sum(axis) / norm.sqrt()).mean()

        p, q = softened(v).exp(), softened(z).exp()
        return 2 - correlation(p, q, 1) - correlation(p, q, 0)
    # dkd, nkd: the label's class is taken out by a logit that no other comes near.
    column = labels[:, None]
    out = torch.zeros_like(z).scatter(1, column, -1e4)
    others_q, others_p = functional.log_softmax(z / t + out, -1), functional.log_softmax(v / t + out, -1)
    if name == "nkd":
        sure = functional.softmax(v, -1).gather(1, column)
        target = -(sure * functional.log_softmax(z, -1).gather(1, column)).mean()
        return target - 1.5 * t * t * (others_p.exp() * others_q * (out == 0)).sum(-1).mean()
    two = lambda log: torch.cat([log.gather(1, column), (log + out).logsumexp(-1, keepdim=True)], 1)
    return t * t * (kl(two(softened(v)), two(softened(z))) + 8 * (kl(others_p, others_q))).mean()


class Torch:
    def __init__(self):
        import torch

        self.torch = torch
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

    def seconds(self, calls, repeats=5):
        """Median seconds of one call; `calls` take turns on buffers of their own."""
        torch = self.torch
        for call in calls[:3]:
            call()
        torch.cuda.synchronize()
        samples, rounds = [], max(1, math.ceil(20 / len(calls)))
        for _ in range(repeats):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(rounds):
                for call in calls:
                    call()
            end.record()
            end.synchronize()
            samples.append(start.elapsed_time(end) / 1e3 / (rounds * len(calls)))
        return statistics.median(samples)

    def rotation(self, bytes_each, make):
        return [make() for _ in range(max(1, min(64, math.ceil(COLD_BYTES / bytes_each))))]

    def dtype(self, precision):
        return self.torch.bfloat16 if precision == "bf16" else self.torch.float32

    def random(self, *shape, dtype, image=False):
        x = self.torch.randn(*shape, device="cuda", dtype=dtype)
        return x.contiguous(memory_format=self.torch.channels_last) if image else x

    def conv(self, result):
        torch = self.torch
        fields = dict(re.findall(r"([a-z]+)(\d+(?:x\d+)?)", result["shape"]))
        n, c, h, w, k, r, s = (int(fields[key]) for key in "nchwkrs")
        stride, padding = pair(fields["stride"]), pair(fields["pad"])
        size = lambda extent, filter_extent, i: (extent + 2 * padding[i] - filter_extent) // stride[i] + 1
        dtype = self.dtype(result["precision"])
        which = result["name"].split(".")[1]

        def make():
            x = self.random(n, c, h, w, dtype=dtype, image=True)
            f = self.random(k, c, r, s, dtype=dtype, image=True)
            y = self.random(n, k, size(h, r, 0), size(w, s, 1), dtype=dtype, image=True)
            if which == "fprop":
                return lambda: torch.nn.functional.conv2d(x, f, stride=stride, padding=padding)
            mask = [which == "dgrad", which == "wgrad", False]
            return lambda: torch.ops.aten.convolution_backward(
                y, x, f, None, stride, padding, (1, 1), False, (0, 0), 1, mask)

        return self.seconds(self.rotation(result["bytes"], make))

    def gemm(self, result):
        m, n, k = (int(part) for part in re.findall(r"\d+", result["shape"]))
        dtype = self.dtype(result["precision"])

        def make():
            a, b = self.random(m, k, dtype=dtype), self.random(k, n, dtype=dtype)
            return lambda: a @ b

        return self.seconds(self.rotation(result["bytes"], make))

    def rows(self, result, compiled):
        """Softmax, cross-entropy and the distillation loss, with their gradients, as PyTorch composes them."""
        torch = self.torch
        functional = torch.nn.functional
        rows, classes = (int(part) for part in re.findall(r"\d+", result["shape"]))
        dtype = self.dtype(result["precision"])
        labels = torch.arange(rows, device="cuda") % classes

        def distillation(name):
            def loss(z, v):
                z, v = z.float(), v.float()
                return 0.1 * functional.cross_entropy(z, labels) + 0.9 * soft_loss(torch, name, z, v, labels, 4)

            return with_gradient(loss)

        def with_gradient(loss):
            loss = torch.compile(loss) if compiled else loss

            def make():
                z, v = self.random(rows, classes, dtype=dtype), self.random(rows, classes, dtype=dtype)
                z.requires_grad_()
                return lambda: torch.autograd.grad(loss(z, v), z)

            return make

        def forward():
            x = self.random(rows, classes, dtype=dtype)
            return lambda: softmax(x)

        def backward():
            dy, y = self.random(rows, classes, dtype=dtype), torch.softmax(self.random(rows, classes, dtype=dtype), -1)
            return lambda: gradient(dy, y)

        softmax = lambda x: torch.softmax(x, -1)
        gradient = lambda dy, y: torch.ops.aten._softmax_backward_data(dy, y, -1, dtype)
        if compiled:
            softmax, gradient = torch.compile(softmax), torch.compile(gradient)
        makes = {"loss.distillation": distillation("kd"),
                 "loss.cross_entropy": with_gradient(lambda z, v: functional.cross_entropy(z.float(), labels)),
                 "softmax.forward": forward, "softmax.backward": backward,
                 **{f"loss.{name}": distillation(name) for name in SOFT_LOSSES}}
        return self.seconds(self.rotation(result["bytes"], makes[result["name"]]))

    def step(self, name, batch):
        """Seconds of a training step, as a function that measures; built once, so that rounds can take turns."""
        import torchvision

        torch = self.torch
        size = 299 if name == "inception_v3" else 224
        options = {"aux_logits": False, "init_weights": True} if name == "inception_v3" else {}
        model = getattr(torchvision.models, name)(weights=None, **options).cuda()
        model = model.to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, fused=True)
        x = self.random(batch, 3, size, size, dtype=torch.float32, image=True)
        labels = torch.arange(batch, device="cuda") % 1000

        def measure(forward):
            def call():
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast("cuda", torch.bfloat16):
                    loss = torch.nn.functional.cross_entropy(forward(x), labels)
                loss.backward()
                optimizer.step()

            return self.seconds([call], repeats=2)

        return {"pytorch": functools.partial(measure, model),
                "pytorch_compiled": functools.partial(measure, torch.compile(model))}


# ---- Measuring


def add_peer(result, backend, seconds):
    return {**{key: result[key] for key in ("name", "precision", "shape", "flops", "bytes")}, "backend": backend,
            "seconds": seconds}


def attempt(clock, what, measure):
    """What `measure` gives, or None, with a line in clock.skipped: a peer that fails must not end the run."""
    try:
        return measure()
    except Exception as error:
        clock.skipped.append(f"{what}: {type(error).__name__}: {str(error).partition(chr(10))[0][:150]}")
        return None


def with_pytorch(torch, clock, results, measure, backend):
    """PyTorch's results beside each of ours."""
    peers = []
    for result in (result for result in results if result["backend"] == "cuda"):
        what = f"{backend} {result['name']} {result['shape']}"
        seconds = attempt(clock, what, lambda: measure(result)) if clock.allows(what, 3) else None
        if seconds:
            peers.append(add_peer(result, backend, seconds))
    torch.torch.cuda.empty_cache()
    return peers


def measure_steps(retort, torch, clock, name, batch, cudnn):
    arguments = ["--model", name, "--batch-size", str(batch), "--precision", "bf16", *backends("cudnn", cudnn),
                 "--repeats", "3"]
    rounds = {}
    variants = attempt(clock, f"pytorch {name}", lambda: torch.step(name, batch)) if torch else None
    results = []
    for _ in range(2):  # Retort, PyTorch, Retort, PyTorch
        again, _ = bench(retort, clock, "step", arguments, 60)
        for result in again:
            rounds.setdefault(result["backend"], []).append(result["seconds"])
        results = again or results
        for backend, measure in (variants or {}).items():
            what = f"{backend} step {name}"
            if clock.allows(what, 40 if backend == "pytorch_compiled" and backend not in rounds else 5):
                seconds = attempt(clock, what, measure)
                if seconds:
                    rounds.setdefault(backend, []).append(seconds)
    for result in results:
        result["seconds"] = statistics.median(rounds[result["backend"]])
        result["images_per_second"] = batch / result["seconds"]
    if results:
        for backend in set(rounds) - {result["backend"] for result in results}:
            seconds = statistics.median(rounds[backend])
            results.append({**add_peer(results[0], backend, seconds), "images_per_second": batch / seconds})
    if torch:
        torch.torch.cuda.empty_cache()
    return results


def measure_all(options):
    clock = Clock(options.seconds)
    retort = options.retort
    cudnn, why_not_cudnn = usable(retort, "conv", "cudnn")
    cublas, why_not_cublas = usable(retort, "gemm", "cublas")
    torch = attempt(clock, "pytorch", Torch)
    clock.skipped += [why for why in (why_not_cudnn, why_not_cublas) if why]
    results, machine = [], {}

    def run(what, arguments, most, peers):
        found, about = bench(retort, clock, what, arguments, most)
        machine.update({key: value for key, value in about.items() if key != "device_peak_gflops"})
        machine.setdefault("device_peak_gflops", {}).update(about.get("device_peak_gflops", {}))
        results.extend(found)
        for backend, measure in (peers if torch else {}).items():
            results.extend(with_pytorch(torch, clock, found, measure, backend))
        save()

    def save():
        measured = {"results": results, "machine": machine, "skipped": clock.skipped, "pytorch": torch and
                    torch.torch.__version__, "conv_batch": CONV_BATCH}
        (options.out / "measured.json").write_text(json.dumps(measured, indent=1))

    rows = ["--rows", str(ROWS[0]), "--classes", str(ROWS[1]), "--precision", "bf16"]
    compositions = {"pytorch": lambda r: torch.rows(r, False), "pytorch_compiled": lambda r: torch.rows(r, True)}
    run("loss", [*rows, "--backend", "cuda"], 20, compositions)
    run("softmax", [*rows, *backends("cudnn", cudnn)], 20, compositions)
    for name in SOFT_LOSSES:  # in f32, as training takes them
        run("loss", ["--rows", str(ROWS[0]), "--classes", str(ROWS[1]), "--loss", name, "--backend", "cuda"], 10,
            {"pytorch": lambda r: torch.rows(r, False)})
    for m, n, k in GEMMS:
        shape = ["--m", str(m), "--n", str(n), "--k", str(k)]
        run("gemm", [*shape, "--precision", "bf16", *backends("cublas", cublas)], 20,
            {"pytorch": lambda r: torch.gemm(r)})
    for precision in ("bf16", "tf32"):
        for name, batch in NETWORKS.items():
            if precision == "bf16":
                results.extend(measure_steps(retort, torch, clock, name, batch, cudnn))
                save()
            for which in PASSES:
                run("conv", ["--net", name, "--pass", which, "--n", str(CONV_BATCH), "--precision", precision,
                             *backends("cudnn", cudnn), "--repeats", "5"], 40,
                    {"pytorch": lambda r: torch.conv(r)} if precision == "bf16" else {})
    save()


# ---- The report


def pairs(results):
    """(ours, peer's) results of the same name, shape and precision."""
    own = {(r["name"], r["shape"], r["precision"]): r for r in results if r["backend"] == "cuda"}
    for peer in results:
        key = (peer["name"], peer["shape"], peer["precision"])
        if peer["backend"] != "cuda" and key in own:
            yield own[key], peer


def summarise(results):
    kinds = {}
    for ours, peer in pairs(results):
        kind = (ours["name"], ours["precision"], peer["backend"])
        kinds.setdefault(kind, []).append((peer["seconds"] / ours["seconds"], ours["shape"]))
    return [{"name": name, "precision": precision, "peer": peer, "shapes": len(ratios),
             "geometric_mean": math.exp(statistics.fmean(math.log(ratio) for ratio, _ in ratios)),
             "worst": min(ratios)[0], "worst_shape": min(ratios)[1]}
            for (name, precision, peer), ratios in kinds.items()]


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def write_report(options):
    path = options.out / "measured.json"
    measured = json.loads(path.read_text()) if path.exists() else {"results": [], "machine": {}, "skipped": []}
    phases = [line.split("\t") for line in (options.out / "phases.tsv").read_text().splitlines()]
    results, machine = measured["results"], measured["machine"]
    summary = summarise(results)
    text = ["# On a GPU\n", "Generated by `tools/gpu_check.sh`. A ratio is the peer's time by ours: above 1 Retort is "
            "faster. Cold L2, random data, medians; cuDNN times its algorithms first and gets its filters in its own "
            "layout (in whole steps it converts them, which counts).\n",
            f"Machine: {json.dumps(machine)}" + (f"; PyTorch {measured['pytorch']}" if measured.get("pytorch") else "")
            + "\n", "## Phases\n",
            table(["phase", "seconds", "outcome"], phases)]
    if summary:
        text += ["## Ratios\n", table(
            ["what", "precision", "beside", "shapes", "geometric mean", "worst", "of"],
            [[s["name"], s["precision"], s["peer"], s["shapes"], f"{s['geometric_mean']:.2f}", f"{s['worst']:.2f}",
              s["worst_shape"]] for s in summary])]
    if results:
        text += ["## Measurements\n", table(
            ["what", "shape", "precision", "backend", "us", "spread", "TFLOP/s", "GB/s", "share of roofline",
             "images/s"],
            [[r["name"], r["shape"], r["precision"], r["backend"], f"{1e6 * r['seconds']:.1f}",
              f"{100 * r['spread']:.0f}%" if "spread" in r else "", f"{r['flops'] / r['seconds'] / 1e12:.1f}",
              f"{r['bytes'] / r['seconds'] / 1e9:.0f}",
              f"{100 * r['roofline_share']:.0f}%" if "roofline_share" in r else "",
              f"{r['images_per_second']:.0f}" if "images_per_second" in r else ""] for r in results])]
    if measured["skipped"]:
        text += ["## Left out\n"] + [f"- {line}" for line in measured["skipped"]] + [""]
    (options.out / "report.md").write_text("\n".join(text))
    (options.out / "report.json").write_text(json.dumps({**measured, "phases": phases, "summary": summary}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retort", default="build/retort", help="the program")
    parser.add_argument("--seconds", type=float, default=240, help="for all measurements")
    parser.add_argument("--out", type=Path, required=True, help="folder of measured.json and the report")
    parser.add_argument("--report", action="store_true", help="write the report of what was measured")
    options = parser.parse_args()
    write_report(options) if options.report else measure_all(options)


if __name__ == "__main__":
    sys.exit(main())
