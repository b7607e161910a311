#!/usr/bin/env python3
"""Joins two network namespaces by tun devices, through a relay that delays and drops packets.

  relay.py DEVICE NAMESPACE ADDRESS NAMESPACE ADDRESS [--delay SECONDS] [--drop SHARE]

Prints a line when both devices, of the name DEVICE with the addresses (10.0.0.1/24), are up; relays until it is killed. At the end, by SIGTERM,
it prints how many packets it passed on and dropped. SEED=n drops others.
"""
import argparse
import collections
import ctypes
import fcntl
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000


def open_tun(device, namespace, address):
    """The tun device's file. This process is in the namespace afterwards."""
    with open(f"/var/run/netns/{namespace}") as network:
        if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
            sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    for command in (["addr", "add", address, "dev", device], ["link", "set", device, "up"]):
        subprocess.run(["ip", *command], check=True)
    return tun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device")
    for name in ("namespace_a", "address_a", "namespace_b", "address_b"):
        parser.add_argument(name)
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--drop", type=float, default=0)
    given = parser.parse_args()
    ends = (open_tun(given.device, given.namespace_a, given.address_a), open_tun(given.device, given.namespace_b, given.address_b))
    other = dict(zip(ends, reversed(ends)))
    draw = random.Random(os.environ.get("SEED", "0"))
    on_the_way = collections.deque()  # (when it is due, whom it is for, the packet): the delay is the same for all
    counts = {"passed on": 0, "dropped": 0}

    def end(*_):
        print(", ".join(f"{count} packets {what}" for what, count in counts.items()), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    print("up", flush=True)
    while True:
        wait = max(0.0, on_the_way[0][0] - time.monotonic()) if on_the_way else None
        for tun in select.select(ends, [], [], wait)[0]:
            packet = os.read(tun, 65536)
            if draw.random() < given.drop:
                counts["dropped"] += 1
            else:
                on_the_way.append((time.monotonic() + given.delay, other[tun], packet))
        while on_the_way and on_the_way[0][0] <= time.monotonic():
            _, tun, packet = on_the_way.popleft()
            os.write(tun, packet)
            counts["passed on"] += 1


if __name__ == "__main__":
    main()
