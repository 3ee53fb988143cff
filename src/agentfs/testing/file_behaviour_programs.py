"""What only programs on a real path can do: mapping, locking, open directories. A part of `FileBehaviour`."""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable

from agentfs.testing.file_behaviour_binding import Capability, Files, KernelFiles, get, needs, opened, put, refused

_PAGES = 8192


def kernel(files: Files) -> KernelFiles:
    assert isinstance(files, KernelFiles)
    return files


class Programs:
    @needs(Capability.KERNEL)
    def test_writing_through_a_mapping(self, files: Files) -> None:
        put(files, b"f", bytes(100_000))
        with opened(files, b"f", os.O_RDWR) as fd, mmap.mmap(fd, 0) as mapped:
            mapped[50_000:50_005] = b"hello"
            assert files.read(fd, 5, 50_000) == b"hello"
            mapped.flush()
        assert get(files, b"f")[49_999:50_006] == b"\0hello\0"
        with opened(files, b"f", os.O_RDONLY) as fd, mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[49_999:50_006] == b"\0hello\0"

    @needs(Capability.KERNEL)
    def test_a_mapping_sees_what_is_written(self, files: Files) -> None:
        put(files, b"f", bytes(_PAGES))
        with opened(files, b"f", os.O_RDWR) as fd, mmap.mmap(fd, 0) as mapped:
            assert mapped[:3] == b"\0\0\0"
            files.write(fd, b"new", 0)
            assert mapped[:3] == b"new"

    @needs(Capability.KERNEL)
    def test_a_mapping_outlives_descriptor_and_name(self, files: Files) -> None:
        put(files, b"f", b"a" * _PAGES)
        fd = files.open(b"f", os.O_RDWR)
        mapped = mmap.mmap(fd, _PAGES)
        files.close(fd)
        files.unlink(b"f")
        mapped[0:1] = b"b"
        mapped.flush()
        assert mapped[:2] == b"ba"
        mapped.close()

    @needs(Capability.KERNEL)
    def test_a_private_mapping_changes_nothing(self, files: Files) -> None:
        put(files, b"f", b"a" * _PAGES)
        with opened(files, b"f", os.O_RDONLY) as fd, mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE) as mapped:
            mapped[0:1] = b"b"
        assert get(files, b"f") == b"a" * _PAGES

    @needs(Capability.KERNEL)
    def test_flock_between_processes(self, files: Files) -> None:
        put(files, b"f")
        with opened(files, b"f", os.O_RDONLY) as fd:
            fcntl.flock(fd, fcntl.LOCK_SH)
            assert in_child(lambda: try_flock(files, fcntl.LOCK_SH)) == 0
            assert in_child(lambda: try_flock(files, fcntl.LOCK_EX)) == errno.EWOULDBLOCK
            fcntl.flock(fd, fcntl.LOCK_EX)
            assert in_child(lambda: try_flock(files, fcntl.LOCK_SH)) == errno.EWOULDBLOCK
            fcntl.flock(fd, fcntl.LOCK_UN)
            assert in_child(lambda: try_flock(files, fcntl.LOCK_EX)) == 0
            fcntl.flock(fd, fcntl.LOCK_EX)
        assert in_child(lambda: try_flock(files, fcntl.LOCK_EX)) == 0

    @needs(Capability.KERNEL)
    def test_range_locks_between_processes(self, files: Files) -> None:
        put(files, b"f", bytes(100))
        with opened(files, b"f", os.O_RDWR) as fd:
            fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
            assert in_child(lambda: try_range(files, 5)) in (errno.EAGAIN, errno.EACCES)
            assert in_child(lambda: try_range(files, 50)) == 0
            fcntl.lockf(fd, fcntl.LOCK_UN, 10, 0)
            assert in_child(lambda: try_range(files, 5)) == 0

    @needs(Capability.KERNEL)
    def test_an_open_directory_outlives_its_name(self, files: Files) -> None:
        files.mkdir(b"d")
        fd = files.open(b"d", os.O_RDONLY | os.O_DIRECTORY)
        files.rmdir(b"d")
        assert files.fstat(fd).nlink == 0
        with refused(errno.ENOENT):
            os.open(b"x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        with refused(errno.ENOENT):
            os.mkdir(b"x", dir_fd=fd)
        files.close(fd)

    @needs(Capability.KERNEL)
    def test_paths_from_a_directory_that_moves(self, files: Files) -> None:
        files.mkdir(b"a")
        files.mkdir(b"b")
        fd = files.open(b"a", os.O_RDONLY | os.O_DIRECTORY)
        files.rename(b"a", b"b/c")
        os.close(os.open(b"x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        files.fsync(fd)
        files.close(fd)
        assert get(files, b"b/c/x") == b""

    @needs(Capability.KERNEL)
    def test_direct_io(self, files: Files) -> None:
        page = mmap.mmap(-1, 4096)
        page.write(b"d" * 4096)
        fd = os.open(kernel(files).path(b"f"), os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        assert os.pwrite(fd, page, 4096) == 4096
        os.close(fd)
        page.close()
        assert get(files, b"f") == bytes(4096) + b"d" * 4096

    @needs(Capability.KERNEL)
    def test_a_duplicate_keeps_the_file_open(self, files: Files) -> None:
        """Each close of a duplicate is a flush, and not the last word."""
        fd = files.open(b"f", os.O_RDWR | os.O_CREAT)
        files.write(fd, b"one", 0)
        os.close(os.dup(fd))
        assert in_child(lambda: closed(fd)) == 0
        files.write(fd, b"two", 3)
        files.unlink(b"f")
        os.close(os.dup(fd))
        assert files.read(fd, 10, 0) == b"onetwo"
        files.close(fd)


def try_flock(files: Files, operation: int) -> int:
    with opened(files, b"f", os.O_RDONLY) as fd:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    return 0


def try_range(files: Files, start: int) -> int:
    with opened(files, b"f", os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
    return 0


def closed(fd: int) -> int:
    os.close(fd)
    return 0


def in_child(act: Callable[[], int]) -> int:
    """What `act` returns in another process; its errno when it raises OSError."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = act()
        except OSError as error:
            status = error.errno or 255
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
