"""Reads TensorBoard's event files of a folder: events.py FOLDER prints what is in them as JSON, {"scalars": {tag: [[step, value], ...]},
"images": {tag: [[step, width, height], ...]}, "hparams": {name: value}, "starts": [step, ...]}.

Lengths and contents must have their checksums, and a picture must be a PNG of the size that is said. Where the tensorboard package is
installed, it reads the folder too and must find the same scalars and pictures.
"""
import json
import struct
import sys
from pathlib import Path


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content):
    at = 0
    while at < len(content):
        length, crc = struct.unpack_from("<QI", content, at)
        assert crc == masked(content[at:at + 8]), "the checksum of a length"
        data = content[at + 12:at + 12 + length]
        assert len(data) == length and struct.unpack_from("<I", content, at + 12 + length)[0] == masked(data), "the checksum of a record"
        yield data
        at += length + 16


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """{number: [values]}"""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            size = {1: 8, 5: 4}[key & 7]
            value, at = struct.unpack_from("<d" if size == 8 else "<f", data, at)[0], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def read(folder):
    seen = {"scalars": {}, "images": {}, "hparams": {}, "starts": []}
    for path in sorted(Path(folder).iterdir()):
        assert path.name.startswith("events.out.tfevents."), path
        events = [fields(data) for data in records(path.read_bytes())]
        assert events[0][3] == [b"brain.Event:2"], "the file's version comes first"
        for event in events:
            assert event[1][0] > 1e9, "a wall time"
            step = event.get(2, [0])[0]
            if 7 in event:
                assert fields(event[7][0]) == {1: [1]}
                seen["starts"].append(step)
            for summary in event.get(5, []):
                for value in map(fields, fields(summary).get(1, [])):
                    take(seen, step, value[1][0].decode(), value)
    return seen


def take(seen, step, tag, value):
    if 2 in value:
        seen["scalars"].setdefault(tag, []).append([step, value[2][0]])
    elif 4 in value:
        image = fields(value[4][0])
        png = image[4][0]
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", png[16:24]) == (image[2][0], image[1][0]), "a PNG of that size"
        assert b"columns: the predicted one" in value[9][0], "a description"
        seen["images"].setdefault(tag, []).append([step, image[2][0], image[1][0]])
    else:
        plugin = fields(fields(value[9][0])[1][0])
        assert plugin[1] == [b"hparams"] and 8 in value
        start = fields(fields(plugin[2][0])[3][0])
        for entry in map(fields, start[1]):
            setting = fields(entry[2][0])
            seen["hparams"][entry[1][0].decode()] = setting[2][0] if 2 in setting else setting[3][0].decode()


def compare_with_tensorboard(folder, seen):
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.plugins.hparams import plugin_data_pb2
    except ImportError:
        return "no tensorboard package here: its own reader was not asked"
    accumulator = EventAccumulator(folder, size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    assert sorted(tags["scalars"]) == sorted(seen["scalars"]) and tags["images"] == list(seen["images"]), tags
    last = max(seen["starts"])
    for tag, points in seen["scalars"].items():
        theirs = [[event.step, event.value] for event in accumulator.Scalars(tag)]
        # A later file takes back what earlier ones say from its first step on.
        assert [point for point in theirs if point[0] >= last] == [point for point in points if point[0] >= last][-len([p for p in theirs if p[0] >= last]):], tag
        assert len({step for step, _ in theirs}) == len(theirs), f"{tag}: a step twice"
    for tag, pictures in seen["images"].items():
        theirs = accumulator.Images(tag)
        assert [theirs[-1].step, theirs[-1].width, theirs[-1].height] == pictures[-1], tag
    content = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    assert data.version == 0 and len(data.session_start_info.hparams) == len(seen["hparams"])
    return "tensorboard's own reader agrees"


seen = read(sys.argv[1])
print(compare_with_tensorboard(sys.argv[1], seen), file=sys.stderr)
print(json.dumps(seen))
