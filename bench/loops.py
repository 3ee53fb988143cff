"""The timing loops. They run in a process of their own (`python -m bench.loops`), the same loop for every side.

One JSON request per line on standard input, one answer per line on standard output:
`{"case": "create", "directory": "...", "count": 1000, "seed": 7}` → `{"samples": [nanoseconds, ...]}`.
The directory exists and is empty; the case leaves in it what it made.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter_ns, sleep

KIB = b"x" * 1024
MIB = bytes(range(256)) * 4096
LARGE_MIB = 64
PAGE = 4096
LISTED = 1000

Case = Callable[[str, int, random.Random], list[int]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def _files(directory: str, count: int) -> list[str]:
    """`count` files of 1 KiB, untimed."""
    paths = [os.path.join(directory, f"note-{number:06d}.md") for number in range(count)]
    for path in paths:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, KIB)
        os.close(fd)
    return paths


def _large(directory: str, entropy: random.Random) -> str:
    """One file of 64 MiB that does not compress, untimed; its bytes are on the disk."""
    path = os.path.join(directory, "large.bin")
    with open(path, "wb", buffering=0) as file:
        for _ in range(LARGE_MIB):
            file.write(entropy.randbytes(1 << 20))
        os.fsync(file.fileno())
    return path


def _written(paths: list[str], flags: int, *, synced: bool = False) -> list[int]:
    samples = []
    for path in paths:
        start = perf_counter_ns()
        fd = os.open(path, flags, 0o644)
        os.write(fd, KIB)
        if synced:
            os.fsync(fd)
        os.close(fd)
        samples.append(perf_counter_ns() - start)
    return samples


@case
def create(directory: str, count: int, _entropy: random.Random) -> list[int]:
    paths = [os.path.join(directory, f"new-{number:06d}.md") for number in range(count)]
    return _written(paths, os.O_CREAT | os.O_EXCL | os.O_WRONLY)


@case
def overwrite(directory: str, count: int, _entropy: random.Random) -> list[int]:
    return _written(_files(directory, count), os.O_TRUNC | os.O_WRONLY)


@case
def append(directory: str, count: int, _entropy: random.Random) -> list[int]:
    return _written(_files(directory, count), os.O_APPEND | os.O_WRONLY)


@case
def append_fsync(directory: str, count: int, _entropy: random.Random) -> list[int]:
    return _written(_files(directory, count), os.O_APPEND | os.O_WRONLY, synced=True)


@case
def write_open(directory: str, count: int, _entropy: random.Random) -> list[int]:
    samples = []
    fd = os.open(os.path.join(directory, "log.jsonl"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for _ in range(count):
        start = perf_counter_ns()
        os.write(fd, KIB)
        samples.append(perf_counter_ns() - start)
    os.close(fd)
    return samples


@case
def read_open(directory: str, count: int, _entropy: random.Random) -> list[int]:
    (path,) = _files(directory, 1)
    fd = os.open(path, os.O_RDONLY)
    os.pread(fd, 1024, 0)
    samples = []
    for _ in range(count):
        start = perf_counter_ns()
        os.pread(fd, 1024, 0)
        samples.append(perf_counter_ns() - start)
    os.close(fd)
    return samples


def _read_files(paths: list[str]) -> list[int]:
    samples = []
    for path in paths:
        start = perf_counter_ns()
        fd = os.open(path, os.O_RDONLY)
        os.read(fd, 1 << 20)
        os.close(fd)
        samples.append(perf_counter_ns() - start)
    return samples


@case
def read_warm(directory: str, count: int, _entropy: random.Random) -> list[int]:
    paths = _files(directory, count)
    _read_files(paths)
    return _read_files(paths)


@case
def stat(directory: str, count: int, _entropy: random.Random) -> list[int]:
    paths = _files(directory, min(count, LISTED))
    samples = []
    for timed in (False, True):
        for path in paths:
            start = perf_counter_ns()
            os.stat(path)
            if timed:
                samples.append(perf_counter_ns() - start)
    return samples


@case
def list_names(directory: str, count: int, _entropy: random.Random) -> list[int]:
    _files(directory, LISTED)
    os.listdir(directory)
    samples = []
    for _ in range(count):
        start = perf_counter_ns()
        found = os.listdir(directory)
        samples.append(perf_counter_ns() - start)
        assert len(found) == LISTED
    return samples


@case
def list_stat(directory: str, count: int, _entropy: random.Random) -> list[int]:
    _files(directory, LISTED)
    samples = []
    for number in range(count + 1):
        start = perf_counter_ns()
        with os.scandir(directory) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
        if number:
            samples.append(perf_counter_ns() - start)
    return samples


@case
def rename(directory: str, count: int, _entropy: random.Random) -> list[int]:
    samples = []
    for path in _files(directory, count):
        start = perf_counter_ns()
        os.rename(path, path + ".renamed")
        samples.append(perf_counter_ns() - start)
    return samples


@case
def delete(directory: str, count: int, _entropy: random.Random) -> list[int]:
    samples = []
    for path in _files(directory, count):
        start = perf_counter_ns()
        os.unlink(path)
        samples.append(perf_counter_ns() - start)
    return samples


@case
def sequential_write(directory: str, count: int, entropy: random.Random) -> list[int]:
    samples = []
    for number in range(count):
        start = perf_counter_ns()
        fd = os.open(os.path.join(directory, f"large-{number}.bin"), os.O_CREAT | os.O_WRONLY, 0o644)
        for _ in range(LARGE_MIB):
            os.write(fd, MIB)
        os.close(fd)
        samples.append(perf_counter_ns() - start)
    return samples


def _sequential_read(path: str, count: int, *, dropped: bool) -> list[int]:
    samples = []
    for number in range(count + 1):
        fd = os.open(path, os.O_RDONLY)
        if dropped:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        start = perf_counter_ns()
        while os.read(fd, 1 << 20):
            pass
        if number:
            samples.append(perf_counter_ns() - start)
        os.close(fd)
    return samples


@case
def sequential_read(directory: str, count: int, entropy: random.Random) -> list[int]:
    return _sequential_read(_large(directory, entropy), count, dropped=False)


@case
def sequential_read_dropped(directory: str, count: int, entropy: random.Random) -> list[int]:
    """The application's pages of the file are dropped before each pass, on every side by the same call."""
    return _sequential_read(_large(directory, entropy), count, dropped=True)


