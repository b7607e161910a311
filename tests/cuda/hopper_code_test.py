"""What nvcc made of the kernels for Hopper, read from the disassembly of their object file: the instructions that they
are written for are there, nothing is kept in local memory, and registers are what a launch of 384 threads has.

    hopper_code_test.py OBJECT

Needs cuobjdump, from CUDA or from Python's package triton; ends with 77 (skipped) without it. Prints the instructions
of the main loop a slice of 64 along k.
"""
import importlib.util
import os
import re
import shutil
import subprocess
import sys

REGISTERS = 168  # of a thread, as 384 threads of them are launched
CONSUMER_REGISTERS, PRODUCER_REGISTERS = 0xE8, 0x28
PRODUCTS_A_SLICE = 4


def disassembler():
    """The path of cuobjdump, or None."""
    places = [os.path.dirname(os.path.realpath(shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"))]
    triton = importlib.util.find_spec("triton")
    if triton:
        places += [os.path.join(place, "backends/nvidia/bin") for place in triton.submodule_search_locations]
    return shutil.which("cuobjdump") or shutil.which("cuobjdump", path=os.pathsep.join(places))


def run(tool, flag, path):
    # cuobjdump finds nvdisasm beside itself by PATH.
    environment = dict(os.environ, PATH=os.path.dirname(tool) + os.pathsep + os.environ["PATH"])
    return subprocess.run([tool, flag, path], check=True, capture_output=True, text=True, env=environment).stdout


def functions(text):
    """Name -> lines, of what cuobjdump prints."""
    parts = re.split(r"^\s*Function\s*:?\s*(\S+?):?\s*$", text, flags=re.MULTILINE)
    return {name: body for name, body in zip(parts[1::2], parts[2::2]) if "hopper_product" in name}


def instructions(body):
    """(address, instruction) in order."""
    found = re.findall(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", body, flags=re.MULTILINE)
    return [(int(address, 16), text) for address, text in found]


def main_loop(code):
    """The instructions of the smallest loop around all products."""
    products = [address for address, text in code if "HGMMA" in text]
    loops = []
    for address, text in code:
        branch = re.search(r"BRA(?:\.\S+)? (?:\S+, )?0x([0-9a-f]+)", text)
        if branch and int(branch.group(1), 16) <= products[0] and products[-1] <= address:
            loops.append(sum(int(branch.group(1), 16) <= at <= address for at, _ in code))
    return min(loops)


class Kernel:
    """The policies of hopper_product in a mangled name."""

    def __init__(self, name):
        self.columns = re.search(r"HopperTileILi(\d+)E", name).group(1)
        kind, gathered, along_n = re.search(r"(Pixel|Window)OperandsIS\d*_Lb(\d)(?:ELb(\d))?", name).groups()
        self.pixels, self.gathered, self.along_n = kind == "Pixel", gathered == "1", along_n != "0"
        self.result = re.search(r"Store(?:Tile|Sums|Strided)", name).group()

    def __str__(self):
        passes = "wgrad" if self.pixels else "fprop" if self.along_n else "dgrad"
        return f"{passes}{', im2col' if self.gathered else ''}, {self.columns} columns, {self.result}"


def check(kernel, code, usage):
    """Yields what is wrong with a kernel."""
    texts = [text for _, text in code]

    def count(pattern):
        return sum(bool(re.search(pattern, text)) for text in texts)

    order = (r"\.tnspA" if kernel.pixels else "") + (r"\.tnspB" if kernel.along_n else "")
    product = rf"HGMMA\.64x{kernel.columns}x16\.F32\.BF16 R\d+, gdesc\[UR\d+\]{order},"
    if count(product) != PRODUCTS_A_SLICE or count("HGMMA") != PRODUCTS_A_SLICE:
        yield f"{count('HGMMA')} HGMMA, {count(product)} of them as expected; {PRODUCTS_A_SLICE} are expected"
    for pattern, wanted in [(r"UTMALDG\.\dD", True), (r"UTMALDG\.4D\.IM2COL", kernel.gathered),
                            ("UTMASTG", kernel.result == "StoreTile"), (r"SYNCS\.EXCH", True), (r"SYNCS\.ARRIVE", True),
                            (r"SYNCS\.PHASECHK", True), (rf"USETMAXREG\.TRY_ALLOC\.CTAPOOL.* {CONSUMER_REGISTERS:#x}", True),
                            (rf"USETMAXREG\.DEALLOC\.CTAPOOL.* {PRODUCER_REGISTERS:#x}", True),
                            (r"^(@!?U?P\d+ )?(LDL|STL)\b", False)]:
        if bool(count(pattern)) != wanted:
            yield f"{count(pattern)} instructions like {pattern}; {'some' if wanted else 'none'} are expected"
    for what, most in [("REG", REGISTERS), ("STACK", 0), ("LOCAL", 0)]:
        found = int(re.search(rf"{what}:(\d+)", usage).group(1))
        if found > most:
            yield f"{what} is {found}; at most {most} is expected"


def main():
    tool = disassembler()
    if not tool:
        print("skipped: no cuobjdump, which comes with CUDA and with Python's package triton")
        return 77
    code, usage = functions(run(tool, "-sass", sys.argv[1])), functions(run(tool, "-res-usage", sys.argv[1]))
    wrong = 0
    if not code:
        print(f"{sys.argv[1]} holds no hopper_product; give the object of hopper_conv2d.cu")
        return 1
    for name in sorted(code):
        listing = instructions(code[name])
        kernel = Kernel(name)
        faults = list(check(kernel, listing, usage[name]))
        wrong += len(faults)
        print(f"{kernel}: {main_loop(listing)} instructions a slice")
        for fault in faults:
            print(f"  WRONG {fault}")
    print(f"{len(code)} kernels, {wrong} faults")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
