#!/usr/bin/env python3
"""Makes docs/results/teachers.md: networks from elsewhere, imported, exported and differentiated beside where they come from.

    docs/results/teachers.py [--work WORK]
    WORK  where what was printed goes   (default: build/results-teachers); a part that has finished there is not run again

Runs tests/golden/compare_graphs.py, whose head names the Python packages that it needs, part by part: an hour on two cores.
"""
import ast
import importlib.metadata
import pathlib
import re
import sys

import pages

COMPARE = "tests/golden/compare_graphs.py"
PARTS = ["onnx", "keras", "tf2onnx", "grad", "export"]
PACKAGES = ["torch", "torchvision", "timm", "onnx", "onnxruntime", "openvino", "keras", "tensorflow-cpu", "tf2onnx"]
EXPORTERS = ["torchscript", "dynamo"]
FORMS = [".keras", ".h5", ".weights.h5"]
READERS = ["ONNX Runtime", "OpenVINO", "exported again"]
# The lists of networks that COMPARE goes through, by their names there.
LISTS = {statement.targets[0].id: ast.literal_eval(statement.value)
         for statement in ast.parse((pages.ROOT / COMPARE).read_text()).body
         if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.List)}
GRAPHS = [f"torchvision {name}" for name in LISTS["TORCHVISION"]] + [f"timm {name}" for name in LISTS["TIMM"]]
GRADIENTS = [" ".join(pair) for pair in LISTS["GRADIENTS"]]
EXPORTED = [name for name, _ in LISTS["BY_CLASS"]] + LISTS["CIFAR"] + GRAPHS


def judged(runs, part):
    """What a part compared, and how far it was off: pairs of a text and a number as it was printed. Ends this program where one was too far."""
    kept = pathlib.Path(runs.options.work) / f"{part}.txt"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        pages.write(kept, pages.output([sys.executable, COMPARE, runs.retort, part]))
    return re.findall(r"^(?:%s )?(.*\S) +(\S+)  limit +\S+  ok$" % part, kept.read_text(), re.MULTILINE)


def worst(found, part, pattern):
    """The largest number of each network and column, groups of the pattern, as facts."""
    facts = {}
    for what, number in found[part]:
        match = re.fullmatch(pattern, what)
        name = f"{part}.{match['network']}.{match['column']}"
        facts[name] = max(number, facts.get(name, "0"), key=float)
    return facts


def measure(runs):
    found = {part: judged(runs, part) for part in PARTS}
    facts = {"versions": ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)}
    facts |= worst(found, "onnx", r"(?P<network>.*), exporter (?P<column>\w+)")
    facts |= worst(found, "keras", r"(?P<network>\w+) (?P<column>\S+)")
    facts |= {f"tf2onnx.{network}.difference": number for network, number in found["tf2onnx"]}
    for what, number in found["grad"]:
        network, own = re.match(r"(.*) \(PyTorch's own float32: (\S+);", what).groups()
        facts |= {f"grad.{network}.ours": number, f"grad.{network}.theirs": own}
    return facts | worst(found, "export", r"(?P<network>.*?)(?: folded)?, (?P<column>.*)")


def table(facts, part, networks, columns, header=None):
    return pages.table(["network", *(header or columns)], [[name, *(facts.words(f"{part}.{name}.{column}") for column in columns)] for name in networks])


def page(facts):
    return pages.Page(
        title="Networks from elsewhere, beside where they come from",
        shows=f": random weights, batch norm with random statistics.\nPeers: {facts.words('versions')}.",
        parts=(
            "A number is the largest difference of logits over the largest logit; 2e-5 is the limit, and one beyond it ends the script.",
            "## PyTorch, by ONNX",
            table(facts, "onnx", GRAPHS, EXPORTERS),
            "Three images of 224 px, exported with either of PyTorch's exporters, against ONNX Runtime.",
            "## Keras",
            table(facts, "keras", LISTS["KERAS"], FORMS),
            "`keras.applications`, saved by Keras in each of its forms, against Keras.",
            table(facts, "tf2onnx", LISTS["BY_TF2ONNX"], ["difference"], ["by tf2onnx and ONNX"]),
            "## Gradients",
            table(facts, "grad", GRADIENTS, ["ours", "theirs"], ["Retort", "PyTorch's float32"]),
            "|g - g64| / |g64| over all parameters, g64 PyTorch's in float64, the median of five inputs: three times PyTorch's own is the limit."
            " Why a median: [numerics.md](../numerics.md).",
            "## Written by `retort export`",
            table(facts, "export", EXPORTED, READERS),
            "`retort forward` of the model against what reads its export, and against `retort export` of that export in ONNX Runtime; the larger of\n"
            "two, batch norm as it is and folded. The last rows were ONNX files before they came here.",
            "Not shown: weights that were trained, on pictures (the tests have an EfficientNet-Lite0 with its answers), and networks that\n"
            "are refused, each by the name of its first node that has no counterpart here.",
        ))


pages.main(__file__, measure, page, options=[("work", "build/results-teachers")])
