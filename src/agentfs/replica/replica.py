"""A replica: the database, the backing files and the sessions of one volume on this machine.

    <directory>/replica.db      SQLite (schema.sql)
    <directory>/files/          backing files
    <directory>/reserve         room for a full disk (reserve.py)
    <directory>/engine.lock     held (flock) by the process that pushes and pulls
    <directory>/sessions/       one file for each process that has it open, locked (flock) by it
    <directory>/engine.sock     where the engine listens

Several processes may have it open. Each writes through one connection under one lock; SQLite's own lock keeps
processes apart, so transactions are short. **Lock order:** `Replica.lock`, then SQLite's. No store call and no call
to another process is made while either is held.

What survives. When `transaction()` returns, its change survives `kill -9` of every process here; with
`durable=True` it survives a power cut, together with all transactions before it. The order of a power cut: a backing
file is synced before the row that vouches for it is made durable. Bytes that were *pulled* are not synced: after
a restart of the machine every clean backing file is suspect and is checked by digest before its next use.
"""

import contextlib
import logging
import os
from dataclasses import dataclass
from typing import Any, cast

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, ConfigInvalid, NoSpace, ReplicaDamaged
from agentfs.model.records import ROOT_ID, Kind
from agentfs.replica.backing import BackingFiles, make_directory, sync_directory, translate
from agentfs.replica.database import Connection, create_or_check, translated
from agentfs.replica.detached import file_digest, settle_detached
from agentfs.replica.journal import ChangeKind, JournalRow
from agentfs.replica.lock_file import LockFile
from agentfs.replica.power_cut import PowerCut, take_stock
from agentfs.replica.reserve import Reserve
from agentfs.replica.sessions import UNKNOWN, boot_id, is_alive, lock_path, process_stamp
from agentfs.replica.transaction import (
    PENDING_CONTENT,
    RESIDENCY_LOCAL,
    RESIDENCY_REMOTE,
    RESIDENCY_SUSPECT,
    ROOT,
    ContentRow,
    Door,
    InodeRow,
    Transaction,
    inode_row,
)

_LOG = logging.getLogger(__name__)

__all__ = ["ROOT", "PendingFacts", "Replica"]


@dataclass(frozen=True, slots=True)
class PendingFacts:
    """What is not yet in the log."""

    inodes: int
    dentries: int
    size_bytes: int
    """Of files whose content is pending."""
    oldest_at_ns: int | None
    """When the oldest of these changes was made; None when nothing is pending."""


