"""Whether a program of this machine has a file open for writing: the kernel gives no read lease where one has."""

import errno
import fcntl
import os
import signal

_UNTRUE = frozenset(("nfs", "nfs4", "cifs", "smb3"))
"""File systems that refuse a lease also where nobody writes."""


def has_writer(path: str) -> bool:
    """Whether a program has the file open for writing, or mapped so. False also where nobody can tell: the file is
    another user's, it is gone, or the file system has no leases (NFS, SMB)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        # Who opens it in this moment has us told by a signal, which ends a process unless it is one that is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        return False
    except OSError as error:
        return error.errno == errno.EAGAIN and _file_system(os.fstat(descriptor).st_dev) not in _UNTRUE
    finally:
        os.close(descriptor)  # and the lease with it: others waited for microseconds


def _file_system(device: int) -> str:
    """What kind a mounted device is; "" if that is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                if before.split()[2] == number:
                    return after.split()[0]
    except OSError:
        pass
    return ""
