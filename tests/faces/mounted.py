"""Real mounts for tests: a child process that mounts, always unmounted, and killed if it hangs.

A deadlocked mount would hang the test process in the kernel, where nothing can reach it. So a watchdog kills the
child, by its id, after a limit: every operation on the mount then fails with ENOTCONN, and so does the test.
"""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentfs.errors import AgentFSError
from agentfs.fuse import device

HERE = Path(__file__).parent
SECONDS_MAX = 120.0


def can_mount() -> bool:
    return os.geteuid() == 0 and os.access(device.DEVICE, os.R_OK | os.W_OK)


needs_mount = pytest.mark.skipif(not can_mount(), reason="mounting needs root and /dev/fuse")


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for something that another process does; fail after a limit."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


@dataclass
class Mounted:
    path: Path
    process: subprocess.Popen
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def ask(self, command: str) -> str:
        """Send one line to the child and return its one-line answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that other users can walk into (pytest's own they cannot)."""
    path = Path(tempfile.mkdtemp(prefix="agentfs-test-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        assert not any(facts.mountpoint.startswith(os.fsencode(path)) for facts in device.mounts())
        shutil.rmtree(path)


def is_mounted(path: Path) -> bool:
    return device.mounted_at(os.fsencode(path)) is not None


@contextlib.contextmanager
def mounted(program: str, *arguments: str, mountpoint: Path, log: Path, quiet: bool = True) -> Iterator[Mounted]:
    """Run `program` (of this directory), which mounts on `mountpoint`. With `quiet`, anything it logs fails the
    test at the end."""
    with open(log, "wb") as errors:
        child = subprocess.Popen(
            [sys.executable, str(HERE / program), *arguments, str(mountpoint)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    watchdog = threading.Timer(SECONDS_MAX, child.kill)
    watchdog.start()
    try:
        assert child.stdout.readline() == "ready\n", log.read_text()
        yield Mounted(mountpoint, child, log)
        with contextlib.suppress(AgentFSError):
            device.unmount(os.fsencode(mountpoint), lazy=False)
        child.wait(30)
        if quiet:
            assert log.read_text() == ""
    finally:
        watchdog.cancel()
        if child.poll() is None:
            child.kill()
            child.wait(30)
        with contextlib.suppress(AgentFSError):
            device.unmount(os.fsencode(mountpoint), lazy=True)
        child.stdin.close()
        child.stdout.close()


@contextlib.contextmanager
def refused(number: int) -> Iterator[None]:
    """The block must raise OSError with this errno."""
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno == number, errno.errorcode.get(caught.value.errno)
