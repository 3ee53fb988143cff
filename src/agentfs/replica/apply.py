"""A commit of another writer onto this replica: the log's side moves, and what is pending stays on top.

One transaction: the commit becomes visible whole or not at all, and `head` moves with it. Decisions are
`merge.rebase`'s; here they are carried out.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentfs.errors import HistoryBroken
from agentfs.merge.contents import MERGE_BYTES_MAX
from agentfs.merge.fencing import LockTable
from agentfs.merge.rebase import (
    Attributes,
    ContentChoice,
    NameChoice,
    NameFacts,
    decide_content,
    decide_dentry,
    merge_attributes,
)
from agentfs.model.records import Commit, InodeId, InodeRecord, Kind
from agentfs.replica.apply_base import Name, content_of
from agentfs.replica.apply_databases import beside, follow
from agentfs.replica.apply_show import log_record
from agentfs.replica.backing import BackingFiles
from agentfs.replica.forks import Forks
from agentfs.replica.journal import ChangeKind
from agentfs.replica.locks import LockStep, lose_leases, replace_table
from agentfs.replica.past import KEPT_NS, keep_past
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import (
    PENDING_ATTRIBUTES,
    PENDING_CONTENT,
    RESIDENCY_LOCAL,
    ROOT,
    ContentRow,
    InodeRow,
    Transaction,
)

_NOTHING = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Applied:
    """What a pull did here."""

    stale: tuple[int, ...] = ()
    """Backing files that hold bytes which are no longer the content (`drop_stale`)."""
    orphans: tuple[int, ...] = ()
    """Inodes that nothing names any more."""
    fetched: Mapping[InodeId, int] = field(default_factory=dict)
    """Files of the commit whose bytes are wanted here: id in the log → ino."""
    conflicts: int = 0


def apply_commit(
    replica: Replica,
    commit: Commit,
    digest: bytes,
    *,
    agent: str,
    digests: Mapping[int, tuple[int, bytes]] | None = None,
    whole: bool = False,
    table: LockTable | None = None,
) -> Applied:
    """Make `commit` this replica's head. On return it survives `kill -9`.

    `digests` tells the SHA-256 of pending files, by ino, with the `content_change` that it was computed at
    (see `same_size_pending`). `whole`: the commit is the difference to a snapshot, not the next entry of the log;
    `table`: with it, the locks of the snapshot.
    Raises `HistoryBroken` when the commit does not continue the head; the replica is then unchanged.
    """
    lose_leases(replica, commit, agent=agent, table=(table or {}) if whole else None)
    with replica.transaction(session=0) as tx:
        _check_head(tx, commit, whole=whole)
        rebase = _Rebase(tx, commit, agent, digests or {}, replica.files)
        locks = LockStep(rebase, commit.sequence, commit.locks, commit.fences)
        applied = rebase.run(digest)
        if whole:
            replace_table(tx, (table or {}).items())
        else:
            locks.finish()
            locks.note(commit.inodes)
    return applied


def _check_head(tx: Transaction, commit: Commit, *, whole: bool) -> None:
    state: dict[str, Any] = dict(
        tx.sql.rows("SELECT key, value FROM state WHERE key IN ('head_sequence','head_digest')")
    )
    sequence, digest = state["head_sequence"], state["head_digest"]
    if whole:
        if commit.sequence < sequence:
            raise HistoryBroken(f"a snapshot at {commit.sequence} is older than this replica ({sequence})")
    elif commit.sequence != sequence + 1 or commit.parent != digest:
        raise HistoryBroken(
            f"log entry {commit.sequence} of {commit.volume} does not continue entry {sequence} as this replica "
            "has it: another store or a rewritten log; run agentfs fsck"
        )


def same_size_pending(replica: Replica, commit: Commit) -> list[tuple[int, int]]:
    """Pending files that may hold bytes of `commit`, by size: (ino, content_change). Hash them before `apply_commit`,
    outside any transaction; what is not hashed counts as different."""
    sizes = {record.content.size_bytes for record in commit.inodes if record.content is not None}
    with replica.lock:
        rows = replica.connection.rows(
            "SELECT ino, content_change, size_bytes FROM inode WHERE pending != 0 AND pending & 2 AND nlink > 0"
        )
    return [(row[0], row[1]) for row in rows if row[2] in sizes]


def drop_stale(replica: Replica, stale: Iterable[int], orphans: Iterable[int]) -> None:
    """Forget orphans, and remove backing files that the log's step made useless, unless they came to hold something
    since. May be skipped: a crash before it costs disk space, nothing else."""
    stale, orphans = tuple(stale), tuple(orphans)
    if not stale and not orphans:
        return
    with replica.transaction(session=0) as tx:
        purged = [ino for ino in orphans if tx.purge(ino)]
        for ino in stale:
            row = tx.sql.one("SELECT residency, pending FROM inode WHERE ino=?", (ino,))
            if row is None or (row[0] == 0 and not row[1] & PENDING_CONTENT and not tx.is_write_open(ino)):
                replica.files.remove(ino)
    for ino in purged:
        replica.files.remove(ino)


class _Rebase(Forks):
    def __init__(
        self,
        tx: Transaction,
        commit: Commit,
        agent: str,
        digests: Mapping[int, tuple[int, bytes]],
        files: BackingFiles,
    ) -> None:
        super().__init__(tx, agent=agent, digests=digests, files=files, sequence=commit.sequence)
        self.commit = commit
        self.replaced: list[int] = []
        """Inodes whose bytes are the log's now."""
        self.stale: list[int] = []
        self.fetched: dict[InodeId, int] = {}
        self.edited: list[int] = []
        """Inodes that got new bytes in the log, or lost a name there and keep others: should our own changes hide all
        that is left of one, it comes back."""
        self.dropped_twice: set[int] = set()
        """Inodes that lost a name in the log which we had taken from them, too."""
        self._also_ours: list[Name] = []
        """Names that the commit changes and that we had changed."""

    def run(self, digest: bytes) -> Applied:
        self._leave_ignored()
        new = [self._record(record) for record in self.commit.inodes]
        self._bases()
        self.find_gone(also=[ino for ino in new if ino is not None])
        alive = self._alive()
        self._clear(alive)
        self._show_all(alive)
        for ino in self.edited:
            self._bring_back(ino)
        follow(self, self.files.is_database, replaced=self.replaced)
        orphans = self.retire()
        self.tidy()
        self._forget_times()
        self._write_conflicts()
        self.set_head(self.commit.sequence, digest, self.commit.time_ns)
        return Applied(tuple(self.stale), tuple(orphans + self.dropped), self.fetched, len(self.met))

    def _leave_ignored(self) -> None:
        """What the commit changes and was given an ignored name here, or is in a directory that was. For others that
        was a removal: as against any other, what they wrote or moved lives, with the directories that it is in; ours
        stays this machine's own, also if they removed it."""
        work = [self.find(it.parent) for it in self.commit.unlinks]
        for link in self.commit.links:
            work += [self.find(link.parent), self.find(link.child)]
        for record in self.commit.inodes:
            ino = self.find(record.id)
            work.append(ino)
            if ino is None or record.content is None:
                continue
            known = self.tx.content(ino)
            if known is None or known.digest != record.content.digest:
                work += [parent for parent, _ in self.names_of(ino)]
        files: list[int] = []
        seen: set[int | None] = {None}
        while work:
            ino = work.pop()
            row = self.tx.inode(ino) if ino is not None and ino not in seen else None
            seen.add(ino)
            if row is None or not row.local or row.id is None:
                continue
            if row.kind is Kind.DIRECTORY:
                work += [parent for parent, _ in self.names_of(row.ino)]
            if not self.shown_at(row.ino):
                self.leave_removed(row.ino)
            elif row.kind is Kind.DIRECTORY:
                self.leave_directory(row)
            elif row.kind is Kind.FILE:
                files.append(row.ino)
        for ino in files:  # those that the commit gives another name
            row = self.tx.inode(ino)
            if row is not None and self.stays_here(row):
                self.leave(row, log_record(self.tx, row), self.came_from(ino, self.tx.content(ino)))

    # ---- inodes ----

    def _record(self, record: InodeRecord) -> int | None:
        """Take one inode of the commit. Returns its number if it is new here."""
        ino = self.find(record.id)
        if ino is None:
            ino = self.insert(record)
            if record.kind is Kind.FILE:
                self.fetched[record.id] = ino
            return ino
        row = self.tx.inode(ino)
        assert row is not None
        if record.content is None:
            self._attributes(row, record, times=False)
            return None
        known = self.tx.content(ino)
        choice = decide_content(
            changed_in_log=known is None or known.digest != record.content.digest,
            pending=bool(row.pending & PENDING_CONTENT),
            write_open=self.tx.is_write_open(ino),
            shown=row.nlink > 0,
            equal=self.pending_digest(row) == record.content.digest,
        )
        if choice is not ContentChoice.SAME and self.stays_here(row):
            ino = self.leave(row, record, self.came_from(ino, known))
            self.fetched[record.id] = ino
            self.edited.append(ino)
            return None
        if choice in (ContentChoice.SPLIT, ContentChoice.DETACH) and self._fork_instead(row, record):
            return None
        if choice in (ContentChoice.SPLIT, ContentChoice.DETACH):
            # What a database's program has not yet moved into it lies beside it: that is a change of ours.
            whole = not any(beside(self, place) for place in self.shown_at(ino)) or not self.files.is_database(ino)
            self._split(row, record, detach=choice is ContentChoice.DETACH and whole)
            return None
        self._attributes(row, record, times=choice is ContentChoice.TAKE)
        if known is None or content_of(known) != record.content:
            if known is not None:
                self.before[ino] = known
            self.set_content(ino, record.content)
        if choice is ContentChoice.ADOPT:
            self.tx.sql.execute("UPDATE inode SET pending=pending & ~2 WHERE ino=?", (ino,))
            self.forget(ino)
        elif choice is ContentChoice.TAKE:
            self._take_content(row, record)
        return None

    def _fork_instead(self, row: InodeRow, record: InodeRecord) -> bool:
        """Keep our bytes at the name, to be merged with the log's; False where that cannot be."""
        assert record.content is not None
        places = self.shown_at(row.ino)
        if not places or not self.may_fork(row, places[0][1], record.content.size_bytes):
            return False
        self._attributes(row, record, times=False)
        self.fork(row, record.content)
        return True

    def _take_content(self, row: InodeRow, record: InodeRecord) -> None:
        assert record.content is not None
        self._note_what_it_left_with(row)
        self.forget(row.ino)  # all of ours is in the log
        before = self.before.get(row.ino)
        was_here = row.residency == RESIDENCY_LOCAL or row.used_at_ns > self.tx.now_ns - KEPT_NS
        if before is not None and was_here and before.size_bytes <= MERGE_BYTES_MAX:
            keep_past(self.tx, row.ino, row.content_change, before)
        self.tx.sql.execute(
            "UPDATE inode SET size_bytes=?, residency=0, pending=pending & ~2, content_change=content_change+1, "
            "change=change+1 WHERE ino=?",
            (record.content.size_bytes, row.ino),
        )
        self.tx.record(ChangeKind.CONTENT, row.ino)
        self.fetched[record.id] = row.ino
        self.replaced.append(row.ino)
        if row.residency:
            self.stale.append(row.ino)
        self.edited.append(row.ino)

    def _note_what_it_left_with(self, row: InodeRow) -> None:
        """A file that lost a name of the log's here gets new bytes in the log: see `succession`, `unify`. Of a forked
        one nobody here has seen more than what ours came from."""
        before = self.before.get(row.ino)
        if before is None or set(self.names_of(row.ino)) <= set(self.shown_at(row.ino)):
            self.tx.sql.execute("DELETE FROM left_with WHERE ino=?", (row.ino,))
            return
        seen = self.came_from(row.ino, before)
        is_kept = seen is not None and not (seen.sequence is None and seen.chunks is None)  # not for forks only
        if seen is None or not is_kept:
            seen = ContentRow(row.ino, _NOTHING, 0, None, None, None)
        self.tx.sql.execute(
            "INSERT OR IGNORE INTO left_with VALUES(?,?,?,?,?,?,?)", (row.ino, *tuple(seen)[1:6], self.sequence)
        )

    def _split(self, row: InodeRow, record: InodeRecord, *, detach: bool) -> None:
        """The log's version becomes another inode and takes the names; ours keeps its bytes and open handles."""
        tx, old = self.tx, row.ino
        known = tx.content(old)
        in_log, places = self.names_of(old), self.shown_at(old)
        tx.sql.execute("UPDATE inode SET id=NULL WHERE ino=?", (old,))
        ino = self.insert(record)
        self.seen_of(ino, self.came_from(old, known))
        self.fetched[record.id] = ino
        for parent, name in in_log:
            tx.sql.execute("UPDATE dentry SET base=? WHERE parent=? AND name=?", (ino, parent, name))
            self.touched.add((parent, name))
        for parent, name in places:
            self.unshow(parent, name, old)
            self.show(parent, name, ino)
        tx.sql.execute("DELETE FROM content WHERE ino=?", (old,))
        tx.sql.execute("DELETE FROM changed_field WHERE ino=?", (old,))
        self.forget(old)
        if not places:
            tx.sql.execute("UPDATE inode SET pending=0 WHERE ino=?", (old,))
            self.edited.append(ino)
        elif detach:
            tx.sql.execute("UPDATE inode SET pending=0 WHERE ino=?", (old,))
            self.detach(old, places[0], known.digest if known is not None else None)
        else:
            tx.sql.execute("UPDATE inode SET pending=3 WHERE ino=?", (old,))
            parent, name = places[0]
            kept = self.show_aside(parent, name, old)
            self.meet("content", parent, name, kept, "both changed; the version that came later was kept aside")

    def _attributes(self, row: InodeRow, record: InodeRecord, *, times: bool) -> None:
        tx, ino = self.tx, row.ino
        fields = {bytes(it[0]) for it in tx.sql.rows("SELECT field FROM changed_field WHERE ino=?", (ino,))}
        theirs = Attributes(record.mode, record.uid, record.gid, record.mtime_ns, record.ctime_ns)
        ours = Attributes(row.mode, row.uid, row.gid, row.mtime_ns, row.ctime_ns)
        merged = merge_attributes(
            ours,
            theirs,
            pending=bool(row.pending),
            ours_changed=frozenset(it.decode() for it in fields if it in (b"mode", b"owner")),
            theirs_times=times,
        )
        changed = self._xattrs(ino, record, fields)
        if merged.attributes != ours:
            it = merged.attributes
            tx.sql.execute(
                "UPDATE inode SET mode=?, uid=?, gid=?, mtime_ns=?, ctime_ns=?, change=change+1 WHERE ino=?",
                (it.mode, it.uid, it.gid, it.mtime_ns, it.ctime_ns, ino),
            )
            changed = True
        if row.birth_ns != record.birth_ns:
            # Of the root only: each replica makes its own before it hears of the log's.
            tx.sql.execute("UPDATE inode SET birth_ns=? WHERE ino=?", (record.birth_ns, ino))
        if changed:
            tx.record(ChangeKind.ATTRIBUTES, ino)
            tx.sql.execute("DELETE FROM changed_field WHERE ino=?", (ino,))
            tx.sql.executemany("INSERT INTO changed_field VALUES(?,?)", [(ino, it) for it in fields])
        if merged.conflict and row.nlink:
            parent, name = self.shown_at(ino)[0] if ino != ROOT else (ROOT, b"")
            if name:
                self.meet("attributes", parent, name, b"", "both changed mode or owner; the later change stays")

    def _xattrs(self, ino: int, record: InodeRecord, fields: set[bytes]) -> bool:
        ours: dict[bytes, bytes] = dict(self.tx.sql.rows("SELECT name, value FROM xattr WHERE ino=?", (ino,)))
        wanted = {name: value for name, value in record.xattrs if b"x:" + name not in fields}
        wanted |= {name: value for name, value in ours.items() if b"x:" + name in fields}
        if wanted == ours:
            return False
        self.tx.sql.execute("DELETE FROM xattr WHERE ino=?", (ino,))
        self.tx.sql.executemany("INSERT INTO xattr VALUES(?,?,?)", [(ino, *pair) for pair in wanted.items()])
        return True

    # ---- names ----

    def _bases(self) -> None:
        wanted: dict[Name, int | None] = {}
        for unlink in self.commit.unlinks:
            wanted[self.ino(unlink.parent), unlink.name] = None
        for link in self.commit.links:
            wanted[self.ino(link.parent), link.name] = self.ino(link.child)
        for (parent, name), ino in wanted.items():
            row = self.tx.sql.one("SELECT pending FROM dentry WHERE parent=? AND name=?", (parent, name))
            if row is not None and row[0]:
                self._also_ours.append((parent, name))
            self.set_base(parent, name, ino)

    def _alive(self) -> set[int]:
        """Of the gone inodes, those that hold work of ours and must stay: bytes not yet in the log, directories with
        something of ours inside, and what we moved (with all that is in it)."""
        alive: set[int] = set()
        moved = [ino for ino in self.gone if any(self._base_was(place) != ino for place in self.shown_at(ino))]
        while moved:
            ino = moved.pop()
            if ino not in alive:
                alive.add(ino)
                rows = self.tx.sql.rows("SELECT ino FROM dentry WHERE parent=? AND ino IS NOT NULL", (ino,))
                moved += [row[0] for row in rows if row[0] in self.gone]
        for ino, kind in self.gone.items():
            if kind is Kind.FILE and (self._has_our_bytes(ino) or self._is_written_where_replaced(ino)):
                alive.add(ino)
        seeds = set(alive)
        for ino, kind in self.gone.items():
            if kind is Kind.DIRECTORY and self._holds_ours(ino):
                seeds.add(ino)
        work = list(seeds)
        while work:  # whatever stays keeps the directories that show it
            ino = work.pop()
            alive.add(ino)
            work += [parent for parent, _ in self.shown_at(ino) if parent in self.gone and parent not in alive]
        return alive & self.gone.keys()

    def _has_our_bytes(self, ino: int) -> bool:
        row = self.tx.sql.one("SELECT pending & 2, nlink FROM inode WHERE ino=?", (ino,))
        return row is not None and bool(row[0]) and row[1] > 0

    def _is_written_where_replaced(self, ino: int) -> bool:
        """Whether a file is open for writing here at a name that the log has given to another one (as editors save),
        with which it could be merged."""
        row = self.tx.inode(ino)
        if row is None or not self.tx.is_write_open(ino):
            return False
        for place in self.shown_at(ino):
            new = self.changes[place][1] if place in self.changes else None
            known = self.tx.content(new) if new is not None else None
            if known is not None and self.may_fork(row, place[1], known.size_bytes):
                return True
        return False

    def _holds_ours(self, directory: int) -> bool:
        rows = self.tx.sql.rows("SELECT name, ino FROM dentry WHERE parent=? AND ino IS NOT NULL", (directory,))
        return any(self._base_was((directory, name)) != ino for name, ino in rows)

    def _base_was(self, place: Name) -> int | None:
        if place in self.changes:
            return self.changes[place][0]
        row = self.tx.sql.one("SELECT base FROM dentry WHERE parent=? AND name=?", place)
        return None if row is None else row[0]

    def _clear(self, alive: set[int]) -> None:
        """Take away what we show unchanged and the log has no longer there."""
        for (parent, name), (old, new) in self.changes.items():
            if old is None or old == new:
                continue
            ours = self.shown(parent, name)
            if ours != old:
                self.dropped_twice.add(old)
            elif old not in alive:
                known = self.tx.content(old)
                self.unshow(parent, name, old)
                if old not in self.gone:
                    self.edited.append(old)
                elif self.tx.is_write_open(old) and not self.shown_at(old):
                    self.detach(old, (parent, name), known.digest if known is not None else None)

    def _show_all(self, alive: set[int]) -> None:
        """Show what the log has now, as far as our changes let it."""
        for (parent, name), (old, its) in list(self.changes.items()):
            if its is None or its in self.gone:
                continue
            new = self.became.get(its, its)
            ours = self.shown(parent, name)
            moved = self._moved_by_us(new, (parent, name))
            facts = NameFacts(
                must_live=ours is not None and ours in alive,
                moved_by_us=moved,
                ours=self.thing(ours) if ours is not None else None,
                theirs=self.thing(new),
            )
            choice = decide_dentry(old, ours, new, facts)
            if choice is not NameChoice.KEEP:
                self.place(parent, name, new)
            elif moved:
                self.meet("rename", parent, name, b"", "both renamed it; the later rename stays")

    def _moved_by_us(self, ino: int, place: Name) -> bool:
        places = [it for it in self.shown_at(ino) if it != place]
        if not places:
            return False
        if self.kind(ino) is Kind.DIRECTORY:
            return True
        if ino not in self.dropped_twice:
            return False
        return any(self._base_now(it) != ino for it in places)

    def _base_now(self, place: Name) -> int | None:
        row = self.tx.sql.one("SELECT base FROM dentry WHERE parent=? AND name=?", place)
        return None if row is None else row[0]

    def _bring_back(self, ino: int) -> None:
        """New bytes against our delete: the file lives."""
        if ino in self.gone or ino in self.became or self.shown_at(ino) or self.kind(ino) is Kind.DIRECTORY:
            return
        parent, name = self.names_of(ino)[0]
        self.place(parent, name, ino)
        if ino in self.became:
            return
        self.meet("delete", parent, name, b"", "changed by one and deleted by the other; it was kept")

    def _forget_times(self) -> None:
        """Directories in which the commit did all that we did, as when many machines delete what is over: what is
        left of ours are the times of doing it, and a commit of these would tell nobody anything."""
        records = {self.find(it.id): it for it in self.commit.inodes if it.kind is Kind.DIRECTORY}
        for directory in {parent for parent, _ in self._also_ours}:
            row, record = self.tx.inode(directory), records.get(directory)
            if row is None or row.id is None or row.pending != PENDING_ATTRIBUTES or record is None:
                continue
            ours = self.tx.sql.one(
                "SELECT 1 FROM dentry WHERE parent=?1 AND pending!=0 "
                "UNION ALL SELECT 1 FROM changed_field WHERE ino=?1 LIMIT 1",
                (directory,),
            )
            if ours is None:
                self.tx.sql.execute(
                    "UPDATE inode SET mtime_ns=?, ctime_ns=?, pending=0, change=change+1 WHERE ino=?",
                    (record.mtime_ns, record.ctime_ns, directory),
                )
                self.tx.record(ChangeKind.ATTRIBUTES, directory)

    # ---- conflicts ----

    def _write_conflicts(self) -> None:
        rows: list[tuple[str, int | None, bytes, bytes, str, int | None, int]] = [
            (it.kind, self.find(it.parent), it.name, it.kept_as, it.detail, self.commit.sequence, self.tx.now_ns)
            for it in self.commit.conflicts
        ]
        rows += [(*it, None, self.tx.now_ns) for it in self.met]
        self.tx.sql.executemany(
            "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns) VALUES(?,?,?,?,?,?,?)",
            [row for row in rows if row[1] is not None],
        )
