"""Keeping the reader thread on the processor of the program that it answers.

A program waits while we answer it, so the two never need two processors. Apart, each request wakes an idle processor
twice, and in a virtual machine that is an exit to the hypervisor and back: 65 to 110 µs a request instead of 8 to 12
(docs/decisions/0013). The scheduler leaves the two wherever its load balancer last put them, for it prefers a task's
previous processor when that is idle. So now and then we look where the caller is and move there, without staying
bound to it: the scheduler can still move us away from a busy processor.
"""

import ctypes
import os
from collections.abc import Callable

EVERY = 64
"""Requests between two looks; a look costs 15 µs, 0.2 µs a request."""
_PROCESSOR = 36
"""Field 39 of /proc/<pid>/stat (proc(5)), counted behind the name in parentheses."""


class Nearness:
    """For the reader thread only."""

    def __init__(self) -> None:
        self._here: Callable[[], int] | None = getattr(ctypes.CDLL(None), "sched_getcpu", None)

    def approach(self, pid: int) -> None:
        """Move to where thread `pid`, which waits for our answer, last ran. Does nothing when that cannot be told."""
        if self._here is None or pid == 0:
            return
        try:
            fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fields = os.read(fd, 1024).rpartition(b")")[2].split()
            finally:
                os.close(fd)
            there = int(fields[_PROCESSOR])
            if there != self._here():
                allowed = os.sched_getaffinity(0)
                if there in allowed:
                    os.sched_setaffinity(0, (there,))
                    os.sched_setaffinity(0, allowed)
        except (OSError, IndexError, ValueError):
            return  # gone, in another PID namespace, or not allowed: nothing is lost but speed