@case
def random_read(directory: str, count: int, entropy: random.Random) -> list[int]:
    """As a database reads: on a descriptor that is open for writing too."""
    fd = os.open(_large(directory, entropy), os.O_RDWR)
    places = [entropy.randrange(LARGE_MIB * 256) * PAGE for _ in range(count)]
    samples = []
    for place in places:
        start = perf_counter_ns()
        os.pread(fd, PAGE, place)
        samples.append(perf_counter_ns() - start)
    os.close(fd)
    return samples


@case
def random_write(directory: str, count: int, entropy: random.Random) -> list[int]:
    fd = os.open(_large(directory, entropy), os.O_RDWR)
    places = [entropy.randrange(LARGE_MIB * 256) * PAGE for _ in range(count)]
    page = KIB * 4
    samples = []
    for place in places:
        start = perf_counter_ns()
        os.pwrite(fd, page, place)
        samples.append(perf_counter_ns() - start)
    os.close(fd)
    return samples


def _transactions(directory: str, count: int, journal_mode: str) -> list[int]:
    """One insert per transaction, `synchronous` as the mode is most used: NORMAL with WAL, FULL with a journal."""
    database = sqlite3.connect(os.path.join(directory, "memory.db"), isolation_level=None)
    (mode,) = database.execute(f"PRAGMA journal_mode={journal_mode}").fetchone()
    assert mode == journal_mode
    database.execute(f"PRAGMA synchronous={'NORMAL' if journal_mode == 'wal' else 'FULL'}")
    database.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)")
    body = "remember " * 12
    samples = []
    for _ in range(count):
        start = perf_counter_ns()
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO note (body) VALUES (?)", (body,))
        database.execute("COMMIT")
        samples.append(perf_counter_ns() - start)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    return samples


@case
def sqlite_wal(directory: str, count: int, _entropy: random.Random) -> list[int]:
    return _transactions(directory, count, "wal")


@case
def sqlite_rollback(directory: str, count: int, _entropy: random.Random) -> list[int]:
    return _transactions(directory, count, "delete")


