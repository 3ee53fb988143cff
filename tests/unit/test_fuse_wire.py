"""The protocol's layouts, against the C compiler's own, and the pure parts of the face."""

import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from agentfs.fuse import device, wire
from agentfs.fuse.files import without_set_id
from agentfs.fuse.nodes import Nodes
from agentfs.fuse.notify import messages
from agentfs.fuse.options import FuseOptions
from agentfs.fuse.pool import Pool
from agentfs.fuse.replies import Replies, dirent, direntplus, direntplus_bytes
from agentfs.model.records import Kind
from agentfs.replica.journal import ChangeKind, JournalRow
from agentfs.tree.values import Attributes, DirectoryEntry

SIZES = {
    "fuse_in_header": wire.IN_HEADER.size,
    "fuse_out_header": wire.OUT_HEADER.size,
    "fuse_init_in": wire.INIT_IN.size,
    "fuse_init_out": wire.INIT_OUT.size,
    "fuse_attr": wire.ATTR.size,
    "fuse_entry_out": wire.ENTRY_OUT.size,
    "fuse_attr_out": wire.ATTR_OUT.size,
    "fuse_open_out": wire.OPEN_OUT.size,
    "fuse_getattr_in": wire.GETATTR_IN.size,
    "fuse_setattr_in": wire.SETATTR_IN.size,
    "fuse_mknod_in": wire.MKNOD_IN.size,
    "fuse_mkdir_in": wire.MKDIR_IN.size,
    "fuse_rename_in": wire.RENAME_IN.size,
    "fuse_rename2_in": wire.RENAME2_IN.size,
    "fuse_link_in": wire.LINK_IN.size,
    "fuse_open_in": wire.OPEN_IN.size,
    "fuse_create_in": wire.CREATE_IN.size,
    "fuse_write_in": wire.WRITE_IN.size,
    "fuse_write_out": wire.WRITE_OUT.size,
    "fuse_release_in": wire.RELEASE_IN.size,
    "fuse_flush_in": wire.FLUSH_IN.size,
    "fuse_fsync_in": wire.FSYNC_IN.size,
    "fuse_getxattr_in": wire.XATTR_IN.size,
    "fuse_fallocate_in": wire.FALLOCATE_IN.size,
    "fuse_lseek_in": wire.LSEEK_IN.size,
    "fuse_copy_file_range_in": wire.COPY_IN.size,
    "fuse_kstatfs": wire.STATFS_OUT.size,
    "fuse_forget_one": wire.FORGET_ONE.size,
    "fuse_batch_forget_in": wire.BATCH_FORGET_IN.size,
    "fuse_dirent": wire.DIRENT.size,
    "fuse_direntplus": wire.DIRENTPLUS.size,
    "fuse_notify_inval_inode_out": wire.INVAL_INODE_OUT.size - wire.OUT_HEADER.size,
    "fuse_notify_inval_entry_out": wire.INVAL_ENTRY_OUT.size - wire.OUT_HEADER.size,
}
OPCODES = [
    *[
        "LOOKUP",
        "FORGET",
        "GETATTR",
        "SETATTR",
        "READLINK",
        "SYMLINK",
        "MKNOD",
        "MKDIR",
        "UNLINK",
        "RMDIR",
        "RENAME",
        "LINK",
        "OPEN",
        "READ",
        "WRITE",
    ],
    *[
        "STATFS",
        "RELEASE",
        "FSYNC",
        "SETXATTR",
        "GETXATTR",
        "LISTXATTR",
        "REMOVEXATTR",
        "FLUSH",
        "INIT",
        "OPENDIR",
        "READDIR",
        "RELEASEDIR",
    ],
    *[
        "FSYNCDIR",
        "CREATE",
        "INTERRUPT",
        "DESTROY",
        "BATCH_FORGET",
        "FALLOCATE",
        "READDIRPLUS",
        "RENAME2",
        "LSEEK",
        "COPY_FILE_RANGE",
    ],
]
HOUR_ATTRIBUTES = Attributes(7, Kind.FILE, 0o640, 2, 10, 20, 0, 5000, 16, 1_500_000_000, -500_000_000, 3, 4, 9)


