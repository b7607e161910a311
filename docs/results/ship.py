#!/usr/bin/env python3
"""Makes docs/results/ship.md: the size, the start and the speed of one student as it is shipped: program, bundle, C file, page.

    docs/results/ship.py [--retort build/retort]

Draws its own pictures and trains a small network on them for one epoch: what is measured does not depend on what it learnt.
Needs a C compiler, and Chromium with retort-page.wasm for the page's row. ROUNDS and PICTURES in the environment are the budget.
"""
import base64
import json
import pathlib
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import pages

sys.path.insert(0, str(pages.ROOT / "tests/pages"))
import browser  # noqa: E402

ROUNDS, PICTURES = pages.setting("ROUNDS", 7), pages.setting("PICTURES", 64)
NETWORK, SIZE = "resnet20", 32
FORMS = {"program": "`retort predict` and the model file", "bundle": "bundle", "page": "page in Chromium", "c": "C file, by cc -O3"}

# Reads normalised images from a file, classifies each, and prints the last one's class.
MAIN = r"""
#include <stdio.h>
#include "student.c"
int main(int count, char **words) {
  static float image[3 * 32 * 32], logits[64], workspace[1 << 22];
  FILE *file = fopen(words[1], "rb");
  int best = 0;
  while (count == 2 && file && fread(image, sizeof image, 1, file) == 1) {
    student_forward(image, logits, workspace);
    for (int i = best = 0; i < 3; ++i) if (logits[i] > logits[best]) best = i;
  }
  return puts(student_class_names[best]) < 0;
}
"""


def draw(folder, count):
    noise = random.Random(1)
    for name in ("blue", "green", "red"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i}.ppm").write_bytes(b"P6\n48 48\n255\n" + noise.randbytes(3 * 48 * 48))


def timed(command):
    start = time.perf_counter()
    pages.output(command, errors=subprocess.DEVNULL)
    return time.perf_counter() - start


class InBrowser:
    """The page in a browser that runs already."""

    def __init__(self, page, picture):
        self.page, self.picture = page, base64.b64encode(pathlib.Path(picture).read_bytes()).decode()
        self.browser = browser.Browser().__enter__()

    def until(self, begins):
        """Waits for what the page says of itself to begin so, and returns it."""
        return self.browser.ask(f"""new Promise(done => {{
          const said = document.getElementById("said");
          const look = () => said.textContent.startsWith("{begins}") && done(said.textContent);
          new MutationObserver(look).observe(said, {{childList: true}});
          look();
        }})""")

    def drop(self):
        """Drops the picture on the page and waits for the answer. The milliseconds that the page itself takes for it."""
        self.browser.ask(f"""(() => {{
          const bytes = Uint8Array.from(atob("{self.picture}"), digit => digit.charCodeAt(0)), files = new DataTransfer();
          files.items.add(new File([bytes], "picture.ppm"));
          document.getElementById("said").textContent = "";
          document.body.dispatchEvent(new DragEvent("drop", {{dataTransfer: files, bubbles: true, cancelable: true}}));
        }})()""")
        return float(self.until("In ").split()[1])

    def start(self):
        """Seconds from opening the page to the first answer."""
        begin = time.perf_counter()
        self.browser.open(self.page, 1280, "light")
        self.until("Ready.")
        self.drop()
        return time.perf_counter() - begin

    def rate(self):
        return 1000 / statistics.median(self.drop() for _ in range(15))


