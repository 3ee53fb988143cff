"""A tree that never changes: texts made for who reads them, files as they were, and whole trees of the past.

It serves one part of a mount, behind names of another part (`virtual.py`). Nothing of it is on the disk. Texts,
lists of directories and bytes are fetched when they are asked for: until then methods raise `NotResident`, and the
face calls `hydrate` where waiting is allowed.

Numbers are never used twice, and what a number means never changes: so the kernel may keep all of it.
"""

import errno
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from agentfs.errors import (
    BadHandle,
    BeyondEnd,
    Detached,
    NoAttribute,
    NotADirectory,
    NotFound,
    NotResident,
    ReadOnly,
)
from agentfs.fuse.conversations import Talk
from agentfs.history.past import PastInode
from agentfs.model.records import Kind
from agentfs.replica.journal import JournalRow
from agentfs.tree.values import Attributes, DirectoryEntry, Handle, Statistics

VIEWS_MAX = 8
"""Trees of the past at once: one more, and the one that was asked for the longest ago is let go."""

Children = Callable[[int, int], Sequence[tuple[bytes, PastInode]]]
"""(inode, sequence) → what was in a directory. May wait."""
Opened = Callable[[int, int], int]
"""(inode, sequence) → a descriptor of what a file was. May wait."""


@dataclass(slots=True, eq=False)
class _Node:
    past: PastInode
    sequence: int
    make: Callable[[], bytes] | None = None
    """A text's: makes it. May wait."""
    text: bytes | None = None
    talk: Talk | None = None
    """What may be said to it."""
    view: "_View | None" = None
    """None: it stands alone."""
    parent: int = 0
    names: dict[bytes, int] | None = None
    """A directory's; None: not fetched yet."""
    ready: list[int] = field(default_factory=list)
    """Descriptors for opens that wait for them."""
    handles: int = 0


@dataclass(slots=True, eq=False)
class _View:
    """A whole tree."""

    root: int
    numbers: dict[int, int] = field(default_factory=dict)
    """The log's number of an inode → ours."""


def _refuse(*_arguments: object, **_options: object) -> NoReturn:
    raise ReadOnly("this is what was, or a text made to be read: it cannot be changed")


