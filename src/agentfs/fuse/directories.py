"""Requests on directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR."""

from agentfs.fuse import wire
from agentfs.fuse.context import Context
from agentfs.fuse.points import Point
from agentfs.fuse.replies import dirent, direntplus, direntplus_bytes
from agentfs.fuse.session import Handler, Request, Waits
from agentfs.fuse.wire import (
    BODY,
    DIRENT,
    DIRENTPLUS,
    FOPEN_CACHE_DIR,
    FOPEN_KEEP_CACHE,
    OPEN_OUT,
    READ_IN,
    U64,
)
from agentfs.model.records import Kind
from agentfs.tree.values import DirectoryEntry

_NAME_BYTES_USUAL = 24


class Directories:
    def __init__(self, context: Context) -> None:
        self._tree = context.tree
        self._nodes = context.nodes
        self._replies = context.replies
        self._base = context.replies.base
        self._points = context.points
        self._below = context.points.below
        self._listed: dict[int, int] = {}
        """Directory → its `change` when it was last opened: the kernel's cached listing is no older than that, so
        while it stands the listing may be kept. A change from elsewhere makes the next open drop it even if
        the notification has not come yet."""

    def table(self) -> dict[int, Handler]:
        return {
            wire.OPENDIR: self.opendir,
            wire.READDIR: self.readdir,
            wire.READDIRPLUS: self.readdirplus,
            wire.RELEASEDIR: self.releasedir,
            wire.FSYNCDIR: self.fsyncdir,
        }

    def opendir(self, request: Request) -> bytes:
        ino = request.node
        change = self._tree.attributes(ino).change
        number = self._tree.open_directory(ino)
        flags = FOPEN_CACHE_DIR
        if self._listed.get(ino) == change:
            flags |= FOPEN_KEEP_CACHE
        else:
            self._listed[ino] = change
        return OPEN_OUT.pack(number, flags, 0)

    def forgotten(self, ino: int) -> None:
        """What the kernel keeps of a directory's listing, if anything, is not to be kept."""
        self._listed.pop(ino, None)

    def unanswered(self, body: bytes) -> None:
        self._tree.release_directory(OPEN_OUT.unpack_from(body)[0])

    def readdir(self, request: Request) -> bytes:
        number, cookie, size, _ = READ_IN.unpack_from(request.data, BODY)
        limit = size // (DIRENT.size + _NAME_BYTES_USUAL) + 1
        rows: list[bytes] = []
        left = size
        points = self._below.get(request.node)
        for entry in self._tree.read_directory(number, cookie, limit):
            point = points.get(entry.name) if points else None
            row = dirent(entry, self._base) if point is None else dirent(shown(entry, point))
            left -= len(row)
            if left < 0:
                break
            rows.append(row)
        return b"".join(rows)

    def readdirplus(self, request: Request) -> bytes:
        number, cookie, size, _ = READ_IN.unpack_from(request.data, BODY)
        limit = size // (DIRENTPLUS.size + _NAME_BYTES_USUAL) + 1
        rows: list[bytes] = []
        left = size
        entry_of, refer, base = self._replies.entry, self._nodes.refer, self._base
        points = self._below.get(request.node)
        for entry, attributes in self._tree.read_directory_plus(number, cookie, limit):
            left -= direntplus_bytes(entry.name)
            if left < 0:
                break
            if entry.name in (b".", b".."):
                rows.append(direntplus(entry, None, base))
                continue
            if points and entry.name in points:
                rows.append(direntplus(shown(entry, points[entry.name]), None))
                continue
            if attributes.kind is Kind.SYMLINK and self._points.held_back(request.node, attributes):
                rows.append(direntplus(entry, None, base))
                continue
            rows.append(direntplus(entry, entry_of(attributes), base))
            refer(attributes.ino)
        return b"".join(rows)

    def releasedir(self, request: Request) -> bytes:
        self._tree.release_directory(U64.unpack_from(request.data, BODY)[0])
        return b""

    def fsyncdir(self, _request: Request) -> bytes:
        raise Waits(self._fsyncdir)

    def _fsyncdir(self, request: Request) -> bytes:
        self._tree.fsync_directory(request.node)
        return b""


def shown(entry: DirectoryEntry, point: Point) -> DirectoryEntry:
    """A row of the tree as the directory that it leads to. Its attributes the kernel asks for by name."""
    return DirectoryEntry(entry.name, point.ino, Kind.DIRECTORY, entry.cookie)
