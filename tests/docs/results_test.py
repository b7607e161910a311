#!/usr/bin/env python3
"""Every page of docs/results agrees with the script that makes it, and a script runs as its page says.

`docs/results/NAME.py --check PAGE` compares a page and its script. That the comparison can fail is tested too: with each
row renamed, in the page and in the script. Scripts run whole with a program that answers at once.
"""
import functools
import json
import lzma
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/results"
BY_HAND = {
    "cpu-history.md": "what was expected and measured as each change was made; earlier programs are not measured again",
    "gpu.md": "what to run: the page comes from tools/gpu_check.sh once there is a GPU",
}
PAGES = sorted(page.stem for page in RESULTS.glob("*.md") if page.name not in BY_HAND)

sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.path.insert(0, str(RESULTS))
import pages  # noqa: E402

# Stands for retort: writes what any command writes, prints what any prints with --json, and notes that it ran.
PROGRAM = r"""#!/bin/sh
echo "$*" >> "$CALLS"
while [ $# -gt 0 ]; do
  case $1 in
    --out) echo model > "$2" ;;
    --json) cat "$ANSWER" ;;
  esac
  shift
done
"""
EVALUATION = {"accuracy": 0.75, "cross_entropy": 0.5, "confusion": [[9] * 10] * 10}
ANSWER = {**EVALUATION, "shift": -1.5, "groups": [["cat", "dog"], ["ship"]],
          **{network: EVALUATION for network in ("generalist", "combined", "student")}}


@functools.lru_cache(maxsize=None)
def compiled(name):
    return compile((RESULTS / f"{name}.py").read_text(), f"{name}.py", "exec")


def check(name, page):
    """What `docs/results/NAME.py --check PAGE` says, with no budget in the environment; "" where it says nothing."""
    environment = {key: os.environ[key] for key in ("HOME", "PATH") if key in os.environ}
    with mock.patch.object(sys, "argv", [f"{name}.py", "--check", str(page)]), \
            mock.patch.dict(os.environ, environment, clear=True):
        try:
            exec(compiled(name), {"__name__": "__main__", "__file__": str(RESULTS / f"{name}.py")})
        except SystemExit as end:
            return end.code or ""
    raise AssertionError(f"{name}.py --check did not end")


def rows(text):
    """Line numbers of the rows of tables, headers among them, but for those that the program names."""
    lines = text.split("\n")
    start = lines.index("## Layer by layer, batch 8") if "## Layer by layer, batch 8" in lines else len(lines)
    return [at for at, line in enumerate(lines[:start]) if line.startswith("| ")]


class Agreement(unittest.TestCase):
    def test_every_page_has_a_script_and_every_script_a_page(self):
        scripts = sorted(script.stem for script in RESULTS.glob("*.py") if script.name != "pages.py")
        self.assertEqual(PAGES, scripts)
        for page in BY_HAND:
            self.assertTrue((RESULTS / page).exists(), page)

    def test_every_page_agrees_with_its_script(self):
        for name in PAGES:
            with self.subTest(name):
                self.assertEqual(check(name, RESULTS / f"{name}.md"), "")

    def test_a_row_or_column_renamed_in_the_page_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "page.md"
            for name in PAGES:
                lines = (RESULTS / f"{name}.md").read_text().split("\n")
                for at in rows("\n".join(lines)):
                    with self.subTest(name, row=lines[at]):
                        renamed = lines[at].replace(" |", " renamed |", 1)
                        page.write_text("\n".join([*lines[:at], renamed, *lines[at + 1:]]))
                        self.assertIn(f"line {at + 1}\n", check(name, page))

    def test_a_row_or_column_renamed_in_the_script_is_found(self):
        table = pages.table
        for name in PAGES:
            for renamed in range(len(rows((RESULTS / f"{name}.md").read_text()))):
                seen = 0

                def renaming(header, body):
                    nonlocal seen
                    lines = [list(line) for line in (header, *body)]
                    if seen <= renamed < seen + len(lines):
                        lines[renamed - seen][0] = "renamed"
                    seen += len(lines)
                    return table(lines[0], lines[1:])

                with self.subTest(name, row=renamed), mock.patch.object(pages, "table", renaming):
                    self.assertIn("does not agree", check(name, RESULTS / f"{name}.md"))

    def test_a_row_missing_or_added_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "page.md"
            for name in PAGES:
                lines = (RESULTS / f"{name}.md").read_text().split("\n")
                last = rows("\n".join(lines))[-1]
                for changed in (lines[:last] + lines[last + 1:], lines[:last + 1] + lines[last:], lines + ["more"]):
                    with self.subTest(name):
                        page.write_text("\n".join(changed))
                        self.assertIn("does not agree", check(name, page))

    def test_the_command_and_the_budget_are_compared_and_the_figures_are_not(self):
        text = (RESULTS / "mnist.md").read_text()
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "page.md"
            for before, after, agrees in (
                    ("results/mnist.py", "results/mnist.sh", False), ("pixels, 30 epochs", "pixels, 31 epochs", False),
                    ("| 92 | 67 |", "| 92 | 68 |", False), ("| 92 | 67 |", "| ninety | 67 |", False),
                    ("| 92 | 67 |", "| 97 | 67 |", True)):
                with self.subTest(after):
                    self.assertIn(before, text)
                    page.write_text(text.replace(before, after))
                    self.assertEqual(check("mnist", page) == "", agrees)

    def test_documents_name_scripts_and_pages_that_exist(self):
        for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
            text = document.read_text()
            for path in re.findall(r"docs/results/[\w-]+\.\w+", text):
                self.assertTrue((ROOT / path).exists(), f"{document}: {path}")
            for link in re.findall(r"\]\(((?:\.\./)*(?:results/)?[\w-]+\.md)\)", text):
                self.assertTrue((document.parent / link).exists(), f"{document}: {link}")


