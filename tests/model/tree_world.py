"""A tree beside a real directory: every operation goes to both, and both must answer alike.

The directory is the model. `TreeWorld` knows how a replica is closed, opened again, and left behind by a crash.
"""

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from agentfs.clock import SystemClock
from agentfs.fsck.findings import Findings
from agentfs.fsck.replica_check import read_replica
from agentfs.replica.replica import Replica
from agentfs.testing.file_behaviour_binding import Capability, Facts, Files, KernelFiles, entries, get, names
from agentfs.testing.file_behaviour_core import TreeFiles
from agentfs.tree.tree import Tree

LONG_AGO_NS = 10**12
"""Times before this were set by `utime`; of others only the kernel's clock knows. Not compared where bytes pass the
tree by: `test_a_write_past_us_moves_a_time_that_was_set` says why."""


@dataclass
class Opened:
    """One file, open on both sides."""

    model: int
    tree: int
    flags: int


class TreeWorld:
    """Use `close`, or drop it: everything is below one temporary directory."""

    def __init__(self, *, direct: bool) -> None:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.home = Path(tempfile.mkdtemp(prefix="agentfs-model-", dir=memory))
        self.home.chmod(0o755)
        (self.home / "model").mkdir()
        self.model = KernelFiles(os.fsencode(self.home / "model"), frozenset(Capability))
        self.direct = direct
        self.opened: list[Opened] = []
        self._numbers = count(1)
        self.directory = self.home / "replica0"
        self._start()
        self.both(lambda files: files.chmod(b"", 0o755))
        self.model.umask(0o022)

    def _start(self) -> None:
        self.replica = self._replica("mount")
        self.tree = Tree(self.replica)
        self.files = TreeFiles(self.tree, direct=self.direct)
        self.other_replica = self._replica("sdk")
        self.other_tree = Tree(self.other_replica)
        self.other = TreeFiles(self.other_tree)
        """Another process on the same replica (what it changes by name, the first one must show)."""

    def _replica(self, kind: str) -> Replica:
        return Replica.open(
            str(self.directory), volume_kind="home", volume_id="model", session_kind=kind, clock=SystemClock()
        )

    # ---- doing ----

    def both(self, act: Callable[[Files], object], *, other: bool = False) -> None:
        """Do it on both sides; the answers, or the errnos, must be equal."""
        assert outcome(act, self.other if other else self.files) == outcome(act, self.model)

    def open(self, path: bytes, flags: int) -> None:
        model = outcome(lambda files: files.open(path, flags, 0o644), self.model)
        tree = outcome(lambda files: files.open(path, flags, 0o644), self.files)
        assert model[0] == tree[0], (model, tree)
        if model[0] == "done":
            self.opened.append(Opened(model[1], tree[1], flags))

    def on(self, opened: Opened, act: Callable[[Files, int], object]) -> None:
        model = outcome(lambda files: act(files, opened.model), self.model)
        assert outcome(lambda files: act(files, opened.tree), self.files) == model

    def close_file(self, opened: Opened) -> None:
        self.on(opened, lambda files, fd: files.close(fd))
        self.opened.remove(opened)

    # ---- comparing ----

    def paths(self) -> tuple[list[bytes], list[bytes]]:
        """What the model has: directories, and all the rest."""
        directories, rest = [b""], []
        for directory in directories:
            for entry in sorted(entries(self.model, directory)):
                if entry.name not in (b".", b".."):
                    path = directory + b"/" + entry.name if directory else entry.name
                    (directories if entry.type_bits == stat.S_IFDIR else rest).append(path)
        return directories, rest

    def compare(self, *, content: bool) -> None:
        """Both show the same tree; with `content` to the last byte."""
        directories, rest = self.paths()
        groups: dict[int, int] = {}
        for path in directories + rest:
            model, tree = (files.stat(path, follow=False) for files in (self.model, self.files))
            assert comparable(tree) == comparable(model), path
            assert groups.setdefault(model.ino, tree.ino) == tree.ino, path
            if min(model.mtime_ns, tree.mtime_ns) < LONG_AGO_NS and not self.direct:
                assert tree.mtime_ns == model.mtime_ns, path
            if stat.S_ISDIR(model.mode):
                assert names(self.files, path) == names(self.model, path), path
            elif content and stat.S_ISREG(model.mode):
                assert get(self.files, path) == get(self.model, path), path
            elif stat.S_ISLNK(model.mode):
                assert self.files.readlink(path) == self.model.readlink(path), path
            if content and (stat.S_ISREG(model.mode) or stat.S_ISDIR(model.mode)):
                assert xattrs(self.files, path) == xattrs(self.model, path), path
        assert len(set(groups.values())) == len(groups)
        for opened in self.opened:
            model, tree = self.model.fstat(opened.model), self.files.fstat(opened.tree)
            assert comparable(tree) == comparable(model), opened

    # ---- ends and beginnings ----

    def close_model_files(self) -> None:
        for opened in self.opened:
            self.model.close(opened.model)
        self.opened.clear()

    def end_processes(self) -> None:
        self.tree.close()
        self.other_tree.close()
        self.replica.close()
        self.other_replica.close()

    def check(self) -> None:
        """The replica, closed, is whole: rows agree, and each file has its backing file and no other exists."""
        findings = Findings()
        assert read_replica(str(self.directory), findings, deep=True) is not None
        assert findings.found == []
        database = sqlite3.connect(self.directory / "replica.db")
        try:
            rows = {row[0] for row in database.execute("SELECT ino FROM inode WHERE kind=1 AND residency=1")}
            assert not database.execute("SELECT * FROM write_open").fetchall()
        finally:
            database.close()
        backing = {int(path.name, 16) for path in (self.directory / "files").glob("[0-9a-f][0-9a-f]/*")}
        assert backing == rows

    def reopen(self) -> None:
        """Close everything, files too, and open it again."""
        self.close_model_files()
        self.end_processes()
        self.check()
        self._start()
        self.compare(content=True)

    def crash(self) -> None:
        """kill -9 of every process: a copy of the directory as it is now is opened instead, its sessions dead."""
        self.close_model_files()
        left = self.directory
        self.directory = self.home / f"replica{next(self._numbers)}"
        shutil.copytree(left, self.directory, ignore=shutil.ignore_patterns("*-shm"))
        self.end_processes()
        shutil.rmtree(left)
        database = sqlite3.connect(self.directory / "replica.db")
        database.execute("UPDATE session SET started='a process that was killed'")
        database.commit()
        database.close()
        self._start()
        self.compare(content=True)

    def close(self) -> None:
        try:
            self.compare(content=True)
            self.reopen()
        finally:
            self.close_model_files()
            self.end_processes()
            self.check()
            shutil.rmtree(self.home)


def outcome(act: Callable[[Files], object], files: Files) -> tuple[object, object]:
    """What it returns or the errno that it raises."""
    try:
        return "done", act(files)
    except OSError as error:
        return "refused", error.errno


def comparable(facts: Facts) -> tuple[int, ...]:
    size = 0 if stat.S_ISDIR(facts.mode) else facts.size_bytes
    return facts.mode, facts.nlink, facts.uid, facts.gid, facts.rdev, size


def xattrs(files: Files, path: bytes) -> dict[str, bytes]:
    return {name: files.get_xattr(path, name) for name in files.list_xattrs(path) if name.startswith("user.")}
