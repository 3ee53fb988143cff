"""Names: making, linking, renaming and removing them, and which error says no. A part of `FileBehaviour`."""

import errno
import os
import stat
from collections.abc import Callable

import pytest

from agentfs.testing.file_behaviour_binding import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    Capability,
    Files,
    get,
    names,
    needs,
    opened,
    put,
    refused,
    shown,
)

LONG = b"n" * 256
_TAKEN = (
    (b"f", errno.EEXIST), (b"d", errno.EEXIST), (b"l", errno.EEXIST), (b"dangling", errno.EEXIST),
    (b"p", errno.EEXIST), (b"nope/x", errno.ENOENT), (b"f/x", errno.ENOTDIR), (b"l/x", errno.ENOTDIR),
    (b"dangling/x", errno.ENOENT), (b"loop/x", errno.ELOOP), (LONG, errno.ENAMETOOLONG),
    (b"d/" + LONG, errno.ENAMETOOLONG), (LONG + b"/x", errno.ENAMETOOLONG),
)  # fmt: skip
"""Where nothing can be made."""
_MISSING = (
    (b"nope", errno.ENOENT), (b"nope/x", errno.ENOENT), (b"f/x", errno.ENOTDIR), (b"dangling/x", errno.ENOENT),
    (b"loop/x", errno.ELOOP), (LONG, errno.ENAMETOOLONG),
)  # fmt: skip
"""Where nothing is."""
_CREATE = os.O_CREAT | os.O_WRONLY
_EXCLUSIVE = _CREATE | os.O_EXCL
_OPENS = (
    (b"nope", os.O_RDONLY, errno.ENOENT), (b"nope", os.O_RDWR | os.O_TRUNC, errno.ENOENT),
    (b"nope/x", _CREATE, errno.ENOENT), (b"f/x", os.O_RDONLY, errno.ENOTDIR), (b"f/x", _CREATE, errno.ENOTDIR),
    (b"d", os.O_WRONLY, errno.EISDIR), (b"d", os.O_RDWR, errno.EISDIR), (b"d", _CREATE, errno.EISDIR),
    (b"d", os.O_CREAT | os.O_RDONLY, errno.EISDIR), (b"d", _EXCLUSIVE, errno.EEXIST),
    (b"f", _EXCLUSIVE, errno.EEXIST), (b"l", _EXCLUSIVE, errno.EEXIST), (b"dangling", _EXCLUSIVE, errno.EEXIST),
    (b"dangling", os.O_RDONLY, errno.ENOENT), (b"loop", os.O_RDONLY, errno.ELOOP), (b"loop", _CREATE, errno.ELOOP),
    (b"l", os.O_RDONLY | os.O_NOFOLLOW, errno.ELOOP), (b"f", os.O_RDONLY | os.O_DIRECTORY, errno.ENOTDIR),
    (LONG, os.O_RDONLY, errno.ENAMETOOLONG), (LONG, _CREATE, errno.ENAMETOOLONG),
)  # fmt: skip
_RENAMES = (
    (b"nope", b"x", 0, errno.ENOENT), (b"nope", b"f", 0, errno.ENOENT), (b"nope/x", b"y", 0, errno.ENOENT),
    (b"f/x", b"y", 0, errno.ENOTDIR), (b"f", b"nope/x", 0, errno.ENOENT), (b"f", b"f/x", 0, errno.ENOTDIR),
    (b"f", b"d", 0, errno.EISDIR), (b"l", b"d", 0, errno.EISDIR), (b"p", b"full", 0, errno.EISDIR),
    (b"d", b"f", 0, errno.ENOTDIR), (b"d", b"l", 0, errno.ENOTDIR), (b"d", b"full", 0, errno.ENOTEMPTY),
    (b"full", b"full/x", 0, errno.EINVAL), (b"full", b"full/sub/x", 0, errno.EINVAL),
    (b"full", b"full/sub", 0, errno.EINVAL), (b"full/sub", b"full", 0, errno.ENOTEMPTY),
    (b"full/sub/deep", b"full", 0, errno.ENOTEMPTY), (b"f", LONG, 0, errno.ENAMETOOLONG),
    (b"full/file", b"full", 0, errno.ENOTEMPTY), (LONG, b"x", 0, errno.ENAMETOOLONG),
    (b"f", b"g", RENAME_NOREPLACE, errno.EEXIST), (b"f", b"f", RENAME_NOREPLACE, errno.EEXIST),
    (b"f", b"d", RENAME_NOREPLACE, errno.EEXIST), (b"d", b"full", RENAME_NOREPLACE, errno.EEXIST),
    (b"f", b"dangling", RENAME_NOREPLACE, errno.EEXIST), (b"nope", b"f", RENAME_NOREPLACE, errno.ENOENT),
    (b"f", b"nope", RENAME_EXCHANGE, errno.ENOENT), (b"nope", b"f", RENAME_EXCHANGE, errno.ENOENT),
    (b"full", b"full/sub", RENAME_EXCHANGE, errno.EINVAL), (b"full/sub", b"full", RENAME_EXCHANGE, errno.EINVAL),
    (b"f", b"g", RENAME_NOREPLACE | RENAME_EXCHANGE, errno.EINVAL), (b"f", b"g", 64, errno.EINVAL),
)  # fmt: skip
_LINKS = (
    (b"nope", b"x", errno.ENOENT), (b"d", b"x", errno.EPERM), (b"f", b"d", errno.EEXIST), (b"f", b"f", errno.EEXIST),
    (b"f", b"dangling", errno.EEXIST), (b"f", b"nope/x", errno.ENOENT), (b"f", b"f/x", errno.ENOTDIR),
    (b"f/x", b"y", errno.ENOTDIR), (b"f", LONG, errno.ENAMETOOLONG), (b"d", b"f", errno.EEXIST),
)  # fmt: skip


