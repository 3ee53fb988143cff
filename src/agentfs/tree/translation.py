"""Errors of the local file system, met on a backing file, in our words."""

import errno
import os

from agentfs.errors import (
    AgentFSError,
    BadHandle,
    BeyondEnd,
    FileTooBig,
    Interrupted,
    InvalidArgument,
    NoSpace,
    NotPermitted,
    NotSupported,
    ReadOnly,
    ReplicaDamaged,
)

_CLASSES: dict[int, type[AgentFSError]] = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EFBIG: FileTooBig,
    errno.EINVAL: InvalidArgument,
    errno.EOPNOTSUPP: NotSupported,
    errno.ENOSYS: NotSupported,
    errno.EBADF: BadHandle,
    errno.ENXIO: BeyondEnd,
    errno.EINTR: Interrupted,
    errno.EPERM: NotPermitted,
    errno.EROFS: ReadOnly,
}


def os_error(error: OSError, what: str) -> AgentFSError:
    """The error to raise for `error`, met while doing `what`."""
    return _CLASSES.get(error.errno or 0, ReplicaDamaged)(
        f"{what}: {error.strerror or os.strerror(error.errno or 0)}"
    )