class Replica:
    """Use as a context manager, or call `close`."""

    def __init__(self, directory: str, *, connection: Connection, session: int, clock: Clock) -> None:
        self.door = Door(connection, clock)
        self.door.session = session
        self.directory = directory
        self.clock = clock
        self.lock = self.door.lock
        self.connection = connection
        self.files = BackingFiles(os.path.join(directory, "files"))
        self.reserve = Reserve(directory)
        self.changed = self.door.changed
        """Called, under the lock, after each transaction of this process."""
        self._names_synced = False
        self._session_lock: LockFile | None = None

    @property
    def session(self) -> int:
        """This process's number in `session`; 0 when closed."""
        return self.door.session

    @classmethod
    def open(
        cls,
        directory: str,
        *,
        volume_kind: str,
        volume_id: str,
        session_kind: str,
        clock: Clock,
        mountpoint: bytes | None = None,
    ) -> "Replica":
        """Open the replica in `directory`, made if it is not there, and recover what dead processes left.

        Raises `ReplicaDamaged` (also when it is another volume's), `NewerFormat`, and `NoSpace` when the disk is full
        and the reserve is used up. `ConfigInvalid`: it cannot be made there.
        """
        try:
            make_directory(os.path.join(directory, "sessions"))
        except (NotADirectoryError, FileNotFoundError, PermissionError) as error:
            raise ConfigInvalid(
                f"{error.filename} cannot be made ({error.strerror}): set state_dir to a directory that is yours"
            ) from None
        reserve = Reserve(directory)
        replica = reserve.lend(
            lambda: cls._open(
                directory,
                volume_kind=volume_kind,
                volume_id=volume_id,
                session_kind=session_kind,
                clock=clock,
                mountpoint=mountpoint,
            )
        )
        reserve.fill()
        return replica

    @classmethod
    def _open(
        cls,
        directory: str,
        *,
        volume_kind: str,
        volume_id: str,
        session_kind: str,
        clock: Clock,
        mountpoint: bytes | None,
    ) -> "Replica":
        connection = Connection(os.path.join(directory, "replica.db"))
        replica = None
        try:
            create_or_check(connection)
            replica = cls(directory, connection=connection, session=0, clock=clock)
            replica.files.prepare()
            replica._settle_identity(volume_kind, volume_id)
            replica._recover(session_kind, mountpoint)
        except BaseException:
            if replica is not None and replica._session_lock is not None:
                replica._session_lock.release()
            connection.close()
            raise
        return replica

    # ---- state ----

    def state(self, key: str) -> Any:
        """A single fact; None when it was never set."""
        with self.lock, translated(self.connection.path):
            row = self.connection.one("SELECT value FROM state WHERE key=?", (key,))
        return None if row is None else row[0]

    def set_state(self, key: str, value: int | str | bytes | None) -> None:
        with self.transaction() as tx:
            tx.sql.execute("INSERT OR REPLACE INTO state VALUES(?,?)", (key, value))

    # ---- changing ----

    def transaction(self, *, session: int | None = None, durable: bool = False) -> Transaction:
        """One atomic change, as a context manager. Leaving the block commits; an exception rolls everything back.

        Not to be nested. `session` says whose change it is (0: pulled from the log; default: this process's).
        On return it survives `kill -9`; with `durable` a power cut, with all before it.
        """
        door = self.door
        return Transaction(door, session=door.session if session is None else session, durable=durable)

    def sync(self) -> None:
        """Make every transaction so far survive a power cut. Takes no lock: nobody waits for the disk but the caller.

        A descriptor of our own syncs what SQLite wrote through its: the `-wal` holds every transaction that is not
        yet in the database, and a checkpoint syncs both before it lets the `-wal` start over.
        """
        path = self.connection.path + "-wal"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)  # SQLite's locks are on the other two files: this drops none
            if not self._names_synced:
                sync_directory(self.directory)
                self._names_synced = True
        except FileNotFoundError:
            return  # all of it is in the database, which SQLite synced
        except OSError as error:
            raise translate(error, path) from error

    # ---- reading ----

    def inode(self, ino: int) -> InodeRow | None:
        with self.lock, translated(self.connection.path):
            row = self.connection.one("SELECT * FROM inode WHERE ino=?", (ino,))
        return None if row is None else inode_row(row)

    def child(self, parent: int, name: bytes) -> InodeRow | None:
        """The inode that `name` in `parent` means here."""
        with self.lock, translated(self.connection.path):
            row = self.connection.one(
                "SELECT inode.* FROM dentry JOIN inode USING(ino) WHERE dentry.parent=? AND dentry.name=?",
                (parent, name),
            )
        return None if row is None else inode_row(row)

    def content(self, ino: int) -> ContentRow | None:
        with self.lock, translated(self.connection.path):
            row = self.connection.one("SELECT * FROM content WHERE ino=?", (ino,))
        return None if row is None else ContentRow._make(row)

    def parent_of(self, ino: int) -> int | None:
        """A directory that shows `ino`; None when nothing does. The root is its own parent."""
        if ino == ROOT:
            return ROOT
        with self.lock, translated(self.connection.path):
            row = self.connection.one("SELECT parent FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (ino,))
        return None if row is None else cast(int, row[0])

    def path_of(self, ino: int) -> bytes | None:
        """One path of `ino` from the root, without a leading slash; None when it is not in the tree."""
        parts: list[bytes] = []
        with self.lock, translated(self.connection.path):
            while ino != ROOT:
                row = self.connection.one(
                    "SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (ino,)
                )
                if row is None:
                    return None
                ino, name = cast(tuple[int, bytes], row)
                parts.append(name)
        return b"/".join(reversed(parts))

    def journal_after(self, last: int, *, limit: int = 10_000) -> list[JournalRow]:
        """Changes after journal row `last`, oldest first."""
        with self.lock, translated(self.connection.path):
            rows = self.connection.rows("SELECT * FROM journal WHERE id>? ORDER BY id LIMIT ?", (last, limit))
        return [JournalRow(row[0], row[1], ChangeKind(row[2]), *row[3:]) for row in rows]

    def journal_after_by_others(self, last: int, *, session: int, limit: int) -> list[JournalRow]:
        """As `journal_after`, without the changes of `session`."""
        with self.lock, translated(self.connection.path):
            rows = self.connection.rows(
                "SELECT * FROM journal WHERE id>? AND session!=? ORDER BY id LIMIT ?", (last, session, limit)
            )
        return [JournalRow(row[0], row[1], ChangeKind(row[2]), *row[3:]) for row in rows]

    def journal_end(self) -> int:
        """The number of the newest journal row ever written."""
        with self.lock, translated(self.connection.path):
            row = self.connection.one("SELECT seq FROM sqlite_sequence WHERE name='journal'")
        return 0 if row is None else cast(int, row[0])

    def pending(self) -> PendingFacts:
        with self.lock, translated(self.connection.path):
            inodes = self.connection.one(
                "SELECT count(*), min(pending_at_ns), sum(CASE WHEN pending & ? THEN size_bytes ELSE 0 END) "
                "FROM inode WHERE pending != 0 AND nlink > 0",
                (PENDING_CONTENT,),
            )
            dentries = self.connection.one("SELECT count(*), min(pending_at_ns) FROM dentry WHERE pending != 0")
        assert inodes is not None and dentries is not None
        times = [time for time in (inodes[1], dentries[1]) if time is not None]
        return PendingFacts(inodes[0], dentries[0], inodes[2] or 0, min(times, default=None))

    # ---- opening and closing ----

    def _settle_identity(self, volume_kind: str, volume_id: str) -> None:
        """Give a new replica its identity and its root; refuse another volume's replica."""
        with self.transaction() as tx:
            row = tx.sql.one("SELECT value FROM state WHERE key='volume_id'")
            if row is None:
                facts: dict[str, int | str | bytes] = {
                    "volume_kind": volume_kind,
                    "volume_id": volume_id,
                    "replica_id": os.urandom(16).hex(),
                    "boot_id": boot_id(),
                    "head_sequence": 0,
                    "head_digest": bytes(32),
                    "head_time_ns": 0,
                }
                tx.sql.executemany("INSERT INTO state VALUES(?,?)", facts.items())
                tx.sql.execute(
                    "INSERT INTO inode(ino,id,kind,mode,uid,gid,nlink,atime_ns,mtime_ns,ctime_ns,birth_ns) "
                    "VALUES(?1,?2,?3,?4,?5,?6,2,?7,?7,?7,?7)",
                    (ROOT, ROOT_ID, int(Kind.DIRECTORY), 0o755, os.geteuid(), os.getegid(), tx.now_ns),
                )
                return
        if (self.state("volume_kind"), row[0]) != (volume_kind, volume_id):
            raise ReplicaDamaged(
                f"{self.directory} is the replica of {self.state('volume_kind')} {row[0]}, not of "
                f"{volume_kind} {volume_id}: give another state directory"
            )

    def _recover(self, session_kind: str, mountpoint: bytes | None) -> None:
        """Enter this process, and clean up after those that died. See `docs/consistency.md`."""
        stamp = process_stamp(os.getpid()) or UNKNOWN
        with self.transaction() as tx:
            sessions = tx.sql.rows("SELECT id, pid, started FROM session")
            dead = [row[0] for row in sessions if not is_alive(row[1], row[2], lock=self._lock_path(row[0]))]
            alone = len(dead) == len(sessions)
            restarted = (
                alone and tx.sql.one("SELECT 1 FROM state WHERE key='boot_id' AND value=?", (boot_id(),)) is None
            )
            marked: set[int] = set()
            for session in dead:
                marked.update(row[0] for row in tx.sql.rows("SELECT ino FROM write_open WHERE session=?", (session,)))
                tx.sql.execute("DELETE FROM write_open WHERE session=?", (session,))
                tx.sql.execute("DELETE FROM session WHERE id=?", (session,))
            if restarted:
                cut = self._recover_restarted(tx, frozenset(marked))
            else:
                cut = PowerCut()
                for ino in marked:
                    self._recover_written(tx, ino)
            row = tx.sql.one(
                "INSERT INTO session(pid,started,kind,mountpoint,opened_at_ns) VALUES(?,?,?,?,?) RETURNING id",
                (os.getpid(), stamp, session_kind, mountpoint, tx.now_ns),
            )
            assert row is not None
            self._session_lock = _lock_session(self._lock_path(row[0]))
            if alone:  # inside: nobody else can enter meanwhile, and stage something
                self.files.clear_staging()
                if dead:
                    self._remove_strays(tx)
            purged = self._recover_unlinked(tx) if alone else []
        self.door.session = cast(int, row[0])
        for session in dead:
            with contextlib.suppress(OSError):
                os.unlink(self._lock_path(session))
        for ino in (*purged, *cut.stale):
            self.files.remove(ino)
        for ino in cut.empty:
            os.close(self.files.create(ino))

    def _lock_path(self, session: int) -> str:
        return lock_path(self.directory, session)

    def _recover_restarted(self, tx: Transaction, marked: frozenset[int]) -> PowerCut:
        """The machine was started anew, perhaps after a power cut: of what was not synced anything may be missing."""
        cut = take_stock(tx, self.files, marked=marked, agent=_agent(tx))
        tx.sql.execute(
            "UPDATE inode SET residency=? WHERE residency=? AND kind=1 AND NOT pending & ? AND NOT local",
            (RESIDENCY_SUSPECT, RESIDENCY_LOCAL, PENDING_CONTENT),
        )
        tx.sql.execute("INSERT OR REPLACE INTO state VALUES('boot_id', ?)", (boot_id(),))
        return cut

    def _remove_strays(self, tx: Transaction) -> None:
        """Remove backing files that no inode has: of a create that was not committed, or of an unlink that was.
        Nothing else would ever free their room, as numbers are not used twice. Only after a crash: it reads all
        names."""
        known = {
            row[0]
            for row in tx.sql.rows(
                "SELECT ino FROM inode WHERE kind=1 AND (residency!=? OR pending & ?)",
                (RESIDENCY_REMOTE, PENDING_CONTENT),
            )
        }
        for ino in list(self.files.numbers()):
            if ino not in known:
                self.files.remove(ino)

    def _recover_unlinked(self, tx: Transaction) -> list[int]:
        """Settle and purge what nothing names any more. Returns the inodes whose backing files are to go."""
        for (ino,) in tx.sql.rows("SELECT ino FROM detached"):
            digest = file_digest(self.files, ino)
            settle_detached(tx, ino, digest=digest, agent=_agent(tx))
        return [row[0] for row in tx.sql.rows("SELECT ino FROM inode WHERE nlink=0") if tx.purge(row[0])]

    def _recover_written(self, tx: Transaction, ino: int) -> None:
        """A process died while it may have been writing `ino`: what the backing file holds now is the content."""
        inode, facts = tx.inode(ino), self.files.stat(ino)
        if inode is None or facts is None:
            return
        known = (facts.st_size, facts.st_mtime_ns) == (inode.size_bytes, inode.mtime_ns)
        if not known or not inode.pending & PENDING_CONTENT:
            tx.content_written(
                ino,
                size_bytes=facts.st_size,
                mtime_ns=facts.st_mtime_ns,
                ctime_ns=max(inode.ctime_ns, facts.st_ctime_ns),
            )

    def close(self) -> None:
        """Leave. Repeating it is harmless. What is still marked as being written is taken in as after a crash; where
        a full disk prevents that, by the next process that opens the replica."""
        with self.lock:
            if self.session:
                try:
                    with contextlib.suppress(NoSpace):
                        self.reserve.lend(self._leave)
                finally:
                    if self._session_lock is not None:
                        with contextlib.suppress(OSError):
                            os.unlink(self._lock_path(self.session))
                        self._session_lock.release()
                    self.door.session = 0
                    self.connection.close()

    def _leave(self) -> None:
        with self.transaction() as tx:
            for (ino,) in tx.sql.rows("SELECT ino FROM write_open WHERE session=?", (self.session,)):
                self._recover_written(tx, ino)
            tx.sql.execute("DELETE FROM write_open WHERE session=?", (self.session,))
            tx.sql.execute("DELETE FROM session WHERE id=?", (self.session,))

    def __enter__(self) -> "Replica":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lock_session(path: str) -> LockFile | None:
    """Lock a new session's file. None where that cannot be: the session is then told by its process alone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a session of that number before the database was restored from a backup
    try:
        return LockFile.acquire(path)
    except (AgentFSError, OSError) as error:
        _LOG.warning("%s cannot be locked: %s", path, error)
        return None


def _agent(tx: Transaction) -> str:
    """Who conflict copies made by a recovery are named after."""
    row = tx.sql.one("SELECT value FROM state WHERE key='volume_id'")
    return str(row[0]) if row else "local"