class Refusals:
    """Which error says no. And after a no, everything is as before."""

    @pytest.fixture
    def zoo(self, files: Files) -> Files:
        """One of each: f and g files, d an empty directory, full with file, sub and sub/deep, l a link to f,
        dangling, loop, p a FIFO."""
        put(files, b"f", b"f")
        put(files, b"g", b"g")
        files.mkdir(b"d")
        files.mkdir(b"full")
        files.mkdir(b"full/sub")
        files.mkdir(b"full/sub/deep")
        put(files, b"full/file", b"inside")
        files.symlink(b"f", b"l")
        files.symlink(b"nowhere", b"dangling")
        files.symlink(b"loop", b"loop")
        files.mknod(b"p", stat.S_IFIFO | 0o644)
        return files

    @pytest.mark.parametrize(("path", "number"), _TAKEN)
    def test_mkdir_refused(self, zoo: Files, path: bytes, number: int) -> None:
        before = shown(zoo)
        with refused(number):
            zoo.mkdir(path)
        assert shown(zoo) == before

    @pytest.mark.parametrize(("path", "number"), _TAKEN)
    def test_mknod_refused(self, zoo: Files, path: bytes, number: int) -> None:
        before = shown(zoo)
        for kind in (stat.S_IFREG, stat.S_IFIFO):
            with refused(number):
                zoo.mknod(path, kind | 0o644)
        assert shown(zoo) == before

    @pytest.mark.parametrize(("path", "number"), _TAKEN)
    def test_symlink_refused(self, zoo: Files, path: bytes, number: int) -> None:
        before = shown(zoo)
        with refused(number):
            zoo.symlink(b"target", path)
        assert shown(zoo) == before

    @pytest.mark.parametrize(("path", "number"), _TAKEN)
    def test_nothing_is_linked_or_renamed_there(self, zoo: Files, path: bytes, number: int) -> None:
        before = shown(zoo)
        with refused(number):
            zoo.link(b"g", path)
        with refused(number):
            zoo.rename(b"g", path, RENAME_NOREPLACE)
        assert shown(zoo) == before

    @pytest.mark.parametrize(("path", "number"), _MISSING)
    def test_what_is_missing(self, zoo: Files, path: bytes, number: int) -> None:
        for call in (
            lambda: zoo.stat(path, follow=False),
            lambda: zoo.open(path, os.O_RDONLY),
            lambda: zoo.chmod(path, 0o600),
            lambda: zoo.truncate(path, 0),
            lambda: zoo.utime(path, 1, 1),
            lambda: zoo.readlink(path),
            lambda: zoo.unlink(path),
            lambda: zoo.rmdir(path),
            lambda: zoo.open_directory(path),
            lambda: zoo.link(path, b"new"),
            lambda: zoo.rename(path, b"new"),
            lambda: zoo.list_xattrs(path),
        ):
            with refused(number):
                call()

    @pytest.mark.parametrize(("path", "flags", "number"), _OPENS)
    def test_open_refused(self, zoo: Files, path: bytes, flags: int, number: int) -> None:
        before = shown(zoo)
        with refused(number):
            zoo.open(path, flags)
        assert shown(zoo) == before

    @pytest.mark.parametrize(
        ("path", "number"),
        [
            *((name, errno.ENOTDIR) for name in (b"f", b"l", b"dangling", b"p")),
            *((name, errno.ENOTEMPTY) for name in (b"full", b"full/sub")),
        ],
    )
    def test_rmdir_refused(self, zoo: Files, path: bytes, number: int) -> None:
        before = shown(zoo)
        with refused(number):
            zoo.rmdir(path)
        assert shown(zoo) == before

    @pytest.mark.parametrize("path", [b"d", b"full", b"full/sub"])
    def test_unlink_removes_no_directory(self, zoo: Files, path: bytes) -> None:
        before = shown(zoo)
        with refused(errno.EISDIR):
            zoo.unlink(path)
        assert shown(zoo) == before

    @pytest.mark.parametrize(("old", "new", "flags", "number"), _RENAMES)
    def test_rename_refused(self, zoo: Files, old: bytes, new: bytes, flags: int, number: int) -> None:
        before = shown(zoo)
        with refused(number):
            zoo.rename(old, new, flags)
        assert shown(zoo) == before

    @pytest.mark.parametrize(("old", "new", "number"), _LINKS)
    def test_link_refused(self, zoo: Files, old: bytes, new: bytes, number: int) -> None:
        before = shown(zoo)
        with refused(number):
            zoo.link(old, new)
        assert shown(zoo) == before

    def test_what_is_of_another_kind(self, zoo: Files) -> None:
        for path in (b"f", b"d", b"p"):
            with refused(errno.EINVAL):
                zoo.readlink(path)
        for path in (b"f", b"p", b"l"):
            with refused(errno.ENOTDIR):
                zoo.open_directory(path)
        with refused(errno.EISDIR):
            zoo.truncate(b"d", 0)
        with refused(errno.EINVAL):
            zoo.truncate(b"p", 0)
        with refused(errno.EINVAL):
            zoo.truncate(b"f", -1)
        with refused(errno.ELOOP):
            zoo.stat(b"loop")

    @needs(Capability.KERNEL)
    def test_dots_are_no_names(self, zoo: Files) -> None:
        before = shown(zoo)
        for path, number in ((b"d/.", errno.EINVAL), (b"full/sub/..", errno.ENOTEMPTY)):
            with refused(number):
                zoo.rmdir(path)
        for path in (b"d/.", b"d/.."):
            with refused(errno.EBUSY):
                zoo.rename(path, b"x")
            with refused(errno.EEXIST):
                zoo.mkdir(path)
        assert zoo.stat(b"full/sub/..").ino == zoo.stat(b"full").ino
        assert shown(zoo) == before

    @needs(Capability.OUR_LIMITS)
    def test_whiteout_is_refused(self, zoo: Files) -> None:
        before = shown(zoo)
        with refused(errno.EINVAL):
            zoo.rename(b"f", b"new", 4)
        assert shown(zoo) == before


