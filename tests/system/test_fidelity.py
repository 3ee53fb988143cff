"""What travels arrives exactly as it left, however odd it is."""

import os
import random

from machines import Facts, Fleet, Machine, tree, until, until_equal

from agentfs.testing.servers import S3Server

_MIB = 1 << 20


def _odd_names(machine: Machine) -> None:
    top = machine.path()
    for name in (
        b"x" * 255,
        b"not-\xff\xfe-utf8",
        "emoji-\U0001f9e0-日本".encode(),
        b"line\nbreak\ttab\r",
        b" leading and trailing ",
        b"-rf",
        b"back\\slash",
        b"quo\"te's",
        b"a*b?c[d]",
        b"%2F+&=#;",
        b".hidden",
        b"\x01\x7f",
        "é".encode(),  # composed …
        "e\u0301".encode(),  # … and decomposed: two names
        b":search-like:",
        b"CASE",
        b"case",
    ):
        with open(os.path.join(top, name), "wb") as file:
            file.write(b"named " + name)
        os.mkdir(os.path.join(top, b"d" + name[:250]))


def _deep(machine: Machine) -> None:
    """Five hundred directories deep, beyond what one path may name."""
    fd = os.open(machine.path(), os.O_RDONLY | os.O_DIRECTORY)
    for level in range(500):
        name = b"level-%03d-padding" % level
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    bottom = os.open(b"bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.write(bottom, b"down here")
    os.close(bottom)
    os.close(fd)


def _kinds(machine: Machine) -> None:
    path = machine.path
    machine.write("empty", b"")
    machine.write("hard-1", b"one inode, three names")
    os.mkdir(path("sub"))
    os.link(path("hard-1"), path("hard-2"))
    os.link(path("hard-1"), path("sub/hard-3"))
    os.symlink("hard-1", path("link"))
    os.symlink(b"nowhere/\xff/" + b"y" * 3000, path("dangling"))
    os.symlink("/etc/hostname", path("absolute"))
    os.mkfifo(path("fifo"), 0o640)
    for number, mode in enumerate((0o400, 0o644, 0o755, 0o1777, 0o4755, 0o2711, 0o000)):
        machine.write(f"mode-{number}", b"m")
        os.chmod(path(f"mode-{number}"), mode)
    os.mkdir(path("sticky"))
    os.chmod(path("sticky"), 0o1770)
    machine.write("owned", b"o")
    os.chown(path("owned"), 1234, 4321)
    machine.write("times", b"t")
    os.utime(path("times"), ns=(1_000_000_000_123_456_789, 987_654_321_987_654_321))
    machine.write("before-1970", b"t")
    os.utime(path("before-1970"), ns=(0, -86_400_000_000_001))
    machine.write("attributes", b"x")
    os.setxattr(path("attributes"), "user.empty", b"")
    os.setxattr(path("attributes"), "user.bytes", bytes(range(256)))
    os.setxattr(path("attributes"), "user.large", b"v" * 4000)
    os.setxattr(path("sub"), "user.directory", b"yes")


def _contents(machine: Machine) -> None:
    entropy = random.Random(7)
    for size in (1, 4095, 4096, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, _MIB, _MIB + 1, 3 * _MIB - 1):
        machine.write(f"size-{size}", entropy.randbytes(size))
    machine.write("large", entropy.randbytes(20 * _MIB))
    fd = os.open(machine.path("sparse"), os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"start", 0)
    os.pwrite(fd, b"middle", 5 * _MIB)
    os.ftruncate(fd, 12 * _MIB)
    os.close(fd)


def test_everything_travels_exactly(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    here = machines.machine(ministack_server, bucket)
    here.mount()
    _odd_names(here)
    _deep(here)
    _kinds(here)
    _contents(here)
    expected = tree(here.path())
    here.sync()
    there = machines.machine(ministack_server, bucket)
    there.mount()
    until_equal(here, there, 60)
    found = tree(there.path())
    assert found == expected
    assert isinstance(found[b"sub/hard-3"], Facts)
    assert found[b"sub/hard-3"].links == (b"hard-1", b"hard-2", b"sub/hard-3")
    assert os.stat(there.path("times")).st_mtime_ns == 987_654_321_987_654_321
    assert there.read("sparse") == b"start" + bytes(5 * _MIB - 5) + b"middle" + bytes(7 * _MIB - 6)
    here.unmount()
    there.unmount()
    here.mount()  # and again from the replica alone
    assert tree(here.path()) == expected
    here.unmount()
    here.fsck("--deep")
    there.fsck("--deep")


def test_later_changes_travel_exactly(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    """Each change by itself, to inodes that the other machine already has, in both directions."""
    here = machines.machine(ministack_server, bucket)
    there = machines.machine(ministack_server, bucket)
    here.mount()
    there.mount()
    _kinds(here)
    here.write("bulk", os.urandom(3 * _MIB))
    until_equal(here, there)
    os.chmod(here.path("mode-0"), 0o611)
    os.utime(here.path("times"), ns=(1, 2))
    os.setxattr(here.path("attributes"), "user.bytes", b"changed")
    os.removexattr(here.path("attributes"), "user.empty")
    os.unlink(here.path("hard-2"))
    os.rename(here.path("sub"), here.path("moved"))
    os.unlink(here.path("link"))
    os.symlink("elsewhere", here.path("link"))
    with open(here.path("bulk"), "r+b") as file:
        file.seek(2 * _MIB)
        file.write(b"in the middle")
        file.truncate(2 * _MIB + 100)
    os.rename(here.path("mode-1"), here.path("mode-2"))
    until_equal(here, there)
    os.link(there.path("moved/hard-3"), there.path("hard-4"))
    os.chown(there.path("owned"), 1, 2)
    os.setxattr(there.path("moved"), "user.back", b"yes")
    with open(there.path("bulk"), "ab") as file:
        file.write(b"appended there")
    with open(there.path("hard-4"), "wb") as file:
        file.write(b"through another name")
    until_equal(here, there)
    assert here.read("hard-1") == b"through another name"
    assert here.read("bulk").endswith(b"appended there")
    for name in os.listdir(here.path()):
        if not os.path.isdir(here.path(name)):
            os.unlink(here.path(name))
    until(lambda: all(os.path.isdir(there.path(n)) for n in os.listdir(there.path())), "the deletions travel")
    until_equal(here, there)
    here.unmount()
    there.unmount()
    here.fsck("--deep")
    there.fsck("--deep")
