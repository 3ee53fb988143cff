"""What programs on one machine see of each other's locks, line by line: run in any directory, the lines are the same.

Run as `python local_locks.py DIRECTORY`.
"""

import errno
import fcntl
import os
import signal
import struct
import sys
import time
from collections.abc import Callable

_PLACE = sys.argv[1]
_OFD_SETLK, _OFD_GETLK = 37, 36


def said(do: Callable[[], object]) -> str:
    try:
        do()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


def elsewhere(do: Callable[[], object]) -> str:
    """`do` in another process."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, said(do).encode())
        os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    answer = os.read(reads, 100).decode()
    os.close(reads)
    return answer


def opened() -> int:
    return os.open(os.path.join(_PLACE, "file"), os.O_RDWR | os.O_CREAT)


def record(kind: int, start: int, length: int, pid: int = 0) -> bytes:
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, pid)


def who(fd: int, kind: int, start: int, length: int) -> str:
    found = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, record(kind, start, length)))
    if found[0] == fcntl.F_UNLCK:
        return "free"
    return f"{'write' if found[0] == fcntl.F_WRLCK else 'read'} {found[2]}+{found[3]}"


def show(name: str, *facts: object) -> None:
    sys.stdout.write(f"{name}: {' '.join(map(str, facts))}\n")


def whole_files() -> None:
    one, other = opened(), opened()
    show("flock", said(lambda: fcntl.flock(one, fcntl.LOCK_EX)))
    show("second descriptor", said(lambda: fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)))
    show("inherited", elsewhere(lambda: fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    show("new process", elsewhere(lambda: fcntl.flock(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    show("fcntl beside", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    show("downgrade", said(lambda: fcntl.flock(one, fcntl.LOCK_SH)))
    show("shared", said(lambda: fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)))
    show("upgrade refused", said(lambda: fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    show("and lost", elsewhere(lambda: fcntl.flock(opened(), fcntl.LOCK_SH | fcntl.LOCK_NB)))
    os.close(other)
    time.sleep(0.2)  # the last close of a descriptor is told a moment later
    show("after close", said(lambda: fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    copy = os.dup(one)
    os.close(one)
    show("a copy keeps it", elsewhere(lambda: fcntl.flock(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    fcntl.flock(copy, fcntl.LOCK_UN)
    show("unlocked", elsewhere(lambda: fcntl.flock(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    os.close(copy)


def ranges() -> None:
    fd = opened()
    show("range", said(lambda: fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)))
    show("beside", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 10)))
    show("overlap", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_SH | fcntl.LOCK_NB, 5, 9)))
    show("split", said(lambda: fcntl.lockf(fd, fcntl.LOCK_UN, 2, 4)))
    show("middle", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 4)))
    show("tail", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 6)))
    reads, writes = os.pipe()
    if os.fork() == 0:
        mine = opened()
        text = ", ".join(who(mine, fcntl.F_WRLCK, at, 1) for at in (0, 4, 7, 10))
        os.write(writes, text.encode())
        os._exit(0)
    os.wait()
    show("who", os.read(reads, 200).decode())
    other = opened()
    os.close(other)  # any close of the file by the process ends all its fcntl locks
    show("after close", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    reader = os.open(os.path.join(_PLACE, "file"), os.O_RDONLY)
    show("read only", said(lambda: fcntl.lockf(reader, fcntl.LOCK_SH)))
    show("keeps writers out", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    os.close(reader)
    show("its close frees", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    os.close(fd)


def open_file_locks() -> None:
    one, other = opened(), opened()
    show("ofd", said(lambda: fcntl.fcntl(one, _OFD_SETLK, record(fcntl.F_WRLCK, 0, 10))))
    show("other descriptor", said(lambda: fcntl.fcntl(other, _OFD_SETLK, record(fcntl.F_WRLCK, 5, 1))))
    show("process lock", elsewhere(lambda: fcntl.lockf(opened(), fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 0)))
    os.close(one)
    time.sleep(0.2)
    show("after close", said(lambda: fcntl.fcntl(other, _OFD_SETLK, record(fcntl.F_WRLCK, 5, 1))))
    os.close(other)


def waiting() -> None:
    fd = opened()
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        mine = opened()
        fcntl.lockf(mine, fcntl.LOCK_EX, 1, 1)
        os.write(writes, b"1")
        fcntl.lockf(mine, fcntl.LOCK_EX, 1, 0)
        os.write(writes, b"2")
        os._exit(0)
    os.read(reads, 1)
    time.sleep(0.3)
    show("deadlock", said(lambda: fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)))
    fcntl.lockf(fd, fcntl.LOCK_UN, 1, 0)
    show("granted", os.read(reads, 1).decode())
    os.waitpid(child, 0)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        fcntl.lockf(opened(), fcntl.LOCK_EX)
        os._exit(0)
    show("interrupted", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    child = os.fork()
    if child == 0:
        fcntl.flock(opened(), fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.2)
    show("after kill", said(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    os.close(fd)


if __name__ == "__main__":
    whole_files()
    ranges()
    open_file_locks()
    waiting()
