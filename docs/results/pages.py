"""What all pages of measured results share: running the program, reading its results, writing and checking the page.

A page NAME.md stands beside its script NAME.py. The script states its rows as data and has two functions: measure(runs)
runs the program and returns the facts of the page, a text by name; page(facts) returns the page. --check calls page()
with holes in place of facts, so a page is compared with its script without measuring again.

    docs/results/NAME.py [DATA] [WORK]     measures and writes docs/results/NAME.md
    docs/results/NAME.py --check [PAGE]    compares the page with the script: title, command, columns, rows, prose

Paths are relative to the root of the repository. The standard library of Python 3.9 suffices.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]


def setting(name, default):
    """A budget from the environment, of the type of its default."""
    return type(default)(os.environ.get(name, default))


# ---- Running the program

def output(command, environment=None, errors=None):
    """What a command prints on stdout. `environment` is added to this one's; the file `errors` takes stderr.

    Ends this program if the command fails.
    """
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: failed with status {done.returncode}")
    return done.stdout


def write(path, text):
    """Writes a file under another name first, so that a half-written one is never found."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


class Runs:
    """Runs of the program. WORK/runs keeps what each printed, and a finished run is not repeated."""

    def __init__(self, retort, options, data=None, work=None):
        self.retort, self.options, self.data, self.work = retort, options, data, work

    def run(self, name, command, seed=""):
        """Runs `retort COMMAND` unless the run has finished before. Returns the JSON it printed, or None.

        DATA, WORK, NAME and SEED in the command and SEED in the name stand for the folders, the name and the seed.
        """
        name = name.replace("SEED", seed)
        kept = self.work / "runs" / f"{name}.json"
        if kept.exists():
            finished = json.loads(kept.read_text())
            if finished["command"] != command:
                sys.exit(f"{kept}: is of another command: {finished['command']}; give another folder WORK")
            return finished["result"]
        meanings = {"DATA": str(self.data), "WORK": str(self.work), "NAME": pathlib.Path(name).stem, "SEED": seed}
        printed = output([self.retort, *(re.sub(r"\b[A-Z]+\b", lambda match: meanings.get(match[0], match[0]), word)
                                         for word in command.split())])
        result = json.loads(printed) if printed.startswith("{") else None
        kept.parent.mkdir(parents=True, exist_ok=True)
        write(kept, json.dumps({"command": command, "result": result}))
        return result

    def make(self, name, command, seed=""):
        """Runs a command that writes the file WORK/NAME, once."""
        self.run(name, f"{command} --out WORK/{name}", seed)

    def report(self, name, command, seed=""):
        """The JSON that a command prints, run once."""
        return self.run(name, f"{command} --json --quiet", seed)

    def evaluate(self, name, flags, seed=""):
        """What `retort eval` says of the model WORK/NAME.safetensors."""
        return self.report(f"{name}-eval", f"eval --model WORK/{name}.safetensors {flags}", seed)


def side_by_side(jobs, calls):
    """Makes the calls, `jobs` at a time, and returns their results in order. A call that fails ends this program."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
        return [future.result() for future in futures]


def unpack(packed, folder):
    """Decompresses FILE.xz into the folder, unless it is there."""
    import lzma
    file = folder / packed.stem
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        with lzma.open(packed) as source, open(part, "wb") as target:
            shutil.copyfileobj(source, target)
        part.replace(file)


def cifar10_and_teacher(runs):
    """WORK/train and WORK/test, apart so that no run looks at the test images, and WORK/teacher.safetensors, a ResNet-56 trained elsewhere."""
    for packed in sorted((runs.data / "cifar10").glob("*.bin.xz")):
        unpack(packed, runs.work / ("test" if packed.name.startswith("test") else "train"))
    for part in ("train", "test"):
        shutil.copy(runs.data / "cifar10/batches.meta.txt", runs.work / part)
    runs.make("teacher.safetensors", "import --model resnet56_a --weights DATA/pretrained/resnet56-4bfd9763.safetensors"
              " --data WORK/train --quiet")


# ---- Reading results

def json_lines(path):
    """The objects of a log, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def wrong(evaluation, classes=()):
    """Wrong answers in what `retort eval --json` prints, of all images or of those of the classes."""
    confusion = evaluation["confusion"]
    return sum(sum(confusion[row]) - confusion[row][row] for row in classes or range(len(confusion)))


def images(evaluation, classes=()):
    """Images that `retort eval --json` counted, all or those of the classes."""
    confusion = evaluation["confusion"]
    return sum(sum(confusion[row]) for row in classes or range(len(confusion)))


def mean_and_range(values, digits, range_digits=None):
    """The mean, and in parentheses the lowest and the highest value."""
    last = digits if range_digits is None else range_digits
    return f"{sum(values) / len(values):.{digits}f} ({min(values):.{last}f} to {max(values):.{last}f})"


def accuracy(right):
    """Percent right, of answers by image that are right or not."""
    return 100 * sum(right.values()) / len(right)


def advantage(rights, others):
    """By how many points a row leads another, and the standard error: of the mean over the test images, paired, each
    image's difference a mean over the seeds; and of the mean over the seeds. The larger of the two."""
    seeds = [accuracy(right) - accuracy(other) for right, other in zip(rights, others)]
    images_apart = [100 * statistics.mean(right[name] - other[name] for right, other in zip(rights, others))
                    for name in rights[0]]
    error = max(statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0 for values in (seeds, images_apart))
    return statistics.mean(seeds), error


def error_of_count(count):
    """The standard error of a count of rare events, among them the wrong answers of a good network (Poisson)."""
    return count ** 0.5


