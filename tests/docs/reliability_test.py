#!/usr/bin/env python3
"""Every test that docs/reliability.md names is there: files, harnesses and their corpora, and the cases in quotation marks.

A file may lack `tests/` and `.cpp`; "the same" is the row's before. `...` in a case's name stands for words left out.
"""
import pathlib
import re
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs/reliability.md"
HEADS = ("tested by", "held by")
REGISTERED = re.findall(r"add_test\(NAME (\S+)", (TESTS / "CMakeLists.txt").read_text())


def held_by(page):
    """The last cell of each row of the tables that say what holds a promise."""
    cells, wanted = [], False
    for line in page.splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if len(row) < 2:
            wanted = False
        elif row[-1] in HEADS:
            wanted = True
        elif wanted and not set(row[-1]) <= {"-"}:
            cells.append(row[-1])
    return cells


def braces(word):
    """"a{b,c}*" as ["ab*", "ac*"]."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", word)
    return [found[1] + choice + found[3] for choice in found[2].split(",")] if found else [word]


def files_of(word):
    """What a word in backticks names below tests/: files, a folder, or the sources of a registered test."""
    if word in REGISTERED:
        return [TESTS / "CMakeLists.txt"]
    found = []
    for pattern in braces(word.removeprefix("tests/")):
        some = [file for end in ("", ".cpp") for place in ("", "**/", "fuzz/") for file in TESTS.glob(place + pattern + end)]
        if not some:
            return []
        found += some
    return found


def cases_of(file):
    text = file.read_text() if file.suffix == ".cpp" else ""
    return re.findall(r'TEST_CASE\(\s*"((?:[^"\\]|\\.)*)"', text)


def missing(page):
    faults, sources = [], []  # the last file of cases that was named
    for cell in held_by(page):
        if not cell.startswith(("the same", "`")):
            faults.append(f"names no test: {cell}")
        for word, case in re.findall(r'`([^`]*)`|"([^"]*)"', cell):
            if word:
                files = files_of(word)
                faults += [] if files else [f"no such file or test: {word}"]
                sources = [file for file in files if file.suffix == ".cpp"] or sources
            else:
                pattern = re.compile(".*".join(re.escape(part.rstrip(", ")) for part in case.split("...")))
                if not any(pattern.fullmatch(name) for file in sources for name in cases_of(file)):
                    faults.append(f"no such case: {case}")
    return faults


class ReliabilityPage(unittest.TestCase):
    page = PAGE.read_text()

    def test_names_tests_that_are_there(self):
        self.assertGreater(len(held_by(self.page)), 20)
        self.assertEqual(missing(self.page), [])

    def test_finds_what_is_not_there(self):
        for old, new in (("`tools/log_test.sh`", "`tools/lug_test.sh`"), ("gzip content may", "gzip content must"),
                         ("`faults.kills`", "`faults.kill`"), ("png-palette", "png-pallet")):
            self.assertIn(old, self.page)
            self.assertEqual(len(missing(self.page.replace(old, new, 1))), 1, old)


if __name__ == "__main__":
    unittest.main()
