"""What a disk may hold after the power failed at some moment, from the calls that were made until then.

What was synced is there. Of what came after a file's last fsync any part may be there, whatever the order: a write, a hole of
zeros in its place, or nothing. The same goes for the names that a folder got and lost since its own last fsync.
"""
import struct
from pathlib import Path

CREATE, TRUNCATE, WRITE, SYNC, RENAME, REMOVE, MAKE_FOLDER = range(7)


def parse(records):
    """The calls as (what, offset, content, path, second path)."""
    at, calls = 0, []
    while at < len(records):
        what, offset, *sizes = struct.unpack_from("<5q", records, at)
        at += 40
        path, to, content = (records[at + sum(skipped):at + sum(skipped) + size]
                             for skipped, size in (((), sizes[1]), (sizes[1:2], sizes[2]), (sizes[1:3], sizes[0])))
        at += sum(sizes)
        calls.append((what, offset, content, path.decode(), to.decode()))
    return calls


class Node:
    """A file or a folder: what is on the disk for sure, and the changes that wait, in their order."""

    def __init__(self, durable):
        self.durable, self.waiting = durable, []

    def after(self, keep):
        """The content where `keep` says of each waiting change whether it reached the disk."""
        content = self.durable.copy()
        for change in self.waiting:
            change(content, keep())
        return content

    def sync(self):
        self.durable, self.waiting = self.after(lambda: True), []


def writing(offset, bytes_):
    def change(content, kept):
        if kept or kept is None:  # None: the size grew, the bytes did not come
            if len(content) < offset + len(bytes_):
                content.extend(b"\0" * (offset + len(bytes_) - len(content)))
        if kept:
            content[offset:offset + len(bytes_)] = bytes_
    return change


def cutting(size):
    def change(content, kept):
        if kept:
            content.extend(b"\0" * (size - len(content)))
            del content[size:]
    return change


def naming(name, node):
    def change(content, kept):
        if kept:
            content[name] = node
    return change


def dropping(name):
    def change(content, kept):
        if kept:
            content.pop(name, None)
    return change


def moving(old, new, node):
    def change(content, kept):
        if kept:
            content.pop(old, None)
            content[new] = node
    return change


class Disk:
    """A folder's files as they are, to which calls are applied one by one."""

    def __init__(self, folder):
        self.nodes = {}  # by path, as the running program sees it
        self.add(Path(folder))
        self.root = str(folder)

    def add(self, path):
        if path.is_dir():
            node = Node({child.name: self.add(child) for child in path.iterdir()})
        else:
            node = Node(bytearray(path.read_bytes()))
        self.nodes[str(path)] = node
        return node

    def apply(self, call):
        what, offset, content, path, to = call
        folder, _, name = path.rpartition("/")
        if what in (CREATE, MAKE_FOLDER):
            if folder in self.nodes:
                self.nodes[path] = Node({} if what == MAKE_FOLDER else bytearray())
                self.nodes[folder].waiting.append(naming(name, self.nodes[path]))
            return
        if path not in self.nodes:  # outside the folder, or removed while still open
            return
        node = self.nodes[path]
        if what == WRITE:
            node.waiting.append(writing(offset, content))
        elif what == TRUNCATE:
            node.waiting.append(cutting(offset))
        elif what == SYNC:
            node.sync()
        elif what == REMOVE:
            self.nodes[folder].waiting.append(dropping(name))
            del self.nodes[path]
        elif what == RENAME:
            target, _, new = to.rpartition("/")
            if target != folder:
                raise ValueError(f"{path}: renamed into another folder, which this model does not know")
            self.nodes[folder].waiting.append(moving(name, new, node))
            self.nodes[to] = self.nodes.pop(path)

    def write_to(self, folder, keep):
        """Makes the folder what a disk may hold now. `keep`: True, None (a hole) or False for each waiting change."""
        def put(node, path):
            content = node.after(keep)
            if isinstance(content, dict):
                path.mkdir(exist_ok=True)
                for name, child in content.items():
                    put(child, path / name)
            else:
                path.write_bytes(content)
        put(self.nodes[self.root], Path(folder))