class Renames:
    def test_a_file_replaces_a_file(self, files: Files) -> None:
        put(files, b"a", b"a")
        put(files, b"b", b"b")
        ino = files.stat(b"a").ino
        files.rename(b"a", b"b")
        assert names(files) == [b"b"]
        assert (files.stat(b"b").ino, get(files, b"b")) == (ino, b"a")

    def test_any_kind_replaces_any_but_directories(self, files: Files) -> None:
        makers: tuple[Callable[[bytes], None], ...] = (
            lambda path: put(files, path),
            lambda path: files.symlink(b"x", path),
            lambda path: files.mknod(path, stat.S_IFIFO | 0o644),
        )
        for number, make in enumerate(makers):
            put(files, b"old%d" % number)
            make(b"new%d" % number)
            kind = stat.S_IFMT(files.stat(b"new%d" % number, follow=False).mode)
            files.rename(b"new%d" % number, b"old%d" % number)
            assert stat.S_IFMT(files.stat(b"old%d" % number, follow=False).mode) == kind
        assert names(files) == [b"old0", b"old1", b"old2"]

    def test_a_directory_replaces_an_empty_one(self, files: Files) -> None:
        files.mkdir(b"a")
        put(files, b"a/x", b"x")
        files.mkdir(b"b")
        files.rename(b"a", b"b")
        assert names(files) == [b"b"]
        assert get(files, b"b/x") == b"x"
        assert files.stat(b"b").nlink == 2

    def test_between_directories(self, files: Files) -> None:
        files.mkdir(b"a")
        files.mkdir(b"b")
        files.mkdir(b"a/sub")
        put(files, b"a/f", b"f")
        assert (files.stat(b"a").nlink, files.stat(b"b").nlink) == (3, 2)
        files.rename(b"a/sub", b"b/sub")
        files.rename(b"a/f", b"b/sub/g")
        assert (files.stat(b"a").nlink, files.stat(b"b").nlink) == (2, 3)
        assert (names(files, b"a"), names(files, b"b"), names(files, b"b/sub")) == ([], [b"sub"], [b"g"])
        assert get(files, b"b/sub/g") == b"f"
        files.rename(b"b/sub", b"a/sub")
        files.rename(b"b", b"a/sub/b")
        assert sorted(shown(files)) == [b"a", b"a/sub", b"a/sub/b", b"a/sub/g"]
        assert files.stat(b"a/sub").nlink == 3

    def test_a_directory_moves_above_itself(self, files: Files) -> None:
        files.mkdir(b"a")
        files.mkdir(b"a/b")
        files.mkdir(b"a/b/c")
        files.rename(b"a/b/c", b"c")
        files.rename(b"a", b"c/a")
        assert sorted(shown(files)) == [b"c", b"c/a", b"c/a/b"]
        with refused(errno.EINVAL):
            files.rename(b"c", b"c/a/b/c")

    def test_onto_itself_and_onto_a_hard_link(self, files: Files) -> None:
        put(files, b"a", b"a")
        files.link(b"a", b"b")
        files.mkdir(b"d")
        before = shown(files)
        files.rename(b"a", b"a")
        files.rename(b"d", b"d")
        files.rename(b"a", b"b")
        files.rename(b"a", b"b", RENAME_EXCHANGE)
        assert shown(files) == before

    def test_noreplace(self, files: Files) -> None:
        put(files, b"a", b"a")
        files.rename(b"a", b"b", RENAME_NOREPLACE)
        assert names(files) == [b"b"]

    def test_exchange(self, files: Files) -> None:
        put(files, b"a", b"file")
        files.mkdir(b"one")
        files.mkdir(b"two")
        files.mkdir(b"one/b")
        put(files, b"one/b/x", b"x")
        files.rename(b"a", b"one/b", RENAME_EXCHANGE)
        assert (get(files, b"one/b"), get(files, b"a/x")) == (b"file", b"x")
        assert (files.stat(b"one").nlink, files.stat(b"a").nlink) == (2, 2)
        files.rename(b"a", b"two", RENAME_EXCHANGE)
        assert (names(files, b"a"), names(files, b"two")) == ([], [b"x"])
        files.rename(b"one", b"two", RENAME_EXCHANGE)
        assert (names(files, b"one"), names(files, b"two")) == ([b"x"], [b"b"])

    def test_a_symbolic_link_is_moved_itself(self, files: Files) -> None:
        files.mkdir(b"d")
        files.symlink(b"d", b"l")
        files.rename(b"l", b"m")
        assert files.readlink(b"m") == b"d"
        assert names(files) == [b"d", b"m"]

    def test_replaced_again_and_again(self, files: Files) -> None:
        """As editors and `git` do it: every reader sees the old or the new, whole."""
        for number in range(50):
            put(files, b"f.tmp", b"%d" % number * 1000)
            files.rename(b"f.tmp", b"f")
            assert get(files, b"f") == b"%d" % number * 1000
        assert names(files) == [b"f"]

    def test_chain_of_renames(self, files: Files) -> None:
        for name in (b"a", b"b", b"c"):
            put(files, name, name)
        files.rename(b"c", b"d")
        files.rename(b"b", b"c")
        files.rename(b"a", b"b")
        files.rename(b"d", b"a")
        assert [get(files, name) for name in (b"a", b"b", b"c")] == [b"c", b"a", b"b"]


