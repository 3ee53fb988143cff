"""Bytes: reading, writing, holes, and files that lose their name while they are open. A part of `FileBehaviour`."""

import errno
import os

import pytest

from agentfs.testing.file_behaviour_binding import (
    FALLOC_KEEP_SIZE,
    FALLOC_PUNCH_HOLE,
    RENAME_EXCHANGE,
    Capability,
    Files,
    get,
    names,
    needs,
    opened,
    put,
    read_all,
    refused,
)

_MIB = 1 << 20


class Bytes:
    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 131_073, 3_000_001])
    def test_bytes_come_back(self, files: Files, size: int) -> None:
        data = os.urandom(size)
        put(files, b"f", data)
        assert get(files, b"f") == data
        assert files.stat(b"f").size_bytes == size

    def test_overwriting_in_the_middle(self, files: Files) -> None:
        data = bytearray(os.urandom(300_000))
        put(files, b"f", bytes(data))
        with opened(files, b"f", os.O_RDWR) as fd:
            for offset in (0, 4095, 131_070, 299_990):
                assert files.write(fd, b"0123456789", offset) == 10
                data[offset : offset + 10] = b"0123456789"
                assert read_all(files, fd) == data
        assert get(files, b"f") == data

    def test_reading_at_and_past_the_end(self, files: Files) -> None:
        put(files, b"f", b"0123456789")
        with opened(files, b"f", os.O_RDONLY) as fd:
            assert files.read(fd, 100, 8) == b"89"
            assert files.read(fd, 100, 10) == b""
            assert files.read(fd, 100, 1 << 40) == b""
            assert files.read(fd, 0, 0) == b""

    def test_size_and_bytes_are_right_while_open(self, files: Files) -> None:
        with opened(files, b"f", os.O_WRONLY | os.O_CREAT) as fd:
            for total in range(1000, 10_000, 1000):
                files.write(fd, b"y" * 1000, total - 1000)
                assert files.stat(b"f").size_bytes == files.fstat(fd).size_bytes == total
                assert get(files, b"f") == b"y" * total

    def test_a_descriptor_is_open_for_what_it_was_opened(self, files: Files) -> None:
        put(files, b"f", b"bytes")
        with opened(files, b"f", os.O_RDONLY) as fd:
            with refused(errno.EBADF):
                files.write(fd, b"x", 0)
            with refused(errno.EINVAL):
                files.ftruncate(fd, 0)
        with opened(files, b"f", os.O_WRONLY) as fd, refused(errno.EBADF):
            files.read(fd, 1, 0)
        assert get(files, b"f") == b"bytes"

    def test_appending_from_two_descriptors_loses_nothing(self, files: Files) -> None:
        put(files, b"f", b"start\n")
        with (
            opened(files, b"f", os.O_WRONLY | os.O_APPEND) as one,
            opened(files, b"f", os.O_RDWR | os.O_APPEND) as two,
        ):
            for number in range(100):
                files.write(one, b"one %d\n" % number, 0)
                files.write(two, b"two %d\n" % number, 0)
            assert files.fstat(one).size_bytes == files.fstat(two).size_bytes
        expected = b"start\n" + b"".join(b"one %d\ntwo %d\n" % (number, number) for number in range(100))
        assert get(files, b"f") == expected

    def test_appending_beside_a_writer_that_does_not(self, files: Files) -> None:
        with opened(files, b"f") as plain, opened(files, b"f", os.O_WRONLY | os.O_APPEND) as appending:
            files.write(plain, b"0123456789", 0)
            files.write(appending, b"end", 0)
            files.write(plain, b"AB", 0)
            files.ftruncate(plain, 4)
            files.write(appending, b"!", 0)
        assert get(files, b"f") == b"AB23!"

    def test_truncating_open(self, files: Files) -> None:
        put(files, b"f", b"x" * 10_000)
        ino = files.stat(b"f").ino
        with opened(files, b"f", os.O_WRONLY | os.O_TRUNC) as fd:
            assert files.stat(b"f").size_bytes == 0
            files.write(fd, b"new", 0)
        assert (get(files, b"f"), files.stat(b"f").ino) == (b"new", ino)
        with opened(files, b"f", os.O_RDWR | os.O_TRUNC):
            pass
        assert get(files, b"f") == b""

    def test_truncating_under_a_reader(self, files: Files) -> None:
        put(files, b"f", b"x" * 100_000)
        with opened(files, b"f", os.O_RDONLY) as reader:
            put(files, b"f", b"new")
            assert read_all(files, reader) == b"new"
            files.truncate(b"f", 5)
            assert read_all(files, reader) == b"new\0\0"

    def test_truncating_down_and_up_leaves_zeros(self, files: Files) -> None:
        put(files, b"f", b"x" * 10_000)
        files.truncate(b"f", 5_000)
        assert get(files, b"f") == b"x" * 5_000
        files.truncate(b"f", 6_000)
        assert get(files, b"f") == b"x" * 5_000 + bytes(1_000)
        with opened(files, b"f", os.O_RDWR) as fd:
            files.ftruncate(fd, 3)
            files.ftruncate(fd, 9_000)
            assert files.fstat(fd).size_bytes == 9_000
            assert read_all(files, fd) == b"xxx" + bytes(8_997)
        files.truncate(b"f", 0)
        assert files.stat(b"f").size_bytes == 0

    def test_truncating_by_name_while_open(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            files.write(fd, b"0123456789", 0)
            files.truncate(b"f", 4)
            assert (files.fstat(fd).size_bytes, read_all(files, fd)) == (4, b"0123")
            files.write(fd, b"end", 8)
        assert get(files, b"f") == b"0123\0\0\0\0end"

    def test_read_and_write_descriptors_of_one_file(self, files: Files) -> None:
        """The kernel may have an inode cached or in passthrough, never both: every order of opens must work."""
        put(files, b"f", b"one")
        reader = files.open(b"f", os.O_RDONLY)
        assert files.read(reader, 10, 0) == b"one"
        writer = files.open(b"f", os.O_RDWR)
        files.write(writer, b"two", 0)
        assert files.read(reader, 10, 0) == b"two"
        late = files.open(b"f", os.O_RDONLY)
        files.close(reader)
        files.write(writer, b"three", 0)
        assert files.read(late, 10, 0) == b"three"
        files.close(writer)
        writer = files.open(b"f", os.O_WRONLY | os.O_TRUNC)
        assert files.read(late, 10, 0) == b""
        files.write(writer, b"four", 0)
        files.close(writer)
        assert files.read(late, 10, 0) == b"four"
        files.close(late)
        assert get(files, b"f") == b"four"

    def test_a_rewritten_file_is_never_read_stale(self, files: Files) -> None:
        """Kept pages must not outlive a write that went past them."""
        for number in range(50):
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if number % 3 else 0)
            with opened(files, b"f", flags) as fd:
                files.write(fd, b"%04d" % number * 2000, 0)
            assert get(files, b"f") == b"%04d" % number * 2000

    def test_many_descriptors_of_one_file(self, files: Files) -> None:
        fds = [files.open(b"f", os.O_RDWR | os.O_CREAT) for _ in range(20)]
        for number, fd in enumerate(fds):
            files.write(fd, b"%02d" % number, 2 * number)
        for fd in fds[::2]:
            files.close(fd)
        expected = b"".join(b"%02d" % number for number in range(20))
        for fd in fds[1::2]:
            assert read_all(files, fd) == expected
            files.close(fd)
        assert get(files, b"f") == expected

    def test_fsync(self, files: Files) -> None:
        files.mkdir(b"d")
        with opened(files, b"d/f") as fd:
            files.write(fd, b"one", 0)
            files.fsync(fd)
            files.write(fd, b"two", 3)
            files.fsync(fd, data_only=True)
            assert files.fstat(fd).size_bytes == 6
        files.fsync_directory(b"d")
        with opened(files, b"d/f", os.O_RDONLY) as fd:
            files.fsync(fd)
        assert get(files, b"d/f") == b"onetwo"

    @needs(Capability.OUR_LIMITS)
    def test_no_file_is_beyond_the_format(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            files.write(fd, b"kept", 0)
            with refused(errno.EFBIG):
                files.ftruncate(fd, (1 << 40) + 1)
            with refused(errno.EFBIG):
                files.fallocate(fd, 0, 1 << 40, 1)
        assert get(files, b"f") == b"kept"


class Holes:
    def test_a_hole_reads_as_zeros_and_takes_no_room(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            files.write(fd, b"end", 8 * _MIB)
            assert files.seek(fd, 0, os.SEEK_DATA) == 8 * _MIB
            assert files.seek(fd, 0, os.SEEK_HOLE) == 0
            assert files.seek(fd, 8 * _MIB, os.SEEK_HOLE) == 8 * _MIB + 3
            assert files.seek(fd, 0, os.SEEK_END) == 8 * _MIB + 3
            with refused(errno.ENXIO):
                files.seek(fd, 9 * _MIB, os.SEEK_DATA)
            assert files.read(fd, 100, _MIB) == bytes(100)
        assert files.stat(b"f").blocks * 512 < _MIB
        assert files.stat(b"f").size_bytes == 8 * _MIB + 3

    def test_data_between_holes(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            files.ftruncate(fd, 4 * _MIB)
            files.write(fd, b"x" * 65_536, _MIB)
            assert files.seek(fd, 0, os.SEEK_DATA) == _MIB
            assert files.seek(fd, _MIB, os.SEEK_HOLE) == _MIB + 65_536
            with refused(errno.ENXIO):
                files.seek(fd, 2 * _MIB, os.SEEK_DATA)
            assert files.read(fd, 10, _MIB - 5) == bytes(5) + b"x" * 5

    def test_a_large_sparse_file(self, files: Files) -> None:
        files.mknod(b"f", 0o100644)
        files.truncate(b"f", 1 << 35)
        with opened(files, b"f", os.O_RDWR) as fd:
            files.write(fd, b"far", (1 << 35) - 3)
            assert files.read(fd, 10, (1 << 35) - 4) == b"\0far"
        assert files.stat(b"f").size_bytes == 1 << 35
        assert files.stat(b"f").blocks * 512 < _MIB
        files.truncate(b"f", 0)

    def test_fallocate(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            files.write(fd, b"start", 0)
            files.fallocate(fd, 0, 0, _MIB)
            facts = files.fstat(fd)
            assert facts.size_bytes == _MIB
            assert facts.blocks * 512 >= _MIB
            files.fallocate(fd, FALLOC_KEEP_SIZE, _MIB, _MIB)
            assert files.fstat(fd).size_bytes == _MIB
            assert read_all(files, fd) == b"start" + bytes(_MIB - 5)
        assert files.stat(b"f").size_bytes == _MIB

    def test_punching_a_hole(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            files.write(fd, b"x" * _MIB, 0)
            files.fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 65_536, 131_072)
            assert files.seek(fd, 0, os.SEEK_HOLE) == 65_536
        expected = b"x" * 65_536 + bytes(131_072) + b"x" * (_MIB - 196_608)
        assert get(files, b"f") == expected

    def test_fallocate_refused(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            for offset, length in ((0, 0), (-1, 1), (0, -1)):
                with refused(errno.EINVAL):
                    files.fallocate(fd, 0, offset, length)
        with opened(files, b"f", os.O_RDONLY) as fd, refused(errno.EBADF):
            files.fallocate(fd, 0, 0, 1)


class Copies:
    @pytest.mark.parametrize("size", [0, 100, 5_000_000])
    def test_copy_range(self, files: Files, size: int) -> None:
        data = os.urandom(size)
        put(files, b"a", data)
        with opened(files, b"a", os.O_RDONLY) as source, opened(files, b"b") as target:
            done = 0
            while copied := files.copy_range(source, done, target, done, size - done + 10):
                done += copied
            assert files.fstat(target).size_bytes == size
        assert get(files, b"b") == data

    def test_copy_range_within_a_file_and_between_offsets(self, files: Files) -> None:
        put(files, b"f", b"0123456789")
        with opened(files, b"f", os.O_RDWR) as fd:
            assert files.copy_range(fd, 0, fd, 5, 3) == 3
            assert files.copy_range(fd, 5, fd, 20, 100) == 5
        assert get(files, b"f") == b"0123401289" + bytes(10) + b"01289"

    def test_copy_range_refused(self, files: Files) -> None:
        put(files, b"a", b"bytes")
        with opened(files, b"a", os.O_RDONLY) as reader, opened(files, b"b", os.O_WRONLY | os.O_CREAT) as writer:
            with refused(errno.EBADF):
                files.copy_range(writer, 0, writer, 10, 1)
            with refused(errno.EBADF):
                files.copy_range(reader, 0, reader, 10, 1)
        appending = os.O_WRONLY | os.O_APPEND
        with opened(files, b"a", appending) as one, opened(files, b"b", os.O_RDONLY) as two, refused(errno.EBADF):
            files.copy_range(two, 0, one, 0, 1)


class Nameless:
    """Files that lose or change their name while they are open."""

    def test_an_unlinked_file_lives_while_open(self, files: Files) -> None:
        with opened(files, b"f") as fd:
            files.write(fd, b"before", 0)
            files.unlink(b"f")
            with refused(errno.ENOENT):
                files.stat(b"f")
            files.write(fd, b" after", 6)
            files.ftruncate(fd, 20)
            files.fsync(fd)
            facts = files.fstat(fd)
            assert (facts.nlink, facts.size_bytes) == (0, 20)
            assert read_all(files, fd) == b"before after" + bytes(8)
        assert names(files) == []

    def test_an_unlinked_file_of_many_descriptors(self, files: Files) -> None:
        put(files, b"f", b"bytes")
        reader = files.open(b"f", os.O_RDONLY)
        writer = files.open(b"f", os.O_RDWR)
        files.unlink(b"f")
        files.write(writer, b"BYTES", 0)
        files.close(writer)
        assert read_all(files, reader) == b"BYTES"
        put(files, b"f", b"another")
        assert read_all(files, reader) == b"BYTES"
        assert files.fstat(reader).ino != files.stat(b"f").ino
        files.close(reader)
        assert get(files, b"f") == b"another"

    def test_one_of_two_names_goes_while_open(self, files: Files) -> None:
        with opened(files, b"a") as fd:
            files.link(b"a", b"b")
            files.write(fd, b"one", 0)
            files.unlink(b"a")
            files.write(fd, b"two", 3)
            assert files.fstat(fd).nlink == 1
        assert get(files, b"b") == b"onetwo"

    def test_a_replaced_file_lives_while_open(self, files: Files) -> None:
        put(files, b"a", b"old")
        with opened(files, b"a", os.O_RDWR) as fd:
            put(files, b"b", b"new")
            files.rename(b"b", b"a")
            assert read_all(files, fd) == b"old"
            files.write(fd, b"OLD", 0)
            assert files.fstat(fd).nlink == 0
        assert get(files, b"a") == b"new"

    def test_writing_while_the_name_moves(self, files: Files) -> None:
        files.mkdir(b"d")
        put(files, b"other", b"other")
        with opened(files, b"a") as fd:
            files.write(fd, b"1", 0)
            files.rename(b"a", b"d/b")
            files.write(fd, b"2", 1)
            files.rename(b"d", b"e")
            files.write(fd, b"3", 2)
            files.rename(b"e/b", b"other", RENAME_EXCHANGE)
            files.write(fd, b"4", 3)
        assert (get(files, b"other"), get(files, b"e/b")) == (b"1234", b"other")

    def test_a_link_of_a_file_without_names_is_refused(self, files: Files) -> None:
        with opened(files, b"a"):
            files.link(b"a", b"b")
            files.unlink(b"a")
            files.unlink(b"b")
            with refused(errno.ENOENT):
                files.link(b"b", b"c")
        assert names(files) == []
