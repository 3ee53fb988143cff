"""Requests on names: LOOKUP, the ones that make and remove entries, RENAME, READLINK."""

from agentfs.errors import NotFound
from agentfs.fuse import wire
from agentfs.fuse.context import Context, one_name, two_names
from agentfs.fuse.session import Handler, Request
from agentfs.fuse.wire import (
    BATCH_FORGET_IN,
    BODY,
    FORGET_ONE,
    LINK_IN,
    MKDIR_IN,
    MKNOD_IN,
    RENAME2_IN,
    RENAME_IN,
    U64,
)
from agentfs.tree.values import Attributes, Caller

_S_IFMT = 0o170000


class Entries:
    def __init__(self, context: Context) -> None:
        self._tree = context.tree
        self._nodes = context.nodes
        self._replies = context.replies

    def table(self) -> dict[int, Handler]:
        return {
            wire.LOOKUP: self.lookup,
            wire.FORGET: self.forget,
            wire.BATCH_FORGET: self.batch_forget,
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
        try:
            found = self._tree.lookup(request.node, bytes(request.data[BODY : request.length - 1]))
        except NotFound:
            if self._replies.negative is None:
                raise
            return self._replies.negative
        return self._entry(found)

    def _entry(self, attributes: Attributes) -> bytes:
        packed = self._replies.entry(attributes)
        self._nodes.refer(attributes.ino)
        return packed

    def forget(self, request: Request) -> None:
        self._nodes.forget(request.node, U64.unpack_from(request.data, BODY)[0])

    def batch_forget(self, request: Request) -> None:
        count, _ = BATCH_FORGET_IN.unpack_from(request.data, BODY)
        start = BODY + BATCH_FORGET_IN.size
        for node, times in FORGET_ONE.iter_unpack(request.data[start : start + count * FORGET_ONE.size]):
            self._nodes.forget(node, times)

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
        self._tree.unlink(request.node, one_name(request))
        return b""

    def rmdir(self, request: Request) -> bytes:
        self._tree.rmdir(request.node, one_name(request))
        return b""

    def rename(self, request: Request) -> bytes:
        (new_parent,) = RENAME_IN.unpack_from(request.data, BODY)
        name, new_name = two_names(request, RENAME_IN.size)
        self._tree.rename(request.node, name, new_parent, new_name)
        return b""

    def rename2(self, request: Request) -> bytes:
        new_parent, flags, _ = RENAME2_IN.unpack_from(request.data, BODY)
        name, new_name = two_names(request, RENAME2_IN.size)
        self._tree.rename(request.node, name, new_parent, new_name, flags)
        return b""

    def link(self, request: Request) -> bytes:
        (ino,) = LINK_IN.unpack_from(request.data, BODY)
        return self._entry(self._tree.link(ino, request.node, one_name(request, LINK_IN.size)))