class StillTree:
    """See `operations.Operations`. **Lock:** `_lock`, for the tables; never held while something is fetched."""

    def __init__(self, *, children: Children, opened: Opened, statistics: Callable[[], Statistics]) -> None:
        self._children = children
        self._opened = opened
        self.statistics = statistics
        self._lock = threading.Lock()
        self._inos = itertools.count(2)  # 1 is the root of the part, which nobody enters
        self._numbers = itertools.count(1)
        self._nodes: dict[int, _Node] = {}
        self._views: OrderedDict[int, _View] = OrderedDict()
        """By the commit after which they were."""
        self._reading: dict[int, _Node] = {}
        self._directories: dict[int, list[DirectoryEntry]] = {}

    # ---- what there is ----

    def add_text(self, like: PastInode, make: Callable[[], bytes], talk: Talk | None = None) -> int:
        """A file whose bytes `make` says, once. `like` has its attributes, but for the size; `talk` is what may be
        said to it. Returns its number; it goes when the kernel forgets it."""
        return self._add(_Node(like, 0, make=make, talk=talk))

    def talk_of(self, ino: int) -> Talk | None:
        """What may be said to a node; None: nothing, or it is gone."""
        node = self._nodes.get(ino)
        return None if node is None else node.talk

    def add_file(self, past: PastInode, sequence: int) -> int:
        """A file as it was. As `add_text`."""
        return self._add(_Node(past, sequence))

    def view(self, root: PastInode, sequence: int) -> int:
        """The root of the whole tree as it was; the same number while that view lives."""
        with self._lock:
            found = self._views.get(sequence)
            if found is not None:
                self._views.move_to_end(sequence)
                return found.root
            made = _View(next(self._inos))
            made.numbers[root.inode] = made.root
            self._nodes[made.root] = _Node(root, sequence, view=made, parent=made.root)
            self._views[sequence] = made
            self._let_go()
            return made.root

    def _let_go(self) -> None:
        """Keep the views few. One in which files are open stays."""
        for sequence, view in list(self._views.items())[:-1]:
            if len(self._views) <= VIEWS_MAX:
                return
            if not any(self._nodes[ino].handles for ino in view.numbers.values()):
                del self._views[sequence]
                for ino in view.numbers.values():
                    _close(self._nodes.pop(ino))

    def _add(self, node: _Node) -> int:
        with self._lock:
            ino = next(self._inos)
            self._nodes[ino] = node
        return ino

    def forget(self, ino: int) -> None:
        """The kernel refers to it no more."""
        with self._lock:
            node = self._nodes.get(ino)
            if node is not None and node.view is None:
                _close(self._nodes.pop(ino))

    def is_there(self, ino: int) -> bool:
        return ino in self._nodes

    def _node(self, ino: int) -> _Node:
        node = self._nodes.get(ino)
        if node is None:
            raise Detached("this view was let go: enter it anew")
        return node

    # ---- fetching ----

    def hydrate(self, ino: int) -> None:
        """Make the text, list the directory, or get a descriptor for the next open. Waits."""
        node = self._node(ino)
        if node.make is not None:
            made = node.make()
            with self._lock:
                node.text = made if node.text is None else node.text
        elif node.past.kind is Kind.DIRECTORY:
            if node.names is None:
                self._list(ino, node)
        elif node.past.kind is Kind.FILE:
            fd = self._opened(node.past.inode, node.sequence)
            with self._lock:
                node.ready.append(fd)
                if ino not in self._nodes:
                    _close(node)

    def _list(self, ino: int, node: _Node) -> None:
        found = self._children(node.past.inode, node.sequence)
        view = node.view
        assert view is not None
        with self._lock:
            if ino not in self._nodes:
                return  # the view went meanwhile
            names = {}
            for name, past in found:
                number = view.numbers.get(past.inode)
                if number is None:
                    number = view.numbers[past.inode] = next(self._inos)
                    self._nodes[number] = _Node(past, node.sequence, view=view, parent=ino)
                names[name] = number
            node.names = names

    def _names(self, ino: int) -> dict[bytes, int]:
        node = self._node(ino)
        if node.past.kind is not Kind.DIRECTORY:
            raise NotADirectory("that was no directory")
        if node.names is None:
            raise NotResident(ino)
        return node.names

    # ---- names and attributes ----

    def lookup(self, parent: int, name: bytes) -> Attributes:
        number = self._names(parent).get(name)
        if number is None:
            raise NotFound("it was not there")
        return self.known(number)

    def attributes(self, ino: int, handle: Handle | None = None) -> Attributes:  # noqa: ARG002 - Operations has it
        node = self._node(ino)
        if node.make is not None and node.text is None:
            raise NotResident(ino)
        return self.known(ino)

    def known(self, ino: int) -> Attributes:
        """As `attributes`, without making a text for its size: that is 0 until then."""
        node = self._node(ino)
        past = node.past
        size = past.size_bytes if node.make is None else len(node.text or b"")
        return Attributes(
            ino=ino,
            kind=past.kind,
            mode=past.mode & (~0o222 if node.talk is None else ~0),
            nlink=past.links,
            uid=past.uid,
            gid=past.gid,
            rdev=past.rdev,
            size_bytes=size,
            blocks=-(-size // 512),
            atime_ns=past.mtime_ns,
            mtime_ns=past.mtime_ns,
            ctime_ns=past.ctime_ns,
            birth_ns=past.birth_ns,
            change=1,
        )

    def readlink(self, ino: int) -> bytes:
        return self._node(ino).past.target

    def get_xattr(self, ino: int, name: bytes) -> bytes:
        for known, value in self._node(ino).past.xattrs:
            if known == name:
                return value
        raise NoAttribute("it had no such attribute")

    def list_xattrs(self, ino: int) -> Sequence[bytes]:
        return [name for name, _ in self._node(ino).past.xattrs]

    # ---- directories ----

    def open_directory(self, ino: int) -> int:
        names = self._names(ino)
        rows = [
            DirectoryEntry(b".", ino, Kind.DIRECTORY, 1),
            DirectoryEntry(b"..", self._node(ino).parent, Kind.DIRECTORY, 2),
        ]
        for cookie, (name, number) in enumerate(names.items(), 3):
            rows.append(DirectoryEntry(name, number, self._node(number).past.kind, cookie))
        opened = next(self._numbers)
        self._directories[opened] = rows
        return opened

    def read_directory(self, number: int, cookie: int, limit: int) -> Sequence[DirectoryEntry]:
        rows = self._directories.get(number)
        if rows is None:
            raise BadHandle(f"no open directory has number {number}")
        return rows[cookie : cookie + limit]

    def read_directory_plus(
        self, number: int, cookie: int, limit: int
    ) -> Sequence[tuple[DirectoryEntry, Attributes]]:
        return [(entry, self.known(entry.ino)) for entry in self.read_directory(number, cookie, limit)]

    def release_directory(self, number: int) -> None:
        self._directories.pop(number, None)

    def fsync_directory(self, ino: int) -> None:
        """There is nothing to make durable."""

    # ---- bytes ----

    def open(
        self,
        ino: int,
        flags: int,
        *,
        direct: bool = False,  # noqa: ARG002
        reader: int = 0,
        following: bool = False,  # noqa: ARG002
    ) -> Handle:
        node = self._node(ino)
        with self._lock:
            fd = -1
            if node.make is not None:
                if node.text is None:
                    raise NotResident(ino)
            elif node.ready:
                fd = node.ready.pop()
            else:
                raise NotResident(ino)
            handle = Handle(
                next(self._numbers), ino, fd, flags, writable=False, direct=False, content_change=1, reader=reader
            )
            node.handles += 1
            self._reading[handle.number] = node
        return handle

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        if handle.fd >= 0:
            return os.pread(handle.fd, size, offset)
        return (self._reading[handle.number].text or b"")[offset : offset + size]

    def seek(self, handle: Handle, offset: int, whence: int) -> int:
        if handle.fd >= 0:
            try:
                return os.lseek(handle.fd, offset, whence)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    raise BeyondEnd("nothing is behind this offset") from error
                raise
        end = len(self._reading[handle.number].text or b"")
        if offset >= end:
            raise BeyondEnd("nothing is behind this offset")
        return offset if whence == os.SEEK_DATA else end

    def flush(self, handle: Handle) -> None:
        """Nothing was written."""

    def fsync(self, handle: Handle, *, data_only: bool) -> None:
        """Nothing was written."""

    def release(self, handle: Handle) -> None:
        with self._lock:
            node = self._reading.pop(handle.number, None)
            if node is not None:
                node.handles -= 1
        if node is not None and handle.fd >= 0:
            os.close(handle.fd)

    # ---- changes ----

    def changes_since(self, journal_id: int, limit: int) -> Sequence[JournalRow]:  # noqa: ARG002 - Operations has it
        return ()

    create = staticmethod(_refuse)
    set_attributes = staticmethod(_refuse)
    write = staticmethod(_refuse)
    copy_range = staticmethod(_refuse)
    fallocate = staticmethod(_refuse)
    mkdir = staticmethod(_refuse)
    mknod = staticmethod(_refuse)
    symlink = staticmethod(_refuse)
    link = staticmethod(_refuse)
    unlink = staticmethod(_refuse)
    rmdir = staticmethod(_refuse)
    rename = staticmethod(_refuse)
    set_xattr = staticmethod(_refuse)
    remove_xattr = staticmethod(_refuse)


def _close(node: _Node) -> None:
    while node.ready:
        os.close(node.ready.pop())
