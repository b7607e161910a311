#!/usr/bin/env python3
"""Reports, a sweep's page, graphs and the picture of README in headless Chromium: at 390, 820 and 1280 pixels, in both colour
schemes, with 2, 10 and 100 classes. Nothing is asked of the network, no script fails, nothing is wider than the window, no
text leaves its picture or covers another, every text has a contrast of 4.5, the keyboard alone reaches and moves every
control, and a page stays under 3 MB though its pictures are noise. Skipped (77) where there is no Chromium.

    RETORT=build/retort tests/pages/pages_test.py [FOLDER for screenshots]"""
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import Browser, chromium

ROOT = Path(__file__).resolve().parents[2]
WIDTHS, SCHEMES, CLASSES = (390, 820, 1280), ("light", "dark"), (2, 10, 100)
LARGEST = 3_000_000

# What is wrong with the page that is open, as a list of words.
LOOK = r"""(() => {
  const faults = [];
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const lin = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const lum = c => 0.2126 * lin(c[0]) + 0.7152 * lin(c[1]) + 0.0722 * lin(c[2]);
  const ratio = (a, b) => { const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const below = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; } return [255, 255, 255, 1]; };
  const shown = text => JSON.stringify(text.trim().slice(0, 40));
  const root = document.documentElement;
  const html = !!document.body;
  if (html) document.querySelectorAll("details").forEach(d => d.open = true);
  if (html && root.scrollWidth > innerWidth) faults.push("wider than the window: " + root.scrollWidth + " > " + innerWidth);
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let n; n = walker.nextNode();) {
    const e = n.parentElement;
    if (!n.data.trim() || e.closest("script,style,noscript,title,head,svg")) continue;
    const r = ratio(parse(getComputedStyle(e).color), below(e));
    if (r < 4.5) faults.push("contrast " + r.toFixed(2) + ": " + shown(n.data));
    const range = document.createRange();
    range.selectNodeContents(n);
    const box = range.getBoundingClientRect();
    if (box.right > innerWidth + 1 && !e.closest(".wide,.scroll")) faults.push("text beyond the window: " + shown(n.data));
  }
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")].filter(t => t.textContent.trim());
    const boxes = texts.map(t => t.getBoundingClientRect());
    texts.forEach((t, i) => {
      const b = boxes[i];
      if (b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1)
        faults.push("text out of its picture: " + shown(t.textContent));
      if (b.height < 8) faults.push("text of " + b.height.toFixed(1) + " pixels: " + shown(t.textContent));
      for (let j = i + 1; j < texts.length; ++j) {
        const c = boxes[j], wide = Math.min(b.right, c.right) - Math.max(b.left, c.left);
        const high = Math.min(b.bottom, c.bottom) - Math.max(b.top, c.top);
        const turned = Math.max(b.height, c.height) > 3 * Math.min(b.height, c.height);  // its box is more than its letters
        if (wide > 1.5 && high > 0.45 * Math.min(b.height, c.height) && !turned)
          faults.push("texts on each other: " + shown(t.textContent) + ", " + shown(texts[j].textContent));
      }
    });
    // Text that begins in a box stays in it.
    const frames = [...svg.querySelectorAll("rect")].map(r => r.getBoundingClientRect()).filter(r => r.width < 0.9 * frame.width);
    texts.forEach((t, i) => {
      const b = boxes[i], x = (b.left + b.right) / 2, y = (b.top + b.bottom) / 2;
      const holder = frames.find(r => r.width > 40 && r.height > 20 && x > r.left && x < r.right && y > r.top && y < r.bottom);
      if (holder && (b.left < holder.left - 1 || b.right > holder.right + 1)) faults.push("text overruns its box: " + shown(t.textContent));
    });
  }
  return faults;
})()"""

# Controls, and boxes that scroll sideways: all that a keyboard must reach. Each gets a number.
STOPS = r"""(() => {
  const boxes = [...document.querySelectorAll("div,figure")].filter(e =>
    ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1);
  const all = [...document.querySelectorAll("input,button,summary,a"), ...boxes].filter(e => e.getClientRects().length > 0);
  all.forEach((e, i) => e.dataset.stop = i);
  document.activeElement.blur();
  getSelection().removeAllRanges();
  return all.map(e => e.tagName + " " + e.className + " " + e.textContent.trim().slice(0, 40));
})()"""
FOCUSED = """(() => { const e = document.activeElement; return {stop: e.dataset.stop ?? null, tag: e.tagName, id: e.id, body: e === document.body,
  outline: getComputedStyle(e).outlineStyle, scrolls: e.scrollWidth > e.clientWidth + 1}; })()"""
SHOWN = "document.getElementById('temperature-shown')?.textContent"


