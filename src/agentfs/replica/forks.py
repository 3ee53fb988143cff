"""Files of which the log has another version than the one changed here, until both are merged (the table `fork`).

The inode stays one: `content` moves on with the log, the backing file keeps our bytes and its open handles, `fork`
remembers the content that ours came from. Nothing is shown of the log's version until the two are one, so what a
program has written it reads again, and nothing needs the network inside a transaction. The engine ends the fork
(`sync.converge`): the merged bytes take the backing file's place, or, where they cannot be merged, the log's version
takes the names and ours a conflict copy's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgpack

from agentfs.merge.contents import may_merge
from agentfs.merge.rebase import mode_of_both
from agentfs.model.records import ChunkedContent, Content, InlineContent, InodeRecord, Kind
from agentfs.replica.apply_base import Name, content_of
from agentfs.replica.apply_databases import beside
from agentfs.replica.apply_show import Show, log_record
from agentfs.replica.backing import BackingFiles
from agentfs.replica.journal import LOG_SESSION, ChangeKind
from agentfs.replica.past import keep_merged
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import (
    PENDING_ATTRIBUTES,
    PENDING_CONTENT,
    RESIDENCY_LOCAL,
    ContentRow,
    InodeRow,
    Transaction,
)

_LIVES = "changed by one and deleted by the other; it was kept"


class Forks(Show):
    """A step of the log that lets two versions of a file share one inode."""

    def __init__(
        self,
        tx: Transaction,
        *,
        agent: str,
        digests: Mapping[int, tuple[int, bytes]],
        files: BackingFiles,
        sequence: int,
    ) -> None:
        """`sequence`: of the commit that brings the log's versions."""
        super().__init__(tx, agent=agent, digests=digests)
        self.files = files
        self.sequence = sequence
        self.before: dict[int, ContentRow] = {}
        """Contents as the log had them before this step."""
        self.unseen: set[int] = set()
        """Files of which nobody here has seen anything that the log has."""
        self.became: dict[int, int] = {}
        """Inodes of the log whose place a file of ours took: → that file."""

    def may_fork(self, row: InodeRow, name: bytes, size_bytes: int) -> bool:
        """Whether a version of `size_bytes` could be merged with this file, as far as can be seen without bytes."""
        if row.local or row.residency != RESIDENCY_LOCAL or not may_merge(name, max(row.size_bytes, size_bytes)):
            return False
        places = self.shown_at(row.ino)
        return not any(beside(self, place) for place in places) and not self.files.is_database(row.ino)

    def fork(self, row: InodeRow, content: Content) -> None:
        """The log has other bytes now; ours stay, to be merged."""
        base = self.tx.content(row.ino)
        assert base is not None
        self._remember(row.ino, base)
        self.set_content(row.ino, content)
        self.tx.sql.execute(
            "UPDATE inode SET pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?2 END, pending=pending|?3 "
            "WHERE ino=?1",
            (row.ino, self.tx.now_ns, PENDING_CONTENT),
        )

    def _remember(self, ino: int, base: ContentRow | None) -> None:
        place = (None,) * 5 if base is None else tuple(base)[1:6]
        self.tx.sql.execute(
            "INSERT INTO fork(ino,digest,size_bytes,sequence,offset,chunks,met,at_ns) VALUES(?,?,?,?,?,?,?,?) "
            "ON CONFLICT(ino) DO UPDATE SET met=excluded.met",
            (ino, *place, self.sequence, self.tx.now_ns),
        )

    def forget(self, ino: int) -> None:
        """The versions are one."""
        self.tx.sql.execute("DELETE FROM fork WHERE ino=?", (ino,))

    # ---- two inodes that are one file ----

    def unify(
        self, parent: int, name: bytes, ours: int, theirs: int, *, made_twice: bool = False, equal: bool = False
    ) -> bool:
        """Let `ours`, a file that the log does not have (any more) and that wants the name at which the log has
        `theirs`, be that file, to be merged with it: as an editor leaves it that saves by renaming, or where both
        made the file. `made_twice`: ours did not come from what the log has there. `equal`: both hold the same bytes,
        which need no merge. On success `name` shows `ours`.
        Returns False, with nothing changed, where they cannot be merged."""
        mine, other = self.tx.inode(ours), self.tx.inode(theirs)
        known = self.tx.content(theirs)
        assert mine is not None and other is not None
        if mine.kind is not Kind.FILE or other.kind is not Kind.FILE or other.id is None:
            return False
        if mine.id is not None and ours not in self.gone:
            return False  # it is another file of the log
        if known is None or self.tx.is_write_open(theirs):
            return False
        if other.pending and (other.nlink or theirs in self.left):
            return False  # it has changes of ours, too; one that was unlinked here before has none that count
        if any(place != (parent, name) for place in self.shown_at(theirs)):
            return False
        if not (equal and not mine.local and mine.residency == RESIDENCY_LOCAL) and not self.may_fork(
            mine, name, known.size_bytes
        ):
            return False
        base = None if made_twice else self._content_before(parent, name)
        if self.shown(parent, name) == theirs:
            self.unshow(parent, name, theirs)
        if self.shown(parent, name) != ours:
            self.show(parent, name, ours)
        self._take_identity(mine, other, base)
        return True

    def _content_before(self, parent: int, name: bytes) -> ContentRow | None:
        """What the log had at a name when the file there took it."""
        place = (parent, name)
        if place in self.changes:
            old = self.changes[place][0]
        else:
            row = self.tx.dentry(parent, name)
            old = row.base if row is not None else None
        if old is None:
            return None
        left = self.tx.sql.one("SELECT * FROM left_with WHERE ino=?", (old,))
        if left is not None:
            return ContentRow(*left[:6]) if left[2] else None
        if old in self.unseen:
            return None
        return self.before.get(old) or self.tx.content(old)

    def _take_identity(self, mine: InodeRow, other: InodeRow, base: ContentRow | None) -> None:
        ours, theirs, sql = mine.ino, other.ino, self.tx.sql
        assert other.id is not None
        self.gone.pop(ours, None)
        self._remember(ours, base)
        sql.execute("UPDATE inode SET id=NULL, pending=0 WHERE ino=?", (theirs,))
        sql.execute("UPDATE inode SET id=? WHERE ino=?", (other.id, ours))
        self.remember(other.id, ours)
        sql.execute("DELETE FROM content WHERE ino=?", (ours,))
        sql.execute("UPDATE content SET ino=? WHERE ino=?", (ours, theirs))
        for place in self.names_of(theirs):
            sql.execute("UPDATE dentry SET base=? WHERE parent=? AND name=?", (ours, *place))
            self.touched.add(place)
        for place, (old, new) in self.changes.items():
            if new == theirs:
                self.changes[place] = (old, ours)
        self.became[theirs] = ours
        self.dropped.append(theirs)
        if base is None:  # made twice: mode and owner are the first's
            sql.execute(
                "UPDATE inode SET mode=?, uid=?, gid=?, change=change+1 WHERE ino=?",
                (mode_of_both(other.mode, mine.mode), other.uid, other.gid, ours),
            )
            self.tx.record(ChangeKind.ATTRIBUTES, ours)
        sql.execute("INSERT OR IGNORE INTO xattr SELECT ?, name, value FROM xattr WHERE ino=?", (ours, theirs))
        sql.execute(
            "UPDATE inode SET pending_at_ns=CASE WHEN pending THEN pending_at_ns ELSE ?2 END, pending=3, "
            "birth_ns=?3 WHERE ino=?1",
            (ours, self.tx.now_ns, other.birth_ns),
        )

    # ---- the ends of a fork ----

    def split(self, row: InodeRow, detail: str) -> None:
        """They cannot be merged: the log's version takes the names, ours is kept aside."""
        places = self.shown_at(row.ino)
        self.part(row)
        self.forget(row.ino)
        self.tx.sql.execute("UPDATE inode SET pending=3 WHERE ino=?", (row.ino,))
        parent, name = places[0]
        kept = self.show_aside(parent, name, row.ino)
        self.meet("content", parent, name, kept, detail)

    def stays_here(self, row: InodeRow) -> bool:
        """Whether it is a file of the log that has only names here which the log does not hear of (it was given an
        ignored name), and is not in a directory that was. For others that is its removal."""
        places = self.shown_at(row.ino)
        return bool(row.local and row.id is not None and places) and not set(places) & set(self.names_of(row.ino))

    def leave(self, row: InodeRow, record: InodeRecord, known: ContentRow | None) -> int:
        """Let the log's version of such a file be another inode, not shown yet; this one is in no log any more.
        `known`: what the log had. Returns the other's number."""
        in_log = self.names_of(row.ino)
        self.tx.sql.execute("UPDATE inode SET id=NULL WHERE ino=?", (row.ino,))
        new = self.insert(record)
        for parent, name in in_log:
            self.tx.sql.execute("UPDATE dentry SET base=? WHERE parent=? AND name=?", (new, parent, name))
            self.touched.add((parent, name))
        if row.residency == RESIDENCY_LOCAL:  # else it tells where its bytes are
            self.tx.sql.execute("DELETE FROM content WHERE ino=?", (row.ino,))
        self.tx.sql.execute("DELETE FROM changed_field WHERE ino=?", (row.ino,))
        self.forget(row.ino)
        self.seen_of(new, known)
        return new

    def leave_removed(self, ino: int) -> None:
        """An inode of the log that had an ignored name here, and then none, is one that was removed like others."""
        sql = self.tx.sql
        sql.execute("UPDATE inode SET local=0 WHERE ino=?", (ino,))
        for (name,) in sql.rows("SELECT name FROM dentry WHERE parent=? AND ino IS NULL AND local!=0", (ino,)):
            sql.execute("UPDATE dentry SET local=0 WHERE parent=? AND name=?", (ino, name))
            self.touched.add((ino, name))

    def leave_directory(self, row: InodeRow) -> None:
        """Let a directory of the log that has only an ignored name here, and so is its removal for others, be one of
        this machine alone; the log's is another inode, not shown, from which all that it had is removed."""
        tx, old = self.tx, row.ino
        record, in_log = log_record(tx, row), self.names_of(old)
        tx.sql.execute("UPDATE inode SET id=NULL, pending=0 WHERE ino=?", (old,))
        tx.sql.execute("DELETE FROM changed_field WHERE ino=?", (old,))
        new = self.insert(record)
        for parent, name in in_log:
            tx.sql.execute("UPDATE dentry SET base=? WHERE parent=? AND name=?", (new, parent, name))
            self.touched.add((parent, name))
        for name, base in tx.sql.rows("SELECT name, base FROM dentry WHERE parent=? AND base IS NOT NULL", (old,)):
            tx.sql.execute("INSERT INTO dentry(parent,name,base) VALUES(?,?,?)", (new, name, base))
            tx.sql.execute("UPDATE dentry SET base=NULL WHERE parent=? AND name=?", (old, name))
            self.touched |= {(new, name), (old, name)}

    def came_from(self, ino: int, known: ContentRow | None) -> ContentRow | None:
        """What our bytes of a file came from: `known`, what the log had, unless the file is forked. None: nothing."""
        fork = self.tx.sql.one("SELECT * FROM fork WHERE ino=?", (ino,))
        if fork is None:
            return known
        return None if fork[1] is None else ContentRow(*fork[:6])

    def seen_of(self, ino: int, known: ContentRow | None) -> None:
        """Nobody here has seen more than `known` of a file whose content the log has changed since."""
        if known is not None:
            self.before[ino] = known
        else:
            self.unseen.add(ino)

    def part_from_ours(self, row: InodeRow) -> None:
        """A forked file that got such a name meanwhile: its version of the log was never seen here, so it lives."""
        fork = self.tx.sql.one("SELECT * FROM fork WHERE ino=?", (row.ino,))
        assert fork is not None
        new = self.leave(row, log_record(self.tx, row), None if fork[1] is None else ContentRow(*fork[:6]))
        parent, name = self.names_of(new)[0]
        self.place(parent, name, new)
        if new not in self.became:
            self.meet("delete", parent, name, b"", _LIVES)

    def bring_back(self, row: InodeRow) -> None:
        """A forked file that was unlinked or replaced here meanwhile: its version of the log was never seen here,
        so it lives, or is merged with what replaced it."""
        fork = self.tx.sql.one("SELECT * FROM fork WHERE ino=?", (row.ino,))
        assert fork is not None
        base = ContentRow(*fork[:6])
        parent, name = self.names_of(row.ino)[0]
        self.tx.sql.execute(
            "UPDATE inode SET residency=0, pending=pending & 1, "
            "size_bytes=(SELECT size_bytes FROM content c WHERE c.ino=?1), content_change=content_change+1, "
            "change=change+1 WHERE ino=?1",
            (row.ino,),
        )
        self.tx.sql.execute("DELETE FROM left_with WHERE ino=?", (row.ino,))
        self.forget(row.ino)
        self.seen_of(row.ino, None if base.digest is None else base)
        self.place(parent, name, row.ino)
        if row.ino not in self.became:
            self.meet("delete", parent, name, b"", _LIVES)