class Links:
    def test_one_file_with_many_names(self, files: Files) -> None:
        put(files, b"a", b"one")
        files.mkdir(b"d")
        files.link(b"a", b"b")
        files.link(b"b", b"d/c")
        assert len({files.stat(path).ino for path in (b"a", b"b", b"d/c")}) == 1
        assert files.stat(b"a").nlink == 3
        put(files, b"d/c", b"two, longer")
        files.chmod(b"b", 0o600)
        assert get(files, b"a") == b"two, longer"
        assert files.stat(b"a").permissions == 0o600
        files.unlink(b"a")
        files.rename(b"b", b"d/e")
        assert files.stat(b"d/c").nlink == 2
        put(files, b"x")
        files.rename(b"x", b"d/c")
        assert files.stat(b"d/e").nlink == 1
        assert get(files, b"d/e") == b"two, longer"

    def test_links_of_what_is_not_a_file(self, files: Files) -> None:
        files.symlink(b"target", b"l")
        files.mknod(b"p", stat.S_IFIFO | 0o644)
        for path in (b"l", b"p"):
            files.link(path, path + b"2")
            assert files.stat(path, follow=False).nlink == 2
            files.unlink(path)
            assert files.stat(path + b"2", follow=False).nlink == 1
        assert files.readlink(b"l2") == b"target"

    def test_directories_count_their_directories(self, files: Files) -> None:
        files.mkdir(b"d")
        assert files.stat(b"d").nlink == 2
        for number in range(3):
            files.mkdir(b"d/%d" % number)
            put(files, b"d/f%d" % number)
        assert files.stat(b"d").nlink == 5
        files.rmdir(b"d/0")
        files.unlink(b"d/f0")
        files.rename(b"d/1", b"d/2")
        assert files.stat(b"d").nlink == 3

    def test_symbolic_links_lead_somewhere(self, files: Files) -> None:
        files.mkdir(b"d")
        files.mkdir(b"d/e")
        put(files, b"d/f", b"through")
        files.symlink(b"f", b"d/l")
        files.symlink(b"d/l", b"m")
        files.symlink(b"../f", b"d/e/up")
        files.symlink(b"d", b"dir")
        for path in (b"d/l", b"m", b"d/e/up", b"dir/l", b"dir/e/up"):
            assert get(files, path) == b"through"
        assert stat.S_ISLNK(files.stat(b"m", follow=False).mode)
        files.rename(b"d/f", b"d/g")
        with refused(errno.ENOENT):
            files.open(b"m", os.O_RDONLY)

    def test_create_through_a_dangling_link(self, files: Files) -> None:
        files.symlink(b"target", b"l")
        put(files, b"l", b"made")
        assert get(files, b"target") == b"made"
        assert names(files) == [b"l", b"target"]

    @pytest.mark.parametrize("target", [b"x", b"/absolute/\xff", b"x" * 4095, "snow ☃\n".encode()])
    def test_targets_are_kept_exactly(self, files: Files, target: bytes) -> None:
        files.symlink(target, b"l")
        assert files.readlink(b"l") == target
        assert files.stat(b"l", follow=False).size_bytes == len(target)

    def test_no_empty_and_no_endless_target(self, files: Files) -> None:
        with refused(errno.ENOENT):
            files.symlink(b"", b"l")
        with refused(errno.ENAMETOOLONG):
            files.symlink(b"x" * 4096, b"l")
        assert names(files) == []

    def test_loops_of_links(self, files: Files) -> None:
        files.symlink(b"b", b"a")
        files.symlink(b"a", b"b")
        for number in range(45):
            files.symlink(b"chain%d" % (number + 1), b"chain%d" % number)
        put(files, b"chain45", b"end")
        for path in (b"a", b"chain0"):
            with refused(errno.ELOOP):
                files.stat(path)
        assert get(files, b"chain10") == b"end"


