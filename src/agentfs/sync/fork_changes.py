"""What a fork changed, as pending changes of a replica that stands where the fork began: the engine then merges them
like those of a machine that was offline since."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agentfs.format.snapshot_rows import PLACE_NONE, InodeRow, SnapshotRows
from agentfs.model.records import InodeId, Kind
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import KINDS, Transaction

Staged = Mapping[InodeId, str]
"""Files whose bytes were fetched: by the fork's number, the staged file (`BackingFiles.stage`), synced to disk."""


@dataclass(slots=True)
class Difference:
    """What leads from one tree to another with the same numbers."""

    created: list[InodeRow] = field(default_factory=list)
    changed: list[tuple[InodeRow, InodeRow]] = field(default_factory=list)
    """Before and after."""
    unlinked: list[tuple[InodeId, bytes, InodeId]] = field(default_factory=list)
    linked: list[tuple[InodeId, bytes, InodeId]] = field(default_factory=list)

    def contents(self) -> list[InodeRow]:
        """The files whose bytes are needed."""
        changed = [after for before, after in self.changed if _content(before) != _content(after)]
        return [row for row in (*self.created, *changed) if row[11] != PLACE_NONE]

    def __len__(self) -> int:
        """Inodes and names that differ."""
        return len(self.created) + len(self.changed) + len({it[:2] for it in (*self.unlinked, *self.linked)})


def difference(before: SnapshotRows, after: SnapshotRows) -> Difference:
    """Times of directories, and `ctime`, are no differences: they follow the names (F-53)."""
    known = {row[0]: row for row in before.inodes}
    found = Difference()
    for row in after.inodes:
        old = known.get(row[0])
        if old is None:
            found.created.append(row)
        elif _facts(old) != _facts(row):
            found.changed.append((old, row))
    names = {(parent, name): child for parent, name, child in before.links}
    names_after = {(parent, name): child for parent, name, child in after.links}
    found.unlinked = [(*place, child) for place, child in names.items() if names_after.get(place) != child]
    found.linked = [(*place, child) for place, child in names_after.items() if names.get(place) != child]
    return found


def _content(row: InodeRow) -> tuple[bytes, int]:
    return row[13], row[12]


def _facts(row: InodeRow) -> tuple[object, ...]:
    times = () if row[1] == Kind.DIRECTORY else (row[5],)
    return (row[2], row[3], row[4], row[8], row[9], row[10], *_content(row), *times)


def apply_difference(
    replica: Replica, changes: Difference, staged: Staged, *, facts: Mapping[str, int | str]
) -> None:
    """Make `changes` pending in `replica`, which shows the tree that they begin from, in one transaction that also
    sets `facts` in its state. On return it survives a power cut. Raises `NoSpace`, `ReplicaDamaged`."""
    with replica.transaction(durable=True) as tx:
        work = _Work(tx, replica, staged)
        for row in changes.created:
            work.create(row)
        for before, after in changes.changed:
            work.change(before, after)
        work.names(changes.unlinked, changes.linked)
        work.sync_directories()
        tx.sql.executemany("INSERT OR REPLACE INTO state VALUES(?,?)", facts.items())


class _Work:
    def __init__(self, tx: Transaction, replica: Replica, staged: Staged) -> None:
        self._tx = tx
        self._replica = replica
        self._staged = staged
        self._inos: dict[InodeId, int] = dict(tx.sql.rows("SELECT id, ino FROM inode WHERE id IS NOT NULL"))
        self._touched: dict[str, int] = {}

    def create(self, row: InodeRow) -> None:
        tx, kind = self._tx, KINDS[row[1]]
        ino = tx.insert_inode(
            kind, mode=row[2], uid=row[3], gid=row[4], local=False, rdev=row[8], target=row[9] or None
        )
        self._inos[row[0]] = ino
        for name, value in row[10]:
            tx.set_xattr(ino, name, value)
        self._content(ino, row)
        tx.sql.execute(
            "UPDATE inode SET size_bytes=?2, mtime_ns=?3, ctime_ns=?4, birth_ns=?5 WHERE ino=?1",
            (ino, row[12] or len(row[9]), row[5], row[6], row[7]),
        )

    def change(self, before: InodeRow, after: InodeRow) -> None:
        tx, ino = self._tx, self._inos[after[0]]
        if _content(before) != _content(after):
            self._content(ino, after)
        columns = {"mode": 2, "uid": 3, "gid": 4}
        tx.set_attributes(
            ino,
            **{name: after[at] for name, at in columns.items() if before[at] != after[at]},  # type: ignore[arg-type]
            mtime_ns=after[5],
            ctime_ns=after[6],
        )
        old, new = dict(before[10]), dict(after[10])
        for name in old.keys() | new.keys():
            if old.get(name) != new.get(name):
                tx.set_xattr(ino, name, new.get(name))

    def _content(self, ino: int, row: InodeRow) -> None:
        if row[11] == PLACE_NONE:
            return
        files = self._replica.files
        files.adopt(self._staged[row[0]], ino)
        self._touched[os.path.dirname(files.path(ino))] = ino
        self._tx.content_written(ino, size_bytes=row[12], mtime_ns=row[5], ctime_ns=row[6])

    def names(
        self,
        unlinked: Sequence[tuple[InodeId, bytes, InodeId]],
        linked: Sequence[tuple[InodeId, bytes, InodeId]],
    ) -> None:
        """All that go, then all that come: so it does not matter what changes places with what."""
        for do, rows in ((self._unlink, unlinked), (self._link, linked)):
            for parent, name, child in rows:
                row = self._tx.inode(self._inos[child])
                assert row is not None
                do(self._inos[parent], name, row.ino, row.kind is Kind.DIRECTORY)

    def _unlink(self, parent: int, name: bytes, ino: int, directory: bool) -> None:
        self._tx.unlink(parent, name, ino, directory=directory)

    def _link(self, parent: int, name: bytes, ino: int, directory: bool) -> None:
        self._tx.link(parent, name, ino, directory=directory, local=False)

    def sync_directories(self) -> None:
        for ino in self._touched.values():
            self._replica.files.sync_directory(ino)


def stage(replica: Replica, write: Callable[[int], None]) -> str:
    """A staged file with what `write` puts into its descriptor, synced to disk. Its path."""
    fd, path = replica.files.stage()
    try:
        write(fd)
        os.fsync(fd)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return path
