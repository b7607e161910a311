#!/usr/bin/env python3
"""Makes docs/results/teachers.md: networks from elsewhere, imported, exported and differentiated beside where they come from.

    docs/results/teachers.py [--work WORK]
    WORK  where what was printed goes   (default: build/results-teachers); a part that has finished there is not run again

Runs tests/golden/compare_graphs.py, whose head names the Python packages that it needs, part by part: an hour on two cores.
"""
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


def judged(runs, part):
    """What a part compared, and how far it was off: pairs of a text and a number as it was printed. Ends this program where one was too far."""
    kept = pathlib.Path(runs.options.work) / f"{part}.txt"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        pages.write(kept, pages.output([sys.executable, COMPARE, runs.retort, part]))
    return re.findall(r"^(?:%s )?(.*\S) +(\S+)  limit +\S+  ok$" % part, kept.read_text(), re.MULTILINE)


def rows_of(found, pattern, columns):
    """Rows of a table: a network, and the largest number of each column. `pattern` has the groups network and column."""
    rows = {}
    for what, number in found:
        match = re.fullmatch(pattern, what)
        row = rows.setdefault(match["network"], {})
        row[match["column"]] = max(number, row.get(match["column"], "0"), key=float)
    return [[network, *(row[column] for column in columns)] for network, row in rows.items()]


def as_lines(rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def measure(runs):
    found = {part: judged(runs, part) for part in PARTS}
    gradients = [(re.match(r"(.*) \(PyTorch's own float32: (\S+);", what), number) for what, number in found["grad"]]
    return {
        "versions": ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES),
        "onnx": as_lines(rows_of(found["onnx"], r"(?P<network>.*), exporter (?P<column>\w+)", EXPORTERS)),
        "keras": as_lines(rows_of(found["keras"], r"(?P<network>\w+) (?P<column>\S+)", FORMS)),
        "tf2onnx": as_lines(found["tf2onnx"]),
        "grad": as_lines([[match[1], number, match[2]] for match, number in gradients]),
        "export": as_lines(rows_of(found["export"], r"(?P<network>.*?)(?: folded)?, (?P<column>.*)", READERS)),
    }


def table(facts, name, header):
    return pages.table(header, []) + "\n" + facts.lines(name)


def page(facts):
    return pages.Page(
        title="Networks from elsewhere, beside where they come from",
        shows=f": random weights, batch norm with random statistics.\nPeers: {facts.words('versions')}.",
        parts=(
            "A number is the largest difference of logits over the largest logit; 2e-5 is the limit, and one beyond it ends the script.",
            "## PyTorch, by ONNX",
            table(facts, "onnx", ["network", *EXPORTERS]),
            "Three images of 224 px, exported with either of PyTorch's exporters, against ONNX Runtime.",
            "## Keras",
            table(facts, "keras", ["network", *FORMS]),
            "`keras.applications`, saved by Keras in each of its forms, against Keras.",
            table(facts, "tf2onnx", ["by tf2onnx", "difference"]),
            "## Gradients",
            table(facts, "grad", ["network", "Retort", "PyTorch's float32"]),
            "|g - g64| / |g64| over all parameters, g64 PyTorch's in float64, the median of five inputs: three times PyTorch's own is the limit."
            " Why a median: [numerics.md](../numerics.md).",
            "## Written by `retort export`",
            table(facts, "export", ["network", *READERS]),
            "`retort forward` of the model against what reads its export, and against `retort export` of that export in ONNX Runtime; the larger of\n"
            "two, batch norm as it is and folded. The last rows were ONNX files before they came here.",
            "Not shown: weights that were trained, on pictures (the tests have an EfficientNet-Lite0 with its answers), and networks that\n"
            "are refused, each by the name of its first node that has no counterpart here.",
        ))


pages.main(__file__, measure, page, options=[("work", "build/results-teachers")])
