#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus: one small file of each kind, and those that once did harm. Run from the root.

JPEGs come from tests/engine/data_fixtures.h, which Pillow made."""
import gzip
import io
import json
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path

ROOT = Path("tests/fuzz/corpus")


def put(name, content):
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def fixtures():
    text = Path("tests/engine/data_fixtures.h").read_text()
    return {name: bytes(int(number, 0) for number in re.findall(r"0x[0-9a-fA-F]+|\b\d+\b", body))
            for name, body in re.findall(r"uint8_t k(\w+)\[\] = \{([^}]*)\}", text)}


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour, rows, palette=b"", interlaced=0):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + (chunk(b"PLTE", palette) if palette else b"")
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def bmp(bits, palette, row):
    offset = 54 + len(palette)
    return (b"BM" + struct.pack("<IIIIiiHHIIIIII", offset + len(row), 0, offset, 40, 2, 1, 1, bits, 0, len(row), 0, 0,
                                len(palette) // 4, 0) + palette + row)


def gif(canvas, frame, codes):
    blocks = b"".join(bytes((len(block),)) + block for block in (codes[at:at + 255] for at in range(0, len(codes), 255)))
    return (b"GIF89a" + struct.pack("<HHBBB", canvas, canvas, 0x81, 0, 0) + bytes(range(12)) + b","
            + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\2" + blocks + b"\0;")


def webp(width, height):
    """Lossless, each of the five prefix codes a single symbol: one colour."""
    fields = [(width - 1, 14), (height - 1, 14), (0, 7), *((5 | symbol << 3, 11) for symbol in (7, 8, 9, 255, 0))]
    bits = "".join(f"{value:0{count}b}"[::-1] for value, count in fields)
    body = b"\x2f" + int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")
    body += b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


def segment(jpeg, marker):
    at = jpeg.index(bytes((0xFF, marker)))
    return at, at + 2 + struct.unpack(">H", jpeg[at + 2:at + 4])[0]


def without(jpeg, marker):
    begin, end = segment(jpeg, marker)
    return jpeg[:begin] + jpeg[end:]


def images():
    files = fixtures()
    for name, content in files.items():
        put(f"image/{name}", content)
    rgb = files["JpegRgb"]
    put("image/jpeg-no-quantisation", without(rgb, 0xDB))
    put("image/jpeg-no-huffman", without(rgb, 0xC4))
    begin, _ = segment(rgb, 0xDA)
    put("image/jpeg-other-huffman", rgb[:begin + 6] + b"\x22" + rgb[begin + 7:])
    put("image/jpeg-no-scan", rgb[:begin] + b"\xff\xd9")
    frame, _ = segment(rgb, 0xC0)
    put("image/jpeg-large", rgb[:frame + 5] + b"\xff\xff\x07\xd0" + rgb[frame + 9:])
    grey = files["JpegGrey"]
    begin, _ = segment(grey, 0xDA)
    put("image/jpeg-scans", grey[:-2] + grey[begin:-2] * 200 + b"\xff\xd9")
    put("image/png-palette-beyond", png(2, 1, 8, 3, b"\0\0\5", b"abcdef"))
    put("image/png-palette-4", png(4, 1, 4, 3, b"\0\x01\x10", b"abcdef"))
    put("image/png-interlaced", png(2, 2, 8, 2, b"\0abc\0def\0ghijkl", interlaced=1))
    put("image/png-deep", png(2, 1, 16, 6, b"\0" + bytes(range(16))))
    put("image/png-bomb", png(8, 8, 8, 2, bytes(20 << 20)))
    put("image/png-large", png(8192, 8192, 16, 6, b"x"))
    put("image/bmp-24", bmp(24, b"", b"abcdef\0\0"))
    for bits, row in ((8, b"\1\0\0\0"), (4, b"\x10\0\0\0"), (1, b"\x80\0\0\0"), (8, b"\1\7\0\0")):
        put(f"image/bmp-{bits}-{row[1]}", bmp(bits, b"abc\0def\0", row))
    for name, canvas, frame in (("canvas", 10000, 1), ("frame", 10000, 10000), ("nothing", 0, 0)):
        put(f"image/gif-{name}", gif(canvas, frame, b"\x44\x01"))
    put("image/gif-codes", gif(1, 1, b"\x04" + b"\xff" * 20000))
    put("image/webp-one-colour", webp(16000, 8000))
    put("image/ppm", b"P6 2 1 255\nabcdef")
    put("image/pgm-plain", b"P2 # grey\n2 1 15 0 15")


def readers():
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    put("safetensors/one", safetensors({"__metadata__": {"a": "b"}, "w": one}, b"abcd"))
    put("safetensors/half", safetensors({"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, b"abcd"))
    put("safetensors/deep", safetensors(b'{"w":' + b"[" * 5000 + b"]" * 5000 + b"}"))
    put("safetensors/keys", safetensors({str(i): {} for i in range(2000)}))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }"
    header += b" " * (117 - len(header)) + b"\n"
    put("npy/f4", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + b"abcdefgh")
    for protocol in range(6):
        content = {"a": [1.5, 2], "b": (True, None, "text", b"bytes", -7, 2**40)}
        put(f"pickle/protocol-{protocol}", pickle.dumps(content, protocol))
    put("pickle/nothings", b"(" + b"N" * 5000 + b"l.")
    put("pickle/lists", b"(" + b"]" * 20000 + b"l.")
    objects = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    objects += b" " * (117 - len(objects)) + b"\n"
    start = b"\x93NUMPY\1\0" + struct.pack("<H", len(objects)) + objects
    text = Path("tests/golden/pickled_dicts_numpy2.h").read_text()
    body = text[text.index("{\n", text.index("[6]")) + 2:]
    for i, dump in enumerate(body.split(",\n")[:6]):
        put(f"pickled_dict/numpy-{i}", bytes.fromhex("".join(re.findall(r'"([0-9a-f]*)"', dump))))
    put("pickled_dict/plain", start + pickle.dumps({"a": [1.5]}, 2))
    put("csv/logits", b"name,cat,\"a \"\"dog\"\"\"\r\ncat/1.jpg,1.5,-2e-3\r\n'=x,+1,nan\n")
    put("csv/predictions", b"name,class\na,cat\nb,dog\n")
    image = struct.pack(">IIII", 0x0803, 1, 2, 2) + b"abcd"
    put("idx/images.gz", gzip.compress(image, mtime=0))
    put("idx/images", image)
    put("idx/bomb.gz", gzip.compress(image + bytes(80 << 20), mtime=0))
    index = {"format": "retort-logits", "version": 1, "classes": ["a", "b"], "teacher": "", "preprocessing": [
        {"image_size": 8, "channels": 3, "mean": [0.5], "std": [0.5]}], "views": 1, "augmentation": "flip", "seed": 0,
        "combine": "", "names": ["x", "y"], "hashes": [], "logits": "?"}
    put("store_index/index", json.dumps(index).encode())
    put("store_index/top", json.dumps({**index, "dtype": "f16", "top_k": 1}).encode())
    put("store_index/previous", json.dumps({**index, "previous": index}).encode())
    put("store_index/keys", json.dumps({str(i): i for i in range(2000)}).encode())
    put("store_index/deep", b"[" * 5000)
    fields = b"{'descr': [('index', '<i4', (2,)), ('logit', '<f2', (2,)), ('rest', '<f4')], 'fortran_order': False, 'shape': (1,), }"
    fields += b" " * (181 - len(fields)) + b"\n"
    put("store_top/record", b"\x93NUMPY\1\0" + struct.pack("<H", len(fields)) + fields + struct.pack("<iiHHf", 3, 0, 0x4000, 0x3c00, 0.25))
    settings = b"RETORTL1" + struct.pack("<Q", 2) + b"{}"
    block = struct.pack("<qff", 1, 1, 2) + b"f3862dd395d91655"  # with its XXH64
    put("partial_logits/whole", settings + 2 * block)
    put("partial_logits/torn", settings + block + block[:-1])
    form = b"retort pixels 1\n"
    put("cache/empty", form + struct.pack("<QQQ", 16, 0, 0) + b"ef46db3751d8e999" + form)
    put("cache/short", form)


# ---- Protocol Buffers, as far as an ONNX model needs them

def varint(value):
    out = b""
    while value >= 128:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, *parts):
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(content)) + content


def onnx_node(kind, inputs, outputs, *attributes):
    return message(1, *(message(1, name) for name in inputs), *(message(2, name) for name in outputs), message(4, kind),
                   *(message(5, message(1, name), *(number(8, value) for value in values), number(20, 7))
                     if isinstance(values, tuple) else message(5, message(1, name), number(3, values), number(20, 2))
                     for name, values in attributes))


def onnx_tensor(name, extents, kind=1):
    count = 1
    for extent in extents:
        count *= extent
    content = struct.pack(f"<{count}f", *(i / 8 for i in range(count)))
    return message(5, *(number(1, extent) for extent in extents), number(2, kind), message(8, name), message(9, content))


def onnx_value(field, name, extents):
    shape = (message(1, number(1, extent) if extent else message(2, "n")) for extent in extents)
    return message(field, message(1, name), message(2, message(1, number(1, 1), message(2, *shape))))


def onnx(*graph):
    return number(1, 8) + message(7, *graph) + message(8, number(2, 17))


def networks():
    image, logits = onnx_value(11, "x", (0, 3, 4, 4)), onnx_value(12, "y", (0, 3))

    def integers(name, *values):
        return message(5, number(1, len(values)), number(2, 7), message(8, name), message(9, struct.pack(f"<{len(values)}q", *values)))

    shape = integers("shape", 0, -1)
    put("onnx/convolution", onnx(
        onnx_node("Conv", ("x", "w"), ("a",), ("pads", (1, 1, 1, 1)), ("strides", (2, 2))), onnx_node("Relu", ("a",), ("b",)),
        onnx_node("GlobalAveragePool", ("b",), ("c",)), onnx_node("Flatten", ("c",), ("d",), ("axis", 1)),
        onnx_node("Gemm", ("d", "m", "v"), ("y",), ("transB", 1)), onnx_tensor("w", (3, 3, 3, 3)), onnx_tensor("m", (3, 3)),
        onnx_tensor("v", (3,)), image, logits))
    put("onnx/reshape", onnx(
        onnx_node("MaxPool", ("x",), ("a",), ("kernel_shape", (2, 2)), ("strides", (2, 2))),
        onnx_node("Reshape", ("a", "shape"), ("b",)), onnx_node("MatMul", ("b", "m"), ("c",)),
        onnx_node("Add", ("c", "v"), ("d",)), onnx_node("Softmax", ("d",), ("y",)), shape, onnx_tensor("m", (12, 3)),
        onnx_tensor("v", (3,)), image, logits))
    # Four patches, a class token, positions, and attention of two heads.
    put("onnx/attention", onnx(
        onnx_node("Conv", ("x", "w"), ("a",), ("strides", (2, 2))), onnx_node("Reshape", ("a", "rows"), ("b",)),
        onnx_node("Transpose", ("b",), ("c",), ("perm", (0, 2, 1))), onnx_node("Expand", ("cls", "ones"), ("d",)),
        onnx_node("Concat", ("d", "c"), ("e",), ("axis", 1)), onnx_node("Add", ("e", "p"), ("f",)),
        onnx_node("LayerNormalization", ("f", "g", "g"), ("h",)), onnx_node("MatMul", ("h", "qkv"), ("i",)),
        onnx_node("Reshape", ("i", "heads"), ("j",)), onnx_node("Transpose", ("j",), ("k",), ("perm", (2, 0, 3, 1, 4))),
        onnx_node("Split", ("k",), ("q1", "k1", "v1"), ("axis", 0)), onnx_node("Squeeze", ("q1", "first"), ("q",)),
        onnx_node("Gather", ("k", "first"), ("kk",), ("axis", 0)), onnx_node("Squeeze", ("kk", "first"), ("kq",)),
        onnx_node("Squeeze", ("v1", "first"), ("v",)), onnx_node("Transpose", ("kq",), ("t",), ("perm", (0, 1, 3, 2))),
        onnx_node("MatMul", ("q", "t"), ("s",)), onnx_node("Softmax", ("s",), ("r",)), onnx_node("MatMul", ("r", "v"), ("u",)),
        onnx_node("Transpose", ("u",), ("n",), ("perm", (0, 2, 1, 3))), onnx_node("Reshape", ("n", "tokens"), ("o",)),
        onnx_node("Add", ("f", "o"), ("z",)), onnx_node("ReduceMean", ("z",), ("m1",), ("axes", (1,)), ("keepdims", 0)),
        onnx_node("Gemm", ("m1", "m", "v3"), ("y",), ("transB", 1)),
        onnx_tensor("w", (4, 3, 2, 2)), onnx_tensor("cls", (1, 1, 4)), onnx_tensor("p", (1, 5, 4)), onnx_tensor("g", (4,)),
        onnx_tensor("qkv", (4, 12)), onnx_tensor("m", (3, 4)), onnx_tensor("v3", (3,)), integers("rows", 0, 4, -1),
        integers("ones", 1, 1, 1), integers("heads", 0, 5, 3, 2, 2), integers("tokens", 0, 5, 4), integers("first", 0), image, logits))
    put("onnx/cycle", onnx(onnx_node("Relu", ("a",), ("y",)), onnx_node("Relu", ("y",), ("a",)), image, logits))
    put("onnx/large", onnx(onnx_node("Conv", ("x", "w"), ("y",)), message(
        5, number(1, 1 << 40), number(1, 1 << 40), number(2, 1), message(8, "w")), image, logits))


# ---- What torch.save writes

def word(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def torch_tensor(size, stride, offset=0):
    integer = lambda value: b"J" + struct.pack("<i", value)  # noqa: E731
    numbers = lambda values: b"(" + b"".join(map(integer, values)) + b"t"  # noqa: E731
    storage = b"(" + word("storage") + b"ctorch\nFloatStorage\n" + word("0") + word("cpu") + integer(6) + b"tQ"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + numbers(size) + numbers(stride)
            + b"\x89ccollections\nOrderedDict\n)RtR")


def torch_pickle(*entries):
    return (b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(word(name) + value for name, value in entries) + b"u.")


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def archives():
    numbers = struct.pack("<6f", *range(6))
    weights = torch_pickle(("fc.weight", torch_tensor((2, 3), (3, 1))), ("fc.bias", torch_tensor((2,), (3,))))
    saved = zipped([("archive/data.pkl", weights), ("archive/data/0", numbers), ("archive/version", b"3\n")])
    put("pytorch/state", saved)
    put("pytorch/beyond", zipped([("a/data.pkl", torch_pickle(("w", torch_tensor((2, 3), (9, 9), 5)))), ("a/data/0", numbers)]))
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    put("pytorch/before-1.6", magic + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + weights
        + b"\x80\x02](" + word("0") + b"e." + struct.pack("<q", 6) + numbers)
    put("zip/stored", saved)
    put("zip/deflated", zipped([("a", b"a" * 500), ("b/c", b"x")], zipfile.ZIP_DEFLATED))
    put("zip/empty", zipped([]))


def bundles():
    program = b"\x7fELF" + bytes(60)
    header = {"__metadata__": {"architecture": "mlp:", "classes": '["a", "b"]', "image_size": "1", "channels": "1",
                               "mean": "[0.5]", "std": "[0.25]"},
              "layers.0.weight": {"dtype": "F16", "shape": [2, 1], "data_offsets": [0, 4]},
              "layers.0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}
    model = safetensors(header, bytes(12))
    magic, hashed = b"retort bundle 1\n", 0xf5225fdf59e39016  # its XXH64
    put("bundle/whole", program + model + magic + struct.pack("<QQQ", 64, len(model), hashed))
    put("bundle/hash", program + model + magic + struct.pack("<QQQ", 64, len(model), 0))
    put("bundle/offset", program + model + magic + struct.pack("<QQQ", 2**64 - 8, 8, hashed))
    put("bundle/program", program)
    put("bundle/cut", program + model)
    put("bundle/empty", b"\x7fELF" + magic + struct.pack("<QQQ", 4, 0, 0xef46db3751d8e999))


images()
readers()
networks()
archives()
bundles()
