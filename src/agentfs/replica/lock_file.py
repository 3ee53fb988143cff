"""A lock that dies with its holder: `flock` on a file that says who holds it."""

import contextlib
import fcntl
import os
import weakref

from agentfs.replica.backing import translate

_held: "weakref.WeakSet[LockFile]" = weakref.WeakSet()


def _forget_in_child() -> None:
    """A forked child has the descriptors, and with them the locks, but none of the threads that work under them."""
    for lock in list(_held):
        lock.abandon()


os.register_at_fork(after_in_child=_forget_in_child)


class LockFile:
    """Held from `acquire` to `release`. The kernel releases it when the process ends, however it ends; a child that
    the process forked does not hold it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _held.add(self)

    @classmethod
    def acquire(cls, path: str) -> "LockFile | None":
        """None when another holds it. Never waits."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise translate(error, path) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return cls(fd)

    def release(self) -> None:
        """Repeating it is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            fcntl.flock(fd, fcntl.LOCK_UN)  # of all that share the descriptor
            os.close(fd)

    def abandon(self) -> None:
        """Close the descriptor and leave the lock to those that share it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def holder(path: str) -> int | None:
    """The process that holds the lock, as far as it can be told; None when nobody does."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with contextlib.suppress(ValueError):
                return int(os.pread(fd, 32, 0))
            return 0
        finally:
            os.close(fd)
    return None


def is_locked(path: str) -> bool | None:
    """Whether a living process holds the lock, in whatever container of this machine; None when there is no such
    file, or it cannot be told. Callers do not disturb each other."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False
