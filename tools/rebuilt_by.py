#!/usr/bin/env python3
"""How many sources each header rebuilds: tools/rebuilt_by.py [HEADER...]; without names the twenty widest.

Follows the #include "..." lines of the sources under git; a .cu counts twice, as it compiles for CUDA and for the simulator."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def includes(path):
    return re.findall(r'^\s*#\s*include "([^"]+)"', (ROOT / path).read_text(), re.MULTILINE)


def main():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.h", "*.cpp", "*.cu"],
                           cwd=ROOT, text=True, check=True, capture_output=True).stdout.split()
    files = {name: [i for i in includes(name) if (ROOT / i).exists()] for name in names if (ROOT / name).exists()}
    rebuilt = dict.fromkeys((name for name in files if name.endswith(".h")), 0)
    sources = [name for name in files if not name.endswith(".h") and not name.startswith("tests/package")]
    for source in sources:
        reached, waiting = set(), list(files[source])
        while waiting:
            header = waiting.pop()
            if header not in reached and header in files:
                reached.add(header)
                waiting += files[header]
        for header in reached & rebuilt.keys():
            rebuilt[header] += 2 if source.endswith(".cu") else 1
    wanted = sys.argv[1:] or sorted(rebuilt, key=rebuilt.get, reverse=True)[:20]
    unknown = [name for name in wanted if name not in rebuilt]
    if unknown:
        sys.exit(f"rebuilt_by.py: {unknown[0]}: no header of this project; give a path such as kernels/loss.h")
    for name in wanted:
        print(f"{rebuilt[name]:5}  {name}")


main()
