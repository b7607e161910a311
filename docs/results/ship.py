#!/usr/bin/env python3
"""Makes docs/results/ship.md: the size, the start and the speed of one student as it is shipped: program, bundle, C file, page; and of its
ONNX file under ONNX Runtime and OpenVINO.

    python docs/results/ship.py [--retort build/retort] [--ort-headers DIR]

Draws its own pictures and trains a small network on them for one epoch: what is measured does not depend on what it learnt.
Needs a C compiler; Chromium and retort-page.wasm for the page's row; for the other runtimes' rows a Python with onnxruntime, openvino, numpy and
Pillow, and for ONNX Runtime's C interface, whose headers are not in its package, DIR with onnxruntime_c_api.h. ROUNDS and PICTURES in the
environment are the budget.
"""
import base64
import importlib.util
import itertools
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
FORMS = {"program": "`retort predict` and the model file", "bundle": "bundle", "page": "page in Chromium",
         "ort": "ONNX Runtime from Python", "ort-c": "ONNX Runtime from C", "openvino": "OpenVINO from Python", "c": "C file, by cc -O3"}
OPTIONAL = ("page", "ort", "ort-c", "openvino")

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

# The same images by ONNX Runtime's C interface, up to 32 at a time.
ORT_MAIN = r"""
#include <stdio.h>
#include <onnxruntime_c_api.h>
#define CHECK(call) do { OrtStatus *failed = (call); if (failed) return fprintf(stderr, "%s\n", ort->GetErrorMessage(failed)), 1; } while (0)
enum { kPixels = 3 * 32 * 32, kBatch = 32 };
int main(int count, char **words) {
  static float images[kBatch * kPixels];
  const OrtApi *ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  const char *input = "image", *output = "logits";
  OrtEnv *environment; OrtSessionOptions *options; OrtSession *session; OrtMemoryInfo *memory;
  CHECK(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "ship", &environment));
  CHECK(ort->CreateSessionOptions(&options));
  CHECK(ort->SetIntraOpNumThreads(options, 1));
  CHECK(ort->CreateSession(environment, words[1], options, &session));
  CHECK(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  FILE *file = fopen(words[2], "rb");
  int best = 0;
  for (size_t n; count == 3 && file && (n = fread(images, sizeof(float) * kPixels, kBatch, file)) > 0;) {
    const int64_t shape[] = {(int64_t)n, 3, 32, 32};
    OrtValue *image, *answer = NULL;
    float *logits;
    CHECK(ort->CreateTensorWithDataAsOrtValue(memory, images, n * kPixels * sizeof(float), shape, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &image));
    CHECK(ort->Run(session, NULL, &input, (const OrtValue *const *)&image, 1, &output, 1, &answer));
    CHECK(ort->GetTensorMutableData(answer, (void **)&logits));
    logits += 3 * (n - 1);
    for (int i = best = 0; i < 3; ++i) if (logits[i] > logits[best]) best = i;
    ort->ReleaseValue(image), ort->ReleaseValue(answer);
  }
  return printf("%d\n", best) < 0;
}
"""

# Pictures as docs/guide/ship.md prepares them, by either runtime, up to 32 at a time.
PYTHON = r"""
import sys, numpy
from PIL import Image
which, model, *names = sys.argv[1:]
if which == "ort":
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    infer = lambda images: session.run(None, {"image": images})[0]
else:
    import openvino
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    infer = lambda images: compiled(images)[0]
for at in range(0, len(names), 32):
    pictures = [Image.open(name).convert("RGB").resize((32, 32), Image.BILINEAR) for name in names[at:at + 32]]
    pixels = numpy.stack([numpy.asarray(picture, dtype=numpy.float32) for picture in pictures])
    logits = infer(numpy.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    print(*logits.argmax(1))
"""


def draw(folder, count):
    noise = random.Random(1)
    for name in ("blue", "green", "red"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i}.ppm").write_bytes(b"P6\n48 48\n255\n" + noise.randbytes(3 * 48 * 48))


