"""Requests on names: LOOKUP, the ones that make and remove entries, RENAME, READLINK."""

from agentfs.errors import NotFound, ReadOnly
from agentfs.fuse import wire
from agentfs.fuse.context import Context, one_name, two_names
from agentfs.fuse.session import Handler, Request, Waits
from agentfs.fuse.wire import (
    BODY,
    LINK_IN,
    MKDIR_IN,
    MKNOD_IN,
    RENAME2_IN,
    RENAME_IN,
    U64,
)
from agentfs.model.records import Kind
from agentfs.tree.seen import ANONYMOUS
from agentfs.tree.values import Attributes, Caller

_S_IFMT = 0o170000


class Entries:
    def __init__(self, context: Context) -> None:
        self._tree = context.tree
        self._nodes = context.nodes
        self._replies = context.replies
        self._points = context.points
        self._below = context.points.below
        self._own = context.own
        self._virtual = context.virtual

    def table(self) -> dict[int, Handler]:
        return {
            wire.LOOKUP: self.lookup,
            wire.FORGET: self.forget,
            wire.READLINK: self.readlink,
            wire.SYMLINK: self.symlink,
            wire.MKNOD: self.mknod,
            wire.MKDIR: self.mkdir,
            wire.UNLINK: self.unlink,
            wire.RMDIR: self.rmdir,
            wire.RENAME: self.rename,
            wire.RENAME2: self.rename2,
            wire.LINK: self.link,
        }

    def lookup(self, request: Request) -> bytes:
        name = bytes(request.data[BODY : request.length - 1])
        points = self._below.get(request.node)
        if points is not None and name in points:
            return points[name].enter()
        try:
            found = self._tree.lookup(request.node, name)
        except NotFound:
            if (b":" in name or b"@" in name) and self._virtual is not None:
                found_virtual = self._virtual.find(request, name)
                if found_virtual is not None:
                    return found_virtual
            if self._replies.negative is None:
                raise
            return self._replies.negative
        if found.kind is Kind.SYMLINK and self._points.held_back(request.node, found):
            raise Waits(self._enter_later)
        return self._entry(found)

    def _enter_later(self, request: Request) -> bytes:
        """A point that is just being opened. Waits for that, a while."""
        return self._points.awaited(request.node, one_name(request)).enter()

    def _entry(self, attributes: Attributes) -> bytes:
        packed = self._replies.entry(attributes)
        self._nodes.refer(attributes.ino)
        return packed

    def forget(self, request: Request) -> None:
        self._nodes.forget(request.node, U64.unpack_from(request.data, BODY)[0])

    def readlink(self, request: Request) -> bytes:
        return self._tree.readlink(request.node)

    def symlink(self, request: Request) -> bytes:
        name, target = two_names(request)
        return self._entry(self._tree.symlink(request.node, name, target, Caller(request.uid, request.gid)))

    def mknod(self, request: Request) -> bytes:
        mode, rdev, umask, _ = MKNOD_IN.unpack_from(request.data, BODY)
        name = one_name(request, MKNOD_IN.size)
        caller = Caller(request.uid, request.gid, umask)
        return self._entry(self._tree.mknod(request.node, name, mode, rdev, caller))

    def mkdir(self, request: Request) -> bytes:
        mode, umask = MKDIR_IN.unpack_from(request.data, BODY)
        name = one_name(request, MKDIR_IN.size)
        caller = Caller(request.uid, request.gid, umask)
        return self._entry(self._tree.mkdir(request.node, name, mode & ~_S_IFMT, caller))

    def unlink(self, request: Request) -> bytes:
        name = one_name(request)
        self._points.protect(request.node, name)
        try:
            self._tree.unlink(request.node, name)
        except NotFound:
            self._refuse_virtual(name)
            raise
        return b""

    def rmdir(self, request: Request) -> bytes:
        name = one_name(request)
        self._points.protect(request.node, name)
        self._tree.rmdir(request.node, name)
        return b""

    def rename(self, request: Request) -> bytes:
        (new_parent,) = RENAME_IN.unpack_from(request.data, BODY)
        name, new_name = two_names(request, RENAME_IN.size)
        return self._rename(request, name, new_parent, new_name, 0)

    def rename2(self, request: Request) -> bytes:
        new_parent, flags, _ = RENAME2_IN.unpack_from(request.data, BODY)
        name, new_name = two_names(request, RENAME2_IN.size)
        return self._rename(request, name, new_parent, new_name, flags)

    def _rename(self, request: Request, name: bytes, new_parent: int, new_name: bytes, flags: int) -> bytes:
        parent = request.node
        self._points.protect(parent, name)
        new_parent = self._own(new_parent)
        self._points.protect(new_parent, new_name)
        try:
            self._tree.rename(parent, name, new_parent, new_name, flags, reader=request.pid or ANONYMOUS)
        except NotFound:
            self._refuse_virtual(name)
            raise
        return b""

    def _refuse_virtual(self, name: bytes) -> None:
        """Raise `ReadOnly` for a name that the tree does not have and the kernel was told of all the same."""
        if self._virtual is not None and self._virtual.may_mean(name):
            raise ReadOnly("that is a virtual node: it is read, and neither moved nor removed")

    def link(self, request: Request) -> bytes:
        (ino,) = LINK_IN.unpack_from(request.data, BODY)
        return self._entry(self._tree.link(self._own(ino), request.node, one_name(request, LINK_IN.size)))
