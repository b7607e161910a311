"""Writes tests/engine/data_fixtures.h: small image files, and arrays resized by Pillow.

    pip install numpy pillow && python tests/golden/make_data_fixtures.py > tests/engine/data_fixtures.h

Pillow resizes arrays of floats (mode F) without rounding, so the engine's filter can be held to float accuracy.
"""

import io

import numpy as np
from PIL import Image


def array(kind, name, values, show=str):
    print(f"inline constexpr {kind} {name}[] = {{")
    line = "   "
    for value in values:
        word = f" {show(value)},"
        if len(line) + len(word) > 118:
            print(line)
            line = "   "
        line += word
    print(line)
    print("};\n")


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def palette_image(rows):
    image = Image.fromarray(np.array(rows, np.uint8), "P")
    image.putpalette([9, 8, 7, 100, 110, 120, 255, 0, 1])
    return image


def pattern(width, height, channels):
    """The tests' own picture: (7 x + 13 y + 29 c + x y) mod 256."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    return ((7 * x + 13 * y + 29 * c + x * y) % 256).astype(np.uint8)


def resized(name, channels, width, height, box, size):
    picture = pattern(width, height, channels).astype(np.float32)
    planes = [Image.fromarray(picture[..., c], "F") for c in range(channels)]
    planes = [np.array(p.resize(size, Image.Resampling.BILINEAR, box=box)) for p in planes]
    values = np.stack(planes, -1).ravel()
    array("float", name, values, lambda v: np.format_float_positional(v, unique=True, trim="0") + "f")


print("// Written by tests/golden/make_data_fixtures.py.")
print("#pragma once\n\n#include <cstdint>\n\nnamespace retort::test {\n")
y, x = np.mgrid[0:8, 0:8]
ramp = np.stack([x * 30, y * 30, 255 - x * 15 - y * 15], -1).astype(np.uint8)
grey16 = np.array([[0, 32767, 32768, 65535], [128, 129, 385, 386]], np.uint16)
rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [128, 128, 128], [250, 240, 230]]], np.uint8)
files = {
    "kJpegRgb": encoded(Image.fromarray(ramp), "JPEG", quality=90, subsampling=0),
    "kJpegGrey": encoded(Image.fromarray(ramp[..., 0]), "JPEG", quality=90),
    "kJpegCmyk": encoded(Image.fromarray(ramp).convert("CMYK"), "JPEG", quality=90),
    "kJpegProgressive": encoded(Image.fromarray(ramp), "JPEG", quality=90, progressive=True, subsampling=0),
    "kPngRgb": encoded(Image.fromarray(rgb), "PNG"),
    "kPngGrey16": encoded(Image.fromarray(grey16), "PNG"),
    "kPngGreyAlpha": encoded(Image.fromarray(np.array([[[10, 255], [200, 0]]], np.uint8), "LA"), "PNG"),
    "kPngRgba": encoded(Image.fromarray(np.array([[[1, 2, 3, 0], [4, 5, 6, 255]]], np.uint8), "RGBA"), "PNG"),
    "kPngPalette": encoded(palette_image([[0, 1, 2, 1]]), "PNG"),
    "kGifAnimated": encoded(palette_image([[0, 1], [2, 1]]), "GIF", save_all=True,
                            append_images=[palette_image([[1, 1], [1, 1]])], duration=50),
}
for name, content in files.items():
    array("std::uint8_t", name, content)
resized("kShrunk", 3, 23, 17, None, (5, 4))
resized("kGrown", 3, 4, 3, None, (7, 5))
resized("kBoxed", 1, 23, 17, (2.5, 1.25, 19.75, 14.0), (6, 3))
print("}  // namespace retort::test")
