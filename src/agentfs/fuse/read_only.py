"""A part that nothing can change. (A whole mount is made read-only by the kernel.)"""

import os
from collections.abc import Mapping

from agentfs.errors import ReadOnly
from agentfs.fuse import wire
from agentfs.fuse.session import Handler, Request
from agentfs.fuse.wire import BODY, OPEN_IN

_CHANGES = (
    wire.SETATTR,
    wire.SYMLINK,
    wire.MKNOD,
    wire.MKDIR,
    wire.UNLINK,
    wire.RMDIR,
    wire.RENAME,
    wire.RENAME2,
    wire.LINK,
    wire.CREATE,
    wire.WRITE,
    wire.FALLOCATE,
    wire.SETXATTR,
    wire.REMOVEXATTR,
)


def unchanging(table: Mapping[int, Handler]) -> dict[int, Handler]:
    """`table` with everything refused that changes something."""
    open_file = table[wire.OPEN]

    def opening(request: Request) -> bytes | int | None:
        flags, _ = OPEN_IN.unpack_from(request.data, BODY)
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            return _refused(request)
        return open_file(request)

    return {**table, **dict.fromkeys(_CHANGES, _refused), wire.OPEN: opening}


def _refused(_request: Request) -> bytes:
    raise ReadOnly("this part of the mount cannot be changed")
