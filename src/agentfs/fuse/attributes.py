"""Requests on attributes: GETATTR, SETATTR, STATX, STATFS and extended attributes."""

import errno
import os
import stat

from agentfs.errors import NotPermitted, NotSupported, TooSmall
from agentfs.fuse import wire
from agentfs.fuse.context import Context, one_name
from agentfs.fuse.files import without_set_id
from agentfs.fuse.session import Handler, Request
from agentfs.fuse.wire import BODY, GETATTR_IN, SETATTR_IN, SIZE_OUT, STATFS_OUT, STATX_IN, XATTR_IN
from agentfs.tree.values import AttributeChange

_SECOND = 1_000_000_000
_POSIX_ACL = (b"system.posix_acl_access", b"system.posix_acl_default")
_NEVER = frozenset((b"security.capability", b"security.ima", b"security.evm"))
"""Asked for by the kernel, once for each file that is written after its attributes were fetched. A mount is `nosuid`,
so no file ever has them. (ENOSYS would end the asking, and with it all extended attributes.)"""


class AttributeRequests:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._tree = context.tree
        self._handles = context.files.handles
        self._replies = context.replies

    def table(self) -> dict[int, Handler]:
        return {
            wire.GETATTR: self.getattr,
            wire.SETATTR: self.setattr,
            wire.STATX: self.statx,
            wire.STATFS: self.statfs,
            wire.GETXATTR: self.getxattr,
            wire.SETXATTR: self.setxattr,
            wire.LISTXATTR: self.listxattr,
            wire.REMOVEXATTR: self.removexattr,
        }

    def getattr(self, request: Request) -> bytes:
        flags, _, number = GETATTR_IN.unpack_from(request.data, BODY)
        handle = self._handles.get(number) if flags & wire.GETATTR_FH else None
        return self._replies.attributes(self._tree.attributes(request.node, handle))

    def statx(self, request: Request) -> bytes:
        flags, _, number, _, _ = STATX_IN.unpack_from(request.data, BODY)
        handle = self._handles.get(number) if flags & wire.GETATTR_FH else None
        return self._replies.statx(self._tree.attributes(request.node, handle))

    def setattr(self, request: Request) -> bytes:
        fields = SETATTR_IN.unpack_from(request.data, BODY)
        valid, _, number, size, _, atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns, mode, _, uid, gid, _ = fields
        now = self._context.clock.wall_ns() if valid & (wire.FATTR_ATIME_NOW | wire.FATTR_MTIME_NOW) else 0
        new_atime = new_mtime = None
        if valid & wire.FATTR_ATIME:
            new_atime = now if valid & wire.FATTR_ATIME_NOW else atime * _SECOND + atime_ns
        if valid & wire.FATTR_MTIME:
            new_mtime = now if valid & wire.FATTR_MTIME_NOW else mtime * _SECOND + mtime_ns
        change = AttributeChange(
            mode=self._mode(request.node, valid, mode),
            uid=self._owned(uid, os.getuid()) if valid & wire.FATTR_UID else None,
            gid=self._owned(gid, os.getgid()) if valid & wire.FATTR_GID else None,
            size_bytes=size if valid & wire.FATTR_SIZE else None,
            atime_ns=new_atime,
            mtime_ns=new_mtime,
            ctime_ns=ctime * _SECOND + ctime_ns if valid & wire.FATTR_CTIME else None,
        )
        handle = self._handles.get(number) if valid & wire.FATTR_FH else None
        return self._replies.attributes(self._tree.set_attributes(request.node, change, handle=handle))

    def _mode(self, ino: int, valid: int, mode: int) -> int | None:
        if valid & wire.FATTR_MODE:
            return stat.S_IMODE(mode)
        if valid & wire.FATTR_KILL_SUIDGID:
            old = self._tree.attributes(ino).mode
            return without_set_id(old) if without_set_id(old) != old else None
        return None

    def _owned(self, wanted: int, mine: int) -> int | None:
        """The owner to store. With `owner="me"` everything is shown as mine: a change to that changes nothing, and
        another cannot be shown, so it is refused."""
        if self._context.options.owner == "preserve":
            return wanted
        if wanted != mine:
            raise NotPermitted("this mount shows every file as the mounting user's (owner=me)")
        return None

    def statfs(self, _request: Request) -> bytes:
        s = self._tree.statistics()
        return STATFS_OUT.pack(
            s.blocks,
            s.blocks_free,
            s.blocks_available,
            s.inodes,
            s.inodes_free,
            s.block_bytes,
            s.name_bytes_max,
            s.block_bytes,
            0,
        )

    # ---- extended attributes ----

    def getxattr(self, request: Request) -> bytes | int:
        name = one_name(request, XATTR_IN.size)
        if name in _NEVER:
            return errno.ENODATA
        if name in _POSIX_ACL:
            return errno.EOPNOTSUPP
        size, _ = XATTR_IN.unpack_from(request.data, BODY)
        return _fitting(self._tree.get_xattr(request.node, name), size)

    def listxattr(self, request: Request) -> bytes:
        size, _ = XATTR_IN.unpack_from(request.data, BODY)
        names = self._tree.list_xattrs(request.node)
        return _fitting(b"".join(name + b"\0" for name in names), size)

    def setxattr(self, request: Request) -> bytes:
        size, flags = XATTR_IN.unpack_from(request.data, BODY)
        name, _, rest = bytes(request.data[BODY + XATTR_IN.size : request.length]).partition(b"\0")
        self._settable(name)
        self._tree.set_xattr(request.node, name, rest[:size], flags)
        return b""

    def removexattr(self, request: Request) -> bytes:
        name = one_name(request)
        self._settable(name)
        self._tree.remove_xattr(request.node, name)
        return b""

    def _settable(self, name: bytes) -> None:
        if name in _NEVER or name.startswith(b"system."):
            raise NotSupported(f"{name.decode(errors='replace')} is not kept: mounts are nosuid and without ACLs")


def _fitting(value: bytes, size: int) -> bytes:
    """The reply to a caller with room for `size` bytes; 0 asks how many there are."""
    if size == 0:
        return SIZE_OUT.pack(len(value), 0)
    if len(value) > size:
        raise TooSmall(f"the value has {len(value)} bytes, the buffer {size}")
    return value
