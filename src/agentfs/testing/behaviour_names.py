"""Cases on names: making, finding, removing, renaming, linking, listing."""

import errno
import os
import stat

from agentfs.testing.behaviour_case import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    ROOT,
    Cases,
    FileSystem,
    read,
    refused,
    write,
)

case = Cases()


# ---- making and removing ----


@case()
def a_new_directory_is_empty(fs: FileSystem) -> None:
    assert fs.names(ROOT) == []
    fs.mkdir(b"d")
    assert fs.names(b"d") == []
    assert stat.S_ISDIR(fs.stat(b"d").mode)


@case()
def what_is_missing_is_not_found(fs: FileSystem) -> None:
    with refused(errno.ENOENT):
        fs.stat(b"a")
    with refused(errno.ENOENT):
        fs.unlink(b"a")
    with refused(errno.ENOENT):
        fs.rmdir(b"a")
    with refused(errno.ENOENT):
        fs.open(b"a", os.O_RDONLY)
    with refused(errno.ENOENT):
        fs.mkdir(b"a/b")
    with refused(errno.ENOENT):
        fs.rename(b"a", b"b")
    with refused(errno.ENOENT):
        fs.link(b"a", b"b")


@case()
def a_file_is_no_directory(fs: FileSystem) -> None:
    write(fs, b"f", b"x")
    with refused(errno.ENOTDIR):
        fs.stat(b"f/a")
    with refused(errno.ENOTDIR):
        fs.mkdir(b"f/a")
    with refused(errno.ENOTDIR):
        fs.open(b"f/a", os.O_CREAT | os.O_RDWR)
    with refused(errno.ENOTDIR):
        fs.unlink(b"f/a")
    with refused(errno.ENOTDIR):
        fs.rmdir(b"f")
    with refused(errno.ENOTDIR):
        fs.names(b"f")


@case()
def a_taken_name_is_refused(fs: FileSystem) -> None:
    for make in (fs.mkdir, lambda path: write(fs, path, b"")):
        make(b"a")
        with refused(errno.EEXIST):
            fs.mkdir(b"a")
        with refused(errno.EEXIST):
            fs.symlink(b"t", b"a")
        with refused(errno.EEXIST):
            fs.mknod(b"a", stat.S_IFIFO | 0o600)
        with refused(errno.EEXIST):
            fs.open(b"a", os.O_CREAT | os.O_EXCL | os.O_RDWR)
        fs.rename(b"a", b"done-%d" % len(fs.names(ROOT)))


