"""A mount whose tree does what a test says, one command a line on stdin, one answer a line on stdout.

cold NAME      the bytes of NAME are not here: opening waits until `warm`
warm           what waits gets its bytes
busy NAME      whenever bytes are fetched, someone else has changed NAME meanwhile
unreachable    what waits is told that the bytes cannot be had
remote NAME TEXT   someone else wrote TEXT to NAME (made if it is not there) and the journal says so
silent NAME TEXT   the same, and nobody wakes the mount
remove NAME    someone else removed NAME
break          the next lookup hits a fault of ours
hang           fsync waits until `warm`
waiting        how many threads wait
counts         requests so far, as JSON
"""

import json
import os
import sys
import threading
from itertools import count

from loopback import ROOT, Loopback, counted, options_of, parser, served

from agentfs.errors import NotResident, Unavailable
from agentfs.fuse.mount import FuseMount
from agentfs.replica.journal import ChangeKind, JournalRow


class Scripted(Loopback):
    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.cold: set[int] = set()
        self.warmed = threading.Event()
        self.waiting = 0
        self.broken = False
        self.busy: list[str] = []
        self.fsync_hangs = False
        self.rows: list[JournalRow] = []
        self.number = count(1)

    def lookup(self, parent, name):
        if self.broken:
            self.broken = False
            raise RuntimeError("a fault that the test asked for")
        return super().lookup(parent, name)

    def open(self, ino, flags, *, direct=False, reader=0):
        if ino in self.cold and not flags & os.O_TRUNC:
            raise NotResident(ino)
        return super().open(ino, flags, direct=direct)

    def hydrate(self, ino):
        self.wait()
        if ino in self.cold:
            raise Unavailable("the store cannot be reached")
        for name in self.busy:
            self.do_silent(name, "changed meanwhile")

    def fsync(self, handle, *, data_only):
        if self.fsync_hangs:
            self.wait()
        super().fsync(handle, data_only=data_only)

    def wait(self):
        self.waiting += 1
        self.warmed.wait()
        self.waiting -= 1

    def journal_end(self) -> int:
        return self.rows[-1].id if self.rows else 0

    def changes_since(self, journal_id, limit):
        return [row for row in self.rows if row.id > journal_id][:limit]

    # ---- commands ----

    def real(self, name: str) -> str:
        return os.path.join(self._path(ROOT), name)

    def ino(self, name: str) -> int:
        return os.stat(self.real(name)).st_ino

    def row(self, kind: ChangeKind, ino: int, name: str | None = None) -> None:
        parent = ROOT if name is not None else None
        encoded = os.fsencode(name) if name is not None else None
        self.rows.append(JournalRow(next(self.number), 0, kind, ino, parent, encoded, 0))

    def do_cold(self, name: str) -> None:
        self.warmed.clear()
        self.cold.add(self.ino(name))

    def do_warm(self) -> None:
        self.cold.clear()
        self.warmed.set()

    def do_busy(self, name: str) -> None:
        self.busy.append(name)

    def do_unreachable(self) -> None:
        self.warmed.set()

    def do_remote(self, name: str, *words: str) -> None:
        new = not os.path.exists(self.real(name))
        with open(self.real(name), "w") as file:
            file.write(" ".join(words))
        self.row(ChangeKind.CONTENT, self.ino(name))
        if new:
            self.row(ChangeKind.LINK, self.ino(name), name)

    do_silent = do_remote

    def do_remove(self, name: str) -> None:
        ino = self.ino(name)
        os.unlink(self.real(name))
        self.row(ChangeKind.UNLINK, ino, name)

    def do_break(self) -> None:
        self.broken = True

    def do_hang(self) -> None:
        self.warmed.clear()
        self.fsync_hangs = True

    def do_waiting(self) -> int:
        return self.waiting


def obey(tree: Scripted, mount: FuseMount) -> None:
    for line in sys.stdin:
        command, *words = line.split()
        do = getattr(tree, f"do_{command}", None)
        answer = do(*words) if do else json.dumps(counted(mount))
        if command != "silent":
            mount.wake()
        print("ok" if answer is None else answer, flush=True)


def main() -> None:
    arguments = parser().parse_args()
    os.umask(0)
    tree = Scripted(arguments.directory)
    mount = FuseMount(tree, arguments.mountpoint, options_of(arguments), journal_end=tree.journal_end)
    threading.Thread(target=obey, args=(tree, mount), daemon=True).start()
    served(mount)


if __name__ == "__main__":
    main()
