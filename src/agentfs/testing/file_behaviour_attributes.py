"""Modes, owners, times, extended attributes, and the file system's numbers. A part of `FileBehaviour`."""

import errno
import os
import stat
import struct
import time
from collections.abc import Callable

import pytest

from agentfs.testing.file_behaviour_binding import Capability, Files, get, needs, opened, put, refused

_YEAR_2001_NS = 1_000_000_000 * 10**9
_SECONDS_MAX = 60.0
_MINIMAL_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, 0xFFFFFFFF) for tag, permissions in ((1, 7), (4, 5), (0x20, 5))
)


def changes_ctime(files: Files, path: bytes, act: Callable[[], object]) -> bool:
    """Whether `act` moves the ctime. Two changes within one tick of the kernel's clock may bear the same time, so it
    is repeated for a while."""
    before = files.stat(path, follow=False).ctime_ns
    deadline = time.monotonic() + _SECONDS_MAX
    while time.monotonic() < deadline:
        act()
        if files.stat(path, follow=False).ctime_ns > before:
            return True
    return False


class Modes:
    @pytest.mark.parametrize("mode", [0o000, 0o600, 0o751, 0o4755, 0o2711, 0o1777, 0o7777])
    def test_chmod(self, files: Files, mode: int) -> None:
        put(files, b"f")
        files.mkdir(b"d")
        for path in (b"f", b"d"):
            files.chmod(path, mode)
            assert files.stat(path).permissions == mode
        assert stat.S_ISDIR(files.stat(b"d").mode)

    def test_umask(self, files: Files) -> None:
        old = files.umask(0o027)
        try:
            with opened(files, b"f", os.O_WRONLY | os.O_CREAT, 0o666):
                pass
            files.mkdir(b"d", 0o777)
            files.mknod(b"p", stat.S_IFIFO | 0o666)
            files.symlink(b"x", b"l")
        finally:
            files.umask(old)
        found = [files.stat(path, follow=False).permissions for path in (b"f", b"d", b"p", b"l")]
        assert found == [0o640, 0o750, 0o640, 0o777]

    def test_a_file_is_made_with_its_mode_and_stays_open(self, files: Files) -> None:
        """git makes its objects so: read-only, and written through the descriptor that made them."""
        with opened(files, b"f", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444) as fd:
            files.write(fd, b"bytes", 0)
            assert files.fstat(fd).permissions == 0o444
        assert get(files, b"f") == b"bytes"

    @needs(Capability.OWNERS)
    def test_a_group_is_inherited_from_a_set_group_id_directory(self, files: Files) -> None:
        files.mkdir(b"d")
        files.chown(b"d", 1000, 1234)
        files.chmod(b"d", 0o2775)
        put(files, b"d/f")
        files.mkdir(b"d/sub", 0o755)
        files.symlink(b"x", b"d/l")
        files.mknod(b"d/p", stat.S_IFIFO | 0o644)
        facts = [files.stat(path, follow=False) for path in (b"d/f", b"d/sub", b"d/l", b"d/p")]
        assert [it.gid for it in facts] == [1234] * 4
        assert [bool(it.mode & stat.S_ISGID) for it in facts] == [False, True, False, False]
        assert facts[0].uid == os.geteuid()
        files.mkdir(b"d/sub/deeper")
        assert files.stat(b"d/sub/deeper").gid == 1234

    @needs(Capability.OWNERS)
    def test_chown(self, files: Files) -> None:
        put(files, b"f")
        files.chown(b"f", 1000, 1001)
        files.chown(b"f", -1, 1002)
        files.chown(b"f", 2**31, -1)
        assert (files.stat(b"f").uid, files.stat(b"f").gid) == (2**31, 1002)
        files.symlink(b"f", b"l")
        files.chown(b"l", 7, 8, follow=False)
        assert (files.stat(b"l", follow=False).uid, files.stat(b"f").uid) == (7, 2**31)

    @needs(Capability.OWNERS)
    @pytest.mark.parametrize(("before", "after"), [(0o6755, 0o755), (0o2745, 0o2745), (0o4600, 0o600)])
    def test_chown_takes_set_id_away(self, files: Files, before: int, after: int) -> None:
        put(files, b"f")
        files.mkdir(b"d")
        for path in (b"f", b"d"):
            files.chmod(path, before)
            files.chown(path, 1000, 1000)
        assert files.stat(b"f").permissions == after
        assert files.stat(b"d").permissions == before