@case()
def unlink_is_not_for_directories(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    with refused(errno.EISDIR, errno.EPERM):
        fs.unlink(b"d")
    assert fs.names(ROOT) == [b"d"]


@case()
def rmdir_wants_an_empty_directory(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    write(fs, b"d/f", b"")
    with refused(errno.ENOTEMPTY):
        fs.rmdir(b"d")
    fs.unlink(b"d/f")
    fs.rmdir(b"d")
    assert fs.names(ROOT) == []


@case()
def a_removed_name_can_be_used_again(fs: FileSystem) -> None:
    for _ in range(3):
        write(fs, b"a", b"file")
        first = fs.stat(b"a").ino
        fs.unlink(b"a")
        fs.mkdir(b"a")
        assert stat.S_ISDIR(fs.stat(b"a").mode)
        fs.rmdir(b"a")
        assert first > 0


@case()
def names_are_bytes(fs: FileSystem) -> None:
    names = sorted([b"plain", b"with space", "ümläut".encode(), b"\xff\xfe", b"-rf", b"a\nb", b"*?[", b"x" * 255])
    for name in names:
        write(fs, name, name)
    assert fs.names(ROOT) == names
    for name in names:
        assert read(fs, name) == name


@case()
def names_differ_by_case_and_by_form(fs: FileSystem) -> None:
    names = sorted([b"A", b"a", "é".encode(), "e\u0301".encode()])
    for name in names:
        write(fs, name, name)
    assert fs.names(ROOT) == names


@case()
def a_name_has_255_bytes_at_most(fs: FileSystem) -> None:
    long = b"x" * 256
    with refused(errno.ENAMETOOLONG):
        fs.mkdir(long)
    with refused(errno.ENAMETOOLONG):
        fs.stat(long)
    with refused(errno.ENAMETOOLONG):
        fs.unlink(long)
    with refused(errno.ENAMETOOLONG):
        fs.open(long, os.O_CREAT | os.O_RDWR)
    write(fs, b"a", b"")
    with refused(errno.ENAMETOOLONG):
        fs.rename(b"a", long)
    with refused(errno.ENAMETOOLONG):
        fs.link(b"a", long)


@case()
def a_directory_holds_many_names(fs: FileSystem) -> None:
    names = sorted(b"f%04d" % number for number in range(1500))
    for name in names:
        fs.close(fs.open(name, os.O_CREAT | os.O_WRONLY))
    assert fs.names(ROOT) == names
    for name in names[::2]:
        fs.unlink(name)
    assert fs.names(ROOT) == names[1::2]


@case()
def directories_go_deep(fs: FileSystem) -> None:
    path = b"d"
    for _ in range(60):
        fs.mkdir(path)
        path += b"/d"
    write(fs, path, b"deep")
    assert read(fs, path) == b"deep"


# ---- links ----


@case()
def directories_count_their_directories(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    assert fs.stat(b"d").nlink in (1, 2)
    if fs.stat(b"d").nlink == 1:
        return  # as btrfs and overlayfs have it
    fs.mkdir(b"d/a")
    fs.mkdir(b"d/b")
    write(fs, b"d/f", b"")
    assert fs.stat(b"d").nlink == 4
    fs.rename(b"d/a", b"a")
    fs.rmdir(b"d/b")
    assert fs.stat(b"d").nlink == 2


@case()
def a_hard_link_is_the_same_file(fs: FileSystem) -> None:
    write(fs, b"a", b"one")
    fs.link(b"a", b"b")
    assert fs.stat(b"a").ino == fs.stat(b"b").ino
    assert fs.stat(b"a").nlink == 2
    write(fs, b"b", b"two!")
    assert read(fs, b"a") == b"two!"
    assert fs.stat(b"a").size == 4
    fs.unlink(b"a")
    assert fs.stat(b"b").nlink == 1
    assert read(fs, b"b") == b"two!"


@case()
def a_hard_link_needs_a_file_and_a_free_name(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    write(fs, b"a", b"")
    with refused(errno.EPERM):
        fs.link(b"d", b"e")
    with refused(errno.EEXIST):
        fs.link(b"a", b"d")
    with refused(errno.EEXIST):
        fs.link(b"a", b"a")
    with refused(errno.EEXIST):
        fs.link(b"d", b"a")
    assert fs.stat(b"a").nlink == 1


@case()
def hard_links_share_mode_and_times(fs: FileSystem) -> None:
    write(fs, b"a", b"")
    fs.link(b"a", b"b")
    fs.chmod(b"b", 0o600)
    fs.utime(b"b", 10**18, 10**18 + 1)
    assert fs.stat(b"a")[1:] == fs.stat(b"b")[1:]
    assert fs.stat(b"a").mtime_ns == 10**18 + 1


@case()
def a_symbolic_link_keeps_its_target(fs: FileSystem) -> None:
    for name, target in ((b"a", b"b"), (b"c", b"../x y/\xff"), (b"d", b"t" * 4000)):
        fs.symlink(target, name)
        assert fs.readlink(name) == target
        assert stat.S_ISLNK(fs.stat(name).mode)
        assert fs.stat(name).size == len(target)
    write(fs, b"f", b"")
    with refused(errno.EINVAL):
        fs.readlink(b"f")
    with refused(errno.EINVAL):
        fs.readlink(ROOT)
    with refused(errno.ENOENT):
        fs.symlink(b"", b"e")


@case()
def a_symbolic_link_is_renamed_and_removed_itself(fs: FileSystem) -> None:
    write(fs, b"f", b"bytes")
    fs.symlink(b"f", b"a")
    fs.rename(b"a", b"b")
    assert fs.readlink(b"b") == b"f"
    fs.unlink(b"b")
    assert fs.names(ROOT) == [b"f"]


@case()
def special_files(fs: FileSystem) -> None:
    fs.mknod(b"fifo", stat.S_IFIFO | 0o640)
    fs.mknod(b"socket", stat.S_IFSOCK | 0o600)
    assert stat.S_ISFIFO(fs.stat(b"fifo").mode)
    assert stat.S_ISSOCK(fs.stat(b"socket").mode)
    fs.link(b"fifo", b"again")
    assert fs.stat(b"again").nlink == 2
    fs.unlink(b"fifo")
    fs.rename(b"socket", b"again")
    assert fs.names(ROOT) == [b"again"]


@case()
def mknod_makes_a_file(fs: FileSystem) -> None:
    fs.mknod(b"f", stat.S_IFREG | 0o600)
    assert stat.S_ISREG(fs.stat(b"f").mode)
    write(fs, b"f", b"bytes")
    assert read(fs, b"f") == b"bytes"


@case("devices")
def devices_keep_their_number(fs: FileSystem) -> None:
    fs.mknod(b"null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    fs.mknod(b"disk", stat.S_IFBLK | 0o600, os.makedev(259, 300))
    assert fs.stat(b"null").rdev == os.makedev(1, 3)
    assert fs.stat(b"disk").rdev == os.makedev(259, 300)
    assert stat.S_ISBLK(fs.stat(b"disk").mode)


# ---- renaming ----


@case()
def rename_moves_a_file(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    write(fs, b"a", b"bytes")
    before = fs.stat(b"a")
    fs.rename(b"a", b"d/b")
    assert fs.names(ROOT) == [b"d"]
    assert fs.stat(b"d/b").ino == before.ino
    assert fs.stat(b"d/b").mtime_ns == before.mtime_ns
    assert read(fs, b"d/b") == b"bytes"


@case()
def rename_replaces_a_file(fs: FileSystem) -> None:
    write(fs, b"a", b"new")
    write(fs, b"b", b"old")
    kept = fs.stat(b"a").ino
    fs.rename(b"a", b"b")
    assert fs.names(ROOT) == [b"b"]
    assert fs.stat(b"b").ino == kept
    assert read(fs, b"b") == b"new"


@case()
def rename_leaves_the_replaced_open_file_alone(fs: FileSystem) -> None:
    write(fs, b"a", b"new")
    write(fs, b"b", b"old")
    file = fs.open(b"b", os.O_RDONLY)
    fs.rename(b"a", b"b")
    assert fs.pread(file, 10, 0) == b"old"
    assert fs.fstat(file).nlink == 0
    fs.close(file)


@case()
def rename_moves_a_directory_with_all_in_it(fs: FileSystem) -> None:
    fs.mkdir(b"a")
    fs.mkdir(b"a/b")
    write(fs, b"a/b/f", b"bytes")
    fs.mkdir(b"c")
    fs.rename(b"a", b"c/z")
    assert read(fs, b"c/z/b/f") == b"bytes"
    assert fs.names(ROOT) == [b"c"]


@case()
def rename_replaces_an_empty_directory_only(fs: FileSystem) -> None:
    fs.mkdir(b"a")
    write(fs, b"a/f", b"")
    fs.mkdir(b"empty")
    fs.mkdir(b"full")
    write(fs, b"full/f", b"")
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        fs.rename(b"a", b"full")
    fs.rename(b"a", b"empty")
    assert fs.names(b"empty") == [b"f"]
    assert fs.names(ROOT) == [b"empty", b"full"]


@case()
def rename_does_not_mix_files_and_directories(fs: FileSystem) -> None:
    write(fs, b"f", b"")
    fs.mkdir(b"d")
    with refused(errno.EISDIR):
        fs.rename(b"f", b"d")
    with refused(errno.ENOTDIR):
        fs.rename(b"d", b"f")
    fs.symlink(b"d", b"l")
    with refused(errno.ENOTDIR):
        fs.rename(b"d", b"l")
    fs.rename(b"f", b"l")
    assert stat.S_ISREG(fs.stat(b"l").mode)


@case()
def a_directory_does_not_move_into_itself(fs: FileSystem) -> None:
    fs.mkdir(b"a")
    fs.mkdir(b"a/b")
    fs.mkdir(b"a/b/c")
    for target in (b"a/x", b"a/b/x", b"a/b/c/x", b"a/b", b"a/b/c"):
        with refused(errno.EINVAL):
            fs.rename(b"a", target)
    with refused(errno.ENOTEMPTY):
        fs.rename(b"a/b/c", b"a")
    assert fs.names(b"a/b") == [b"c"]


@case()
def rename_to_itself_changes_nothing(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    write(fs, b"f", b"bytes")
    fs.rename(b"d", b"d")
    fs.rename(b"f", b"f")
    assert fs.names(ROOT) == [b"d", b"f"]
    assert fs.stat(b"f").nlink == 1


@case()
def rename_between_two_names_of_one_file_keeps_both(fs: FileSystem) -> None:
    write(fs, b"a", b"")
    fs.link(b"a", b"b")
    fs.rename(b"a", b"b")
    assert fs.names(ROOT) == [b"a", b"b"]
    assert fs.stat(b"a").nlink == 2


@case()
def rename_over_one_of_several_names(fs: FileSystem) -> None:
    write(fs, b"a", b"a")
    fs.link(b"a", b"b")
    write(fs, b"c", b"c")
    fs.rename(b"c", b"b")
    assert fs.stat(b"a").nlink == 1
    assert (read(fs, b"a"), read(fs, b"b")) == (b"a", b"c")


@case("exchange")
def rename_without_replacing(fs: FileSystem) -> None:
    write(fs, b"a", b"a")
    write(fs, b"b", b"b")
    with refused(errno.EEXIST):
        fs.rename(b"a", b"b", RENAME_NOREPLACE)
    with refused(errno.EEXIST):
        fs.rename(b"a", b"a", RENAME_NOREPLACE)
    fs.rename(b"a", b"c", RENAME_NOREPLACE)
    assert fs.names(ROOT) == [b"b", b"c"]


@case("exchange")
def rename_exchanges(fs: FileSystem) -> None:
    write(fs, b"f", b"f")
    fs.mkdir(b"d")
    fs.mkdir(b"d/e")
    write(fs, b"d/e/g", b"g")
    fs.rename(b"f", b"d/e", RENAME_EXCHANGE)
    assert read(fs, b"d/e") == b"f"
    assert read(fs, b"f/g") == b"g"
    with refused(errno.ENOENT):
        fs.rename(b"f", b"missing", RENAME_EXCHANGE)
    with refused(errno.EINVAL):
        fs.rename(b"d", b"d/e", RENAME_EXCHANGE)
    with refused(errno.EINVAL):
        fs.rename(b"f", b"d", RENAME_EXCHANGE | RENAME_NOREPLACE)


@case("exchange")
def exchanging_full_directories(fs: FileSystem) -> None:
    for name in (b"a", b"b"):
        fs.mkdir(name)
        fs.mkdir(name + b"/sub-" + name)
    fs.rename(b"a", b"b", RENAME_EXCHANGE)
    assert (fs.names(b"a"), fs.names(b"b")) == ([b"sub-b"], [b"sub-a"])


@case()
def save_by_rename_as_editors_do(fs: FileSystem) -> None:
    write(fs, b"notes.md", b"first")
    for turn in range(5):
        write(fs, b"notes.md.tmp", b"turn %d" % turn)
        fs.rename(b"notes.md.tmp", b"notes.md")
        assert read(fs, b"notes.md") == b"turn %d" % turn
    assert fs.names(ROOT) == [b"notes.md"]


# ---- open and unlinked ----


@case()
def an_unlinked_open_file_lives_until_closed(fs: FileSystem) -> None:
    file = fs.open(b"a", os.O_CREAT | os.O_RDWR)
    fs.pwrite(file, b"before", 0)
    fs.unlink(b"a")
    assert fs.names(ROOT) == []
    assert fs.fstat(file).nlink == 0
    fs.pwrite(file, b" after", 6)
    assert fs.pread(file, 100, 0) == b"before after"
    assert fs.fstat(file).size == 12
    write(fs, b"a", b"another")
    assert fs.stat(b"a").ino != fs.fstat(file).ino
    fs.ftruncate(file, 3)
    fs.fsync(file)
    fs.close(file)
    assert read(fs, b"a") == b"another"


@case()
def two_handles_on_an_unlinked_file(fs: FileSystem) -> None:
    write(fs, b"a", b"bytes")
    one, other = fs.open(b"a", os.O_RDONLY), fs.open(b"a", os.O_RDWR)
    fs.unlink(b"a")
    fs.close(one)
    fs.pwrite(other, b"B", 0)
    assert fs.pread(other, 10, 0) == b"Bytes"
    fs.close(other)
    assert fs.names(ROOT) == []


@case()
def a_renamed_open_file_stays_itself(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    file = fs.open(b"a", os.O_CREAT | os.O_RDWR)
    fs.pwrite(file, b"one", 0)
    fs.rename(b"a", b"d/b")
    fs.pwrite(file, b"two", 3)
    fs.close(file)
    assert read(fs, b"d/b") == b"onetwo"


@case()
def syncing_a_directory(fs: FileSystem) -> None:
    fs.mkdir(b"d")
    write(fs, b"d/f", b"")
    fs.fsync_directory(b"d")
    fs.fsync_directory(ROOT)
