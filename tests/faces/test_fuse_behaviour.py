"""What programs may expect of a mounted directory. The same on every tree, with and without passthrough."""

import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, mounted, needs_mount, open_directory, refused, until

pytestmark = [pytest.mark.mount, needs_mount]

GROUNDS = [(program, passthrough) for program in ("loopback.py", "replicated.py") for passthrough in ("auto", "off")]
libc = ctypes.CDLL(None, use_errno=True)
MINIMAL_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, 0xFFFFFFFF) for tag, permissions in ((1, 7), (4, 5), (0x20, 5))
)


@pytest.fixture(scope="module", params=GROUNDS, ids=lambda ground: f"{ground[0][:-3]}-{ground[1]}")
def mount(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    program, passthrough = request.param
    with open_directory() as directory:
        (directory / "back").mkdir()
        (directory / "mnt").mkdir()
        with mounted(
            program,
            "--allow-other",
            "--passthrough",
            passthrough,
            str(directory / "back"),
            mountpoint=directory / "mnt",
            log=directory / "log",
        ) as running:
            yield running


@pytest.fixture
def here(mount: Mounted, request: pytest.FixtureRequest) -> Path:
    """A fresh directory on the mount."""
    path = mount.path / request.node.originalname
    path.mkdir()
    return path


# ---- bytes ----


def test_bytes_come_back(here: Path) -> None:
    data = os.urandom(3_000_001)
    (here / "a").write_bytes(data)
    assert (here / "a").read_bytes() == data
    assert (here / "a").stat().st_size == len(data)


def test_overwrite_in_the_middle(here: Path) -> None:
    data = bytearray(os.urandom(300_000))
    (here / "a").write_bytes(data)
    with open(here / "a", "r+b") as file:
        for offset in (0, 4095, 131_072, 299_990):
            file.seek(offset)
            file.write(b"0123456789"[: 300_000 - offset])
            data[offset : offset + 10] = b"0123456789"[: 300_000 - offset]
    assert (here / "a").read_bytes() == data


def test_truncate_by_open_and_by_call(here: Path) -> None:
    path = here / "a"
    path.write_bytes(b"x" * 10_000)
    os.truncate(path, 5_000)
    assert path.read_bytes() == b"x" * 5_000
    os.truncate(path, 6_000)
    assert path.read_bytes() == b"x" * 5_000 + bytes(1_000)
    with open(path, "r+b") as file:
        os.ftruncate(file.fileno(), 3)
        assert os.fstat(file.fileno()).st_size == 3
    path.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_size_is_right_while_open(here: Path) -> None:
    with open(here / "a", "wb", buffering=0) as file:
        for total in range(1000, 10_000, 1000):
            file.write(b"y" * 1000)
            assert os.stat(here / "a").st_size == total
            assert os.fstat(file.fileno()).st_size == total
            assert (here / "a").read_bytes() == b"y" * total


def test_append_of_two_writers_loses_nothing(here: Path) -> None:
    path = here / "log"
    path.touch()
    first = os.open(path, os.O_WRONLY | os.O_APPEND)
    second = os.open(path, os.O_WRONLY | os.O_APPEND)
    for number in range(100):
        os.write(first, b"first %03d\n" % number)
        os.write(second, b"other %03d\n" % number)
    os.close(first)
    os.close(second)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 200
    assert sorted(lines) == sorted(b"%s %03d" % (w, n) for w in (b"first", b"other") for n in range(100))


def test_read_and_write_handles_of_one_file(here: Path) -> None:
    """The kernel may have an inode cached or in passthrough, never both: every order of opens must work."""
    path = here / "a"
    path.write_bytes(b"one")
    reader = os.open(path, os.O_RDONLY)
    assert os.pread(reader, 10, 0) == b"one"
    writer = os.open(path, os.O_RDWR)
    os.pwrite(writer, b"two", 0)
    assert os.pread(reader, 10, 0) == b"two"
    late = os.open(path, os.O_RDONLY)
    os.close(reader)
    os.pwrite(writer, b"three", 0)
    assert os.pread(late, 10, 0) == b"three"
    os.close(writer)
    writer = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.pread(late, 10, 0) == b""
    os.write(writer, b"four")
    os.close(writer)
    assert os.pread(late, 10, 0) == b"four"
    os.close(late)
    assert path.read_bytes() == b"four"


def test_rewritten_file_is_never_read_stale(here: Path) -> None:
    """Kept pages must not outlive a write that went past them."""
    path = here / "a"
    for number in range(50):
        with open(path, "wb" if number % 3 else "r+b" if path.exists() else "wb") as file:
            file.write(b"%04d" % number * 2000)
        assert path.read_bytes() == b"%04d" % number * 2000


def test_mmap_shared(here: Path) -> None:
    path = here / "m"
    path.write_bytes(bytes(100_000))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[50_000:50_005] = b"hello"
        mapped.flush()
    assert path.read_bytes()[50_000:50_005] == b"hello"
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[49_999:50_006] == b"\0hello\0"


def test_mapping_outlives_its_descriptor(here: Path) -> None:
    path = here / "m"
    path.write_bytes(b"a" * 8192)
    fd = os.open(path, os.O_RDWR)
    mapped = mmap.mmap(fd, 8192)
    os.close(fd)
    os.unlink(path)
    mapped[0:1] = b"b"
    mapped.flush()
    assert mapped[:2] == b"ba"
    mapped.close()


def test_o_direct(here: Path) -> None:
    path = here / "d"
    page = mmap.mmap(-1, 4096)
    page.write(b"d" * 4096)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    assert os.pwrite(fd, page, 4096) == 4096
    os.close(fd)
    assert path.read_bytes() == bytes(4096) + b"d" * 4096


def test_holes(here: Path) -> None:
    path = here / "sparse"
    with open(path, "wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
    fd = os.open(path, os.O_RDONLY)
    data = os.lseek(fd, 0, os.SEEK_DATA)
    assert data == 8 << 20
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    with refused(errno.ENXIO):
        os.lseek(fd, 9 << 20, os.SEEK_DATA)
    os.close(fd)
    assert os.stat(path).st_blocks * 512 < 1 << 20


def test_fallocate(here: Path) -> None:
    fd = os.open(here / "f", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, 1 << 20)
    assert os.fstat(fd).st_size == 1 << 20
    assert os.fstat(fd).st_blocks * 512 >= 1 << 20
    os.close(fd)


@pytest.mark.parametrize("size", [100, 5_000_000])
def test_copy_file_range(mount: Mounted, size: int) -> None:
    path = mount.path / f"copy-{size}"
    path.mkdir()
    data = os.urandom(size)
    (path / "a").write_bytes(data)
    with open(path / "a", "rb") as source, open(path / "b", "wb") as target:
        copied = 0
        while copied < size:
            copied += os.copy_file_range(source.fileno(), target.fileno(), size - copied)
    assert (path / "b").read_bytes() == data


def test_fsync(here: Path) -> None:
    fd = os.open(here / "f", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)
    directory = os.open(here, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


# ---- names ----


def test_names_of_255_bytes_and_not_utf8(here: Path) -> None:
    names = [b"x" * 255, b"\xff\xfe\x80", "ünïcødé 🎉".encode(), b"new\nline", b" ", b"..."]
    base = os.fsencode(here)
    for name in names:
        with open(os.path.join(base, name), "wb") as file:
            file.write(name)
    assert sorted(os.listdir(base)) == sorted(names)
    for name in names:
        with open(os.path.join(base, name), "rb") as file:
            assert file.read() == name
    with refused(errno.ENAMETOOLONG):
        os.mkdir(os.path.join(base, b"y" * 256))


def test_rename_and_its_flags(here: Path) -> None:
    (here / "a").write_text("a")
    (here / "b").write_text("b")
    os.rename(here / "a", here / "b")
    assert (here / "b").read_text() == "a"
    assert not (here / "a").exists()
    (here / "c").write_text("c")
    noreplace, exchange, whiteout = 1, 2, 4
    assert rename2(here / "b", here / "c", noreplace) == errno.EEXIST
    assert rename2(here / "b", here / "c", exchange) == 0
    assert (here / "b").read_text() == "c"
    assert (here / "c").read_text() == "a"
    assert rename2(here / "b", here / "d", noreplace) == 0
    assert sorted(os.listdir(here)) == ["c", "d"]
    assert rename2(here / "c", here / "e", whiteout) in (errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, 0)


def rename2(old: Path, new: Path, flags: int) -> int:
    at_cwd = -100
    result = libc.renameat2(at_cwd, os.fsencode(old), at_cwd, os.fsencode(new), ctypes.c_uint(flags))
    return 0 if result == 0 else ctypes.get_errno()


def test_rename_of_directories(here: Path) -> None:
    (here / "a" / "b").mkdir(parents=True)
    (here / "a" / "b" / "f").write_text("f")
    (here / "c").mkdir()
    os.rename(here / "a", here / "c")
    assert (here / "c" / "b" / "f").read_text() == "f"
    (here / "full").mkdir()
    (here / "full" / "x").touch()
    with refused(errno.ENOTEMPTY):
        os.rename(here / "c", here / "full")
    with refused(errno.EINVAL):
        os.rename(here / "c", here / "c" / "b" / "inside")
    assert os.stat(here / "c" / "b" / "..").st_ino == os.stat(here / "c").st_ino


def test_hard_links(here: Path) -> None:
    (here / "a").write_text("one")
    os.link(here / "a", here / "b")
    assert os.stat(here / "a").st_nlink == 2
    assert os.path.samefile(here / "a", here / "b")
    (here / "b").write_text("two")
    assert (here / "a").read_text() == "two"
    os.unlink(here / "a")
    assert os.stat(here / "b").st_nlink == 1
    assert (here / "b").read_text() == "two"


def test_symbolic_links(here: Path) -> None:
    os.symlink("target/of any \N{SNOWMAN} length" + "x" * 2000, here / "l")
    assert os.readlink(here / "l") == "target/of any \N{SNOWMAN} length" + "x" * 2000
    os.symlink("f", here / "m")
    (here / "f").write_text("through")
    assert (here / "m").read_text() == "through"
    assert stat.S_ISLNK(os.lstat(here / "m").st_mode)
    os.utime(here / "m", ns=(1, 2), follow_symlinks=False)
    assert os.lstat(here / "m").st_mtime_ns == 2


def test_unlinked_open_file_lives_on(here: Path) -> None:
    path = here / "gone"
    with open(path, "w+b", buffering=0) as file:
        file.write(b"before")
        os.unlink(path)
        assert not path.exists()
        file.write(b" after")
        file.seek(0)
        assert file.read() == b"before after"
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.fstat(file.fileno()).st_size == 12
    assert os.listdir(here) == []


def test_replaced_open_file_lives_on(here: Path) -> None:
    (here / "a").write_text("old")
    with open(here / "a") as file:
        (here / "b").write_text("new")
        os.rename(here / "b", here / "a")
        assert file.read() == "old"
    assert (here / "a").read_text() == "new"


def test_special_files(here: Path) -> None:
    os.mkfifo(here / "fifo")
    assert stat.S_ISFIFO(os.stat(here / "fifo").st_mode)
    os.mknod(here / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert os.stat(here / "device").st_rdev == os.makedev(1, 3)


def test_errors(here: Path) -> None:
    (here / "f").touch()
    (here / "d").mkdir()
    with refused(errno.ENOENT):
        os.stat(here / "nope")
    with refused(errno.ENOTDIR):
        os.stat(here / "f" / "x")
    with refused(errno.EISDIR):
        os.open(here / "d", os.O_WRONLY)
    with refused(errno.EEXIST):
        os.mkdir(here / "d")
    with refused(errno.EEXIST):
        os.open(here / "f", os.O_CREAT | os.O_EXCL)
    with refused(errno.ENOTDIR):
        os.rmdir(here / "f")
    with refused(errno.EISDIR):
        os.unlink(here / "d")
    (here / "d" / "x").touch()
    with refused(errno.ENOTEMPTY):
        os.rmdir(here / "d")


def test_create_after_a_failed_lookup(here: Path) -> None:
    """The kernel remembers that a name means nothing; our own creates end that."""
    for number in range(20):
        path = here / f"f{number}"
        assert not path.exists()
        path.write_text("here")
        assert path.exists()
        path.unlink()
        assert not path.exists()


# ---- directories ----


def test_thousands_of_entries(here: Path) -> None:
    for number in range(3_000):
        os.close(os.open(here / f"file-{number:05d}", os.O_CREAT | os.O_WRONLY))
    expected = [f"file-{number:05d}" for number in range(3_000)]
    assert sorted(os.listdir(here)) == expected
    assert sorted(os.listdir(here)) == expected
    with os.scandir(here) as scan:
        assert sum(entry.stat().st_size for entry in scan) == 0
    os.unlink(here / "file-01500")
    assert len(os.listdir(here)) == 2_999


def test_deleting_while_listing(here: Path) -> None:
    for number in range(1_500):
        os.close(os.open(here / f"{number:04d}", os.O_CREAT | os.O_WRONLY))
    with os.scandir(here) as scan:
        for entry in scan:
            os.unlink(entry.path)
    assert os.listdir(here) == []
    os.rmdir(here)


def test_listing_follows_every_change(here: Path) -> None:
    for number in range(30):
        (here / f"n{number}").touch()
        assert len(os.listdir(here)) == number + 1
    for number in range(30):
        (here / f"n{number}").unlink()
        assert len(os.listdir(here)) == 29 - number


def test_rewound_directory_shows_what_is_new(here: Path) -> None:
    (here / "a").touch()
    fd = os.open(here, os.O_RDONLY)
    assert os.listdir(fd) == ["a"]
    (here / "b").touch()
    assert sorted(os.listdir(fd)) == ["a", "b"]
    os.close(fd)


# ---- attributes ----


def test_times_have_nanoseconds_and_may_be_old(here: Path) -> None:
    path = here / "t"
    path.touch()
    for ns in (1_234_567_890_123_456_789, 1, 0, -1_500_000_000):
        os.utime(path, ns=(ns, ns + 5))
        info = os.stat(path)
        assert (info.st_atime_ns, info.st_mtime_ns) == (ns, ns + 5)
    before = os.stat(path).st_ctime_ns
    os.utime(path)
    assert os.stat(path).st_mtime_ns > 1_500_000_000_000_000_000
    assert os.stat(path).st_ctime_ns >= before


def test_write_moves_mtime(here: Path) -> None:
    path = here / "t"
    path.write_text("x")
    os.utime(path, ns=(1, 1))
    with open(path, "a") as file:
        file.write("y")
    assert os.stat(path).st_mtime_ns > 1


def test_mode_and_owner(here: Path) -> None:
    path = here / "f"
    path.touch()
    os.chmod(path, 0o4751)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o4751
    os.chown(path, 1000, 1001)
    info = os.stat(path)
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1000, 1001, 0o751)


def test_umask(here: Path) -> None:
    old = os.umask(0o027)
    try:
        (here / "f").touch()
        (here / "d").mkdir()
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(here / "f").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(here / "d").st_mode) == 0o750


def test_write_by_another_user_takes_set_id_away(here: Path) -> None:
    path = here / "program"
    path.write_text("x")
    os.chmod(here, 0o777)
    os.chmod(path, 0o6777)
    code = "import os,sys; fd=os.open(sys.argv[1], os.O_WRONLY); os.write(fd, b'y'); os.close(fd)"
    as_nobody(code, str(path))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o777
    assert path.read_text() == "y"


def test_permissions_are_checked(here: Path) -> None:
    (here / "secret").write_text("s")
    os.chmod(here / "secret", 0o600)
    code = "import os,sys\ntry: os.open(sys.argv[1], os.O_RDONLY)\nexcept PermissionError: sys.exit(13)"
    assert as_nobody(code, str(here / "secret"), check=False) == 13


def as_nobody(code: str, *arguments: str, check: bool = True) -> int:
    """Run Python code as another user: fork only, for the interpreter may lie where that user cannot read."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.chdir("/")
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            sys.argv = ["-", *arguments]
            exec(code, {})
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert not check or status == 0
    return status


def test_xattrs(here: Path) -> None:
    path = here / "x"
    path.touch()
    assert os.listxattr(path) == []
    os.setxattr(path, "user.one", b"1")
    os.setxattr(path, "user.two", b"\0binary\xff" * 100)
    assert sorted(os.listxattr(path)) == ["user.one", "user.two"]
    assert os.getxattr(path, "user.two") == b"\0binary\xff" * 100
    with refused(errno.EEXIST):
        os.setxattr(path, "user.one", b"", os.XATTR_CREATE)
    with refused(errno.ENODATA):
        os.setxattr(path, "user.three", b"", os.XATTR_REPLACE)
    os.removexattr(path, "user.one")
    with refused(errno.ENODATA):
        os.getxattr(path, "user.one")
    with refused(errno.EOPNOTSUPP):
        os.setxattr(path, "system.posix_acl_access", MINIMAL_ACL)
    libc.getxattr.restype = ctypes.c_ssize_t
    assert libc.getxattr(os.fsencode(path), b"user.two", ctypes.create_string_buffer(5), 5) == -1
    assert ctypes.get_errno() == errno.ERANGE


def test_statfs(mount: Mounted) -> None:
    facts = os.statvfs(mount.path)
    assert facts.f_namemax == 255
    assert 0 < facts.f_bavail <= facts.f_blocks


def test_birth_time(here: Path) -> None:
    (here / "b").touch()
    shown = subprocess.run(["stat", "-c", "%W", here / "b"], capture_output=True, text=True, check=True)
    assert int(shown.stdout) > 1_500_000_000


# ---- locks and signals ----


def test_flock_between_processes(here: Path) -> None:
    path = here / "lock"
    path.touch()
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert in_child(try_flock, path) == errno.EWOULDBLOCK
        fcntl.flock(file, fcntl.LOCK_UN)
        assert in_child(try_flock, path) == 0


def test_fcntl_locks_between_processes(here: Path) -> None:
    path = here / "lock"
    path.write_bytes(bytes(100))
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 0)
        assert in_child(try_range, path, 5) in (errno.EAGAIN, errno.EACCES)
        assert in_child(try_range, path, 50) == 0
        fcntl.lockf(file, fcntl.LOCK_UN, 10, 0)
        assert in_child(try_range, path, 5) == 0


def try_flock(path: Path) -> int:
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return 0


def try_range(path: Path, start: int) -> int:
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
    return 0


def in_child(function, *arguments) -> int:
    """What `function` returns in another process; its errno when it raises OSError."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = function(*arguments)
        except OSError as error:
            status = error.errno
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_many_processes_at_once(here: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(work_of_one, [(str(here), number) for number in range(4)]) == [200] * 4
    assert len(os.listdir(here)) == 4
    for number in range(4):
        assert len(os.listdir(here / str(number))) == 200


def work_of_one(job: tuple[str, int]) -> int:
    directory = os.path.join(job[0], str(job[1]))
    os.mkdir(directory)
    for number in range(200):
        path = os.path.join(directory, str(number))
        with open(path + ".tmp", "wb") as file:
            file.write(b"%d" % number * 100)
        os.rename(path + ".tmp", path)
        with open(path, "rb") as file:
            assert file.read() == b"%d" % number * 100
    return len(os.listdir(directory))


def test_signals_do_not_break_io(here: Path) -> None:
    """A thread showers this process with signals while it writes and reads."""
    stop = threading.Event()
    got = []
    old = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    me = threading.get_ident()

    def shower() -> None:
        while not stop.wait(0.0005):
            signal.pthread_kill(me, signal.SIGUSR1)

    thread = threading.Thread(target=shower)
    thread.start()
    try:
        for number in range(300):
            data = b"%d" % number * 5000
            fd = os.open(here / "f", os.O_CREAT | os.O_TRUNC | os.O_RDWR)
            os.write(fd, data)
            os.fsync(fd)
            os.close(fd)
            assert (here / "f").read_bytes() == data
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGUSR1, old)
    until(lambda: got, "a signal during the test")


# ---- programs ----


def test_git(here: Path) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *settings, *words], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout

    git("init", "-q")
    for number in range(20):
        (here / f"f{number}").write_text(f"text {number}\n" * 50)
    git("add", ".")
    git("commit", "-qm", "one")
    (here / "f3").write_text("changed\n")
    assert git("status", "--porcelain").strip() == "M f3"
    git("commit", "-qam", "two")
    git("gc", "-q")
    git("fsck", "--strict")
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_sqlite(mount: Mounted, journal: str) -> None:
    path = mount.path / f"db-{journal}"
    path.mkdir()
    database = sqlite3.connect(path / "a.db")
    assert database.execute(f"PRAGMA journal_mode={journal}").fetchone() == (journal,)
    database.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    for batch in range(10):
        with database:
            database.executemany("INSERT INTO t(b) VALUES(?)", [(f"{batch}-{n}" * 20,) for n in range(200)])
    assert in_child(rows_in, path / "a.db") == 2000 // 20
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert os.listdir(path) == ["a.db"]


def rows_in(path: Path) -> int:
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT count(*)/20 FROM t").fetchone()[0]
    finally:
        database.close()
