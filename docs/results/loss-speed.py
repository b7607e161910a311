#!/usr/bin/env python3
"""Makes docs/results/loss-speed.md: losses with their gradients, Retort's and PyTorch's, interleaved on one machine.

    docs/results/loss-speed.py [--retort build/retort] [--rounds 3]      (needs torch)
"""
import json
import statistics
import sys
import time

import pages

ROWS, CLASSES, T, LAMBDA = 4096, 1000, 4, 0.1
# The losses of the table, by the run of `retort bench loss` that times them.
LOSSES = {"kd": ["kd", "cross_entropy"], **{name: [name] for name in ("mse", "dkd", "nkd", "dist", "ttm", "wttm")}}
COLUMNS = {"ours": "Retort ms", "theirs": "PyTorch ms", "ratio": "speed against PyTorch", "range": "over the rounds",
           "traffic": "GB/s"}


def torch_seconds(names, repeats):
    """Median seconds of loss and gradient of each as PyTorch composes them, in one process; "cross_entropy" too."""
    sys.path.insert(0, str(pages.ROOT / "tools"))
    import torch
    import gpu_check

    torch.manual_seed(0)
    functional = torch.nn.functional
    z, v = (3 * torch.randn(ROWS, CLASSES) for _ in range(2))
    z.requires_grad_()
    labels = torch.arange(ROWS) % CLASSES

    def loss(name):
        hard = functional.cross_entropy(z, labels)
        if name == "cross_entropy":
            return hard
        if name == "kd":
            soft = functional.kl_div(functional.log_softmax(z / T, -1), functional.softmax(v / T, -1),
                                     reduction="batchmean") * T * T
        else:
            soft = gpu_check.soft_loss(torch, name, z, v, labels, T)
        return LAMBDA * hard + (1 - LAMBDA) * soft

    medians = {}
    for name in names:
        seconds = []
        for _ in range(repeats + 2):
            start = time.perf_counter()
            z.grad = None
            loss(name).backward()
            seconds.append(time.perf_counter() - start)
        medians[name] = statistics.median(seconds[2:])
    return medians


def retort_results(retort, loss):
    """What `retort bench loss` says of the run's losses, by name, and of the machine."""
    report = json.loads(pages.output([retort, "bench", "loss", "--rows", str(ROWS), "--classes", str(CLASSES),
                                      "--temperature", str(T), "--loss", loss, "--backend", "cpu", "--repeats", "10",
                                      "--json", "--quiet"]))
    names = {"loss.distillation": "kd"}
    return {names.get(result["name"], result["name"].removeprefix("loss.")): result
            for result in report["results"]}, report["machine"]


def measure(runs):
    import torch
    facts, machine = {}, None
    for loss, names in LOSSES.items():
        ours, theirs = {name: [] for name in names}, {name: [] for name in names}
        for _ in range(runs.options.rounds):
            found, machine = retort_results(runs.retort, loss)
            peer = json.loads(pages.output([sys.executable, __file__, "--torch", *names]))
            for name in names:
                ours[name].append(found[name]["seconds"])
                theirs[name].append(peer[name])
        for name in names:
            ratios, seconds = pages.speed_ratios(ours[name], theirs[name]), statistics.median(ours[name])
            facts.update({f"{name}.ours": f"{1000 * seconds:.2f}",
                          f"{name}.theirs": f"{1000 * statistics.median(theirs[name]):.1f}",
                          f"{name}.ratio": f"{statistics.median(ratios):.1f}",
                          f"{name}.range": f"{ratios[0]:.1f} to {ratios[-1]:.1f}",
                          f"{name}.traffic": f"{found[name]['bytes'] / seconds / 1e9:.1f}"})
    return {**facts, "torch": torch.__version__.split("+")[0], "rounds": str(runs.options.rounds),
            "machine": pages.machine_line(machine), "bandwidth": f"{machine['bandwidth_gbps']:.0f}"}


def page(facts):
    return pages.Page(
        "Speed of the losses on the CPU",
        f""". Loss and gradient, f32, {ROWS} rows of {CLASSES} classes, T = {T}, lambda = {LAMBDA};
beside PyTorch {facts.numbers("torch")} composing the same from its own functions (kd: cross_entropy, kl_div of log_softmax and
softmax times T^2; the others as in `tools/gpu_check.py`), backward included. Each round times one after the other; {facts.numbers("rounds")}
rounds, medians. GB/s counts the least that can move: the logits in, both nets' or for cross_entropy the student's, the gradient out.""",
        (f"Machine: {facts.words('machine')}; copying at {facts.numbers('bandwidth')} GB/s, as measured by `retort bench`.",
         pages.table(["loss", *COLUMNS.values()],
                     [[name, *facts.row(name, COLUMNS)] for names in LOSSES.values() for name in names]),
         """All are vectors of floats. `nkd` and `wttm` take more exponentials a logit than the three that the others share; `dist` keeps
both nets' probabilities and goes over them by column, then by row."""))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--torch"]:  # PyTorch's side, in a process of its own
        print(json.dumps(torch_seconds(sys.argv[2:], 9)))
    else:
        pages.main(__file__, measure, page, options=[("rounds", 3)])