class Making:
    @pytest.mark.parametrize(
        "name",
        [
            *(
                b"x" * 255,
                b"\xff\xfe\x80",
                "ünïcødé 🎉".encode(),
                b"new\nline",
                b" ",
                b"...",
                b"-rf",
                b"%41",
                b"a\\b",
            ),
            *(b"\x01", b"a:b", b"*", b"CON", b"~"),
        ],
    )
    def test_any_name(self, files: Files, name: bytes) -> None:
        put(files, name, name)
        assert names(files) == [name]
        assert get(files, name) == name
        files.rename(name, b"other")
        files.mkdir(name)
        files.symlink(name, b"link")
        put(files, b"link/" + name[:200], b"below")
        assert get(files, name + b"/" + name[:200]) == b"below"

    def test_names_are_compared_by_bytes(self, files: Files) -> None:
        made = [b"a", b"A", "é".encode(), "e\u0301".encode(), b"a ", b"a.", b" a"]
        for name in made:
            put(files, name, name)
        assert names(files) == sorted(made)
        assert all(get(files, name) == name for name in made)

    def test_deep_paths(self, files: Files) -> None:
        path = b"d" * 50
        files.mkdir(path)
        for _ in range(60):
            path += b"/" + b"d" * 50
            files.mkdir(path)
        put(files, path + b"/f", b"deep")
        assert get(files, path + b"/f") == b"deep"
        files.rename(b"d" * 50, b"top")
        assert get(files, b"top" + path[50:] + b"/f") == b"deep"

    def test_a_name_can_be_taken_again(self, files: Files) -> None:
        seen = set()
        for _ in range(20):
            put(files, b"n", b"file")
            seen.add(files.stat(b"n").ino)
            files.unlink(b"n")
            with refused(errno.ENOENT):
                files.stat(b"n")
            files.mkdir(b"n")
            files.rmdir(b"n")
            files.symlink(b"x", b"n")
            files.unlink(b"n")
        assert seen
        assert names(files) == []

    def test_exclusive_create_makes_it_once(self, files: Files) -> None:
        with opened(files, b"lock", _EXCLUSIVE), refused(errno.EEXIST):
            files.open(b"lock", _EXCLUSIVE)
        files.unlink(b"lock")
        with opened(files, b"lock", _EXCLUSIVE):
            assert names(files) == [b"lock"]

    def test_special_files(self, files: Files) -> None:
        for name, kind in ((b"fifo", stat.S_IFIFO), (b"socket", stat.S_IFSOCK), (b"file", stat.S_IFREG)):
            files.mknod(name, kind | 0o640)
            facts = files.stat(name)
            assert (stat.S_IFMT(facts.mode), facts.permissions, facts.nlink) == (kind, 0o640, 1)
        assert get(files, b"file") == b""

    @needs(Capability.OWNERS)
    def test_devices(self, files: Files) -> None:
        for name, kind in ((b"character", stat.S_IFCHR), (b"block", stat.S_IFBLK)):
            files.mknod(name, kind | 0o600, os.makedev(7, 300))
            assert files.stat(name).rdev == os.makedev(7, 300)

    def test_a_removed_directory_takes_nothing_in(self, files: Files) -> None:
        files.mkdir(b"d")
        files.rmdir(b"d")
        for call in (
            lambda: files.mkdir(b"d/x"),
            lambda: files.open(b"d/x", _CREATE),
            lambda: files.symlink(b"t", b"d/x"),
            lambda: files.open_directory(b"d"),
        ):
            with refused(errno.ENOENT):
                call()
