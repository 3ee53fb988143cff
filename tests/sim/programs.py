"""Programs that edit files as real ones do, in steps: between any two of them the engines work, the network fails and
machines crash.

Each is a generator that gives control back between its steps. What it destroys is what its machine shows at that
moment; what it wrote is acknowledged when the close of its handle was answered.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from oracle import Broken, Deed, Oracle
from texts import appended, edited, kind_of, tokens

from agentfs.errors import NotFound, NotResident
from agentfs.model.records import Kind
from agentfs.replica.locks import LockUse
from agentfs.sync.lock_steps import Granted
from agentfs.tree.values import AttributeChange

if TYPE_CHECKING:
    from machine import Machine
    from node import Node

    from agentfs.tree.values import Handle


LOCKED = "count.lock"
"""A file that is changed under its lock only."""


@dataclass
class Program:
    """One run of one program on one machine."""

    machine: "Machine"
    oracle: Oracle
    random: Random
    path: str
    what: str = ""
    handles: list["Handle"] = field(default_factory=list)
    own: set[bytes] = field(default_factory=set)
    """Tokens that it has put into the file."""
    read: bytes = b""
    """What it has read."""
    deed: Deed = field(init=False)
    steps: Iterator[None] = field(init=False)

    def start(self, *, locks: bool) -> None:
        """`locks`: it may be one that locks."""
        self.what = self.random.choice(
            ["in_place", "in_place", "stale", "append", "append", "journal", "save", "save", "save_with_backup"]
        )
        if locks and self.random.random() < 0.3:
            self.what, self.path = "locked", LOCKED
        self.deed = self.oracle.deed(f"{self.what} {self.path}", self.machine.name)
        self.steps = getattr(self, f"_{self.what}")()

    @property
    def node(self) -> "Node":
        assert self.machine.node is not None
        return self.machine.node

    def fresh(self) -> bytes:
        token = self.machine.fresh()
        self.own.add(token)
        return token

    # ---- the programs ----

    def _in_place(self) -> Iterator[None]:
        """Read, close, think, truncate, write: what comes in between is overwritten, as on any file system."""
        data = self._read_if_there()
        yield
        handle = self._truncate()
        yield
        yield from self._fill(handle, self._edited(data))
        self.close(handle)

    def _stale(self) -> Iterator[None]:
        """Open for writing, read, think for long, replace what was read: others' edits meanwhile are merged."""
        handle = self._open(self.path, os.O_RDWR | os.O_CREAT)
        yield
        data = self.read = self._now(handle)
        for _ in range(self.random.choice([0, 1, 3, 6])):
            yield
        text = self._edited(data)
        self._write(handle, text)
        self._cut(handle, len(text))
        yield
        self.close(handle)

    def _append(self) -> Iterator[None]:
        handle = self._open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        yield
        self._add(handle)
        if self.random.random() < 0.5:
            yield
        self.close(handle)

    def _journal(self) -> Iterator[None]:
        """A log that stays open, with a line now and then."""
        handle = self._open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for _ in range(self.random.randrange(2, 6)):
            for _ in range(self.random.choice([1, 2, 4])):
                yield
            self._add(handle)
            if self.random.random() < 0.5:
                yield
                self._flush(handle)
        self.close(handle)

    def _save(self) -> Iterator[None]:
        """A new file, renamed over the old one."""
        data = self._read_if_there()
        yield
        temporary = yield from self._new_file(self._edited(data))
        self._rename(temporary, self.path)

    def _save_with_backup(self) -> Iterator[None]:
        """The old file is renamed away, the new one takes the name, the old one goes."""
        data = self._read_if_there()
        yield
        backup = f"{self.path}~"
        text = self._edited(data)
        try:
            self._rename(self.path, backup)
        except NotFound:
            backup = ""
        yield
        handle = self._truncate()
        yield from self._fill(handle, text)
        self.close(handle)
        yield
        if backup:
            ino = self.node.at(backup)
            old = self.machine.shown_bytes(ino)
            self.node.unlink(backup)
            self.machine.unlinked(ino)
            # The log may have moved the new file there meanwhile, or another program of this machine replaced it.
            lost = bool(self.own & tokens(old)) or handle.ino in self.machine.gone
            self.oracle.destroyed(self.deed, old, b"" if lost else text)

    def _locked(self) -> Iterator[None]:
        """Take a lock across machines, read, think, write, give it back."""
        if self.machine.shown_file(LOCKED) is None:
            self.close(self._open(LOCKED, os.O_WRONLY | os.O_CREAT))
        locks, ino = self.node.engine.locks, self.node.at(LOCKED)
        use = LockUse(ino, self.node.replica.session, self.deed.number, self.random.choice([3, 30]))
        for _ in range(6):
            self.node.tree.let_go(ino)
            found = locks.take(use)
            if isinstance(found, Granted):
                break
            yield
        else:
            return
        data = self.read = self.node.read(LOCKED, reader=self.deed.process)
        unread = self.oracle.sections - tokens(data)
        for _ in range(self.random.choice([0, 1, 4])):
            yield
        handle = self._open(LOCKED, os.O_WRONLY | os.O_APPEND)
        self._write(handle, self.fresh() + b"\n")
        self.close(handle)
        for _ in range(self.random.choice([0, 1, 4])):
            yield
        self.node.tree.let_go(ino)
        locks.give_back(use, found.epoch)
        if unread:  # who slept through a takeover may be granted what it believes to have, and then loses it
            raise Broken(f"{self.machine.name} changed {LOCKED} under its lock, and had not read {unread}")
        self.oracle.sections |= self.own
        self.oracle.counts["locks given back in time"] += 1

    # ---- their parts ----

    def _edited(self, data: bytes) -> bytes:
        kind = kind_of(self.path)
        text = edited(data, kind, self.fresh, self.random)
        self.oracle.wrote(text, kind, but=data)
        self.oracle.reordered(data, text)
        return text

    def _read_if_there(self) -> bytes:
        try:
            self.read = self.node.read(self.path, reader=self.deed.process)
        except NotFound:
            self.read = b""
        return self.read

    def _new_file(self, text: bytes) -> Iterator[None]:
        directory, _, name = self.path.rpartition("/")
        number = self.deed.number if self.random.random() < 0.5 else 0
        temporary = f"{directory}/.new{number}-{name}" if directory else f".new{number}-{name}"
        handle = self._truncate(temporary)
        yield
        yield from self._fill(handle, text)
        if self.random.random() < 0.3:
            self.node.tree.fsync(handle, data_only=False)
        self.close(handle)
        for _ in range(self.random.choice([0, 0, 1, 2])):
            yield
        return temporary

    def _fill(self, handle: "Handle", text: bytes) -> Iterator[None]:
        """Write `text` into an empty file, in one piece or, by appending, in two."""
        lines = text.splitlines(keepends=True)
        if len(lines) < 2 or not handle.flags & os.O_APPEND:
            self._write(handle, text)
            yield
            return
        half = self.random.randrange(1, len(lines))
        for piece in (lines[:half], lines[half:]):
            self._write(handle, b"".join(piece))
            yield

    def _add(self, handle: "Handle") -> None:
        kind = kind_of(self.path)
        text = appended(kind, self.fresh, self.random)
        self.oracle.wrote(text, kind)
        self._write(handle, text)

    def _truncate(self, path: str | None = None) -> "Handle":
        """Open an empty file."""
        path = path or self.path
        before = b""
        try:
            ino = self.node.at(path)
            if self.node.tree.attributes(ino).kind is Kind.FILE:
                before = self.machine.shown_bytes(ino)
        except NotFound:
            pass
        append = os.O_APPEND if kind_of(path) in ("prose", "lines") and self.random.random() < 0.3 else 0
        handle = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | append)
        self.oracle.destroyed(self.deed, before, read=self.read)
        return handle

    def _open(self, path: str, flags: int) -> "Handle":
        handle = self.node.open(path, flags, reader=self.deed.process)
        self.handles.append(handle)
        return handle

    def _now(self, handle: "Handle") -> bytes:
        return self.machine.shown_bytes(handle.ino)

    def _write(self, handle: "Handle", data: bytes) -> None:
        """At the end, or over what is there; also what another program of this machine has put there since. Who
        appends to a line without an end makes one line of two. All this is as on any file system."""
        tree = self.node.tree
        before = self._now(handle)
        try:
            tree.write(handle, 0, data)
        except NotResident:
            tree.hydrate(handle.ino)
            before = self._now(handle)
            tree.write(handle, 0, data)
        self._changed(before, self._now(handle))

    def _changed(self, before: bytes, after: bytes) -> None:
        self.oracle.destroyed(self.deed, before, after, read=self.read)
        self.oracle.wrote(after, kind_of(self.path), but=before)

    def _cut(self, handle: "Handle", size_bytes: int) -> None:
        before = self._now(handle)
        self.node.tree.set_attributes(handle.ino, AttributeChange(size_bytes=size_bytes), handle=handle)
        self._changed(before, self._now(handle))

    def _rename(self, old: str, new: str) -> None:
        self.machine.rename(self.deed, old, new, read=self.read)

    def _flush(self, handle: "Handle") -> None:
        self.node.tree.flush(handle)
        self._acknowledged(handle)

    def close(self, handle: "Handle") -> None:
        """As close(2) and the release that follows."""
        tree = self.node.tree
        tree.flush(handle)
        self._acknowledged(handle)
        tree.release(handle)
        self.handles.remove(handle)

    def _acknowledged(self, handle: "Handle") -> None:
        if handle.ino in self.machine.gone:
            return  # unlinked by a program of this machine: nobody expects it back
        with open(f"/proc/self/fd/{handle.fd}", "rb") as file:
            data = file.read()
        self.machine.kept |= self.oracle.acknowledge(self.deed, data, self.own, self.machine.name)
