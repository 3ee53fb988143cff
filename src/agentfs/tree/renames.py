"""Renaming: the one operation with more rules than all others together."""

from agentfs.errors import Exists, InvalidArgument, IsADirectory, NotADirectory, NotEmpty, NotFound
from agentfs.model.names import check_name
from agentfs.model.records import Kind
from agentfs.replica.replica import ROOT
from agentfs.replica.succession import stand_for, succeed
from agentfs.replica.transaction import Place, Transaction
from agentfs.tree import locality
from agentfs.tree.ground import Ground

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2


class Renames:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int = 0, *, reader: int = 0
    ) -> None:
        """Give what `name` means the name `new_name`, atomically replacing what stands there.

        `reader` is the thread that asks (`tree.seen`). The order of the checks, and so which error wins, is Linux's
        (`do_renameat2`, `vfs_rename`).
        """
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == RENAME_NOREPLACE | RENAME_EXCHANGE:
            raise InvalidArgument(f"rename flags {flags:#x} are not supported")
        check_name(name)
        check_name(new_name)
        gone = self._ground.replica.reserve.lend(
            lambda: self._rename((parent, name), (new_parent, new_name), flags, reader)
        )
        if gone is not None:
            self._ground.files.remove(gone)

    def _rename(self, old: tuple[int, bytes], new: tuple[int, bytes], flags: int, reader: int) -> int | None:
        """Returns the inode whose backing file goes after the commit."""
        (parent, name), (new_parent, new_name) = old, new
        ground = self._ground
        gone: int | None = None
        with ground.transaction() as tx:
            source = ground.place(tx, parent, name)
            target = ground.place(tx, new_parent, new_name)
            if source.ino is None:
                raise NotFound("no such file or directory")
            if flags & RENAME_NOREPLACE and target.ino is not None:
                raise Exists("the new name is taken")
            if flags & RENAME_EXCHANGE and target.ino is None:
                raise NotFound("there is nothing to exchange with")
            exchange = bool(flags & RENAME_EXCHANGE)
            self._check_ancestry(tx, parent, source.ino, new_parent, target.ino, exchange=exchange)
            if source.ino == target.ino:
                return None  # two names of one file: POSIX asks for nothing at all
            kind = _kind(tx, source.ino)
            if exchange:
                self._exchange(tx, (parent, name, source, kind), (new_parent, new_name, target))
                for place, ino in (((new_parent, new_name), source.ino), ((parent, name), target.ino)):
                    if ino is not None:  # what stood there still has a name: nothing to purge
                        succeed(tx, *place, ino, seen=ground.seen_by(reader))
                return None
            if target.ino is not None:
                stand_for(tx, source.ino, target.ino)
                gone = self._replace(tx, new_parent, new_name, target, directory=kind == Kind.DIRECTORY)
            self._move(tx, (parent, name, source, kind), (new_parent, new_name, target))
            if target.base is not None and kind == Kind.FILE:
                replaced = succeed(tx, new_parent, new_name, source.ino, seen=ground.seen_by(reader))
                if replaced is not None and ground.purge(tx, replaced):
                    gone = replaced
        return gone

    def _check_ancestry(
        self, tx: Transaction, parent: int, source: int, new_parent: int, target: int | None, *, exchange: bool
    ) -> None:
        """No directory goes into itself (`InvalidArgument`), none is replaced by what is in it (`NotEmpty`)."""
        if parent == new_parent:
            return
        if source in _ancestors(tx, new_parent):
            raise InvalidArgument("a directory cannot move into itself")
        if target is not None and target in _ancestors(tx, parent):
            raise (
                InvalidArgument("a directory cannot move into itself")
                if exchange
                else NotEmpty("the directory is not empty")
            )

    def _replace(self, tx: Transaction, parent: int, name: bytes, target: Place, *, directory: bool) -> int | None:
        """Take away what stands at the new name. Returns the inode whose backing file goes after the commit."""
        assert target.ino is not None
        kind = _kind(tx, target.ino)
        if directory and kind != Kind.DIRECTORY:
            raise NotADirectory("a directory replaces only a directory")
        if not directory and kind == Kind.DIRECTORY:
            raise IsADirectory("a file does not replace a directory")
        if directory and not tx.is_empty(target.ino):
            raise NotEmpty("the directory to replace is not empty")
        left = tx.unlink(parent, name, target.ino, directory=directory, local=bool(target.local))
        if left:
            locality.settle(tx, target.ino, kind, self._ignored)
            return None
        return target.ino if self._ground.purge(tx, target.ino) and kind == Kind.FILE else None

    def _move(self, tx: Transaction, source: tuple[int, bytes, Place, int], target: tuple[int, bytes, Place]) -> None:
        parent, name, place, kind = source
        new_parent, new_name, new_place = target
        assert place.ino is not None
        directory = kind == Kind.DIRECTORY
        local = self._ground.stays_local(new_place, new_parent, new_name, directory=directory)
        tx.unlink(parent, name, place.ino, directory=directory, local=bool(place.local))
        tx.link(new_parent, new_name, place.ino, directory=directory, local=local)
        if local != bool(place.local):
            locality.settle(tx, place.ino, kind, self._ignored)

    def _exchange(self, tx: Transaction, one: tuple[int, bytes, Place, int], other: tuple[int, bytes, Place]) -> None:
        parent, name, place, kind = one
        new_parent, new_name, new_place = other
        assert place.ino is not None and new_place.ino is not None
        new_kind = _kind(tx, new_place.ino)
        moves = (
            (place.ino, kind, bool(place.local), (parent, name), (new_parent, new_name, new_place)),
            (new_place.ino, new_kind, bool(new_place.local), (new_parent, new_name), (parent, name, place)),
        )
        for ino, its_kind, was_local, (old_parent, old_name), _ in moves:
            tx.unlink(old_parent, old_name, ino, directory=its_kind == Kind.DIRECTORY, local=was_local)
        for ino, its_kind, was_local, _, (to_parent, to_name, to_place) in moves:
            directory = its_kind == Kind.DIRECTORY
            local = self._ground.stays_local(to_place, to_parent, to_name, directory=directory)
            tx.link(to_parent, to_name, ino, directory=directory, local=local)
            if local != was_local:
                locality.settle(tx, ino, its_kind, self._ignored)

    def _ignored(self, parent: int, name: bytes, directory: bool) -> bool:
        ground = self._ground
        return ground.options.ignore.matches(
            name, directory=directory, path=lambda: b"/".join(filter(None, (ground.replica.path_of(parent), name)))
        )


def _kind(tx: Transaction, ino: int) -> int:
    row = tx.sql.one("SELECT kind FROM inode WHERE ino=?", (ino,))
    assert row is not None
    return int(row[0])


def _ancestors(tx: Transaction, directory: int) -> set[int]:
    """`directory` and the directories above it."""
    found = {directory}
    while directory != ROOT:
        row = tx.sql.one("SELECT parent FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (directory,))
        if row is None or row[0] in found:
            break
        directory = row[0]
        found.add(directory)
    return found
