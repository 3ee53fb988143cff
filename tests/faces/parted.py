"""A mount of several replicas: the home, and others as directories in it, shown and taken away on command."""

import os
import sys
import threading

from loopback import options_of, parser

from agentfs.clock import SystemClock
from agentfs.errors import NotFound
from agentfs.fuse.mount import FuseMount
from agentfs.replica.replica import Replica
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller

ROOT = 1


def opened(directory: str, kind: str) -> Replica:
    name = os.path.basename(directory)
    return Replica.open(directory, volume_kind="home", volume_id=name, session_kind=kind, clock=SystemClock())


class World:
    def __init__(self, base: str, mountpoint: str, options) -> None:
        self.base = base
        self.replicas = {"home": opened(os.path.join(base, "home"), "mount")}
        self.others: dict[str, Replica] = {}
        self.trees = {"home": Tree(self.replicas["home"])}
        self.numbers = {"home": 0}
        home = self.other("home")
        try:
            self.spaces = home.lookup(ROOT, b"spaces").ino
        except NotFound:
            self.spaces = home.mkdir(ROOT, b"spaces", 0o755, Caller(0, 0)).ino
        self.mount = FuseMount(
            self.trees["home"],
            mountpoint,
            options,
            journal_end=self.replicas["home"].journal_end,
            backing_directory=base,
            hold_back=self.hold_back,
        )

    def hold_back(self, directory: int, link) -> bool:
        return self.trees["home"].readlink(link.ino).startswith(b"agentfs:")

    def other(self, name: str) -> Tree:
        """What another process of this machine sees."""
        if name not in self.others:
            self.others[name] = opened(os.path.join(self.base, name), "sdk")
        return Tree(self.others[name])

    # ---- commands ----

    def link(self, name: str) -> str:
        self.other("home").symlink(self.spaces, name.encode(), b"agentfs:space/" + name.encode(), Caller(0, 0))
        self.mount.wake()
        return "ok"

    def add(self, name: str, mode: str) -> str:
        replica = self.replicas[name] = opened(os.path.join(self.base, name), "mount")
        tree = self.trees[name] = Tree(replica)
        self.numbers[name] = self.mount.parts.add(tree, read_only=mode == "ro", journal_end=replica.journal_end)
        return str(self.numbers[name])

    def show(self, name: str) -> str:
        self.mount.parts.show(self.spaces, name.encode(), self.numbers[name])
        return "ok"

    def trouble(self, name: str) -> str:
        self.mount.parts.show(self.spaces, name.encode(), None, problem="out of order")
        return "ok"

    def hide(self, name: str) -> str:
        self.mount.parts.hide(self.spaces, name.encode())
        return "ok"

    def unlink(self, name: str) -> str:
        self.other("home").unlink(self.spaces, name.encode())
        self.mount.wake()
        return "ok"

    def files(self, name: str) -> str:
        return str(self.mount.parts.open_files(self.numbers[name]))

    def remove(self, name: str) -> str:
        if not self.mount.parts.remove(self.numbers[name]):
            return "in use"
        del self.numbers[name]
        self.trees.pop(name).close()
        self.replicas.pop(name).close()
        return "ok"

    def write(self, name: str, path: str, text: str) -> str:
        """By another process: the kernel must be told."""
        tree = self.other(name)
        try:
            found = tree.lookup(ROOT, path.encode())
            handle = tree.open(found.ino, os.O_RDWR | os.O_TRUNC)
        except NotFound:
            _, handle = tree.create(ROOT, path.encode(), 0o644, Caller(0, 0), os.O_RDWR)
        tree.write(handle, 0, text.encode())
        tree.flush(handle)
        tree.release(handle)
        self.mount.parts.wake(self.numbers[name])
        return "ok"

    def listen(self) -> None:
        for line in sys.stdin:
            word, *arguments = line.split()
            try:
                print(getattr(self, word)(*arguments), flush=True)
            except Exception as error:  # the test that asked shall see it
                print(repr(error), flush=True)

    def close(self) -> None:
        for tree in self.trees.values():
            tree.close()
        for replica in (*self.replicas.values(), *self.others.values()):
            replica.close()


def main() -> None:
    made = parser()
    made.add_argument("--show", action="append", default=[])
    arguments = made.parse_args()
    os.umask(0)
    world = World(arguments.directory, arguments.mountpoint, options_of(arguments))
    for name in arguments.show:
        world.link(name)
        world.add(name, "rw")
        world.show(name)
    threading.Thread(target=world.listen, daemon=True).start()
    world.mount.session.on_ready.append(lambda _negotiated: print("ready", flush=True))
    world.mount.serve()
    world.close()


if __name__ == "__main__":
    main()
