"""A tree against a real directory, step by step: hypothesis looks for a sequence of operations that tells them apart.

`make machine` looks for long (profile `machine`).
"""

import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

sys.path.insert(0, str(Path(__file__).parent))
from tree_world import LONG_AGO_NS, Opened, TreeWorld

from agentfs.testing.file_behaviour_binding import Files

PROFILES = {
    "default": settings(max_examples=35, stateful_step_count=40),
    "machine": settings(max_examples=int(os.environ.get("EXAMPLES", "3000")), stateful_step_count=120),
}
PROFILE = settings(
    PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "default")],
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
NAMES = [b"a", b"b", b"c", b"\xff"]
PICK = st.integers(0, 10_000)
NAME = st.sampled_from(NAMES)
DATA = st.sampled_from([b"", b"x", b"0123456789", b"y" * 5000])
OFFSET = st.sampled_from([0, 1, 7, 4096, 20_000])
SIZE = st.sampled_from([0, 1, 9, 5000, 70_000])
FLAGS = st.builds(
    lambda access, extra: access | extra,
    st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
    st.sampled_from([0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_APPEND, os.O_TRUNC, os.O_CREAT | os.O_TRUNC]),
)
OLD_NS = st.integers(1, 1_000_000)


class TreeMachine(RuleBasedStateMachine):
    direct = False

    def __init__(self) -> None:
        super().__init__()
        self.world: TreeWorld | None = None

    @initialize()
    def begin(self) -> None:
        """With directories in directories from the start, or they would seldom meet."""
        self.world = TreeWorld(direct=self.direct)
        for path in (b"a", b"a/b", b"a/b/c", b"b", b"b/a", b"c"):
            self.both(lambda files, path=path: files.mkdir(path, 0o755))
        for path in (b"a/c", b"b/a/b"):
            self.both(lambda files, path=path: files.mknod(path, stat.S_IFREG | 0o644))

    def teardown(self) -> None:
        if self.world is not None:
            self.world.close()

    # ---- choosing ----

    def place(self, pick: int, name: bytes) -> bytes:
        """A name, mostly in a directory, now and then below what is none."""
        directories, rest = self.world.paths()
        pool = directories * 3 + rest[:2]
        parent = pool[pick % len(pool)]
        return parent + b"/" + name if parent else name

    def there(self, pick: int, name: bytes) -> bytes:
        """Something that exists, if anything does."""
        directories, rest = self.world.paths()
        pool = directories[1:] + rest * 2
        return pool[pick % len(pool)] if pool else name

    def handle(self, pick: int) -> Opened:
        return self.world.opened[pick % len(self.world.opened)]

    def both(self, act: Callable[[Files], object], *, other: bool = False) -> None:
        self.world.both(act, other=other)

    # ---- names ----

    @rule(pick=PICK, name=NAME, mode=st.sampled_from([0o755, 0o3775, 0o700]), other=st.booleans())
    def mkdir(self, pick: int, name: bytes, mode: int, other: bool) -> None:
        path = self.place(pick, name)
        self.both(lambda files: files.mkdir(path, mode), other=other)

    @rule(pick=PICK, name=NAME, data=DATA)
    def write_whole(self, pick: int, name: bytes, data: bytes) -> None:
        path = self.place(pick, name)

        def act(files: Files) -> int:
            fd = files.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o640)
            try:
                return files.write(fd, data, 0)
            finally:
                files.close(fd)

        if not self.is_special(path):
            self.both(act)

    def is_special(self, path: bytes) -> bool:
        """Opening a FIFO is the kernel's affair; a tree has no business there."""
        try:
            return stat.S_IFMT(self.world.model.stat(path).mode) not in (stat.S_IFREG, stat.S_IFDIR)
        except OSError:
            return False

    @rule(pick=PICK, name=NAME, kind=st.sampled_from([stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK]))
    def mknod(self, pick: int, name: bytes, kind: int) -> None:
        path = self.place(pick, name)
        self.both(lambda files: files.mknod(path, kind | 0o644))

    @rule(pick=PICK, name=NAME, points_to=st.sampled_from([b"a", b"b/c", b"./b", b"nowhere", b"\xff"]))
    def symlink(self, pick: int, name: bytes, points_to: bytes) -> None:
        path = self.place(pick, name)
        self.both(lambda files: files.symlink(points_to, path))

    @rule(pick=PICK, into=PICK, name=NAME, other=st.booleans())
    def link(self, pick: int, into: int, name: bytes, other: bool) -> None:
        old, new = self.there(pick, name), self.place(into, name)
        self.both(lambda files: files.link(old, new), other=other)

    @rule(pick=PICK, name=NAME, other=st.booleans())
    def unlink(self, pick: int, name: bytes, other: bool) -> None:
        path = self.there(pick, name)
        self.both(lambda files: files.unlink(path), other=other)

    @rule(pick=PICK, name=NAME, other=st.booleans())
    def rmdir(self, pick: int, name: bytes, other: bool) -> None:
        path = self.there(pick, name)
        self.both(lambda files: files.rmdir(path), other=other)

    @rule(pick=PICK, into=PICK, name=NAME, other=st.booleans(), flags=st.sampled_from([0, 0, 0, 1, 2, 2]))
    def rename(self, pick: int, into: int, name: bytes, other: bool, flags: int) -> None:
        old, new = self.there(pick, name), self.place(into, name)
        self.both(lambda files: files.rename(old, new, flags), other=other)

    @rule(pick=PICK, into=PICK, name=NAME, other=st.booleans(), flags=st.sampled_from([0, 1, 2]))
    def rename_onto(self, pick: int, into: int, name: bytes, other: bool, flags: int) -> None:
        old, new = self.there(pick, name), self.there(into, name)
        self.both(lambda files: files.rename(old, new, flags), other=other)

    @rule(pick=PICK, into=PICK, other=st.booleans(), flags=st.sampled_from([0, 0, 1, 2]))
    def rename_directories(self, pick: int, into: int, other: bool, flags: int) -> None:
        directories = self.world.paths()[0][1:]
        if directories:
            old, new = directories[pick % len(directories)], directories[into % len(directories)]
            self.both(lambda files: files.rename(old, new, flags), other=other)

    @rule(pick=PICK, into=PICK, name=NAME)
    def rename_into_a_directory(self, pick: int, into: int, name: bytes) -> None:
        directories = self.world.paths()[0][1:]
        if directories:
            old, new = directories[pick % len(directories)], directories[into % len(directories)] + b"/" + name
            self.both(lambda files: files.rename(old, new))

    # ---- attributes ----

    @rule(pick=PICK, name=NAME, mode=st.sampled_from([0o600, 0o4755, 0o2775, 0o777]), other=st.booleans())
    def chmod(self, pick: int, name: bytes, mode: int, other: bool) -> None:
        path = self.there(pick, name)
        self.both(lambda files: files.chmod(path, mode), other=other)

    @rule(pick=PICK, name=NAME, uid=st.sampled_from([-1, 0, 1000]), gid=st.sampled_from([-1, 0, 1001]))
    def chown(self, pick: int, name: bytes, uid: int, gid: int) -> None:
        if os.geteuid() == 0 and (uid, gid) != (-1, -1):  # of nothing the kernel makes a chmod
            path = self.there(pick, name)
            self.both(lambda files: files.chown(path, uid, gid))

    @rule(pick=PICK, name=NAME, ns=OLD_NS, follow=st.booleans())
    def utime(self, pick: int, name: bytes, ns: int, follow: bool) -> None:
        path = self.there(pick, name)
        self.both(lambda files: files.utime(path, ns, ns, follow=follow))

    @rule(pick=PICK, name=NAME, size=SIZE)
    def truncate(self, pick: int, name: bytes, size: int) -> None:
        path = self.there(pick, name)
        with suppress(OSError):
            if self.world.model.stat(path).size_bytes == size:
                return  # whether times move then, file systems differ on
        self.both(lambda files: files.truncate(path, size))

    @rule(
        pick=PICK, name=NAME, attribute=st.sampled_from(["user.a", "user.b"]),
        value=DATA.filter(lambda it: len(it) < 99),
        flags=st.sampled_from([0, 1, 2]), other=st.booleans(),
    )  # fmt: skip
    def set_xattr(self, pick: int, name: bytes, attribute: str, value: bytes, flags: int, other: bool) -> None:
        path = self.there(pick, name)
        self.both(lambda files: files.set_xattr(path, attribute, value, flags), other=other)

    @rule(pick=PICK, name=NAME, attribute=st.sampled_from(["user.a", "user.b"]))
    def remove_xattr(self, pick: int, name: bytes, attribute: str) -> None:
        path = self.there(pick, name)
        self.both(lambda files: files.remove_xattr(path, attribute))

    # ---- open files ----

    @precondition(lambda self: len(self.world.opened) < 5)
    @rule(pick=PICK, name=NAME, flags=FLAGS)
    def open(self, pick: int, name: bytes, flags: int) -> None:
        path = self.place(pick, name)
        try:
            is_directory = stat.S_ISDIR(self.world.model.stat(path).mode)
        except OSError:
            is_directory = False
        if not self.is_special(path) and not (is_directory and flags & os.O_ACCMODE == os.O_RDONLY):
            self.world.open(path, flags)

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK)
    def close(self, pick: int) -> None:
        self.world.close_file(self.handle(pick))

    @rule(pick=PICK)
    def rmdir_a_directory(self, pick: int) -> None:
        directories = self.world.paths()[0][1:]
        if directories:
            path = directories[pick % len(directories)]
            self.both(lambda files: files.rmdir(path))

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK, data=DATA.filter(bool), offset=OFFSET)
    def write(self, pick: int, data: bytes, offset: int) -> None:
        self.world.on(self.handle(pick), lambda files, fd: files.write(fd, data, offset))

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK, offset=OFFSET)
    def read(self, pick: int, offset: int) -> None:
        self.world.on(self.handle(pick), lambda files, fd: files.read(fd, 100_000, offset))

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK, size=SIZE)
    def ftruncate(self, pick: int, size: int) -> None:
        self.world.on(self.handle(pick), lambda files, fd: files.ftruncate(fd, size))

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK, ns=OLD_NS)
    def futime(self, pick: int, ns: int) -> None:
        self.world.on(self.handle(pick), lambda files, fd: files.futime(fd, ns, ns))

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK, offset=OFFSET, length=SIZE, mode=st.sampled_from([0, 1, 3]))
    def fallocate(self, pick: int, offset: int, length: int, mode: int) -> None:
        self.world.on(self.handle(pick), lambda files, fd: files.fallocate(fd, mode, offset, length))

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK, into=PICK, offset=OFFSET, to=OFFSET, length=SIZE)
    def copy_range(self, pick: int, into: int, offset: int, to: int, length: int) -> None:
        one, two = self.handle(pick), self.handle(into)
        model, files = self.world.model, self.world.files
        if model.fstat(one.model).ino == model.fstat(two.model).ino:
            return  # overlapping ranges of one file: whatever the local file system says
        results = []
        for side, source, target in ((model, one.model, two.model), (files, one.tree, two.tree)):
            try:
                results.append(side.copy_range(source, offset, target, to, length))
            except OSError as error:
                results.append(-(error.errno or 0))
        assert results[0] == results[1]

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK)
    def fsync(self, pick: int) -> None:
        self.world.files.fsync(self.handle(pick).tree)

    @precondition(lambda self: self.world.opened)
    @rule(pick=PICK)
    def flush(self, pick: int) -> None:
        self.world.files.flush(self.handle(pick).tree)

    # ---- the whole ----

    @rule()
    def compare_bytes(self) -> None:
        self.world.compare(content=True)

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @rule()
    def crash(self) -> None:
        self.world.crash()

    @invariant()
    def same(self) -> None:
        if self.world is not None:
            self.world.compare(content=False)


class DirectTreeMachine(TreeMachine):
    """Bytes pass the tree by, as in passthrough."""

    direct = True


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("machine", [TreeMachine, DirectTreeMachine])
def test_tree_is_a_directory(machine: type[TreeMachine]) -> None:
    run_state_machine_as_test(machine, settings=PROFILE)


def test_a_write_past_us_moves_a_time_that_was_set() -> None:
    world = TreeWorld(direct=True)
    try:
        world.open(b"f", os.O_RDWR | os.O_CREAT)
        opened = world.opened[0]
        for byte in (b"1", b"2"):
            world.on(opened, lambda files, fd, byte=byte: files.write(fd, byte, 0))
            shown = world.files.fstat(opened.tree).mtime_ns
            world.on(opened, lambda files, fd: files.futime(fd, 1, 1))
        assert shown > LONG_AGO_NS
    finally:
        world.close()