def measure(runs):
    retort = str(pathlib.Path(runs.retort).resolve())
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        draw(work / "data", PICTURES // 3 + 1)
        model, bundle, page = work / "student.safetensors", work / "classify", work / "student.html"
        pages.output([retort, "train", "--model", NETWORK, "--data", str(work / "data"), "--image-size", str(SIZE), "--epochs", "1",
                      "--batch-size", "16", "--quiet", "--out", str(model)])
        pages.output([retort, "bundle", "--model", str(model), "--out", str(bundle), "--quiet"])
        pages.output([retort, "export", "--model", str(model), "--out", str(work / "student.c"), "--quiet"])
        (work / "main.c").write_text(MAIN)
        pages.output(["cc", "-O3", "-o", str(work / "c"), str(work / "main.c"), "-lm"])
        for file, count in (("one", 1), ("many", PICTURES)):
            (work / file).write_bytes(struct.pack("<f", 0.5) * (3 * SIZE * SIZE * count))
        picture, pictures = str(work / "data/red/0.ppm"), [str(path) for path in sorted(work.glob("data/*/*.ppm"))[:PICTURES]]
        single = ["--threads", "1", "--quiet"]
        commands = {"program": [retort, "predict", "--model", str(model), *single], "bundle": [str(bundle), *single], "c": [str(work / "c")]}
        sizes = {"program": pathlib.Path(retort).stat().st_size + model.stat().st_size, "bundle": bundle.stat().st_size,
                 "c": (work / "c").stat().st_size}
        in_browser = None
        if browser.chromium() and pathlib.Path(retort).with_name("retort-page.wasm").exists():
            pages.output([retort, "page", "--model", str(model), "--out", str(page), "--quiet"])
            sizes["page"] = page.stat().st_size
            in_browser = InBrowser(page, picture)
        starts, rates = {form: [] for form in FORMS}, {form: [] for form in FORMS}
        for _ in range(ROUNDS):
            for form, command in commands.items():
                one, many = ([str(work / "one")], [str(work / "many")]) if form == "c" else ([picture], pictures)
                start = timed(command + one)
                starts[form].append(start)
                rates[form].append((PICTURES - 1) / max(timed(command + many) - start, 1e-6))
            if in_browser:
                starts["page"].append(in_browser.start())
                rates["page"].append(in_browser.rate())
        if in_browser:
            in_browser.browser.__exit__()
    machine = json.loads(pages.output([retort, "bench", "conv", "--n", "1", "--repeats", "1", "--json", "--quiet"]))["machine"]
    facts = {"machine": pages.machine_line(machine, cores=True)}
    for form in sizes:
        facts[f"{form}.MB"] = f"{sizes[form] / 1e6:.2f}"
        facts[f"{form}.start"] = f"{1000 * statistics.median(starts[form]):.0f}"
        facts[f"{form}.start ratio"] = pages.median_ratio(starts[form], starts["bundle"])
        facts[f"{form}.rate"] = f"{statistics.median(rates[form]):.0f}"
        facts[f"{form}.rate ratio"] = pages.median_ratio([1 / rate for rate in rates[form]], [1 / rate for rate in rates["bundle"]])
    return facts


def page(facts):
    columns = ("MB", "start", "start ratio", "rate", "rate ratio")
    return pages.Page(
        "One student, as it is shipped",
        f""": {NETWORK} for {SIZE} x {SIZE} pixels and three classes, on one thread.
Machine: {facts.words("machine")}; others work on it, so that the ratios, taken within rounds in which all forms run in turns, say more
than the times. Medians of {ROUNDS} rounds, and their range.""",
        (pages.table(["form", "MB, with the model", "ms from start to answer", "times as fast as the bundle", "images a second",
                      "times as many as the bundle"],
                     [[text, *facts.row(form, columns)] for form, text in FORMS.items() if form != "page" or facts.has("page")]),
         f"""*MB*: all files that the form needs, but for shared libraries and the browser. *From start to answer*: a process for one picture of 48 x
48 pixels, of which it decodes and resizes it; of the page, opening it in a browser that runs, until the first answer is on it. *Images a
second*: the further {PICTURES - 1} of {PICTURES} pictures; of the page, the median time of one picture that is handed to the page again.""",
         """The C file gets images that are normalised already, so decoding and resizing are not in its figures; it is plain loops on one core.
ONNX Runtime is not measured here."""))


if __name__ == "__main__":
    pages.main(__file__, measure, page, forms=(("page",), ()))
