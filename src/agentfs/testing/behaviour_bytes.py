"""Cases on bytes: reading, writing, holes, truncation, copies."""

import errno
import os

from agentfs.testing.behaviour_case import (
    FALLOCATE_KEEP_SIZE,
    FALLOCATE_PUNCH_HOLE,
    FALLOCATE_ZERO_RANGE,
    ROOT,
    Cases,
    FileSystem,
    read,
    refused,
    write,
)

case = Cases()
_NEW = os.O_CREAT | os.O_RDWR


@case()
def what_is_written_is_read(fs: FileSystem) -> None:
    for size in (0, 1, 4095, 4096, 4097, 131_073, 3_000_001):
        data = os.urandom(size)
        write(fs, b"f", data)
        assert read(fs, b"f") == data
        assert fs.stat(b"f").size == size


@case()
def an_open_file_sees_its_own_writes(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    fs.pwrite(file, b"hello", 0)
    assert fs.pread(file, 5, 0) == b"hello"
    assert fs.fstat(file).size == 5
    assert fs.stat(b"f").size == 5
    fs.close(file)


@case()
def another_handle_sees_writes_at_once(fs: FileSystem) -> None:
    write(fs, b"f", b"old bytes")
    reader, writer = fs.open(b"f", os.O_RDONLY), fs.open(b"f", os.O_WRONLY)
    fs.pwrite(writer, b"new", 0)
    assert fs.pread(reader, 100, 0) == b"new bytes"
    fs.pwrite(writer, b" and more", 9)
    assert fs.pread(reader, 100, 0) == b"new bytes and more"
    fs.close(writer)
    assert fs.pread(reader, 100, 0) == b"new bytes and more"
    fs.close(reader)


@case()
def overwriting_the_middle(fs: FileSystem) -> None:
    data = bytearray(os.urandom(300_000))
    write(fs, b"f", bytes(data))
    file = fs.open(b"f", os.O_RDWR)
    for offset in (0, 4095, 131_071, 299_990):
        fs.pwrite(file, b"0123456789", offset)
        data[offset : offset + 10] = b"0123456789"
    fs.close(file)
    assert read(fs, b"f") == bytes(data)


@case()
def writing_beyond_the_end_leaves_zeros(fs: FileSystem) -> None:
    write(fs, b"f", b"ab")
    file = fs.open(b"f", os.O_RDWR)
    fs.pwrite(file, b"z", 10_000)
    assert fs.fstat(file).size == 10_001
    assert fs.pread(file, 20_000, 0) == b"ab" + bytes(9_998) + b"z"
    fs.close(file)


@case()
def reading_at_and_beyond_the_end(fs: FileSystem) -> None:
    write(fs, b"f", b"abc")
    file = fs.open(b"f", os.O_RDONLY)
    assert fs.pread(file, 10, 2) == b"c"
    assert fs.pread(file, 10, 3) == b""
    assert fs.pread(file, 10, 10**9) == b""
    fs.close(file)


@case()
def access_modes_hold(fs: FileSystem) -> None:
    write(fs, b"f", b"abc")
    reader, writer = fs.open(b"f", os.O_RDONLY), fs.open(b"f", os.O_WRONLY)
    with refused(errno.EBADF):
        fs.pwrite(reader, b"x", 0)
    with refused(errno.EBADF):
        fs.pread(writer, 1, 0)
    with refused(errno.EINVAL, errno.EBADF):
        fs.ftruncate(reader, 0)
    fs.close(reader)
    fs.close(writer)
    assert read(fs, b"f") == b"abc"


@case()
def a_directory_is_not_written(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    with refused(errno.EISDIR):
        fs.open(b"d", os.O_RDWR)
    with refused(errno.EISDIR):
        fs.open(b"d", os.O_WRONLY | os.O_TRUNC)
    with refused(errno.EISDIR):
        fs.truncate(b"d", 0)


@case()
def opening_can_create(fs: FileSystem) -> None:
    fs.close(fs.open(b"f", os.O_CREAT | os.O_WRONLY))
    assert fs.stat(b"f").size == 0
    write(fs, b"f", b"kept")
    fs.close(fs.open(b"f", os.O_CREAT | os.O_RDWR))
    assert read(fs, b"f") == b"kept"
    fs.close(fs.open(b"g", os.O_CREAT | os.O_RDONLY))
    assert fs.names(ROOT) == [b"f", b"g"]


@case()
def a_file_made_unwritable_can_be_written_by_its_maker(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW, 0o444)
    fs.pwrite(file, b"bytes", 0)
    fs.close(file)
    assert read(fs, b"f") == b"bytes"
    assert fs.stat(b"f").mode & 0o7777 == 0o444


@case()
def truncating_by_open(fs: FileSystem) -> None:
    write(fs, b"f", b"x" * 10_000)
    fs.close(fs.open(b"f", os.O_WRONLY | os.O_TRUNC))
    assert fs.stat(b"f").size == 0
    assert read(fs, b"f") == b""


@case()
def truncating_by_open_under_another_handle(fs: FileSystem) -> None:
    write(fs, b"f", b"x" * 10_000)
    file = fs.open(b"f", os.O_RDWR)
    fs.close(fs.open(b"f", os.O_WRONLY | os.O_TRUNC))
    assert fs.fstat(file).size == 0
    fs.pwrite(file, b"y", 5)
    fs.close(file)
    assert read(fs, b"f") == bytes(5) + b"y"


@case()
def truncating_by_path(fs: FileSystem) -> None:
    write(fs, b"f", b"0123456789")
    for size, data in ((4, b"0123"), (8, b"0123" + bytes(4)), (0, b""), (3, bytes(3))):
        fs.truncate(b"f", size)
        assert fs.stat(b"f").size == size
        assert read(fs, b"f") == data


@case()
def truncating_by_handle(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    fs.pwrite(file, b"0123456789", 0)
    fs.ftruncate(file, 4)
    assert fs.fstat(file).size == 4
    fs.ftruncate(file, 6)
    assert fs.pread(file, 10, 0) == b"0123\0\0"
    fs.close(file)
    assert fs.stat(b"f").size == 6


@case()
def cut_bytes_do_not_come_back(fs: FileSystem) -> None:
    write(fs, b"f", b"s" * 9_000)
    fs.truncate(b"f", 10)
    fs.truncate(b"f", 9_000)
    assert read(fs, b"f") == b"s" * 10 + bytes(8_990)


@case()
def truncate_refuses_nonsense(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    with refused(errno.EINVAL):
        fs.truncate(b"f", -1)
    with refused(errno.ENOENT):
        fs.truncate(b"missing", 0)


@case()
def appending_goes_to_the_end(fs: FileSystem) -> None:
    one = fs.open(b"log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    other = fs.open(b"log", os.O_WRONLY | os.O_APPEND)
    for turn in range(10):
        fs.pwrite(one, b"one %d\n" % turn, 0)
        fs.pwrite(other, b"other %d\n" % turn, 0)
    fs.close(one)
    fs.close(other)
    assert read(fs, b"log").splitlines()[:4] == [b"one 0", b"other 0", b"one 1", b"other 1"]
    assert len(read(fs, b"log").splitlines()) == 20


@case()
def appending_to_what_another_made_longer(fs: FileSystem) -> None:
    write(fs, b"log", b"first\n")
    file = fs.open(b"log", os.O_WRONLY | os.O_APPEND)
    fs.truncate(b"log", 3)
    fs.pwrite(file, b"!", 0)
    fs.close(file)
    assert read(fs, b"log") == b"fir!"


@case()
def syncing_keeps_the_bytes(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    for turn in range(3):
        fs.pwrite(file, b"%d" % turn, turn)
        fs.fsync(file)
    fs.close(file)
    assert read(fs, b"f") == b"012"
    reader = fs.open(b"f", os.O_RDONLY)
    fs.fsync(reader)
    fs.close(reader)


@case()
def reopening_many_times(fs: FileSystem) -> None:
    for turn in range(50):
        file = fs.open(b"f", os.O_CREAT | os.O_RDWR)
        assert fs.fstat(file).size == turn
        fs.pwrite(file, b"x", turn)
        fs.close(file)
    assert fs.stat(b"f").size == 50


@case()
def a_closed_handle_is_no_handle(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    fs.close(file)
    with refused(errno.EBADF):
        fs.pread(file, 1, 0)
    with refused(errno.EBADF):
        fs.pwrite(file, b"x", 0)


@case("holes")
def holes_take_no_room(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    fs.ftruncate(file, 64 << 20)
    assert fs.fstat(file).blocks < 100
    fs.pwrite(file, b"x" * 4096, 32 << 20)
    fs.close(file)
    assert fs.stat(b"f").size == 64 << 20
    assert fs.stat(b"f").blocks < 1000


@case("holes")
def seeking_data_and_holes(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    fs.pwrite(file, b"x" * 65536, 1 << 20)
    fs.ftruncate(file, 3 << 20)
    assert fs.lseek(file, 0, os.SEEK_DATA) == 1 << 20
    assert fs.lseek(file, 1 << 20, os.SEEK_HOLE) == (1 << 20) + 65536
    assert fs.lseek(file, 0, os.SEEK_HOLE) == 0
    with refused(errno.ENXIO):
        fs.lseek(file, 2 << 20, os.SEEK_DATA)
    with refused(errno.ENXIO):
        fs.lseek(file, 3 << 20, os.SEEK_HOLE)
    fs.close(file)


@case("holes")
def fallocate_reserves(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    fs.fallocate(file, 0, 0, 100_000)
    assert fs.fstat(file).size == 100_000
    fs.fallocate(file, FALLOCATE_KEEP_SIZE, 0, 300_000)
    assert fs.fstat(file).size == 100_000
    assert fs.pread(file, 200_000, 0) == bytes(100_000)
    fs.close(file)


@case("holes")
def fallocate_punches_and_zeroes(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    fs.pwrite(file, b"x" * 300_000, 0)
    fs.fallocate(file, FALLOCATE_PUNCH_HOLE | FALLOCATE_KEEP_SIZE, 65536, 65536)
    data = b"x" * 65536 + bytes(65536) + b"x" * (300_000 - 131_072)
    assert fs.pread(file, 400_000, 0) == data
    try:
        fs.fallocate(file, FALLOCATE_ZERO_RANGE, 0, 10)
        data = bytes(10) + data[10:]
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP  # tmpfs
    fs.close(file)
    assert read(fs, b"f") == data


@case("holes")
def fallocate_refuses_nonsense(fs: FileSystem) -> None:
    file = fs.open(b"f", _NEW)
    with refused(errno.EINVAL):
        fs.fallocate(file, 0, 0, 0)
    with refused(errno.EINVAL):
        fs.fallocate(file, 0, -1, 10)
    with refused(errno.EOPNOTSUPP):
        fs.fallocate(file, FALLOCATE_PUNCH_HOLE, 0, 10)
    fs.close(file)
    reader = fs.open(b"f", os.O_RDONLY)
    with refused(errno.EBADF):
        fs.fallocate(reader, 0, 0, 10)
    fs.close(reader)


@case()
def copying_a_range(fs: FileSystem) -> None:
    data = os.urandom(200_000)
    write(fs, b"a", data)
    source, target = fs.open(b"a", os.O_RDONLY), fs.open(b"b", _NEW)
    done = 0
    while done < 100_000:
        done += fs.copy_range(source, 1_000 + done, target, 10 + done, 100_000 - done)
    assert fs.copy_range(source, 200_000, target, 0, 10) == 0
    fs.close(source)
    fs.close(target)
    assert read(fs, b"b") == bytes(10) + data[1_000:101_000]


@case()
def copying_refuses_nonsense(fs: FileSystem) -> None:
    write(fs, b"a", b"x" * 10_000)
    file, reader = fs.open(b"a", os.O_RDWR), fs.open(b"a", os.O_RDONLY)
    with refused(errno.EINVAL):
        fs.copy_range(file, 0, file, 100, 5_000)
    with refused(errno.EBADF):
        fs.copy_range(file, 0, reader, 100, 50)
    fs.close(file)
    fs.close(reader)
    appending = fs.open(b"a", os.O_WRONLY | os.O_APPEND)
    source = fs.open(b"a", os.O_RDONLY)
    with refused(errno.EBADF):
        fs.copy_range(source, 0, appending, 0, 10)
    fs.close(source)
    fs.close(appending)


@case()
def a_file_too_big_is_refused(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    with refused(errno.EFBIG, errno.EINVAL):
        fs.truncate(b"f", (1 << 63) - 1)
    assert fs.stat(b"f").size == 0


@case()
def there_is_room_and_it_is_said(fs: FileSystem) -> None:
    assert fs.free_bytes() > 1 << 20