class Times:
    @pytest.mark.parametrize("ns", [1_234_567_890_123_456_789, 1, 0, -1_500_000_000, 4_000_000_000 * 10**9])
    def test_times_have_nanoseconds(self, files: Files, ns: int) -> None:
        put(files, b"f")
        files.mkdir(b"d")
        for path in (b"f", b"d"):
            files.utime(path, ns, ns + 5)
            assert (files.stat(path).atime_ns, files.stat(path).mtime_ns) == (ns, ns + 5)

    def test_times_of_a_symbolic_link(self, files: Files) -> None:
        put(files, b"f")
        files.utime(b"f", 10, 20)
        files.symlink(b"f", b"l")
        files.utime(b"l", 1, 2, follow=False)
        assert files.stat(b"l", follow=False).mtime_ns == 2
        assert files.stat(b"l").mtime_ns == 20

    def test_writing_moves_mtime_and_reading_does_not(self, files: Files) -> None:
        put(files, b"f", b"x")
        files.utime(b"f", _YEAR_2001_NS, _YEAR_2001_NS)
        get(files, b"f")
        assert files.stat(b"f").mtime_ns == _YEAR_2001_NS
        for act in (
            lambda fd: files.write(fd, b"y", 0),
            lambda fd: files.ftruncate(fd, 100),
            lambda fd: files.fallocate(fd, 0, 0, 200),
        ):
            files.utime(b"f", _YEAR_2001_NS, _YEAR_2001_NS)
            with opened(files, b"f", os.O_RDWR) as fd:
                assert files.fstat(fd).mtime_ns == _YEAR_2001_NS
                act(fd)
                assert files.fstat(fd).mtime_ns > _YEAR_2001_NS
            assert files.stat(b"f").mtime_ns > _YEAR_2001_NS

    def test_opening_to_truncate_moves_mtime(self, files: Files) -> None:
        put(files, b"f", b"x")
        files.utime(b"f", _YEAR_2001_NS, _YEAR_2001_NS)
        put(files, b"f")
        assert files.stat(b"f").mtime_ns > _YEAR_2001_NS

    def test_a_time_set_on_an_open_file_stays(self, files: Files) -> None:
        """tar, cp and rsync write, set the time, and close."""
        with opened(files, b"f") as fd:
            files.write(fd, b"bytes", 0)
            files.futime(fd, _YEAR_2001_NS, _YEAR_2001_NS + 1)
            assert files.fstat(fd).mtime_ns == _YEAR_2001_NS + 1
        assert files.stat(b"f").mtime_ns == _YEAR_2001_NS + 1
        with opened(files, b"f", os.O_RDWR) as fd:
            files.write(fd, b"BYTES", 0)
            files.utime(b"f", _YEAR_2001_NS, _YEAR_2001_NS + 2)
        assert files.stat(b"f").mtime_ns == _YEAR_2001_NS + 2
        files.rename(b"f", b"g")
        files.link(b"g", b"h")
        files.chmod(b"g", 0o600)
        assert files.stat(b"h").mtime_ns == _YEAR_2001_NS + 2

    def test_a_directory_changes_with_its_names(self, files: Files) -> None:
        files.mkdir(b"d")
        files.mkdir(b"e")
        put(files, b"f")
        acts: list[Callable[[], object]] = [
            lambda: put(files, b"d/f"),
            lambda: files.mkdir(b"d/sub"),
            lambda: files.symlink(b"x", b"d/l"),
            lambda: files.link(b"f", b"d/hard"),
            lambda: files.rename(b"d/f", b"d/g"),
            lambda: files.rename(b"d/g", b"e/g"),
            lambda: files.rename(b"e/g", b"d/g"),
            lambda: files.unlink(b"d/l"),
            lambda: files.rmdir(b"d/sub"),
        ]
        for act in acts:
            files.utime(b"d", _YEAR_2001_NS, _YEAR_2001_NS)
            act()
            assert files.stat(b"d").mtime_ns > _YEAR_2001_NS
        files.utime(b"d", _YEAR_2001_NS, _YEAR_2001_NS)
        put(files, b"d/hard", b"bytes")
        files.chmod(b"d/hard", 0o600)
        assert files.stat(b"d").mtime_ns == _YEAR_2001_NS

    def test_what_changes_ctime(self, files: Files) -> None:
        put(files, b"f")
        files.mkdir(b"d")

        def linked() -> None:
            files.link(b"f", b"g")
            files.unlink(b"g")

        def moved() -> None:
            files.rename(b"f", b"d/f")
            files.rename(b"d/f", b"f")

        for act in (
            lambda: files.chmod(b"f", 0o640),
            lambda: files.utime(b"f", 1, 1),
            lambda: files.truncate(b"f", files.stat(b"f").size_bytes + 1),
            lambda: put(files, b"f", b"bytes"),
            linked,
            moved,
        ):
            assert changes_ctime(files, b"f", act)
        assert not files.stat(b"f").mtime_ns < _YEAR_2001_NS


