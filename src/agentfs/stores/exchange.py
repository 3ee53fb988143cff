"""Two names change places in one step: `renameat2(RENAME_EXCHANGE)`, which Python does not offer."""

import ctypes
import errno
import os

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: str, other: str) -> None:
    """Atomically swap two paths of one file system. Raises `OSError`; ENOTSUP where the kernel or the file system
    (NFS) cannot: nothing has changed then."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOTSUP, "this system cannot exchange two names")
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(errno.ENOTSUP, "this file system cannot keep an object beside others below its name")
        raise OSError(code, os.strerror(code), other)