class Making(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.program, self.calls = self.folder / "retort", self.folder / "calls"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        (self.folder / "answer").write_text(json.dumps(ANSWER))

    def made(self, name, data):
        """Makes the page NAME and returns its path and the program's calls."""
        self.calls.write_text("")
        page = self.folder / f"{name}.md"
        environment = {"PATH": os.environ["PATH"], "CALLS": str(self.calls), "ANSWER": str(self.folder / "answer"),
                       "RETORT": str(self.program), "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, RESULTS / f"{name}.py", data, self.folder / name, "--page", page], check=True,
                       env=environment, stdout=subprocess.DEVNULL)
        return page, self.calls.read_text().splitlines()

    def test_scripts_make_pages_that_agree_and_run_nothing_twice(self):
        (self.folder / "data/mnist").mkdir(parents=True)
        (self.folder / "data/cifar10").mkdir()
        (self.folder / "data/cifar10/batches.meta.txt").write_text("airplane\n")
        with lzma.open(self.folder / "data/cifar10/test_batch.bin.xz", "w") as file:
            file.write(b"images")
        for photo in ("cats-dogs/cat/1.jpg", "cats-dogs/dog/1.jpg"):
            (self.folder / "data" / photo).parent.mkdir(parents=True)
            (self.folder / "data" / photo).write_bytes(b"photo")
        for name, data in (("mnist", "mnist"), ("hinton-mnist", "mnist"), ("unseen-classes", "mnist"),
                           ("cats-dogs", "cats-dogs"), ("specialists", "")):
            with self.subTest(name):
                page, calls = self.made(name, self.folder / "data" / data)
                self.assertEqual(check(name, page), "")
                self.assertTrue(calls)
                self.assertEqual(len(calls), len(set(calls)))
                text = page.read_text()
                page, calls = self.made(name, self.folder / "data" / data)
                self.assertEqual(calls, [])
                self.assertEqual(page.read_text(), text)

    def test_a_finished_run_of_another_command_is_refused(self):
        runs = pages.Runs(str(self.program), None, self.folder / "data", self.folder / "work")
        runs.work.mkdir()
        with mock.patch.dict(os.environ, {"CALLS": str(self.calls)}):
            runs.make("a-SEED.safetensors", "train --data DATA --log WORK/NAME.jsonl --seed SEED", "3")
            self.assertEqual(self.calls.read_text(), f"train --data {runs.data} --log {runs.work}/a-3.jsonl --seed 3"
                             f" --out {runs.work}/a-3.safetensors\n")
            with self.assertRaisesRegex(SystemExit, "another command"):
                runs.make("a-SEED.safetensors", "train --data DATA --epochs 2", "3")

    def test_a_run_that_fails_is_not_kept(self):
        runs = pages.Runs(str(self.program), None, self.folder / "data", self.folder / "work")
        self.program.write_text("#!/bin/sh\nexit 3\n")
        with self.assertRaisesRegex(SystemExit, "status 3"):
            runs.report("a", "eval")
        self.assertFalse((runs.work / "runs/a.json").exists())


class Numbers(unittest.TestCase):
    def test_statistics(self):
        self.assertEqual(pages.mean_and_range([1, 2, 6], 1, 0), "3.0 (1 to 6)")
        self.assertEqual(pages.mean_and_range([0.25, 0.75], 2), "0.50 (0.25 to 0.75)")
        self.assertEqual(pages.median_ratio([1, 2, 4], [2, 2, 16]), "**2.00** (1.00 to 4.00)")
        self.assertEqual(pages.error_of_count(81), 9)

    def test_confusion(self):
        evaluation = {"confusion": [[8, 2], [1, 9]]}
        self.assertEqual((pages.wrong(evaluation), pages.wrong(evaluation, (1,))), (3, 1))
        self.assertEqual((pages.images(evaluation), pages.images(evaluation, (1,))), (20, 10))


if __name__ == "__main__":
    unittest.main()
