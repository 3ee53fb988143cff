"""Cases on what `stat` shows: modes, owners, times; and on extended attributes."""

import errno
import os
import stat

from agentfs.testing.behaviour_case import ROOT, Cases, FileSystem, read, refused, write

case = Cases()
_XATTR_CREATE = 1
_XATTR_REPLACE = 2
_SECOND = 10**9


# ---- modes and owners ----


@case()
def modes_are_kept(fs: FileSystem) -> None:
    fs.close(fs.open(b"f", os.O_CREAT | os.O_RDWR, 0o640))
    fs.mkdir(b"d", 0o750)
    assert fs.stat(b"f").mode == stat.S_IFREG | 0o640
    assert fs.stat(b"d").mode == stat.S_IFDIR | 0o750
    for mode in (0o000, 0o777, 0o4755, 0o1777, 0o400):
        fs.chmod(b"f", mode)
        assert fs.stat(b"f").mode == stat.S_IFREG | mode
        fs.chmod(b"d", mode | 0o700)
        assert fs.stat(b"d").mode == stat.S_IFDIR | mode | 0o700
    with refused(errno.ENOENT):
        fs.chmod(b"missing", 0o600)


@case()
def chmod_of_an_open_file(fs: FileSystem) -> None:
    file = fs.open(b"f", os.O_CREAT | os.O_RDWR)
    fs.chmod(b"f", 0o400)
    fs.pwrite(file, b"still writable", 0)
    assert fs.fstat(file).mode & 0o7777 == 0o400
    fs.close(file)
    assert fs.stat(b"f").mode & 0o7777 == 0o400