@case
def git_clone(directory: str, count: int, _entropy: random.Random) -> list[int]:
    """Of the repository that BENCH_REPOSITORY names, its objects copied."""
    samples = []
    for number in range(count):
        target = os.path.join(directory, f"clone-{number}")
        start = perf_counter_ns()
        command = ["git", "clone", "--quiet", "--no-hardlinks", os.environ["BENCH_REPOSITORY"], target]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        samples.append(perf_counter_ns() - start)
    return samples


# ---- what only a mount is asked ----


@case
def burst(directory: str, count: int, entropy: random.Random) -> list[int]:
    """`count` new files of 1 KiB (BENCH_KIB) with random bytes, as fast as they go; one sample, of all."""
    size = int(os.environ.get("BENCH_KIB", "1")) * 1024
    start = perf_counter_ns()
    for number in range(count):
        fd = os.open(os.path.join(directory, f"burst-{number:06d}.md"), os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, entropy.randbytes(size))
        os.close(fd)
    return [perf_counter_ns() - start]


@case
def read_all(directory: str, _count: int, _entropy: random.Random) -> list[int]:
    """Open, read and close every file of the directory once."""
    return _read_files([os.path.join(directory, name) for name in os.listdir(directory)])


@case
def tree(directory: str, count: int, _entropy: random.Random) -> list[int]:
    """`count` files of a few bytes in directories of a thousand; one sample, of all."""
    start = perf_counter_ns()
    for first in range(0, count, LISTED):
        folder = os.path.join(directory, f"folder-{first // LISTED:04d}")
        os.mkdir(folder)
        for number in range(first, min(first + LISTED, count)):
            fd = os.open(os.path.join(folder, f"note-{number:06d}.md"), os.O_CREAT | os.O_WRONLY, 0o644)
            os.write(fd, b"note %d\n" % number)
            os.close(fd)
    return [perf_counter_ns() - start]


_SEEN_SECONDS_MAX = 30.0


@case
def seen(directory: str, count: int, entropy: random.Random) -> list[int]:
    """From close() of a new file here until `stat` finds it, whole, in BENCH_OTHER, which the other mount shows.

    The pause between trials is random, so that no phase of a poll is favoured. A trial that takes longer than
    half a minute counts as that.
    """
    other = os.environ["BENCH_OTHER"]
    samples = []
    for _ in range(count):
        sleep(entropy.uniform(0.05, 1.0))
        name = f"seen-{entropy.getrandbits(64):016x}.md"
        fd = os.open(os.path.join(directory, name), os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, KIB)
        os.close(fd)
        start = perf_counter_ns()
        path = os.path.join(other, name)
        while perf_counter_ns() - start < _SEEN_SECONDS_MAX * 1e9:
            try:
                if os.stat(path).st_size == len(KIB):
                    break
            except FileNotFoundError:
                pass
            sleep(0.002)
        samples.append(perf_counter_ns() - start)
    return samples


@case
def paced(directory: str, count: int, _entropy: random.Random) -> list[int]:
    """Create + write 1 KiB + close, a millisecond apart: a foreground that leaves the machine time for others."""
    samples = []
    for number in range(count):
        sleep(0.001)
        path = os.path.join(directory, f"paced-{number:06d}.md")
        samples += _written([path], os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    return samples


@case
def heavy(directory: str, count: int, entropy: random.Random) -> list[int]:
    """`count` files of 8 MiB that the engine then has to hash and send."""
    for number in range(count):
        with open(os.path.join(directory, f"heavy-{number:03d}.bin"), "wb") as file:
            file.write(entropy.randbytes(8 << 20))
    return [0]


@case
def remove(directory: str, _count: int, _entropy: random.Random) -> list[int]:
    """Take the directory away (its parent stays)."""
    shutil.rmtree(directory)
    return [0]


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        os.environ.update(asked.get("environment", {}))
        try:
            samples = CASES[asked["case"]](asked["directory"], asked["count"], random.Random(asked["seed"]))
            answer: dict[str, object] = {"samples": samples}
        except OSError as error:
            answer = {"error": f"{asked['case']}: {error}"}
        except (subprocess.CalledProcessError, sqlite3.Error, AssertionError) as error:
            answer = {"error": f"{asked['case']}: {type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
