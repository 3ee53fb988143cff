"""Kernel passthrough: reads and writes of an open file go straight to its backing file (Linux 6.9, CAP_SYS_ADMIN)."""

import errno
import fcntl
import logging
import os
from struct import Struct

_BACKING_OPEN = 0x4010E501  # _IOW(229, 1, struct fuse_backing_map)
_BACKING_CLOSE = 0x4004E502  # _IOW(229, 2, uint32_t)
_BACKING_MAP = Struct("=iIQ")
_BACKING_ID = Struct("=I")
_CAP_SYS_ADMIN = 21

log = logging.getLogger(__name__)


class Backings:
    """The backing files that one connection has registered with the kernel."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.available = False
        """Set when INIT agreed on passthrough; cleared for good when the kernel will not take backing files."""

    def register(self, backing_fd: int) -> int | None:
        """The kernel's id for an open backing file, to be closed with `close`; None when it refuses."""
        try:
            # A bytearray: given bytes, `ioctl` returns those and not the kernel's number.
            number: int = fcntl.ioctl(self._fd, _BACKING_OPEN, bytearray(_BACKING_MAP.pack(backing_fd, 0, 0)))
            return number
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                # EPERM: not privileged. ELOOP: the replica lies on a file system that is itself stacked.
                log.info("kernel passthrough is off: %s", error)
                self.available = False
            return None

    def close(self, backing_id: int) -> None:
        """Files that are still open keep their reference."""
        try:
            fcntl.ioctl(self._fd, _BACKING_CLOSE, _BACKING_ID.pack(backing_id))
        except OSError as error:
            log.warning("closing backing id %d: %s", backing_id, error)


def privileged() -> bool:
    """Whether this process may register backing files: CAP_SYS_ADMIN in the first user namespace."""
    try:
        with open("/proc/self/status", "rb") as status:
            effective = next(int(line.split()[1], 16) for line in status if line.startswith(b"CapEff:"))
        with open("/proc/self/uid_map", "rb") as uid_map:
            whole = uid_map.read().split() == [b"0", b"0", b"4294967295"]
    except (OSError, StopIteration):
        return False
    return bool(effective >> _CAP_SYS_ADMIN & 1) and whole


def kernel_version() -> tuple[int, int]:
    """Major and minor of the running kernel; (0, 0) when it is not in the usual form."""
    parts = os.uname().release.split(".")
    try:
        return int(parts[0]), int(parts[1].partition("-")[0])
    except (IndexError, ValueError):
        return 0, 0