def keyboard(browser, distilled):
    """What the keyboard alone does not reach or move, once from the page's top to its end."""
    faults = []
    stops = browser.ask(STOPS)
    reached = set()
    for _ in range(3 * len(stops) + 30):
        browser.press("Tab", 9)
        at = browser.ask(FOCUSED)
        if at["body"]:
            break
        if at["stop"] is None:  # a box that would scroll in a narrower window
            continue
        if at["stop"] in reached:
            break
        reached.add(at["stop"])
        if at["outline"] == "none":
            faults.append("focus is not shown: " + stops[int(at["stop"])])
        if at["tag"] == "SUMMARY":
            before = browser.ask("document.activeElement.parentElement.open")
            browser.press("Enter", 13, "\r")
            if browser.ask("document.activeElement.parentElement.open") == before:
                faults.append("Enter does not unfold: " + stops[int(at["stop"])])
        elif at["id"] == "temperature":
            before = browser.ask(SHOWN)
            for _ in range(5):
                browser.press("ArrowRight", 39)
            if browser.ask(SHOWN) == before:
                faults.append("arrows do not move the slider")
        elif at["id"] == "temperature-own":
            browser.press("Enter", 13, "\r")
            if browser.ask(SHOWN) != "T = 5.0":
                faults.append("the slider does not go to the run's T: " + browser.ask(SHOWN))
        elif at["scrolls"]:
            for _ in range(3):
                browser.press("ArrowRight", 39)
            moved = "new Promise(done => setTimeout(() => done(document.activeElement.scrollLeft > 0), 300))"
            if not browser.ask(moved):
                faults.append("arrows do not scroll: " + stops[int(at["stop"])])
    faults += ["no keyboard: " + stop for i, stop in enumerate(stops) if str(i) not in reached]
    if distilled and not browser.ask("!!document.getElementById('temperature-own')"):
        faults.append("no mark of the run's T")
    return faults


def draw(folder, classes, each, side):
    """Noise, the worst that there is to compress, under a tint for each class."""
    noise = random.Random(classes)
    for c in range(classes):
        name = ("a class with a rather long name and <signs> %d" if c % 7 == 0 else "class%02d") % c
        (folder / name).mkdir(parents=True)
        for i in range(each):
            pixels = bytearray(noise.randbytes(3 * side * side))
            pixels[::3] = bytes(255 * c // classes for _ in range(side * side))
            (folder / name / f"{i}.ppm").write_bytes(b"P6\n%d %d\n255\n" % (side, side) + pixels)


def run(retort, *words):
    subprocess.run([retort, *map(str, words), "--quiet", "--threads", "1"], check=True, stdout=subprocess.DEVNULL)


def make_pages(retort, folder):
    pages = []
    for classes in CLASSES:
        data = folder / f"data{classes}"
        draw(data, classes, 40 if classes == 2 else 10, 96)
        common = ("--data", data, "--image-size", 8, "--batch-size", 16, "--epochs", 12, "--val-split", 0.4)
        teachers = [folder / f"teacher{classes}.safetensors", folder / f"second{classes}.safetensors"]
        page = folder / f"teacher-{classes}.html"
        run(retort, "train", "--model", "mlp:64", *common, "--lr", "0.05", "--out", teachers[0], "--report", page)
        run(retort, "train", "--model", "mlp:32", *common, "--lr", "0.05", "--out", teachers[1])
        pages.append(page)
        page = folder / f"student-{classes}.html"
        taught_by = ",".join(map(str, teachers)) if classes == 10 else teachers[0]
        run(retort, "distill", "--student", "mlp:4", *common, "--teacher", taught_by, "--temperature", 5, "--out",
            folder / "student.safetensors", "--report", page, "--restart")
        pages.append(page)
        if classes == 2:
            run(retort, "logits", "--model", teachers[0], "--data", data, "--val-split", 0.4, "--split", "train", "--out", folder / "store.npy")
            run(retort, "sweep", "--student", "mlp:4", *common, "--logits", folder / "store.npy", "--temperature", "1,2,4,8,20",
                "--lambda", "0,0.1,0.5,1", "--seeds", 2, "--hold-out", 0.3, "--out", folder / "sweep")
            pages.append(folder / "sweep/sweep.html")
    for network in ("resnet20", "inception_v3"):
        run(retort, "graph", "--model", network, "--out", folder / f"graph-{network}.svg")
        pages.append(folder / f"graph-{network}.svg")
    return [*pages, ROOT / "docs/pipeline.svg"]


def main():
    retort = os.environ.get("RETORT")
    if not chromium() or not retort:
        print("skipped: no Chromium" if retort else "skipped: RETORT names no program")
        return 77
    retort = str(Path(retort).resolve())
    shots = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory() as name, Browser() as browser:
        for page in make_pages(retort, Path(name)):
            faults = []
            size = page.stat().st_size
            if size > LARGEST:
                faults.append(f"{size} bytes, expected at most {LARGEST}")
            for width in WIDTHS:
                for scheme in SCHEMES:
                    found = browser.open(page, width, scheme)
                    if page.suffix == ".html" and scheme == "light":
                        found += keyboard(browser, page.name.startswith("student"))
                    found += browser.ask(LOOK)
                    if page.name.startswith("teacher") and browser.ask("/student/i.test(document.body.innerText)"):
                        found.append("a page about a teacher speaks of a student")
                    faults += [f"{width}, {scheme}: {fault}" for fault in found]
                    if shots:
                        browser.screenshot(shots / f"{page.stem}-{width}-{scheme}.png")
            for fault in faults:
                print(f"{page.name}, {fault}")
            failed += len(faults)
            print(f"{page.name}: {size} bytes, {len(faults)} faults", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
