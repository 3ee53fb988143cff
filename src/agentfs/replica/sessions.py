"""Who has a replica open on this machine, and whether they are still alive."""

import os


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


def is_alive(pid: int, stamp: str) -> bool:
    """Whether the process that left this stamp still runs. A process in another PID namespace (another container on
    the same replica) cannot be judged and counts as alive."""
    parts = stamp.split("/")
    if len(parts) == 3 and parts[0] == boot_id() and parts[1] != os.readlink("/proc/self/ns/pid"):
        return True
    return process_stamp(pid) == stamp
