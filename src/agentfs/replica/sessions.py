"""Who has a replica open on this machine, and whether they are still alive."""

import os

from agentfs.replica.lock_file import is_locked

UNKNOWN = "unknown"
"""The stamp of a process that cannot see itself in /proc."""


def boot_id() -> str:
    """Changes with every start of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def process_stamp(pid: int) -> str | None:
    """What tells process `pid` from a later one with the same number; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return f"{boot_id()}/{os.readlink('/proc/self/ns/pid')}/{fields[19].decode()}"


def lock_path(directory: str, session: int) -> str:
    """The file that session `session` of the replica in `directory` keeps locked while it lives. It tells across PID
    namespaces, where process numbers mean nothing. Sessions of older versions, and those on file systems without
    locks, have none."""
    return os.path.join(directory, "sessions", str(session))


def is_alive(pid: int, stamp: str, *, lock: str | None = None) -> bool:
    """Whether the process that left this stamp still runs. One in another PID namespace (another container on the
    same replica, or an earlier life of this one) is judged by its `lock` file; without one it counts as alive."""
    parts = stamp.split("/")
    elsewhere = len(parts) == 3 and parts[0] == boot_id() and parts[1] != os.readlink("/proc/self/ns/pid")
    if elsewhere or stamp == UNKNOWN:
        locked = None if lock is None else is_locked(lock)
        return elsewhere if locked is None else locked
    return process_stamp(pid) == stamp
