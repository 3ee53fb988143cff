"""One writer among many: a replica, its tree and its engine in a process of its own, and a loop that changes files.

Reads one line of JSON with what to do, says `ready`, waits for a line, works for so long, makes everything durable,
and prints one line of JSON with what it saw. No mount: what is measured is how engines share a log.
"""

import json
import os
import random
import sys
import threading
import time
from pathlib import Path

from agentfs.clock import SystemClock
from agentfs.errors import AgentFSError, NotFound, NotResident
from agentfs.model.records import Commit
from agentfs.replica.replica import Replica
from agentfs.stores.open import open_store
from agentfs.sync.engine import Engine
from agentfs.sync.options import EngineOptions
from agentfs.tree.options import TreeOptions
from agentfs.tree.tree import Tree
from agentfs.tree.values import Caller, Handle

SHARED = b"shared.log"
_ROOT = 1
_CALLER = Caller(uid=0, gid=0)
_CLEAN_SECONDS_MAX = 120.0


class Writer:
    def __init__(self, asked: dict[str, object]) -> None:
        self.name = str(asked["name"])
        self.entropy = random.Random(str(asked["name"]))
        self.written: dict[bytes, float] = {}
        self.delays: list[float] = []
        self.commits: list[float] = []
        self.lines = 0
        directory = Path(str(asked["directory"]))
        clock = SystemClock()
        self.replica = Replica.open(
            str(directory), volume_kind="space", volume_id="contention", session_kind="engine", clock=clock
        )
        self.engine = Engine(
            self.replica,
            open_store(str(asked["store"])),
            volume_kind="space",
            volume_id="contention",
            author=self.name,
            clock=clock,
            options=EngineOptions(turns=bool(asked["turns"]), prefetch=False),
            observers=(self.heard,),
        )
        self.tree = Tree(self.replica, hydrator=self.engine, options=TreeOptions(agent=self.name))

    def heard(self, commit: Commit, _digest: bytes) -> None:
        """A commit stands in the log; if it is ours, what is in it is durable."""
        if commit.author != self.name:
            return
        now = time.monotonic()
        self.commits.append(now)
        self.delays += [now - self.written.pop(link.name) for link in commit.links if link.name in self.written]

    # ---- changing ----

    def change(self, directory: int, number: int) -> None:
        """A new small file; at times a line at the end of a file of its own, or of the file that all write."""
        name = b"%s-%06d.md" % (self.name.encode(), number)
        _, handle = self.tree.create(directory, name, 0o644, _CALLER, os.O_WRONLY)
        self.tree.write(handle, 0, self.entropy.randbytes(512).hex().encode())
        self.written[name] = time.monotonic()
        self.tree.flush(handle)
        self.tree.release(handle)
        if number % 5 == 0:
            self.append(directory, b"own.log")
        if number % 10 == 0:
            self.append(_ROOT, SHARED)
            self.lines += 1

    def append(self, directory: int, name: bytes) -> None:
        line = b"%s says %d at %.3f\n" % (self.name.encode(), self.lines, time.monotonic())
        handle = self.opened(directory, name)
        self.tree.write(handle, 0, line)
        self.tree.flush(handle)
        self.tree.release(handle)

    def opened(self, directory: int, name: bytes) -> Handle:
        """For appending; made when it is not there."""
        while True:
            try:
                ino = self.tree.lookup(directory, name).ino
            except NotFound:
                return self.tree.create(directory, name, 0o644, _CALLER, os.O_WRONLY | os.O_APPEND)[1]
            try:
                return self.tree.open(ino, os.O_WRONLY | os.O_APPEND)
            except NotResident:  # and perhaps again: another version may come while this one is fetched
                self.tree.hydrate(ino)

    def work(self, seconds: float, changes_per_second: float) -> None:
        directory = self.tree.mkdir(_ROOT, self.name.encode(), 0o755, _CALLER).ino
        end, number = time.monotonic() + seconds, 0
        due = time.monotonic()
        while (now := time.monotonic()) < end:
            if now < due:
                time.sleep(due - now)
            number += 1
            self.change(directory, number)
            self.engine.wake()
            due += self.entropy.expovariate(changes_per_second)


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    writer = Writer(asked)
    writer.engine.bootstrap()
    stop = threading.Event()
    thread = threading.Thread(target=writer.engine.run, args=(stop,))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    thread.start()
    start, error = time.monotonic(), ""
    try:
        writer.work(asked["seconds"], asked["changes_per_second"])
        end = time.monotonic()
        in_time = len(writer.delays), len(writer.commits), len(writer.written)
        writer.engine.push_until_clean(end + _CLEAN_SECONDS_MAX)
    except (AgentFSError, OSError) as problem:
        error = f"{type(problem).__name__}: {problem}"
        in_time = len(writer.delays), len(writer.commits), len(writer.written)
    clean = time.monotonic()
    stop.set()
    writer.engine.wake()
    thread.join()
    status = writer.engine.status()
    found = {
        "name": writer.name,
        "error": error or (status.last_error or "" if status.broken else ""),
        "start": start,
        "durable_in_time": in_time[0],
        "commits_in_time": in_time[1],
        "left": in_time[2],
        "clean_after_s": clean - start - asked["seconds"],
        "delays": writer.delays,
        "commits": writer.commits,
        "lines": writer.lines,
        "conflicts": status.conflicts,
        "cpu_s": time.process_time(),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    writer.tree.close()
    writer.engine.close()
    writer.replica.close()


if __name__ == "__main__":
    main()
