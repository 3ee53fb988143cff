"""SQLite databases on the volume are committed as SQLite sees them, never copied in the middle of a transaction.

- Open through a mount: copied with SQLite's backup API *through the mount path*, because the locks of the
  application live on the mount's inode; the backing file is another inode and knows none of them. Not more often
  than every few seconds, and never for more than a twentieth of the time.
- Not open, with a `-wal` or `-journal` beside it that holds something (its program was killed): the set is copied
  to a scratch directory under its own names, recovered there by SQLite, and that is committed. The set on the
  volume stays as it is.
- Otherwise the file is its bytes.

`-wal`, `-shm` and `-journal` themselves stay on this machine. A database is looked at again only when the sizes or
times of the file or its `-wal` changed.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import apsw

from agentfs.errors import Unavailable
from agentfs.replica.transaction import PENDING_CONTENT, InodeRow
from agentfs.sync.contents import Taken, Torn, take_from
from agentfs.sync.ground import EngineGround

HEADER = b"SQLite format 3\0"
_BYTES_MIN = 512
_PAGES_AT_ONCE = 4096
_REST_S = 3.0
_SUFFIXES = (b"-wal", b"-journal")


@dataclass(slots=True)
class Databases:
    ground: EngineGround
    live: frozenset[int] = frozenset()
    """Databases open for writing that were captured with their locks respected."""
    _not_before: dict[int, float] = field(default_factory=dict)
    _stamps: dict[int, str] = field(default_factory=dict)
    """What each was captured at, until its commit stands."""

    def is_capturable(self, ino: int) -> bool:
        """Whether `ino`, which is open for writing, is a database that can be copied under its own locks."""
        if self.ground.clock.monotonic() < self._not_before.get(ino, 0.0):
            return False
        return self.ground.mountpoint() is not None and _has_header(self.ground.replica.files.path(ino))

    def take(self, row: InodeRow, *, known: bytes) -> Taken | None:
        """The bytes of `row` if it is a database that needs care; None: its plain bytes will do.

        Raises `Torn` when it is busy, `Unavailable` when it cannot be read as a database.
        """
        replica = self.ground.replica
        path = replica.files.path(row.ino)
        if row.size_bytes < _BYTES_MIN or not _has_header(path):
            return None
        with replica.lock:
            is_open = replica.connection.one("SELECT 1 FROM write_open WHERE ino=?", (row.ino,)) is not None
        siblings = self._siblings(row.ino)
        if not is_open and not siblings:
            return None
        stamp = self.stamp(row.ino)
        directory = tempfile.mkdtemp(dir=os.path.join(replica.directory, "files", "staging"))
        try:
            copy = os.path.join(directory, "copy")
            if is_open:
                started = self.ground.clock.monotonic()
                self._back_up(self._mount_path(row.ino), copy)
                now = self.ground.clock.monotonic()
                self._not_before[row.ino] = now + max(_REST_S, 20 * (now - started))
                self.live |= {row.ino}
            else:
                self._recover(row.ino, siblings, directory, copy)
            fd = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(fd).st_size
                taken = take_from(
                    fd,
                    row._replace(size_bytes=size),
                    known=known,
                    put_all=self.ground.put_all,
                )
            finally:
                os.close(fd)
        except apsw.NotADBError:
            return None  # only looks like one
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        self._stamps[row.ino] = stamp
        return taken

    def captured(self, inos: Iterable[int]) -> None:
        """Their commit stands: remember what was captured."""
        rows = [(ino, self._stamps.pop(ino)) for ino in inos if ino in self._stamps]
        self.live = frozenset()
        if not rows:
            return
        with self.ground.replica.transaction(session=0) as tx:
            tx.sql.executemany(
                "INSERT OR REPLACE INTO live_database VALUES(?,?,?)", [(*row, tx.now_ns) for row in rows]
            )

    def look(self) -> bool:
        """Mark databases pending that changed in their `-wal` only. Returns whether any did."""
        replica = self.ground.replica
        with replica.lock:
            known = dict(
                cast("list[tuple[int, str]]", replica.connection.rows("SELECT ino, stamp FROM live_database"))
            )
            inos = {
                row[0]
                for row in replica.connection.rows(
                    "SELECT i.ino FROM write_open JOIN inode i USING(ino) "
                    "WHERE local=0 AND nlink>0 AND size_bytes>=512 "
                    "UNION SELECT i.ino FROM live_database JOIN inode i USING(ino) WHERE local=0 AND nlink>0"
                )
            }
        marked = False
        for ino in inos:
            stamp = self.stamp(ino)
            if stamp != known.get(ino) and self._siblings(ino) and _has_header(replica.files.path(ino)):
                marked = self._mark(ino) or marked
        return marked

    def _mark(self, ino: int) -> bool:
        replica = self.ground.replica
        with replica.transaction() as tx:
            row, facts = tx.inode(ino), replica.files.stat(ino)
            if row is None or facts is None or row.local or not row.nlink or row.pending & PENDING_CONTENT:
                return False
            tx.content_written(
                ino, size_bytes=facts.st_size, mtime_ns=max(row.mtime_ns, facts.st_mtime_ns), ctime_ns=tx.now_ns
            )
        return True

    def stamp(self, ino: int) -> str:
        """Changes whenever the database does."""
        replica = self.ground.replica
        inos = [ino, *(it for _, it in self._siblings(ino))]
        facts = (replica.files.stat(it) for it in inos)
        return " ".join(f"{it.st_size}:{it.st_mtime_ns}" for it in facts if it is not None)

    def _siblings(self, ino: int) -> list[tuple[bytes, int]]:
        """The `-wal` and `-journal` beside a database that hold something: suffix and inode."""
        replica = self.ground.replica
        with replica.lock:
            place = replica.connection.one("SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL", (ino,))
        if place is None:
            return []
        found = []
        for suffix in _SUFFIXES:
            beside = replica.child(place[0], place[1] + suffix)
            facts = replica.files.stat(beside.ino) if beside is not None else None
            if beside is not None and facts is not None and facts.st_size > 0:
                found.append((suffix, beside.ino))
        return found

    def _mount_path(self, ino: int) -> bytes:
        mountpoint, path = self.ground.mountpoint(), self.ground.replica.path_of(ino)
        if mountpoint is None or path is None:
            raise Torn  # open without a mount (the SDK): its last close is waited for
        return os.path.join(os.fsencode(mountpoint), path)

    def _back_up(self, path: bytes, copy: str) -> None:
        try:
            source = apsw.Connection(os.fsdecode(path), flags=apsw.SQLITE_OPEN_READWRITE)
            source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # to look must not change anything
        except apsw.Error as error:
            raise Unavailable(f"{os.fsdecode(path)} cannot be read as a database: {error}") from error
        try:
            _copy(source, copy)
        except apsw.NotADBError:
            raise
        except (apsw.BusyError, apsw.LockedError) as error:
            raise Torn from error
        except apsw.Error as error:
            raise Unavailable(f"{os.fsdecode(path)} cannot be read as a database: {error}") from error
        finally:
            source.close()

    def _recover(self, ino: int, siblings: list[tuple[bytes, int]], directory: str, copy: str) -> None:
        files = self.ground.replica.files
        main = os.path.join(directory, "main")
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(files.path(ino), main)
            for suffix, beside in siblings:
                shutil.copyfile(files.path(beside), main + suffix.decode())
        try:
            source = apsw.Connection(main)
            try:
                _copy(source, copy)
            finally:
                source.close()
        except apsw.NotADBError:
            raise
        except apsw.Error as error:
            raise Unavailable(f"a database cannot be recovered from what its program left: {error}") from error


def _copy(source: apsw.Connection, path: str) -> None:
    target = apsw.Connection(path)
    try:
        source.set_busy_timeout(0)
        with target.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(_PAGES_AT_ONCE)
    finally:
        target.close()


def _has_header(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(HEADER)) == HEADER
    except FileNotFoundError:
        return False
