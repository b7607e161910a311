"""Printers for gdb: Tensor, Shape and Tape as one reads them. In gdb: source tools/gdb/retort.py

    (gdb) print x
    $1 = f32 [2, 3] on cpu: 0.5 1 -2 ...
    (gdb) print tape
    $2 = tape of 3: 0 scale, 1 add, 2 relu
"""
import gdb
import gdb.printing

ELEMENTS = {"f32": "float", "f64": "double", "i64": "long", "i32": "int", "u8": "unsigned char", "i8": "signed char"}
SHOWN = 6


def word(enumerator):
    return str(enumerator).rsplit("::", 1)[-1]


def extents(shape):
    return [int(shape["extents_"]["_M_elems"][i]) for i in range(int(shape["rank_"]))]


class ShapePrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        return "[" + ", ".join(map(str, extents(self.value))) + "]"


class TensorPrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        address = self.value["storage_"]["_M_ptr"]
        if int(address) == 0:
            return "none"
        dtype, device = word(self.value["dtype_"]), word(self.value["device_"])
        shape = extents(self.value["shape_"])
        text = f"{dtype} [{', '.join(map(str, shape))}] on {device}"
        if device != "cpu" or dtype == "bf16":  # other memories are not read; a bf16 has no type that gdb prints
            return text
        count = 1
        for extent in shape:
            count *= extent
        elements = address.cast(gdb.lookup_type(ELEMENTS[dtype]).pointer())
        return text + ": " + " ".join(f"{float(elements[i]):.6g}" for i in range(min(count, SHOWN))) + (" ..." if count > SHOWN else "")


class TapePrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        steps = self.value["steps_"]["_M_impl"]
        first = steps["_M_start"]
        names = [first[i]["op"].string() for i in range(int(steps["_M_finish"] - first))]
        return f"tape of {len(names)}" + "".join((": " if i == 0 else ", ") + f"{i} {name}" for i, name in enumerate(names))


printers = gdb.printing.RegexpCollectionPrettyPrinter("retort")
printers.add_printer("Shape", "^retort::Shape$", ShapePrinter)
printers.add_printer("Tensor", "^retort::Tensor$", TensorPrinter)
printers.add_printer("Tape", "^retort::Tape$", TapePrinter)
gdb.printing.register_pretty_printer(gdb.current_objfile(), printers, replace=True)
