"""The tree at the end of the log and what was before it, out of the index: what an import of outside changes asks
(`agentfs.view.log_tree`)."""

from collections.abc import Callable
from dataclasses import dataclass

from agentfs.errors import ContentGone, ObjectNotFound
from agentfs.history.index import HistoryIndex
from agentfs.history.latest import had_path
from agentfs.history.names import last_seen, resolve
from agentfs.history.past import inode_at
from agentfs.history.places import COLUMNS, of_columns
from agentfs.history.trees import check_known
from agentfs.model.records import Content, InodeId, InodeRecord, Kind
from agentfs.replica.database import Connection


def _not_asked(_sequence: int) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class IndexedTree:
    """The tree right after `sequence`, which the index has. Safe from any thread."""

    index: HistoryIndex
    volume: str
    sequence: int
    digest: bytes
    time_ns: int
    read: Callable[[Content], bytes]
    """The verified bytes of a content; raises `ContentGone`, `ObjectNotFound`."""
    locked: frozenset[InodeId] = frozenset()
    stored_ns: Callable[[int], int | None] = _not_asked
    """When the store got an entry, by its own clock; None: it does not say."""

    @classmethod
    def at_head(
        cls,
        index: HistoryIndex,
        volume: str,
        read: Callable[[Content], bytes],
        locked: frozenset[InodeId] = frozenset(),
        stored_ns: Callable[[int], int | None] = _not_asked,
    ) -> "IndexedTree":
        """At the last entry that is indexed; before the first, an empty directory."""
        sequence, digest = index.head()
        with index.reading() as sql:
            time_ns = int(check_known(sql, sequence)[2]) if sequence else 0
        return cls(index, volume, sequence, digest, time_ns, read, locked, stored_ns)

    def child(self, parent: InodeId, name: bytes) -> InodeId | None:
        """What the name means; None: nothing."""
        with self.index.reading() as sql:
            row = sql.one(
                "SELECT inode FROM name WHERE parent=?1 AND name=?2 AND since<=?3 AND (until IS NULL OR until>?3)",
                (parent, name, self.sequence),
            )
        return None if row is None else int(row[0])

    def record(self, inode: InodeId) -> InodeRecord | None:
        """The whole state of an inode, of one that was removed its last; None: nobody knows it."""
        with self.index.reading() as sql:
            past = inode_at(sql, inode, self.sequence)
            content = self._content(sql, inode, self.sequence)
        if past is None:
            return None
        return InodeRecord(
            inode,
            past.kind,
            past.mode,
            past.uid,
            past.gid,
            past.mtime_ns,
            past.ctime_ns,
            past.birth_ns,
            past.rdev,
            past.target,
            past.xattrs,
            content,
        )

    def place(self, inode: InodeId) -> tuple[InodeId, bytes] | None:
        """The first directory and name that mean the file; None: it is not in the tree."""
        with self.index.reading() as sql:
            row = sql.one(
                "SELECT parent, name FROM name WHERE inode=?1 AND since<=?2 AND (until IS NULL OR until>?2) "
                "ORDER BY parent, name LIMIT 1",
                (inode, self.sequence),
            )
        return None if row is None else (int(row[0]), bytes(row[1]))

    def is_locked(self, inode: InodeId) -> bool:
        """Whether somebody holds the file's lock."""
        return inode in self.locked

    def content_at(self, inode: InodeId, sequence: int) -> Content | None:
        """The content that the file had right after that entry; None: it was not there then, or nobody knows."""
        with self.index.reading() as sql:
            found = self._content(sql, inode, sequence)
            if found is not None:
                return found
            row = sql.one(
                f"SELECT {COLUMNS} FROM kept WHERE inode=? AND sequence<=? ORDER BY sequence DESC LIMIT 1",
                (inode, sequence),
            )
        return None if row is None else of_columns((row[0], row[1], row[2], row[3], row[4]))

    def newest_before(self, inode: InodeId, time_ns: int) -> Content | None:
        """The content that the file had at that time of the log; None: it did not exist yet, or nobody knows."""
        with self.index.reading() as sql:
            row = sql.one(
                "SELECT max(sequence) FROM entry WHERE time_ns<=? AND sequence<=?", (time_ns, self.sequence)
            )
            return None if row is None or row[0] is None else self._content(sql, inode, int(row[0]))

    def digests_since(self, inode: InodeId, time_ns: int) -> frozenset[bytes]:
        """The SHA-256 of every content that the file had at that time of the log or later."""
        with self.index.reading() as sql:
            rows = sql.rows(
                "SELECT digest FROM record WHERE inode=?1 AND digest IS NOT NULL AND sequence<=?2 AND sequence>=("
                "SELECT coalesce(max(r.sequence), 0) FROM record r JOIN entry e ON e.sequence=r.sequence "
                "WHERE r.inode=?1 AND e.time_ns<=?3)",
                (inode, self.sequence, time_ns),
            )
        return frozenset(bytes(row[0]) for row in rows)

    def was_at(self, inode: InodeId, sequence: int, path: bytes) -> bool:
        """Whether the file had that path right after that entry, or later."""
        with self.index.reading() as sql:
            return had_path(sql, inode, tuple(path.split(b"/")), since=sequence)

    def removed_at_ns(self, path: bytes) -> int | None:
        """When the path ceased to mean anything: by the store's clock, or what the commit says itself where the store
        has it no more. None: it never did, or it does."""
        with self.index.reading() as sql:
            seen = last_seen(sql, tuple(path.split(b"/")), self.sequence)
            if seen is None or seen >= self.sequence:
                return None
            row = sql.one(
                "SELECT sequence, time_ns, collected FROM entry WHERE sequence>? ORDER BY sequence LIMIT 1", (seen,)
            )
        if row is None:
            return None
        stored_ns = None if row[2] else self.stored_ns(int(row[0]))
        return int(row[1]) if stored_ns is None else stored_ns

    def came_back_ns(self, path: bytes) -> int | None:
        """The time of the commit from which on the path means what it does, where it had meant something before and
        nothing in between; None: it was never gone, or is."""
        names = tuple(path.split(b"/"))
        with self.index.reading() as sql:
            now = resolve(sql, names, self.sequence)
            before = None if now is None else last_seen(sql, names, now.since - 1)
            if now is None or before is None or before == now.since - 1:
                return None
            row = sql.one("SELECT time_ns FROM entry WHERE sequence>=? ORDER BY sequence LIMIT 1", (now.since,))
        return None if row is None else int(row[0])

    def last_directory(self, path: bytes) -> InodeRecord | None:
        """The directory that the path meant last; None: it never meant one, or nobody knows."""
        record = self._last(path)
        return record if record is not None and record.kind is Kind.DIRECTORY else None

    def last_file(self, path: bytes) -> InodeId | None:
        """The file that the path meant last, or means; None: it never meant one, or nobody knows."""
        record = self._last(path)
        return record.id if record is not None and record.kind is Kind.FILE else None

    def _last(self, path: bytes) -> InodeRecord | None:
        names = tuple(path.split(b"/"))
        with self.index.reading() as sql:
            seen = last_seen(sql, names, self.sequence)
            found = None if seen is None else resolve(sql, names, seen)
        return None if found is None else self.record(found.inode)

    def collected_ns(self, sequence: int) -> int | None:
        """The commit was collected: the time of the entry that stands for it. None: the log has it, or never did."""
        with self.index.reading() as sql:
            row = sql.one(
                "SELECT time_ns FROM entry WHERE sequence>?1 AND collected>0 AND collected<=?1 "
                "ORDER BY sequence LIMIT 1",
                (sequence,),
            )
        return None if row is None else int(row[0])

    def was_put(self, name: str, digest: bytes) -> bool:
        """Whether a commit took in an object of that name with exactly these bytes."""
        with self.index.reading() as sql:
            row = sql.one(
                "SELECT 1 FROM imported WHERE name=? AND digest=? AND sequence<=? LIMIT 1",
                (name, digest, self.sequence),
            )
        return row is not None

    def was_imported(self, name: str, digest: bytes, modified_s: int) -> bool:
        """Whether a commit took in exactly this object."""
        with self.index.reading() as sql:
            row = sql.one(
                "SELECT 1 FROM imported WHERE name=? AND digest=? AND modified_s=? AND sequence<=? LIMIT 1",
                (name, digest, modified_s, self.sequence),
            )
        return row is not None

    def bytes_of(self, content: Content) -> bytes | None:
        """All of it, verified; None: it was collected."""
        try:
            return self.read(content)
        except (ContentGone, ObjectNotFound):
            return None

    @staticmethod
    def _content(sql: Connection, inode: InodeId, sequence: int) -> Content | None:
        row = sql.one(
            f"SELECT {COLUMNS} FROM record WHERE inode=? AND sequence<=? ORDER BY sequence DESC LIMIT 1",
            (inode, sequence),
        )
        return None if row is None else of_columns((row[0], row[1], row[2], row[3], row[4]))