class ExtendedAttributes:
    def test_values_come_back(self, files: Files) -> None:
        put(files, b"f")
        files.mkdir(b"d")
        for path in (b"f", b"d"):
            assert [name for name in files.list_xattrs(path) if name.startswith("user.")] == []
            files.set_xattr(path, "user.empty", b"")
            files.set_xattr(path, "user.binary", b"\0\xff\n" * 300)
            files.set_xattr(path, "user.ü", b"name")
            found = [name for name in files.list_xattrs(path) if name.startswith("user.")]
            assert sorted(found) == ["user.binary", "user.empty", "user.ü"]
            assert files.get_xattr(path, "user.empty") == b""
            assert files.get_xattr(path, "user.binary") == b"\0\xff\n" * 300
            files.set_xattr(path, "user.binary", b"short")
            assert files.get_xattr(path, "user.binary") == b"short"
            files.remove_xattr(path, "user.empty")
            with refused(errno.ENODATA):
                files.get_xattr(path, "user.empty")

    def test_flags(self, files: Files) -> None:
        put(files, b"f")
        with refused(errno.ENODATA):
            files.set_xattr(b"f", "user.a", b"1", os.XATTR_REPLACE)
        files.set_xattr(b"f", "user.a", b"1", os.XATTR_CREATE)
        with refused(errno.EEXIST):
            files.set_xattr(b"f", "user.a", b"2", os.XATTR_CREATE)
        files.set_xattr(b"f", "user.a", b"3", os.XATTR_REPLACE)
        assert files.get_xattr(b"f", "user.a") == b"3"
        with refused(errno.ENODATA):
            files.remove_xattr(b"f", "user.b")

    def test_they_belong_to_the_file_and_not_to_the_name(self, files: Files) -> None:
        put(files, b"f")
        files.set_xattr(b"f", "user.a", b"1")
        files.link(b"f", b"g")
        files.rename(b"f", b"h")
        put(files, b"h", b"new bytes")
        assert files.get_xattr(b"g", "user.a") == b"1"
        put(files, b"other")
        files.rename(b"other", b"h")
        with refused(errno.ENODATA):
            files.get_xattr(b"h", "user.a")

    def test_setting_one_changes_ctime_and_not_mtime(self, files: Files) -> None:
        put(files, b"f")
        files.utime(b"f", _YEAR_2001_NS, _YEAR_2001_NS)
        assert changes_ctime(files, b"f", lambda: files.set_xattr(b"f", "user.a", b"1"))
        assert changes_ctime(files, b"f", lambda: set_and_remove(files))
        assert files.stat(b"f").mtime_ns == _YEAR_2001_NS

    def test_not_on_what_is_not_a_file(self, files: Files) -> None:
        files.mknod(b"p", stat.S_IFIFO | 0o644)
        with refused(errno.EPERM):
            files.set_xattr(b"p", "user.a", b"1")

    def test_unknown_namespaces(self, files: Files) -> None:
        put(files, b"f")
        with refused(errno.EOPNOTSUPP):
            files.set_xattr(b"f", "nothing.a", b"1")

    @needs(Capability.OUR_LIMITS)
    def test_sizes(self, files: Files) -> None:
        put(files, b"f")
        files.set_xattr(b"f", "user.large", b"x" * 65_536)
        assert files.get_xattr(b"f", "user.large") == b"x" * 65_536
        with refused(errno.E2BIG):
            files.set_xattr(b"f", "user.larger", b"x" * 65_537)
        files.set_xattr(b"f", "user." + "n" * 250, b"1")
        with refused(errno.ERANGE):
            files.set_xattr(b"f", "user." + "n" * 251, b"1")
        for number in range(3):
            if number < 2:
                files.set_xattr(b"f", f"user.{number}", b"x" * 65_536)
            else:
                files.set_xattr(b"f", "user.rest", b"x" * 60_000)
        with refused(errno.ENOSPC):
            files.set_xattr(b"f", "user.too-much", b"x" * 10_000)

    @needs(Capability.OUR_LIMITS)
    def test_access_lists_are_refused(self, files: Files) -> None:
        put(files, b"f")
        with refused(errno.EOPNOTSUPP):
            files.set_xattr(b"f", "system.posix_acl_access", _MINIMAL_ACL)

    def test_numbers_of_the_file_system(self, files: Files) -> None:
        name_bytes_max, blocks, available = files.statvfs()
        assert name_bytes_max == 255
        assert 0 < available <= blocks


def set_and_remove(files: Files) -> None:
    files.set_xattr(b"f", "user.b", b"1")
    files.remove_xattr(b"f", "user.b")