def package_bytes(module):
    """All files of a Python package."""
    folder = pathlib.Path(importlib.util.find_spec(module).origin).parent
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def other_runtimes(work, model, headers):
    """Commands and sizes of the ONNX file under what is installed of the others; C takes images as the C file does, normalised."""
    commands, sizes = {}, {}
    (work / "classify.py").write_text(PYTHON)
    installed = {name for name in ("onnxruntime", "openvino", "numpy", "PIL") if importlib.util.find_spec(name)}
    for form, module in (("ort", "onnxruntime"), ("openvino", "openvino")):
        if installed >= {module, "numpy", "PIL"}:
            commands[form] = [sys.executable, str(work / "classify.py"), form, str(work / "pixels.onnx")]
            sizes[form] = (work / "pixels.onnx").stat().st_size + package_bytes(module)
    if "onnxruntime" in installed and headers:
        library = next(pathlib.Path(importlib.util.find_spec("onnxruntime").origin).parent.glob("capi/libonnxruntime.so.*"))
        (work / "libonnxruntime.so.1").symlink_to(library)
        (work / "ort.c").write_text(ORT_MAIN)
        pages.output(["cc", "-O3", "-I", headers, "-o", str(work / "ort-c"), str(work / "ort.c"), str(library), f"-Wl,-rpath,{work}"])
        commands["ort-c"] = [str(work / "ort-c"), str(work / "student.onnx")]
        sizes["ort-c"] = sum(path.stat().st_size for path in (work / "ort-c", work / "student.onnx", library))
    return commands, sizes


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
        for out, more in (("student.c", []), ("student.onnx", []), ("pixels.onnx", ["--pixels"])):
            pages.output([retort, "export", "--model", str(model), "--out", str(work / out), "--quiet", *more])
        (work / "main.c").write_text(MAIN)
        pages.output(["cc", "-O3", "-o", str(work / "c"), str(work / "main.c"), "-lm"])
        for file, count in (("one", 1), ("many", PICTURES)):
            (work / file).write_bytes(struct.pack("<f", 0.5) * (3 * SIZE * SIZE * count))
        picture, pictures = str(work / "data/red/0.ppm"), [str(path) for path in sorted(work.glob("data/*/*.ppm"))[:PICTURES]]
        single = ["--threads", "1", "--quiet"]
        commands = {"program": [retort, "predict", "--model", str(model), *single], "bundle": [str(bundle), *single], "c": [str(work / "c")]}
        sizes = {"program": pathlib.Path(retort).stat().st_size + model.stat().st_size, "bundle": bundle.stat().st_size,
                 "c": (work / "c").stat().st_size}
        for known, found in zip((commands, sizes), other_runtimes(work, model, runs.options.ort_headers)):
            known.update(found)
        in_browser = None
        if browser.chromium() and pathlib.Path(retort).with_name("retort-page.wasm").exists():
            pages.output([retort, "page", "--model", str(model), "--out", str(page), "--quiet"])
            sizes["page"] = page.stat().st_size
            in_browser = InBrowser(page, picture)
        starts, rates = {form: [] for form in FORMS}, {form: [] for form in FORMS}
        for _ in range(ROUNDS):
            for form, command in commands.items():
                one, many = ([str(work / "one")], [str(work / "many")]) if form in ("c", "ort-c") else ([picture], pictures)
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
                     [[text, *facts.row(form, columns)] for form, text in FORMS.items() if form not in OPTIONAL or facts.has(form)]),
         f"""*MB*: all files that the form needs, but for shared libraries and the browser. *From start to answer*: a process for one picture of 48 x
48 pixels, of which it decodes and resizes it; of the page, opening it in a browser that runs, until the first answer is on it. *Images a
second*: the further {PICTURES - 1} of {PICTURES} pictures; of the page, the median time of one picture that is handed to the page again.""",
         """The C file gets images that are normalised already, so decoding and resizing are not in its figures; it is plain loops on one core.
""" + ("""ONNX Runtime from C gets such images, too; from Python, pictures are prepared as [the guide](../guide/ship.md#onnx) says, 32 at a time. The
sizes of the runtimes' rows hold their own library or package, without Python, NumPy and Pillow.""" if facts.has("ort") else
               "ONNX Runtime is not measured here.")))


if __name__ == "__main__":
    pages.main(__file__, measure, page, options=(("ort-headers", ""),),
               forms=sorted((form for size in range(len(OPTIONAL) + 1) for form in itertools.combinations(OPTIONAL, size)),
                            key=lambda form: form != ("page",)))