@case()
def new_things_belong_to_their_maker(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    fs.mkdir(b"d")
    fs.symlink(b"t", b"l")
    for name in (b"f", b"d", b"l"):
        assert (fs.stat(name).uid, fs.stat(name).gid) == (os.geteuid(), os.getegid())


@case("owners")
def owners_are_kept(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    fs.symlink(b"t", b"l")
    for name in (b"f", b"l"):
        fs.chown(name, 1234, 5678)
        assert (fs.stat(name).uid, fs.stat(name).gid) == (1234, 5678)
        fs.chown(name, -1, 99)
        assert (fs.stat(name).uid, fs.stat(name).gid) == (1234, 99)


@case("owners")
def a_new_owner_takes_the_set_id_bits(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    fs.chmod(b"f", 0o6755)
    fs.chown(b"f", 1234, -1)
    assert fs.stat(b"f").mode & 0o7777 == 0o755
    fs.mkdir(b"d")
    fs.chmod(b"d", 0o2755)
    fs.chown(b"d", 1234, -1)
    assert fs.stat(b"d").mode & 0o7777 == 0o2755


@case("owners")
def a_set_group_id_directory_hands_on_its_group(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    fs.chown(b"d", -1, 4321)
    fs.chmod(b"d", 0o2775)
    write(fs, b"d/f", b"")
    fs.mkdir(b"d/e")
    fs.symlink(b"t", b"d/l")
    fs.mknod(b"d/p", stat.S_IFIFO | 0o600)
    for name in (b"d/f", b"d/e", b"d/l", b"d/p"):
        assert fs.stat(name).gid == 4321
    assert fs.stat(b"d/e").mode & stat.S_ISGID
    assert not fs.stat(b"d/f").mode & stat.S_ISGID
    fs.mkdir(b"d/e/g")
    assert fs.stat(b"d/e/g").gid == 4321
    write(fs, b"out", b"")
    fs.rename(b"out", b"d/in")
    assert fs.stat(b"d/in").gid == os.getegid()


# ---- times ----


@case()
def times_can_be_set_to_the_nanosecond(fs: FileSystem) -> None:
    write(fs, b"f", b"bytes")
    fs.mkdir(b"d")
    for name in (b"f", b"d"):
        for atime, mtime in ((1_234_567_890_123_456_789, 987_654_321_987_654_321), (0, 1), (2**32 * _SECOND + 5, 7)):
            fs.utime(name, atime, mtime)
            assert (fs.stat(name).atime_ns, fs.stat(name).mtime_ns) == (atime, mtime)
    assert read(fs, b"f") == b"bytes"


@case()
def setting_times_moves_the_change_time(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    before = fs.stat(b"f").ctime_ns
    fs.tick()
    fs.utime(b"f", 1, 1)
    assert fs.stat(b"f").ctime_ns > before


@case()
def a_time_set_on_an_open_file_outlives_the_close(fs: FileSystem) -> None:
    file = fs.open(b"f", os.O_CREAT | os.O_RDWR)
    fs.pwrite(file, b"as cp -p and tar do", 0)
    fs.futime(file, 5 * _SECOND, 7 * _SECOND + 9)
    assert fs.fstat(file).mtime_ns == 7 * _SECOND + 9
    fs.close(file)
    assert fs.stat(b"f").mtime_ns == 7 * _SECOND + 9
    file = fs.open(b"f", os.O_RDWR)
    fs.futime(file, 5 * _SECOND, 8 * _SECOND)
    fs.pwrite(file, b"later", 0)
    fs.close(file)
    assert fs.stat(b"f").mtime_ns > 10**18


@case()
def writing_moves_the_times(fs: FileSystem) -> None:
    write(fs, b"f", b"one")
    before = fs.stat(b"f")
    fs.tick()
    write(fs, b"f", b"two")
    after = fs.stat(b"f")
    assert after.mtime_ns > before.mtime_ns
    assert after.ctime_ns > before.ctime_ns
    fs.tick()
    fs.truncate(b"f", 1)
    assert fs.stat(b"f").mtime_ns > after.mtime_ns


@case()
def opening_and_reading_moves_no_modification_time(fs: FileSystem) -> None:
    write(fs, b"f", b"one")
    before = fs.stat(b"f")
    fs.tick()
    read(fs, b"f")
    fs.close(fs.open(b"f", os.O_RDWR))
    after = fs.stat(b"f")
    assert (after.mtime_ns, after.ctime_ns) == (before.mtime_ns, before.ctime_ns)


@case()
def changing_attributes_moves_the_change_time_alone(fs: FileSystem) -> None:
    write(fs, b"f", b"one")
    before = fs.stat(b"f")
    fs.tick()
    fs.chmod(b"f", 0o600)
    changed = fs.stat(b"f")
    assert changed.ctime_ns > before.ctime_ns
    fs.tick()
    fs.link(b"f", b"g")
    linked = fs.stat(b"f")
    assert linked.ctime_ns > changed.ctime_ns
    fs.tick()
    fs.unlink(b"g")
    assert fs.stat(b"f").ctime_ns > linked.ctime_ns
    assert fs.stat(b"f").mtime_ns == before.mtime_ns


@case()
def changing_names_moves_the_directory(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    fs.mkdir(b"e")
    write(fs, b"f", b"")

    before = {name: fs.stat(name) for name in (b"d", b"e")}

    def moved(*directories: bytes) -> bool:
        nonlocal before
        after = {name: fs.stat(name) for name in before}
        done = {name for name in before if after[name].mtime_ns > before[name].mtime_ns}
        both = {name for name in before if after[name].ctime_ns > before[name].ctime_ns}
        before = after
        fs.tick()
        return done == both == set(directories)

    fs.tick()
    fs.link(b"f", b"d/a")
    assert moved(b"d")
    fs.rename(b"d/a", b"d/b")
    assert moved(b"d")
    fs.mkdir(b"d/c")
    assert moved(b"d")
    fs.rename(b"d/b", b"e/b")
    assert moved(b"d", b"e")
    fs.unlink(b"e/b")
    assert moved(b"e")
    fs.rmdir(b"d/c")
    assert moved(b"d")
    write(fs, b"d/new", b"bytes")
    assert moved(b"d")
    write(fs, b"d/new", b"other bytes")
    assert moved()


@case()
def a_refused_change_moves_nothing(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    write(fs, b"d/f", b"")
    before = fs.stat(b"d")
    fs.tick()
    with refused(errno.EEXIST):
        fs.mkdir(b"d/f")
    with refused(errno.ENOENT):
        fs.unlink(b"d/g")
    with refused(errno.ENOTEMPTY):
        fs.rmdir(b"d")
    with refused(errno.EEXIST):
        fs.link(b"d/f", b"d/f")
    assert fs.stat(b"d")[:3] == before[:3]
    assert (fs.stat(b"d").mtime_ns, fs.stat(b"d").ctime_ns) == (before.mtime_ns, before.ctime_ns)


@case()
def the_root_is_a_directory(fs: FileSystem) -> None:
    assert stat.S_ISDIR(fs.stat(ROOT).mode)


# ---- extended attributes ----


@case("xattrs")
def extended_attributes_are_kept(fs: FileSystem) -> None:
    write(fs, b"f", b"bytes")
    fs.mkdir(b"d")
    for name in (b"f", b"d"):
        assert fs.list_xattrs(name) == []
        fs.set_xattr(name, b"user.tags", b"a,b")
        fs.set_xattr(name, b"user.empty", b"")
        fs.set_xattr(name, b"user.binary", bytes(range(256)))
        assert fs.list_xattrs(name) == [b"user.binary", b"user.empty", b"user.tags"]
        assert fs.get_xattr(name, b"user.empty") == b""
        assert fs.get_xattr(name, b"user.binary") == bytes(range(256))
        fs.set_xattr(name, b"user.tags", b"c")
        assert fs.get_xattr(name, b"user.tags") == b"c"
        fs.remove_xattr(name, b"user.empty")
        assert fs.list_xattrs(name) == [b"user.binary", b"user.tags"]
    assert read(fs, b"f") == b"bytes"


@case("xattrs")
def a_missing_extended_attribute(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    with refused(errno.ENODATA):
        fs.get_xattr(b"f", b"user.none")
    with refused(errno.ENODATA):
        fs.remove_xattr(b"f", b"user.none")
    with refused(errno.ENODATA):
        fs.set_xattr(b"f", b"user.none", b"", _XATTR_REPLACE)
    fs.set_xattr(b"f", b"user.none", b"1", _XATTR_CREATE)
    with refused(errno.EEXIST):
        fs.set_xattr(b"f", b"user.none", b"2", _XATTR_CREATE)
    fs.set_xattr(b"f", b"user.none", b"3", _XATTR_REPLACE)
    assert fs.get_xattr(b"f", b"user.none") == b"3"


@case("xattrs")
def extended_attributes_have_limits(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    with refused(errno.E2BIG):
        fs.set_xattr(b"f", b"user.big", bytes(65_537))
    with refused(errno.ERANGE):
        fs.set_xattr(b"f", b"user." + b"x" * 251, b"")
    with refused(errno.EOPNOTSUPP):
        fs.set_xattr(b"f", b"nonsense.name", b"")
    fs.set_xattr(b"f", b"user." + b"x" * 250, b"y" * 1000)
    assert fs.get_xattr(b"f", b"user." + b"x" * 250) == b"y" * 1000


@case("xattrs")
def extended_attributes_are_not_for_links(fs: FileSystem) -> None:
    fs.symlink(b"t", b"l")
    fs.mknod(b"p", stat.S_IFIFO | 0o600)
    for name in (b"l", b"p"):
        with refused(errno.EPERM):
            fs.set_xattr(name, b"user.a", b"")


@case("xattrs")
def extended_attributes_go_along(fs: FileSystem) -> None:
    write(fs, b"f", b"bytes")
    fs.set_xattr(b"f", b"user.a", b"1")
    fs.link(b"f", b"g")
    fs.rename(b"f", b"h")
    write(fs, b"h", b"other bytes")
    assert fs.get_xattr(b"g", b"user.a") == fs.get_xattr(b"h", b"user.a") == b"1"
    before = fs.stat(b"h")
    fs.tick()
    fs.set_xattr(b"h", b"user.a", b"2")
    assert fs.stat(b"h").ctime_ns > before.ctime_ns
    assert fs.stat(b"h").mtime_ns == before.mtime_ns
    fs.unlink(b"g")
    fs.unlink(b"h")
    write(fs, b"h", b"")
    assert fs.list_xattrs(b"h") == []
