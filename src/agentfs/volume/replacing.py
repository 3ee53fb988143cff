"""Replacing a file's whole content at once: readers see the old bytes or the new, never part of either.

The file keeps its identity (number, mode, links, attributes, history): its backing file is replaced by rename, as a
pull does. Only while somebody has it open for writing is the *name* replaced instead, as editors do it, so that
the writer's bytes are not pulled from under it.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping

from agentfs.errors import NoSpace, NotFound
from agentfs.model.records import Kind
from agentfs.replica.backing import translate
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import Transaction
from agentfs.tree.renames import RENAME_NOREPLACE
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Attributes, Caller

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def replace(
    replica: Replica, tree: Tree, *, parent: int, name: bytes, existing: Attributes | None, data: bytes
) -> None:
    """Make `data` the content of the file at `name` in `parent`, made when it is missing. It survives `kill -9`.

    `existing` is what stands there, a regular file, or None. Raises `NoSpace`, and `NotFound` when the directory
    is gone.
    """
    if existing is None or not _in_place(replica, existing.ino, data):
        mode = 0o644 if existing is None else existing.mode
        _by_name(tree, (parent, name), data, mode=mode, dress=lambda ino: _like(tree, ino, existing))


def create(
    tree: Tree,
    *,
    parent: int,
    name: bytes,
    data: bytes,
    change: AttributeChange | None = None,
    xattrs: Mapping[bytes, bytes] | None = None,
) -> None:
    """Make a file with this content and these attributes, at once: nobody sees it empty, or without them, and neither
    does `kill -9` leave it so. Raises `Exists` when the name was taken, be it a moment ago."""

    def dress(ino: int) -> None:
        for attribute, value in (xattrs or {}).items():
            tree.set_xattr(ino, attribute, value, 0)
        if change is not None:
            tree.set_attributes(ino, change)

    _by_name(tree, (parent, name), data, mode=0o644, dress=dress, flags=RENAME_NOREPLACE)


def replace_version(replica: Replica, *, parent: int, name: bytes, ino: int, version: int, data: bytes) -> bool:
    """Make `data` the content of a file that still has the bytes of `version` (`Handle.content_change`), and still is
    at its name. False: it changed, moved, or somebody is writing it; nothing was done then."""

    def unchanged(tx: Transaction) -> bool:
        row = tx.inode(ino)
        return row is not None and row.content_change == version and tx.child(parent, name) == ino

    return _in_place(replica, ino, data, unchanged)


def _in_place(replica: Replica, ino: int, data: bytes, may: Callable[[Transaction], bool] | None = None) -> bool:
    """Replace the backing file, if `may` says so. False: the file is being written, or gone."""
    staged = _staged(replica, data)
    before: str | None = None
    try:
        with replica.lock:
            # The mark first, in a transaction of its own: killed after the rename, the file is taken as changed.
            with replica.transaction() as tx:
                row = tx.inode(ino)
                if row is None or row.kind is not Kind.FILE or row.nlink == 0 or tx.is_write_open(ino):
                    return False
                if may is not None and not may(tx):
                    return False
                tx.mark_write_open(ino)
            with replica.transaction() as tx:
                others = tx.sql.one("SELECT 1 FROM write_open WHERE ino=? AND session!=?", (ino, tx.session))
                tx.clear_write_open(ino)
                if others is not None or (may is not None and not may(tx)):
                    return False
                before = _kept(replica, ino, staged)
                replica.files.adopt(staged, ino)
                facts = os.stat(replica.files.path(ino))
                tx.content_written(
                    ino, size_bytes=facts.st_size, mtime_ns=facts.st_mtime_ns, ctime_ns=facts.st_ctime_ns
                )
        return True
    except BaseException:
        if before is not None:  # the rows are as they were: so must be the bytes
            _undo(replica, ino, before)
        raise
    finally:
        for path in (staged, before):
            if path is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


def _kept(replica: Replica, ino: int, staged: str) -> str:
    """A second name for the backing file that is about to be replaced, if there is one."""
    path = f"{staged}-before"
    with contextlib.suppress(FileNotFoundError):
        os.link(replica.files.path(ino), path)
    return path


def _undo(replica: Replica, ino: int, before: str) -> None:
    """The commit failed (a full disk): put the old bytes back, and take the mark away if there is room for that."""
    try:
        os.rename(before, replica.files.path(ino))
    except FileNotFoundError:
        replica.files.remove(ino)
    with contextlib.suppress(NoSpace), replica.transaction() as tx:
        tx.clear_write_open(ino)


def _staged(replica: Replica, data: bytes) -> str:
    fd, path = replica.files.stage()
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError as error:
        os.unlink(path)
        raise translate(error, path) from error
    finally:
        os.close(fd)
    return path


def _by_name(
    tree: Tree, place: tuple[int, bytes], data: bytes, *, mode: int, dress: Callable[[int], None], flags: int = 0
) -> None:
    """Write beside it, `dress` that with what else it has, and rename it over what is there.
    The name meanwhile is an ignored one: it never leaves this machine."""
    parent, name = place
    temporary = b".agentfs-%s.swp" % secrets.token_hex(8).encode()
    made, handle = tree.create(parent, temporary, mode, Caller.process(), _FLAGS)
    try:
        try:
            offset = 0
            while offset < len(data):
                offset += tree.write(handle, offset, memoryview(data)[offset:])
            tree.flush(handle)
        finally:
            tree.release(handle)
        dress(made.ino)
        tree.rename(parent, temporary, parent, name, flags)
    except BaseException:
        with contextlib.suppress(NotFound):  # somebody took the directory away with all that was in it
            tree.unlink(parent, temporary)
        raise


def _like(tree: Tree, ino: int, existing: Attributes | None) -> None:
    if existing is None:
        return
    for attribute in tree.list_xattrs(existing.ino):
        tree.set_xattr(ino, attribute, tree.get_xattr(existing.ino, attribute), 0)
    if (existing.uid, existing.gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
        tree.set_attributes(ino, AttributeChange(uid=existing.uid, gid=existing.gid))
