"""Names: finding, making and removing them."""

import os
import stat

from agentfs.errors import (
    Exists,
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    Replaced,
    TooManyLinks,
)
from agentfs.model.names import check_name
from agentfs.model.records import NAME_BYTES_MAX, Kind
from agentfs.replica.database import Row
from agentfs.replica.succession import succeed
from agentfs.replica.transaction import KINDS, Place, Transaction
from agentfs.tree import locality
from agentfs.tree.ground import COLUMNS, SPARSE_BYTES_MIN, Ground
from agentfs.tree.values import KIND_OF_TYPE, Attributes, Caller

_LOOKUP = f"SELECT {COLUMNS} FROM inode WHERE ino=(SELECT ino FROM dentry WHERE parent=?1 AND name=?2)"
_ENTRY = "SELECT d.ino, d.local, i.kind FROM dentry d JOIN inode i ON i.ino=d.ino WHERE d.parent=? AND d.name=?"
_TARGET_BYTES_MAX = 4095


class Entries:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._lock = ground.lock
        self._opened = ground.opened
        self._one = ground.one

    # ---- finding ----

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """The attributes of what `name` in `parent` means. Raises `NotFound`, `NotADirectory`, `NameTooLong`."""
        if len(name) > NAME_BYTES_MAX:
            raise NameTooLong(f"the name is {len(name)} bytes long; {NAME_BYTES_MAX} is the most")
        row = self._ground.select(_LOOKUP, (parent, name))
        if row is None:
            self._check_directory(parent)
            raise NotFound("no such file or directory")
        found = Attributes(row[0], KINDS[row[1]], *row[2:])
        if found.ino in self._opened or found.size_bytes >= SPARSE_BYTES_MIN:
            with self._lock:
                return self._ground.overlaid(found)
        return found

    def readlink(self, ino: int) -> bytes:
        """The target of a symbolic link. Raises `InvalidArgument` for anything else."""
        row = self._ground.select("SELECT kind, target FROM inode WHERE ino=?", (ino,))
        if row is None:
            raise NotFound(f"inode {ino} is gone")
        if row[0] != Kind.SYMLINK:
            raise InvalidArgument(f"inode {ino} is not a symbolic link")
        return bytes(row[1])

    def _check_directory(self, parent: int) -> None:
        row = self._ground.select("SELECT kind FROM inode WHERE ino=?", (parent,))
        if row is not None and row[0] != Kind.DIRECTORY:
            raise NotADirectory(f"inode {parent} is not a directory")

    # ---- making ----

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        """A new directory. Survives `kill -9` on return, as all changes of names do."""
        return self._make(parent, name, Kind.DIRECTORY, mode, caller)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        """A new file (empty), FIFO, socket or device: the type bits of `mode` say which."""
        kind = KIND_OF_TYPE.get(stat.S_IFMT(mode) or stat.S_IFREG)
        if kind is None or kind is Kind.SYMLINK:
            raise InvalidArgument(f"mode {mode:o} has no type that mknod can make")
        if kind is Kind.DIRECTORY:
            raise NotPermitted("mknod makes no directories")
        device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
        return self._make(parent, name, kind, mode, caller, rdev=rdev if device else 0)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        """A new symbolic link to `target` (1 to 4095 bytes)."""
        if not target:
            raise NotFound("a symbolic link needs a target")
        if len(target) > _TARGET_BYTES_MAX:
            raise NameTooLong(f"the target is {len(target)} bytes long; {_TARGET_BYTES_MAX} is the most")
        return self._make(parent, name, Kind.SYMLINK, 0o777, Caller(caller.uid, caller.gid), target=target)

    def _make(
        self,
        parent: int,
        name: bytes,
        kind: Kind,
        mode: int,
        caller: Caller,
        *,
        rdev: int = 0,
        target: bytes | None = None,
    ) -> Attributes:
        check_name(name)
        ground = self._ground
        ino = 0
        try:
            with ground.transaction() as tx:
                place = ground.place(tx, parent, name)
                if place.ino is not None:
                    raise Exists("the name is taken")
                made = add_inode(ground, tx, parent, name, place, kind, mode, caller, rdev=rdev, target=target)
                if kind is Kind.FILE:
                    ino = made.ino
                    os.close(ground.files.create(ino))
        except BaseException:
            if ino:
                ground.remove_unmade(ino)
            raise
        return made

    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        """Another name for a file (not for a directory: `NotPermitted`). A synced name makes a local file synced."""
        check_name(name)
        ground = self._ground
        with ground.transaction() as tx:
            place = ground.place(tx, parent, name)
            if place.ino is not None:
                raise Exists("the name is taken")
            row = tx.sql.one("SELECT kind, nlink, local FROM inode WHERE ino=?", (ino,))
            if row is None or row[1] == 0:
                raise NotFound(f"inode {ino} is gone")
            if row[0] == Kind.DIRECTORY:
                raise NotPermitted("a directory has one name only")
            if row[1] >= ground.options.links_max:
                raise TooManyLinks(f"{ground.options.links_max} hard links are the most")
            local = ground.stays_local(place, parent, name, directory=False)
            tx.link(parent, name, ino, directory=False, local=local)
            if row[2] and not local:
                tx.set_local(ino, False)
        return ground.attributes(ino)

    # ---- removing ----

    def unlink(self, parent: int, name: bytes, *, as_of: tuple[int, int] | None = None, ended: bool = False) -> None:
        """Remove a name that is not a directory's. The bytes go with the last name, or with the last
        handle. With `as_of`, an inode and its `change`, only while the name means that inode as it was then, and
        nobody has it open for writing: else raises `Replaced`. `ended`: because the file's time was over, which the
        history says."""
        gone = self._ground.replica.reserve.lend(lambda: self._unlink(parent, name, as_of, ended=ended))
        if gone is not None:
            self._ground.files.remove(gone)

    def _unlink(self, parent: int, name: bytes, as_of: tuple[int, int] | None, *, ended: bool) -> int | None:
        """Returns the inode whose backing file goes after the commit."""
        ground = self._ground
        with ground.transaction() as tx:
            ino, local, kind = self._entry(tx, parent, name)
            if as_of is not None:
                row = tx.sql.one("SELECT change FROM inode WHERE ino=?", (ino,))
                if row is None or (ino, row[0]) != as_of or tx.is_write_open(ino):
                    raise Replaced("it has changed since, or is being written")
            if kind == Kind.DIRECTORY:
                raise IsADirectory("unlink does not remove directories")
            left = tx.unlink(parent, name, ino, directory=False, local=bool(local), ended=ended)
            gone = left == 0 and ground.purge(tx, ino)
            if left and not local:
                locality.settle(tx, ino, kind, _never_ignored)
        return int(ino) if gone and kind == Kind.FILE else None

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory."""
        self._ground.replica.reserve.lend(lambda: self._rmdir(parent, name))

    def _rmdir(self, parent: int, name: bytes) -> None:
        ground = self._ground
        with ground.transaction() as tx:
            ino, local, kind = self._entry(tx, parent, name)
            if kind != Kind.DIRECTORY:
                raise NotADirectory("rmdir removes only directories")
            if not tx.is_empty(ino):
                raise NotEmpty("the directory is not empty")
            tx.unlink(parent, name, ino, directory=True, local=bool(local))
            ground.purge(tx, ino)

    def _entry(self, tx: Transaction, parent: int, name: bytes) -> Row:
        """(ino, local, kind) of an existing name."""
        row = tx.sql.one(_ENTRY, (parent, name))
        if row is None:
            if len(name) > NAME_BYTES_MAX:
                raise NameTooLong(f"the name is {len(name)} bytes long; {NAME_BYTES_MAX} is the most")
            directory = tx.sql.one("SELECT kind FROM inode WHERE ino=?", (parent,))
            if directory is not None and directory[0] != Kind.DIRECTORY:
                raise NotADirectory(f"inode {parent} is not a directory")
            raise NotFound("no such file or directory")
        return row


def add_inode(  # noqa: PLR0917 - as `_make`
    ground: Ground,
    tx: Transaction,
    parent: int,
    name: bytes,
    place: Place,
    kind: Kind,
    mode: int,
    caller: Caller,
    *,
    rdev: int = 0,
    target: bytes | None = None,
    size_bytes: int = 0,
    mtime_ns: int | None = None,
    reader: int = 0,
) -> Attributes:
    """A new inode at a free name, with the owner and mode that POSIX gives it: in a set-group-id directory the
    group is the directory's, and a new directory there is set-group-id as well. `size_bytes` is that of the backing
    file that it is about to have."""
    mode = mode & ~caller.umask & 0o7777
    gid = caller.gid
    directory = kind is Kind.DIRECTORY
    if place.directory_mode & stat.S_ISGID:
        gid = place.directory_gid
        if directory:
            mode |= stat.S_ISGID
    ino = tx.add(
        parent,
        name,
        place,
        kind,
        mode=mode,
        uid=caller.uid,
        gid=gid,
        local=ground.stays_local(place, parent, name, directory=directory),
        rdev=rdev,
        target=target,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
    )
    if place.base is not None and kind is Kind.FILE:
        succeed(tx, parent, name, ino, seen=ground.seen_by(reader))  # what it leaves without a name the engine purges
    now = tx.now_ns
    modified = now if mtime_ns is None else mtime_ns
    size = len(target) if target is not None else size_bytes
    blocks = (size_bytes + 511) // 512
    return Attributes(
        ino, kind, mode, 2 if directory else 1, caller.uid, gid, rdev, size, blocks, now, modified, now, now, 1
    )


def _never_ignored(_parent: int, _name: bytes, _directory: bool) -> bool:
    return False