# ---- for the engine -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forked:
    """A fork as the engine finds it."""

    row: InodeRow
    base: ContentRow | None
    """What ours came from; None when both made the file. With neither a sequence nor chunks its bytes are a file of
    this machine."""
    theirs: ContentRow
    met: int
    place: Name | None
    """Where it is shown; None: unlinked or replaced here meanwhile."""
    write_open: bool


def read_forks(replica: Replica) -> list[Forked]:
    """All files that wait to be merged."""
    with replica.lock:
        sql = replica.connection
        found = []
        for fork in sql.rows("SELECT * FROM fork"):
            row = replica.inode(fork[0])
            theirs = sql.one("SELECT * FROM content WHERE ino=?", (fork[0],))
            if row is None or theirs is None:
                continue
            place = sql.one("SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (row.ino,))
            is_open = sql.one("SELECT 1 FROM write_open WHERE ino=? LIMIT 1", (row.ino,)) is not None
            base = None if fork[1] is None else ContentRow(*fork[:6])
            found.append(
                Forked(row, base, ContentRow._make(theirs), fork[6], None if place is None else (place[0], place[1]),
                       is_open)
            )  # fmt: skip
    return found


def any_forks(replica: Replica) -> bool:
    """Whether a fork waits that nobody is writing."""
    with replica.lock:
        row = replica.connection.one(
            "SELECT 1 FROM fork WHERE NOT EXISTS (SELECT 1 FROM write_open w WHERE w.ino=fork.ino) LIMIT 1"
        )
    return row is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a merge gave."""

    staged: str | None
    """A synced file with the merged bytes; None: they are what is shown already."""
    size_bytes: int
    ours: tuple[bytes, int]
    """Digest and length of our bytes. Where others take their place, `BackingFiles.base_path` holds them."""
    is_theirs: bool
    """The merged bytes are the log's: nothing is left to commit of them."""
    detail: str
    """What both changed; empty when nothing."""
    sides: bytes
    """For the conflict's row (`pack_sides`)."""


def finish_merge(replica: Replica, forked: Forked, stamp: tuple[int, int], outcome: Outcome) -> bool:
    """Make merged bytes the file's. Returns False, with nothing changed, when the file, or the log's version of it,
    changed since `forked` and `stamp` (the backing file's size and time) were read. On return it survives `kill -9`,
    and a power cut leaves the merged bytes or the log's version with ours beside it."""
    ino = forked.row.ino
    if outcome.staged is not None:
        with replica.transaction() as tx:  # a crash after the rename: what the backing file holds is ours (recovery)
            if tx.is_write_open(ino):
                return False
            tx.mark_write_open(ino)
    try:
        with replica.transaction(session=0) as tx:
            if not _unchanged(tx, replica, forked, stamp):
                return False
            if outcome.staged is not None:
                replica.files.adopt(outcome.staged, ino)
                facts = replica.files.stat(ino)
                assert facts is not None
                keep_merged(tx, ino, forked.row.content_change, ours=outcome.ours, base=forked.base)
                tx.sql.execute(
                    "UPDATE inode SET size_bytes=?2, content_change=content_change+1, change=change+1 WHERE ino=?1",
                    (ino, outcome.size_bytes),
                )
                # What is all the log's keeps its times, too, where no commit of ours would tell others.
                tx.sql.execute(
                    "UPDATE inode SET mtime_ns=max(mtime_ns, ?2), ctime_ns=max(ctime_ns, ?2) "
                    "WHERE ino=?1 AND (pending & ?3 OR NOT ?4)",
                    (ino, tx.now_ns, PENDING_ATTRIBUTES, outcome.is_theirs),
                )
                tx.record(ChangeKind.CONTENT, ino)
            # Also where nothing was pending: of an open file whose bytes were all in the log's version of that time.
            tx.sql.execute(
                "UPDATE inode SET pending_at_ns=CASE WHEN pending OR ?2 THEN pending_at_ns ELSE ?4 END, "
                "pending=CASE WHEN local THEN 0 WHEN ?2 THEN pending & ~?3 ELSE pending | ?3 END WHERE ino=?1",
                (ino, outcome.is_theirs, PENDING_CONTENT, tx.now_ns),
            )
            tx.sql.execute("DELETE FROM fork WHERE ino=?", (ino,))
            if outcome.detail:
                assert forked.place is not None
                tx.sql.execute(
                    "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns,sides) "
                    "VALUES('content',?,?,x'',?,NULL,?,?)",
                    (*forked.place, outcome.detail, tx.now_ns, outcome.sides),
                )
        if outcome.staged is not None:
            replica.files.sync_directory(ino)
        return True
    finally:
        if outcome.staged is not None:
            with replica.transaction() as tx:
                tx.clear_write_open(ino)


def _unchanged(tx: Transaction, replica: Replica, forked: Forked, stamp: tuple[int, int]) -> bool:
    ino = forked.row.ino
    now, theirs = tx.inode(ino), tx.content(ino)
    writer = tx.sql.one("SELECT 1 FROM write_open WHERE ino=? AND session!=? LIMIT 1", (ino, replica.session))
    if now is None or theirs is None or writer is not None or not now.nlink:
        return False
    facts = replica.files.stat(ino)
    same = facts is not None and (facts.st_size, facts.st_mtime_ns) == stamp
    return same and now.content_change == forked.row.content_change and theirs.digest == forked.theirs.digest


def split_fork(replica: Replica, forked: Forked, *, agent: str, detail: str) -> bool:
    """Keep both versions: the log's at its name, ours beside it. Returns False when it is being written again."""
    with replica.transaction(session=LOG_SESSION) as tx:
        row = tx.inode(forked.row.ino)
        known = tx.sql.one("SELECT 1 FROM fork WHERE ino=?", (forked.row.ino,)) is not None
        if row is None or not known or not row.nlink or tx.is_write_open(row.ino):
            return False
        gone = _end(tx, replica, forked, agent, lambda it: it.split(row, detail))
    for ino in gone:
        replica.files.remove(ino)
    return True


def bring_back(replica: Replica, forked: Forked, *, agent: str) -> bool:
    """End the fork of a file that was unlinked or replaced here. Returns False when it is not so any more."""
    with replica.transaction(session=LOG_SESSION) as tx:
        row = tx.inode(forked.row.ino)
        known = tx.sql.one("SELECT 1 FROM fork WHERE ino=?", (forked.row.ino,)) is not None
        if row is None or not known or row.nlink or tx.is_write_open(row.ino):
            return False
        gone = _end(tx, replica, forked, agent, lambda it: it.bring_back(row))
        # Not after the commit: the log's bytes may be fetched, and be written by a program, before we come to it.
        replica.files.remove(row.ino)
    for ino in gone:
        replica.files.remove(ino)
    return True


def part_from_ours(replica: Replica, forked: Forked, *, agent: str) -> bool:
    """End the fork of a file that was given a name here which stays on this machine. Returns False when it is not so
    (any more), or is being written."""
    with replica.transaction(session=LOG_SESSION) as tx:
        row = tx.inode(forked.row.ino)
        known = tx.sql.one("SELECT 1 FROM fork WHERE ino=?", (forked.row.ino,)) is not None
        if row is None or not known or tx.is_write_open(row.ino):
            return False
        step = Forks(tx, agent=agent, digests={}, files=replica.files, sequence=forked.met)
        if not step.stays_here(row):
            return False
        gone = _end(tx, replica, forked, agent, lambda it: it.part_from_ours(row))
    for ino in gone:
        replica.files.remove(ino)
    return True


def _end(tx: Transaction, replica: Replica, forked: Forked, agent: str, do: Callable[[Forks], None]) -> list[int]:
    """Returns the inodes whose backing files go after the commit."""
    step = Forks(tx, agent=agent, digests={}, files=replica.files, sequence=forked.met)
    do(step)
    step.tidy()
    tx.sql.executemany(
        "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns) VALUES(?,?,?,?,?,NULL,?)",
        [(*it, tx.now_ns) for it in step.met],
    )
    return [ino for ino in step.dropped if tx.purge(ino)]


def nothing_new(replica: Replica, forked: Forked, stamp: tuple[int, int], base: tuple[bytes, int]) -> bool:
    """A file that is open for writing, and whose bytes are all in the log's version: not pending, until it is written
    again. `base`: digest and length of our bytes, which `BackingFiles.base_path` holds from now on."""
    with replica.transaction(session=0) as tx:
        ino = forked.row.ino
        now, theirs = tx.inode(ino), tx.content(ino)
        facts = replica.files.stat(ino)
        if now is None or theirs is None or facts is None or (facts.st_size, facts.st_mtime_ns) != stamp:
            return False
        if now.content_change != forked.row.content_change or theirs.digest != forked.theirs.digest:
            return False
        if not set_local_base(tx, ino, *base, came_from=None if forked.base is None else forked.base.digest):
            return False
        tx.sql.execute("UPDATE inode SET pending=pending & ?2 WHERE ino=?1", (ino, ~PENDING_CONTENT))
    return True


def set_local_base(tx: Transaction, ino: int, digest: bytes, size_bytes: int, *, came_from: bytes | None) -> bool:
    """From now on our bytes differ from these, which are in a file of this machine. Returns False, with nothing
    changed, when the base is not `came_from` any more."""
    tx.sql.execute(
        "UPDATE fork SET digest=?2, size_bytes=?3, sequence=NULL, offset=NULL, chunks=NULL "
        "WHERE ino=?1 AND digest IS ?4",
        (ino, digest, size_bytes, came_from),
    )
    return bool(tx.sql.changes())


# ---- the sides of a conflict ----------------------------------------------------------------------------------


def pack_sides(met: int, base: Content | None, earlier: Content | None, later: Content | None) -> bytes:
    """For the column `conflict.sides`."""
    packed = msgpack.packb([met, *(_packed(it) for it in (base, earlier, later))])
    assert isinstance(packed, bytes)
    return packed


def unpack_sides(data: bytes) -> tuple[int, Content | None, Content | None, Content | None]:
    """The reverse. The data is this machine's own."""
    met, *contents = msgpack.unpackb(data, use_list=False)
    base, earlier, later = (None if it is None else content_of(ContentRow(0, *it)) for it in contents)
    return met, base, earlier, later


def _packed(content: Content | None) -> tuple[object, ...] | None:
    match content:
        case None:
            return None
        case InlineContent():
            return content.digest, content.size_bytes, content.sequence, content.offset, None
        case ChunkedContent():
            return content.digest, content.size_bytes, None, None, b"".join(content.chunks)