def speed_ratios(ours, theirs):
    """How many times as fast ours is in each round, from the seconds of both, in ascending order."""
    return sorted(their / our for our, their in zip(ours, theirs))


def median_ratio(ours, theirs):
    """How many times as fast ours is: the median over the rounds, and the range."""
    ratios = speed_ratios(ours, theirs)
    return f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def machine_line(machine, cores=False):
    """The machine that `retort bench --json` describes."""
    return ", ".join([machine["cpu"], *([f"{machine['cores']} cores"] if cores else []),
                      f"{machine['threads']} threads", machine["simd"]])


# ---- The page

class Page(NamedTuple):
    """The texts of a page. Blank lines separate its parts."""
    title: str
    shows: str  # continues "Generated by `COMMAND`": what the numbers are
    parts: tuple  # headings, tables and prose; the last says what the numbers do not show


def table(header, rows):
    lines = [header, *rows]
    body = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    return "\n".join([body[0], "|" + "---|" * len(header), *body[1:]])


class Facts:
    """What was measured, a text by name. The parts of a name are separated by dots."""

    def __init__(self, texts):
        self.texts = texts

    def numbers(self, name):
        return self.texts[name]

    words = numbers
    lines = numbers

    def row(self, name, columns):
        """The numbers NAME.COLUMN, one for each column."""
        return [self.numbers(f"{name}.{column}") for column in columns]

    def has(self, group):
        """Whether anything was measured whose name begins with the group's."""
        return any(name.startswith(group + ".") for name in self.texts)


class Holes(Facts):
    """Stands for Facts where a page is compared: every text is a hole. `groups` are those that the page may have."""
    NUMBERS, WORDS, LINES = "\1", "\2", "\3"
    PATTERNS = {NUMBERS: r"(?:[-+\d.,/%*() ]|of|to)*", WORDS: r"[^|\n]*"}

    def __init__(self, groups):
        self.groups = groups

    def numbers(self, name):
        """Numbers with their signs, ranges and shares."""
        return self.NUMBERS

    def words(self, name):
        """Any text within a line or a cell of a table."""
        return self.WORDS

    def lines(self, name):
        """Rows of a table that the program names."""
        return self.LINES

    def has(self, group):
        return group in self.groups


def text_of(page, script):
    """The page as Markdown; `script` is the path of its script."""
    return "\n\n".join([f"# {page.title}", f"Generated by `docs/results/{pathlib.Path(script).name}`{page.shows}",
                        *page.parts]) + "\n"


def first_difference(found, wanted):
    """Where the text of a page departs from that of its script, whose facts are holes; "" where nowhere."""
    lines, at = found.split("\n"), 0
    for want in wanted.split("\n"):
        if want == Holes.LINES:
            start = at
            while at < len(lines) and lines[at].startswith("| "):
                at += 1
            if at > start:
                continue
        pattern = "".join(Holes.PATTERNS.get(c) or re.escape(c) for c in want)
        if at == len(lines) or not re.fullmatch(pattern, lines[at]):
            return (f"line {at + 1}\n  the page:   {lines[at] if at < len(lines) else 'ends'}\n"
                    f"  the script: {re.sub('[%s]' % (''.join(Holes.PATTERNS) + Holes.LINES), '...', want)}")
        at += 1
    return "" if at == len(lines) else f"line {at + 1}\n  the page:   {lines[at]}\n  the script: ends"


def check(found, page, script, forms=((),)):
    """How a page's text differs from its script in all of the forms that the page may have; "" if it is one of them."""
    differences = [first_difference(found, text_of(page(Holes(form)), script)) for form in forms]
    return "" if "" in differences else differences[0]


class Needs(NamedTuple):
    """The folder DATA that a page reads."""
    folder: str  # its default, within $RETORT_DATA
    holds: tuple  # what has to be there
    what: str  # the advice to who gave another


MNIST = Needs("mnist", (".",), "the folder with MNIST's files")


def main(script, measure, page, needs=None, forms=((),), options=()):
    """The command line of a page's script.

    `needs` is for pages that read images. `forms` are the groups of facts, (), ("bf16",) ..., without which a page may
    come out. `options` are pairs of a name and its default, which runs.options holds.
    """
    name = pathlib.Path(script).stem
    default_page = f"docs/results/{name}.md"
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    if needs:
        parser.add_argument("data", metavar="DATA", nargs="?", type=pathlib.Path,
                            default=pathlib.Path(os.environ.get("RETORT_DATA", "../shared/data")) / needs.folder)
        parser.add_argument("work", metavar="WORK", nargs="?", type=pathlib.Path, default=f"build/results-{name}")
    parser.add_argument("--retort", metavar="PROGRAM", default=os.environ.get("RETORT", "build/retort"))
    parser.add_argument("--page", metavar="FILE", type=pathlib.Path, default=default_page,
                        help=f"written (default: {default_page})")
    parser.add_argument("--check", metavar="FILE", type=pathlib.Path, nargs="?", const=default_page,
                        help=f"compared in place of measuring (default: {default_page})")
    for option, default in options:
        parser.add_argument(f"--{option}", type=type(default), default=default)
    given = parser.parse_args()
    os.chdir(ROOT)
    if given.check:
        difference = check(given.check.read_text(), page, script, forms)
        sys.exit(f"{given.check}: does not agree with {pathlib.Path(script).name}: {difference}" if difference else 0)
    runs = Runs(given.retort, given)
    if needs:
        runs.data, runs.work = given.data, given.work
        for held in needs.holds:
            if not (given.data / held).exists():
                sys.exit(f"{given.data / held}: not there; give {needs.what}")
        given.work.mkdir(parents=True, exist_ok=True)
    text = text_of(page(Facts(measure(runs))), script)
    write(given.page, text)
    print(text, end="")