def test_layouts_are_the_kernels(tmp_path: Path) -> None:
    if shutil.which("cc") is None or not Path("/usr/include/linux/fuse.h").exists():
        pytest.skip("needs a C compiler and the kernel's headers")
    lines = [f'printf("%zu ", sizeof(struct {name}));' for name in SIZES]
    lines += [f'printf("%d ", FUSE_{name});' for name in OPCODES]
    source = "#include <stdio.h>\n#include <linux/fuse.h>\nint main(void){" + "".join(lines) + "return 0;}"
    (tmp_path / "a.c").write_text(source)
    subprocess.run(["cc", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    numbers = subprocess.run([tmp_path / "a"], check=True, capture_output=True, text=True).stdout.split()
    expected = [*SIZES.values(), *(getattr(wire, name) for name in OPCODES)]
    assert dict(zip([*SIZES, *OPCODES], map(int, numbers), strict=True)) == dict(
        zip([*SIZES, *OPCODES], expected, strict=True)
    )


def test_attributes_before_1970_keep_their_nanoseconds() -> None:
    fields = wire.ATTR_OUT.unpack(Replies(FuseOptions(attribute_seconds=1.5)).attributes(HOUR_ATTRIBUTES))
    assert fields[:3] == (1, 500_000_000, 0)
    ino, size, blocks, atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns, mode, *_ = fields[3:]
    assert (ino, size, blocks) == (7, 5000, 16)
    assert (atime, atime_ns) == (1, 500_000_000)
    assert (mtime, mtime_ns) == (-1, 500_000_000)
    assert (ctime, ctime_ns) == (0, 3)
    assert mode == 0o100640


@pytest.mark.parametrize("name", [b"a", b"1234567", b"12345678", b"x" * 255])
def test_directory_rows_are_padded_to_eight(name: bytes) -> None:
    entry = DirectoryEntry(name, 5, Kind.DIRECTORY, 3)
    row = dirent(entry)
    assert len(row) % 8 == 0
    assert wire.DIRENT.unpack_from(row) == (5, 3, len(name), 4)
    assert row[24 : 24 + len(name)] == name
    packed = Replies(FuseOptions()).entry(HOUR_ATTRIBUTES)
    assert direntplus(entry, packed) == packed + row
    assert direntplus(entry, None) == bytes(128) + row
    assert direntplus_bytes(name) == len(packed + row)


def test_no_negative_reply_when_it_may_not_be_remembered() -> None:
    assert Replies(FuseOptions(negative_seconds=0)).negative is None
    remembered = Replies(FuseOptions(negative_seconds=5)).negative
    assert remembered is not None
    assert wire.ENTRY_OUT.unpack(remembered)[:6] == (0, 0, 5, 0, 0, 0)


def test_owner_me_shows_the_mounting_user() -> None:
    fields = wire.ATTR_OUT.unpack(Replies(FuseOptions(owner="me")).attributes(HOUR_ATTRIBUTES))
    assert fields[3 + 11 : 3 + 13] == (os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("mode", "kept"),
    [(0o755, 0o755), (0o4755, 0o755), (0o6777, 0o777), (0o2767, 0o2767), (0o2775, 0o775), (0o1777, 0o1777)],
)
def test_without_set_id(mode: int, kept: int) -> None:
    assert without_set_id(mode) == kept


def row(number: int, kind: ChangeKind, ino: int, parent: int | None = None, name: bytes | None = None) -> JournalRow:
    return JournalRow(number, 0, kind, ino, parent, name, 0)


def test_each_thing_is_told_once_and_bytes_win_over_attributes() -> None:
    rows = [
        row(1, ChangeKind.ATTRIBUTES, 5),
        row(2, ChangeKind.CONTENT, 5),
        row(3, ChangeKind.ATTRIBUTES, 5),
        row(4, ChangeKind.LINK, 6, 1, b"new"),
        row(5, ChangeKind.UNLINK, 6, 1, b"new"),
        row(6, ChangeKind.LINK, 7, 1, b"new"),
    ]
    assert list(messages(rows, wire.EXPIRE_ONLY)) == [
        wire.inval_entry(1, b"new", wire.EXPIRE_ONLY),
        wire.inval_inode(5, 0, 0),
        wire.inval_inode(1, 0, 0),
        wire.inval_inode(6, -1, 0),
        wire.inval_inode(7, -1, 0),
    ]


def test_notifications_as_bytes() -> None:
    assert wire.inval_inode(9, -1, 0) == struct.pack("=IiQQqq", 40, 2, 0, 9, -1, 0)
    assert wire.inval_entry(3, b"ab", 1) == struct.pack("=IiQQII", 35, 3, 0, 3, 2, 1) + b"ab\0"


def test_nodes_are_forgotten_when_the_last_reference_goes() -> None:
    gone: list[int] = []
    nodes = Nodes(gone.append)
    for _ in range(3):
        nodes.refer(5)
    nodes.forget(5, 2)
    assert gone == []
    nodes.forget(5, 1)
    assert gone == [5]
    assert len(nodes) == 0


def test_pool_starts_no_more_threads_than_work() -> None:
    pool = Pool(4, name="test-pool")
    for _ in range(20):
        done = threading.Event()
        pool.submit(done.set)
        assert done.wait(60)
    started = [thread for thread in threading.enumerate() if thread.name.startswith("test-pool")]
    assert 1 <= len(started) <= 2
    barrier = threading.Barrier(5)
    for _ in range(4):
        pool.submit(lambda: (barrier.wait(60), None)[1])
    barrier.wait(60)
    pool.close()


def test_mountinfo_is_unescaped() -> None:
    assert device._unescape(b"/a\\040b\\134c\\011d") == b"/a b\\c\td"
    assert any(facts.mountpoint == b"/proc" and facts.file_system == "proc" for facts in device.mounts())
