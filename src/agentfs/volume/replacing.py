"""Replacing a file's whole content at once: readers see the old bytes or the new, never part of either.

The file keeps its identity (number, mode, links, attributes, history): its backing file is replaced by rename, as a
pull does. Only while somebody has it open for writing is the *name* replaced instead, as editors do it, so that
the writer's bytes are not pulled from under it.
"""

import contextlib
import os
from collections.abc import Callable

from agentfs.errors import Exists, NoSpace, NotFound
from agentfs.model.records import Kind
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import Transaction
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Attributes, Caller


def replace(
    replica: Replica, tree: Tree, *, parent: int, name: bytes, existing: Attributes | None, data: bytes
) -> None:
    """Make `data` the content of the file at `name` in `parent`, made when it is missing. It survives `kill -9`.

    `existing` is what stands there, a regular file, or None. Raises `NoSpace`, and `NotFound` when the directory
    is gone.
    """
    if existing is None:
        with contextlib.suppress(Exists):  # somebody was faster: what was written last stays
            tree.make_file(parent, name, data, 0o644, Caller.process())
            return
    if existing is None or not _in_place(replica, existing.ino, data):
        _by_name(tree, (parent, name), data, existing)


def replace_version(replica: Replica, *, parent: int, name: bytes, ino: int, version: int, data: bytes) -> bool:
    """Make `data` the content of a file that still has the bytes of `version` (`Handle.content_change`), and still is
    at its name. False: it changed, moved, or somebody is writing it; nothing was done then."""

    def unchanged(tx: Transaction) -> bool:
        row = tx.inode(ino)
        return row is not None and row.content_change == version and tx.child(parent, name) == ino

    return _in_place(replica, ino, data, unchanged)


def _in_place(replica: Replica, ino: int, data: bytes, may: Callable[[Transaction], bool] | None = None) -> bool:
    """Replace the backing file, if `may` says so. False: the file is being written, or gone."""
    staged = replica.files.stage_bytes(data)
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


def _by_name(tree: Tree, place: tuple[int, bytes], data: bytes, existing: Attributes | None) -> None:
    """Write beside it, with the attributes of what is there, and rename that over it.
    The name meanwhile is an ignored one: it never leaves this machine."""
    parent, name = place
    temporary = b".agentfs-%s.swp" % os.urandom(8).hex().encode()
    mode, xattrs = 0o644, {}
    if existing is not None:
        mode = existing.mode
        xattrs = {it: tree.get_xattr(existing.ino, it) for it in tree.list_xattrs(existing.ino)}
    made = tree.make_file(parent, temporary, data, mode, Caller.process(), xattrs=xattrs)
    try:
        if existing is not None and (existing.uid, existing.gid) != (made.uid, made.gid) and os.geteuid() == 0:
            tree.set_attributes(made.ino, AttributeChange(uid=existing.uid, gid=existing.gid))
        tree.rename(parent, temporary, parent, name)
    except BaseException:
        with contextlib.suppress(NotFound):  # somebody took the directory away with all that was in it
            tree.unlink(parent, temporary)
        raise
