"""A little room kept aside, so that a full disk can be emptied.

Removing a name needs a transaction, and a transaction needs room in the WAL: without a reserve the owner of a full
disk could not delete anything through the mount. What makes room, or only lets go, borrows the reserve.
"""

import contextlib
import os
from collections.abc import Callable
from typing import TypeVar

from agentfs.errors import NoSpace

_RESERVE_BYTES = 256 * 1024
"""Some twenty removals, each of which frees room of its own."""
_STEP_BYTES = 16 * 1024

R = TypeVar("R")


class Reserve:
    """A file of zeros in the replica's directory, shared by its processes. It may be missing at any time."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "reserve")

    def fill(self) -> None:
        """Take the room, or as much of it as there is."""
        with contextlib.suppress(OSError):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                kept = os.fstat(fd).st_size
                for size in range(_RESERVE_BYTES, kept, -_STEP_BYTES):
                    try:
                        os.posix_fallocate(fd, 0, size)
                        break
                    except OSError:
                        os.ftruncate(fd, kept)  # a failed try may have taken a part
            finally:
                os.close(fd)

    def spend(self) -> bool:
        """Give the room back to the disk. Returns whether there was any."""
        try:
            kept = os.stat(self._path).st_blocks > 0
            os.truncate(self._path, 0)
        except OSError:
            return False
        return kept

    def lend(self, operation: Callable[[], R]) -> R:
        """`operation`, and if it finds the disk full once more with the reserve, which is then taken again as far as
        there is room. It must leave nothing behind when it raises."""
        try:
            return operation()
        except NoSpace:
            if not self.spend():
                raise
        try:
            return operation()
        finally:
            self.fill()
