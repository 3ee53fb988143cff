"""The process that `test_tree_crash` kills: a tree that changes things and says, after each call returned, what must
survive. One line on stdout per acknowledgement: `<name> <hex of the bytes, or - for gone>`.

    tree_child.py <replica> <run> <seed> <direct or through>
"""

import os
import sys
from random import Random

from agentfs.clock import SystemClock
from agentfs.errors import NotFound
from agentfs.replica.replica import ROOT, Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller, Handle

CALLER = Caller(0, 0)


def acknowledge(name: bytes, data: bytes | None) -> None:
    # One write(2) each: what the parent has read was said whole.
    os.write(1, name + b" " + (b"-" if data is None else data.hex().encode() or b"empty") + b"\n")


def main() -> None:
    directory, run, seed, way = sys.argv[1:]
    replica = Replica.open(directory, volume_kind="home", volume_id="me", session_kind="test", clock=SystemClock())
    tree = Tree(replica)
    entropy = Random(f"{seed}/{run}")
    direct = way == "direct"
    held: dict[bytes, Handle] = {}
    number = 0

    def write(handle: Handle, data: bytes, offset: int = 0) -> None:
        if direct:
            os.pwrite(handle.fd, data, offset)
        else:
            tree.write(handle, offset, data)

    os.write(1, b"ready -\n")
    while True:
        number += 1
        # Names of earlier runs are never touched again: what they acknowledged is final.
        name = b"%s.%d" % (run.encode(), entropy.randrange(20))
        data = b"%s/%d/" % (run.encode(), number) * entropy.randrange(1, 200)
        choice = entropy.randrange(7)
        if choice <= 2:
            flags = os.O_RDWR | os.O_CREAT | (os.O_TRUNC if choice else 0)
            os.write(1, name + b" ?\n")  # until the flush returns, old or new or a part of it may be there
            handle = tree.create(ROOT, name, 0o644, CALLER, flags, direct=direct)[1]
            os.ftruncate(handle.fd, 0)
            write(handle, data)
            tree.flush(handle)
            acknowledge(name, data)
            tree.release(handle)
        elif choice == 3:
            os.write(1, name + b" ?\n" + name + b".moved ?\n")
            try:
                ino = tree.lookup(ROOT, name).ino
            except NotFound:
                continue
            handle = tree.open(ino, os.O_RDONLY)
            data = tree.read(handle, 0, 1 << 20)
            tree.release(handle)
            tree.rename(ROOT, name, ROOT, name + b".moved")
            acknowledge(name + b".moved", data)
            acknowledge(name, None)
        elif choice == 4:
            os.write(1, name + b" ?\n")
            try:
                tree.unlink(ROOT, name)
            except NotFound:
                continue
            acknowledge(name, None)
        elif choice == 5:  # all of it at once: until it returns it is there whole, or not at all
            whole = b"%s.whole.%d" % (run.encode(), number)
            os.write(1, whole + b" ~" + data.hex().encode() + b"\n")
            tree.make_file(ROOT, whole, data, 0o644, CALLER)
            acknowledge(whole, data)
        else:  # a file that stays open: what was flushed of it counts, and later writes may
            log = run.encode() + b".log"
            handle = held.get(log) or tree.create(ROOT, log, 0o644, CALLER, os.O_RDWR | os.O_CREAT, direct=direct)[1]
            held[log] = handle
            write(handle, b"%08d\n" % number, tree.attributes(handle.ino, handle).size_bytes)
            tree.flush(handle)
            os.write(1, log + b" >=%d\n" % tree.attributes(handle.ino, handle).size_bytes)


if __name__ == "__main__":
    main()
