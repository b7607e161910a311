#!/usr/bin/env python3
"""The contrast of every colour of text in the pages and pictures that Retort makes: at least 4.5 against what it stands on,
in both colour schemes (WCAG 2.2, 1.4.3); of lines and bars at least 3 (1.4.11). Computed from the style sheets."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT, SHAPE = 4.5, 3.0


def luminance(colour):
    def linear(channel):
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
    r, g, b = (linear(channel / 255) for channel in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def blend(top, below, opacity):
    return tuple(opacity * t + (1 - opacity) * b for t, b in zip(top, below))


def colours(block):
    found = {}
    for name, digits in re.findall(r"--([\w-]+):\s*#([0-9a-fA-F]{3,6})", block):
        if len(digits) == 3:
            digits = "".join(2 * d for d in digits)
        found[name] = tuple(int(digits[i:i + 2], 16) for i in (0, 2, 4))
    return found


def schemes(path):
    """The colours of a file's style sheet, light and dark."""
    text = (ROOT / path).read_text()
    at = text.index("prefers-color-scheme:dark")
    light = colours(text[:at])
    dark = {**light, **colours(text[at:])}
    return {"light": light, "dark": dark}


def constant(path, name):
    return float(re.search(rf"\b{name} = ([\d.]+)", (ROOT / path).read_text()).group(1))


def pairs():
    """(file, scheme, what, contrast, at least)"""
    for path in ("engine/report/page.cpp", "engine/report/svg.cpp", "docs/pipeline.svg"):
        for scheme, c in schemes(path).items():
            paper = c["paper"]
            for name in ("ink", "dim"):
                yield path, scheme, f"{name} on paper", contrast(c[name], paper), TEXT
            for name in [n for n in c if re.fullmatch(r"s\d|student|teacher|edge", n)]:
                yield path, scheme, f"{name} on paper", contrast(c[name], paper), SHAPE
            if "fill" in c:
                for name in ("ink", "dim"):
                    yield path, scheme, f"{name} on fill", contrast(c[name], c["fill"]), TEXT
    darkest = constant("engine/report/heat_map.cpp", "kDarkest")
    for scheme, c in schemes("engine/report/svg.cpp").items():
        for step in range(21):
            cell = blend(c["cell"], c["paper"], darkest * step / 20)
            yield "engine/report/heat_map.cpp", scheme, f"ink on a cell of {darkest * step / 20:.2f}", contrast(c["ink"], cell), TEXT


def main():
    rows = list(pairs())
    worst = min(rows, key=lambda row: row[3] / row[4])
    failed = [row for row in rows if row[3] < row[4]]
    for path, scheme, what, value, least in failed:
        print(f"{path}, {scheme}: {what}: contrast {value:.2f}, expected {least}")
    print(f"{len(rows)} pairs of colours; the tightest: {worst[0]}, {worst[1]}: {worst[2]}: {worst[3]:.2f} (at least {worst[4]})")
    # The formula itself: black on white is 21 by definition.
    assert abs(contrast((0, 0, 0), (255, 255, 255)) - 21) < 1e-9
    return 1 if failed or len(rows) < 60 else 0


if __name__ == "__main__":
    sys.exit(main())
