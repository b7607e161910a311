#!/usr/bin/env python3
"""The page of `retort page` in headless Chromium: a picture dropped on it gets the logits that `retort logits` gives, of
student and teacher; what is no picture, and a page that was cut short, is one clear line; nothing is asked of the network;
at 390 and 1280 pixels, in both colour schemes, it reads as the other pages do. Skipped (77) without Chromium or retort-page.wasm.

    RETORT=build/retort tests/pages/classifier_test.py [FOLDER for screenshots]"""
import base64
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from browser import Browser, chromium
from pages_test import LOOK, ROOT, SCHEMES, draw, run

WIDTHS = (390, 1280)
PICTURES = ("JpegRgb", "JpegGrey", "JpegProgressive", "PngRgb", "PngPalette", "bmp-24", "ppm", "GifAnimated")
SAID = "document.getElementById('said').textContent"
SHOWN = "!document.getElementById('result').hidden"
TOLERANCE = 2e-5  # of the largest logit: the page's vectors have 4 lanes and no fused sums


def until(browser, condition, what):
    for _ in range(600):
        if browser.ask(condition):
            return
        time.sleep(0.1)
    sys.exit(f"FAILED: never {what}; the page says: {browser.ask(SAID)}")


def drop(browser, name, content):
    """Drops a file on the page and waits for its answer."""
    browser.ask(f"""(() => {{
      const bytes = Uint8Array.from(atob("{base64.b64encode(content).decode()}"), digit => digit.charCodeAt(0));
      const files = new DataTransfer();
      files.items.add(new File([bytes], {json.dumps(name)}));
      document.getElementById("said").textContent = "";
      document.body.dispatchEvent(new DragEvent("drop", {{dataTransfer: files, bubbles: true, cancelable: true}}));
    }})()""")
    until(browser, f"{SAID} !== '' && !{SAID}.startsWith('Looking')", f"done with {name}")
    return browser.ask(SAID)


def logits_of(retort, model, folder, store):
    """Logits by the names of the pictures, as the program computes them."""
    run(retort, "logits", "--model", model, "--data", folder, "--val-split", 0, "--out", store, "--csv", store.with_suffix(".csv"))
    lines = [line.split(",") for line in store.with_suffix(".csv").read_text().splitlines()[1:]]
    return {line[0]: [float(value) for value in line[-3:]] for line in lines}


def differences(name, found, wanted):
    largest = max(map(abs, wanted))
    worst = max(abs(a - b) for a, b in zip(found, wanted)) if len(found) == len(wanted) else float("inf")
    return [] if worst <= TOLERANCE * largest else [f"{name}: logits {found}, expected {wanted}"]


def main():
    retort = os.environ.get("RETORT")
    if not retort or not chromium() or not Path(retort).with_name("retort-page.wasm").exists():
        print("skipped: RETORT names no program" if not retort else
              "skipped: no retort-page.wasm beside " + retort if chromium() else "skipped: no Chromium")
        return 77
    retort = str(Path(retort).resolve())
    shots = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    faults = []
    with tempfile.TemporaryDirectory() as name, Browser() as browser:
        folder = Path(name)
        draw(folder / "data", 3, 8, 48)
        common = ("--data", folder / "data", "--image-size", 32, "--epochs", 2, "--batch-size", 8, "--val-split", 0)
        teacher, student = folder / "teacher.safetensors", folder / "student.safetensors"
        run(retort, "train", "--model", "resnet20", *common, "--out", teacher)
        run(retort, "distill", "--student", "mlp:20", *common, "--teacher", teacher, "--temperature", 5, "--out", student)
        page, again = folder / "page.html", folder / "again.html"
        for out in (page, again):
            run(retort, "page", "--model", student, "--teacher", teacher, "--out", out)
        if page.read_bytes() != again.read_bytes():
            faults.append("two pages of one model differ")

        pictures = folder / "pictures"
        pictures.mkdir()
        (pictures / "large.ppm").write_bytes(b"P6\n300 200\n255\n" + random.Random(1).randbytes(3 * 300 * 200))
        for picture in PICTURES:
            shutil.copy(ROOT / "tests/fuzz/corpus/image" / picture, pictures / f"{picture}.{'png' if 'Png' in picture else 'jpg'}")
        wanted = {who: logits_of(retort, model, pictures, folder / f"{who}.npy") for who, model in
                  (("student", student), ("teacher", teacher))}
        faults += browser.open(page, 1280, "light")
        until(browser, f"{SAID} === 'Ready.'", "ready")
        for picture in sorted(pictures.iterdir()):
            drop(browser, picture.name, picture.read_bytes())
            found = browser.ask("document.getElementById('bars').sample")
            for who in wanted:
                faults += differences(f"{picture.name}, {who}", found[who], wanted[who][picture.name])
        said = drop(browser, "notes.txt", b"no picture at all\n")
        if not said.startswith("notes.txt: can't be decoded: ") or not said.endswith("; replace or remove the file") or browser.ask(SHOWN):
            faults.append("of a text file: " + said)
        said = drop(browser, "photo.jpg", picture.read_bytes())
        if not said.startswith("In ") or not browser.ask(SHOWN):
            faults.append("a picture after a text file: " + said)
        for width in WIDTHS:
            for scheme in SCHEMES:
                faults += browser.open(page, width, scheme)
                until(browser, f"{SAID} === 'Ready.'", "ready")
                browser.press("Tab", 9)
                if browser.ask("document.activeElement.id") != "picture":
                    faults.append("the keyboard does not reach the field")
                drop(browser, "a picture with a rather long name from a camera somewhere.jpg", (pictures / "JpegRgb.jpg").read_bytes())
                faults += [f"{width}, {scheme}: {fault}" for fault in browser.ask(LOOK)]
                before = browser.ask("document.getElementById('bars').innerText")
                browser.ask("document.getElementById('temperature-own').click()")
                if browser.ask("document.getElementById('temperature-shown').textContent") != "T = 5.0" or \
                        browser.ask("document.getElementById('bars').innerText") == before:
                    faults.append("the slider does not change the answers")
                if shots:
                    shots.mkdir(parents=True, exist_ok=True)
                    browser.screenshot(shots / f"classifier-{width}-{scheme}.png")
        for event in browser.events:
            url = event.get("params", {}).get("request", {}).get("url", "")
            if event.get("method") == "Network.requestWillBeSent" and not url.startswith(("data:", "blob:", page.as_uri())):
                faults.append("fetched: " + url)

        whole = page.read_text()
        for what, size in (("student", len(whole) - 1000), ("program", whole.index('id="program"') + 5000)):
            again.write_text(whole[:size])
            browser.open(again, 1280, "light")
            until(browser, f"!{SAID}.startsWith('This page is being')", "over")
            if not browser.ask(SAID).startswith("This page was cut short: not all ") or what not in browser.ask(SAID):
                faults.append(f"a page cut within its {what}: " + browser.ask(SAID))
        again.write_text(whole[:whole.index("const softmax")])
        browser.open(again, 1280, "light")
        if "the page was cut short: copy it again" not in browser.ask(SAID):
            faults.append("a page cut within its script: " + browser.ask(SAID))
    for fault in faults:
        print(fault)
    print(f"{len(PICTURES)} pictures, two networks: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
