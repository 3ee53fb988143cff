"""The times of backing files, the same in every run of a seed.

The kernel gives a file that is written its own time, in steps of some milliseconds: whether two writes can be told
apart, and what a commit says of a file that is open, would depend on how fast the machine is. Within `steady`, a file
that was written since it was last looked at has a time that no other write had, and that follows from the seed.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FIRST_NS = 1_800_000_000_000_000_000
_STEP_NS = 1_000_000


@contextmanager
def steady(directory: Path) -> Iterator[None]:
    """For the backing files below `directory`."""
    times = _FileTimes(str(directory))
    os.stat, os.fstat, os.utime = times.stat, times.fstat, times.utime  # type: ignore[assignment]
    try:
        yield
    finally:
        os.stat, os.fstat, os.utime = times.real  # type: ignore[assignment]


class _FileTimes:
    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._given: dict[int, int] = {}
        """Number of a file → the time that it was given, which it has until it is written."""
        self._writes = 0
        self.real = os.stat, os.fstat, os.utime

    def stat(self, path: Any, **options: Any) -> os.stat_result:
        found = self.real[0](path, **options)
        return self._steady(path, found) if self._is_ours(path) else found

    def fstat(self, fd: int) -> os.stat_result:
        found = self.real[1](fd)
        return self._steady(fd, found) if self._is_ours(os.readlink(f"/proc/self/fd/{fd}")) else found

    def utime(self, path: Any, *arguments: Any, **options: Any) -> None:
        self.real[2](path, *arguments, **options)
        if self._is_ours(path):
            found = self.real[0](path)
            self._given[found.st_ino] = found.st_mtime_ns

    def _is_ours(self, path: Any) -> bool:
        if isinstance(path, int):
            return False
        name = path if isinstance(path, str) else os.fspath(path)
        return name.startswith(self._directory) and "/files/" in name

    def _steady(self, path: Any, found: os.stat_result) -> os.stat_result:
        if not stat.S_ISREG(found.st_mode):
            return found
        ns = found.st_mtime_ns
        if self._given.get(found.st_ino) != ns:
            self._writes += 1
            ns = self._given[found.st_ino] = _FIRST_NS + self._writes * _STEP_NS
            self.real[2](path, ns=(ns, ns))
        s, whole_s = ns / 1e9, ns // 10**9
        times = (whole_s, whole_s, whole_s, s, s, s, ns, ns, ns)
        return os.stat_result((*found[:7], *times, found.st_blksize, found.st_blocks, found.st_rdev))
