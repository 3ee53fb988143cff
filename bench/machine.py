"""What the figures were measured with: kernel, processor, versions, file system. No names of hosts or users."""

import importlib.metadata
import os
import platform
import sqlite3
import subprocess

_CAP_SYS_ADMIN = 21
_PASSTHROUGH_SINCE = (6, 9)


def facts(directory: str) -> dict[str, object]:
    """Of this machine and of the disk under `directory`."""
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "python": platform.python_version(),
        "sqlite_of_python": sqlite3.sqlite_version,
        "agentfs": _version("agentfs-home"),
        "apsw": _version("apsw"),
        "obstore": _version("obstore"),
        "git": _first_line(["git", "--version"]),
        "file_system": file_system(directory),
        "root": os.geteuid() == 0,
    }


def passthrough_possible() -> bool:
    """Whether the kernel has FUSE passthrough (Linux 6.9) and we the right to ask for it (CAP_SYS_ADMIN)."""
    numbers = platform.release().split("-")[0].split(".")
    if tuple(int(number) for number in numbers[:2]) < _PASSTHROUGH_SINCE:
        return False
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        line = next(line for line in file if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)


def file_system(directory: str) -> str:
    """The type of the file system that holds `directory`."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if before.split()[2] == wanted:
                return after.split()[0]
    return "unknown"


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return "unknown"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "missing"
    return done.stdout.splitlines()[0] if done.stdout else "missing"
