#!/usr/bin/env python3
"""Reports, a sweep's page and a graph in headless Chromium: at 390, 820 and 1280 pixels, in both colour schemes, with 2, 10 and
100 classes. Nothing is asked of the network, no script fails, no page is wider than the window, every text has a contrast of
4.5, the keyboard reaches every control, and a page stays under 3 MB. Skipped (77) where there is no Chromium.

    RETORT=build/retort tests/pages/pages_test.py [FOLDER for screenshots]"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS, SCHEMES, CLASSES = (390, 820, 1280), ("light", "dark"), (2, 10, 100)
LARGEST = 3_000_000

# Looks at the page from within, and leaves what it found as the text of one element.
PROBE = """<script>
window.faults = [];
window.addEventListener("error", e => window.faults.push("script: " + e.message));
</script>"""
LOOK = """<script>
(() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const lin = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const lum = c => 0.2126 * lin(c[0]) + 0.7152 * lin(c[1]) + 0.0722 * lin(c[2]);
  const ratio = (a, b) => { const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  document.querySelectorAll("details").forEach(d => d.open = true);
  const below = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; } return [255, 255, 255, 1]; };
  let least = 99;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = walker.nextNode();) {
    const e = n.parentElement;
    if (!n.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT", "TITLE", "title"].includes(e.tagName) || e.closest("svg")) continue;
    const r = ratio(parse(getComputedStyle(e).color), below(e));
    if (r < least) least = r;
    if (r < 4.5) window.faults.push("contrast " + r.toFixed(2) + ": " + n.data.trim().slice(0, 40));
  }
  if (document.documentElement.scrollWidth > innerWidth)
    window.faults.push("wider than the window: " + document.documentElement.scrollWidth + " > " + innerWidth);
  // Controls and boxes that scroll sideways are where the tabulator stops.
  const stops = e => e.tabIndex >= 0 && !e.disabled && e.getClientRects().length > 0;
  document.querySelectorAll("input,button,summary,a").forEach(e => { if (!stops(e)) window.faults.push("no keyboard: " + e.outerHTML.slice(0, 60)); });
  document.querySelectorAll("div,figure").forEach(e => {
    if (["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1 && !stops(e))
      window.faults.push("no keyboard to scroll: " + e.className + " " + e.textContent.trim().slice(0, 40));
  });
  const slider = document.getElementById("temperature"), own = document.getElementById("temperature-own");
  let moved = "";
  if (own) { own.click(); moved = document.getElementById("temperature-shown").textContent; }
  performance.getEntriesByType("resource").forEach(r => { if (!r.name.startsWith("data:")) window.faults.push("fetched: " + r.name); });
  document.body.innerHTML = "<pre id=found>" + JSON.stringify({faults: window.faults, least, moved, slider: !!slider}).replace(/&/g, "&amp;").replace(/</g, "&lt;") + "</pre>";
})();
</script>"""


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    return None


def ppm(path, red, green, blue, side=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = bytes(v for y in range(side) for x in range(side)
                   for v in ((red + 5 * x) % 256, (green + 7 * y) % 256, blue % 256))
    path.write_bytes(b"P6\n%d %d\n255\n" % (side, side) + pixels)


def draw(folder, classes, each):
    for c in range(classes):
        name = ("a class with a rather long name and <signs> %d" if c % 7 == 0 else "class%02d") % c
        for i in range(each):
            ppm(folder / name / f"{i}.ppm", 255 * c // classes, 40 * i, 255 - 255 * c // classes)


def run(retort, *words):
    subprocess.run([retort, *map(str, words), "--quiet", "--threads", "1"], check=True, stdout=subprocess.DEVNULL)


def make_pages(retort, folder):
    pages = []
    for classes in CLASSES:
        data = folder / f"data{classes}"
        draw(data, classes, 12 if classes == 2 else 6)
        common = ("--data", data, "--image-size", 16, "--batch-size", 8, "--epochs", 12, "--val-split", 0.34)
        teacher = folder / f"teacher{classes}.safetensors"
        page = folder / f"teacher-{classes}.html"
        run(retort, "train", "--model", "mlp:16", *common, "--lr", "0.05", "--out", teacher, "--report", page)
        pages.append(page)
        page = folder / f"student-{classes}.html"
        run(retort, "distill", "--student", "mlp:4", *common, "--teacher", teacher, "--temperature", 5, "--out",
            folder / "student.safetensors", "--report", page)
        pages.append(page)
        if classes == 2:
            run(retort, "logits", "--model", teacher, "--data", data, "--val-split", 0.34, "--split", "train", "--out", folder / "store.npy")
            run(retort, "sweep", "--student", "mlp:4", *common, "--logits", folder / "store.npy", "--temperature", "1,4",
                "--lambda", "0.1,1", "--seeds", 2, "--hold-out", 0.3, "--out", folder / "sweep")
            pages.append(folder / "sweep/sweep.html")
    run(retort, "graph", "--model", "resnet20", "--out", folder / "graph.svg")
    graph = folder / "graph.html"
    graph.write_text("<!DOCTYPE html><html><body style='margin:0;color-scheme:light dark;overflow-x:auto'>"
                     "<div style='overflow-x:auto' tabindex=0>" + (folder / "graph.svg").read_text() + "</div></body></html>")
    return [*pages, graph]


def browse(browser, page, width, scheme, *words):
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},1200",
               f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}", "--virtual-time-budget=3000",
               "--force-device-scale-factor=1", *words, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def look(browser, page, width, scheme, scratch):
    """What is wrong with a page there. Chromium's own window is at least 500 wide: the page is put into a frame."""
    html = page.read_text()
    assert "</head>" in html or page.name == "graph.html"
    probed = html.replace("<head>", "<head>" + PROBE, 1) if "<head>" in html else PROBE + html
    probed = probed.replace("</body>", LOOK + "</body>")
    inner = scratch / "inner.html"
    inner.write_text(probed)
    if width < 500:
        outer = scratch / "outer.html"
        outer.write_text(f"<!DOCTYPE html><html><body style='margin:0'><iframe id=f style='width:{width}px;height:1200px;border:0' "
                         f"src='inner.html'></iframe><script>window.onload = () => {{ document.body.innerHTML = "
                         "'<pre id=found>' + document.getElementById('f').contentDocument.getElementById('found').innerHTML + '</pre>'; }</script></body></html>")
        shown = browse(browser, outer, 800, scheme, "--allow-file-access-from-files", "--dump-dom")
    else:
        shown = browse(browser, inner, width, scheme, "--dump-dom")
    text = shown.stdout
    if '<pre id="found">' not in text:
        return {"faults": ["the page did not answer: " + (shown.stderr or text)[-300:]], "least": 0, "slider": False, "moved": ""}
    text = text.split('<pre id="found">')[1].split("</pre>")[0]
    for code, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(code, sign)
    return json.loads(text)


def main():
    browser, retort = chromium(), os.environ.get("RETORT")
    if not browser or not retort:
        print("skipped: no Chromium" if retort else "skipped: RETORT names no program")
        return 77
    retort = str(Path(retort).resolve())
    shots = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for page in make_pages(retort, folder):
            size = page.stat().st_size
            if size > LARGEST:
                failed += 1
                print(f"{page.name}: {size} bytes, expected at most {LARGEST}")
            for width in WIDTHS:
                for scheme in SCHEMES:
                    found = look(browser, page, width, scheme, folder)
                    if page.name.startswith("student") and found["moved"] != "T = 5.0":
                        found["faults"].append("the slider does not go to the run's T: " + found["moved"])
                    for fault in found["faults"]:
                        failed += 1
                        print(f"{page.name}, {width}, {scheme}: {fault}")
                    if shots:
                        shots.mkdir(parents=True, exist_ok=True)
                        browse(browser, page, max(width, 500), scheme, f"--screenshot={shots}/{page.stem}-{width}-{scheme}.png")
            print(f"{page.name}: {size} bytes, {'looked at' if not failed else 'faults above'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
