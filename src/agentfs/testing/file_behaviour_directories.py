"""Listing directories, also while they change. A part of `FileBehaviour`."""

import errno
import os
import stat

from agentfs.testing.file_behaviour_binding import Files, entries, names, opened, put, refused

_MANY = 2_000


def touch(files: Files, path: bytes) -> None:
    with opened(files, path, os.O_WRONLY | os.O_CREAT):
        pass


class Directories:
    def test_dots_and_kinds_are_listed(self, files: Files) -> None:
        files.mkdir(b"d")
        files.mkdir(b"d/sub")
        put(files, b"d/f")
        files.symlink(b"f", b"d/l")
        files.mknod(b"d/p", stat.S_IFIFO | 0o644)
        found = {entry.name: entry for entry in entries(files, b"d")}
        assert sorted(found) == [b".", b"..", b"f", b"l", b"p", b"sub"]
        assert found[b"."].ino == files.stat(b"d").ino
        assert found[b".."].ino == files.stat(b"").ino
        for name in (b"sub", b"f", b"l", b"p"):
            facts = files.stat(b"d/" + name, follow=False)
            assert (found[name].ino, found[name].type_bits) == (facts.ino, stat.S_IFMT(facts.mode))

    def test_dotdot_follows_a_move(self, files: Files) -> None:
        files.mkdir(b"a")
        files.mkdir(b"b")
        files.mkdir(b"a/d")
        files.rename(b"a/d", b"b/d")
        found = {entry.name: entry.ino for entry in entries(files, b"b/d")}
        assert found[b".."] == files.stat(b"b").ino

    def test_a_new_directory_is_empty(self, files: Files) -> None:
        files.mkdir(b"d")
        assert sorted(entry.name for entry in entries(files, b"d")) == [b".", b".."]

    def test_many_entries(self, files: Files) -> None:
        expected = [b"file-%05d" % number for number in range(_MANY)]
        for name in expected:
            touch(files, name)
        found = [entry.name for entry in entries(files)]
        assert len(found) == len(set(found)) == _MANY + 2
        assert names(files) == expected
        files.unlink(expected[_MANY // 2])
        assert len(names(files)) == _MANY - 1

    def test_removing_while_listing(self, files: Files) -> None:
        """As `rm -r` does it: each entry goes as soon as it was read."""
        files.mkdir(b"d")
        for number in range(1_000):
            touch(files, b"d/%04d" % number)
        number = files.open_directory(b"d")
        while entry := files.read_directory(number):
            if entry.name not in (b".", b".."):
                files.unlink(b"d/" + entry.name)
        files.close_directory(number)
        assert names(files, b"d") == []
        files.rmdir(b"d")

    def test_what_stays_is_listed_once_while_others_come_and_go(self, files: Files) -> None:
        files.mkdir(b"d")
        for number in range(500):
            touch(files, b"d/stays-%04d" % number)
            touch(files, b"d/goes-%04d" % number)
        seen = []
        handle = files.open_directory(b"d")
        for number in range(500):
            if entry := files.read_directory(handle):
                seen.append(entry.name)
            files.unlink(b"d/goes-%04d" % number)
            touch(files, b"d/comes-%04d" % number)
            if number % 50 == 0:
                files.rename(b"d/comes-%04d" % number, b"d/came-%04d" % number)
        seen.extend(entry.name for entry in iter(lambda: files.read_directory(handle), None))
        files.close_directory(handle)
        stays = [name for name in seen if name.startswith(b"stays")]
        assert sorted(stays) == [b"stays-%04d" % number for number in range(500)]

    def test_rewinding_shows_what_is_new(self, files: Files) -> None:
        files.mkdir(b"d")
        touch(files, b"d/a")
        handle = files.open_directory(b"d")
        assert [entry.name for entry in iter(lambda: files.read_directory(handle), None)].count(b"a") == 1
        touch(files, b"d/b")
        files.unlink(b"d/a")
        files.rewind_directory(handle)
        found = sorted(entry.name for entry in iter(lambda: files.read_directory(handle), None))
        assert found == [b".", b"..", b"b"]
        files.close_directory(handle)

    def test_the_listing_follows_every_change(self, files: Files) -> None:
        for number in range(30):
            touch(files, b"n%d" % number)
            assert len(names(files)) == number + 1
        for number in range(30):
            files.rename(b"n%d" % number, b"m%d" % number)
            assert len(names(files)) == 30
        for number in range(30):
            files.unlink(b"m%d" % number)
            assert len(names(files)) == 29 - number

    def test_listing_a_directory_that_goes(self, files: Files) -> None:
        files.mkdir(b"d")
        handle = files.open_directory(b"d")
        files.rmdir(b"d")
        left = [entry.name for entry in iter(lambda: files.read_directory(handle), None)]
        assert set(left) <= {b".", b".."}
        files.close_directory(handle)
        with refused(errno.ENOENT):
            files.open_directory(b"d")

    def test_two_listings_of_one_directory(self, files: Files) -> None:
        for number in range(300):
            touch(files, b"%03d" % number)
        one, two = files.open_directory(b""), files.open_directory(b"")
        found: tuple[list[bytes], list[bytes]] = [], []
        for _ in range(302):
            for handle, into in ((one, found[0]), (two, found[1])):
                entry = files.read_directory(handle)
                assert entry is not None
                into.append(entry.name)
        assert sorted(found[0]) == sorted(found[1])
        for handle in (one, two):
            assert files.read_directory(handle) is None
            files.close_directory(handle)
