"""Opening the replica's database: pragmas, schema, migrations. SQL values only; no meaning.

Durability. WAL with `synchronous=NORMAL`: a committed transaction survives `kill -9` (it is in the page cache of
the WAL file), not a power cut. `Connection.durable()` makes the next commit, and with it all before it, survive
a power cut as well: `synchronous=FULL` syncs the whole WAL at commit.
Checkpoints need an fsync and are therefore the engine's work (`checkpoint`); the others only checkpoint when the
engine has been away for so long that the WAL reached `_WAL_PAGES_MAX`.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, cast

import apsw

from agentfs.errors import AgentFSError, NewerFormat, NoSpace, ReplicaDamaged
from agentfs.replica.upgrade import additions

SCHEMA_VERSION = 2
_PAGE_BYTES = 1024
"""A change touches a few rows on as many pages, and each goes to the WAL whole, with a checksum: a create costs 27 µs
with pages of 1 KiB, 35 with 2 KiB and 45 with 4 KiB (docs/decisions/0020)."""
_WAL_PAGES_MAX = 200_000
_BUSY_SECONDS_MAX = 20.0

SQLITE_VERSION_MIN = (3, 51, 3)
"""Versions 3.7.0 to 3.51.2 can corrupt a WAL database that several connections write to and checkpoint."""

Row = tuple[Any, ...]


def _busy(_connection: apsw.Connection) -> Callable[[int], bool]:
    """Wait for another process's transaction. Ours are short (under a millisecond), so look again soon:
    SQLite's own handler sleeps up to 100 ms."""
    started = 0.0

    def handler(tries: int) -> bool:
        nonlocal started
        now = time.monotonic()
        if tries == 0:
            started = now
        if now - started > _BUSY_SECONDS_MAX:
            return False
        time.sleep(0.00005 if tries < 20 else 0.001)
        return True

    return handler


class Connection:
    """One SQLite connection. Safe to share between threads only under the owner's lock."""

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        _check_version()
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        with translated(path):
            self._connection = apsw.Connection(path, flags=flags, statementcachesize=300)
            self._connection.set_busy_handler(_busy(self._connection))
            if not read_only:
                self._connection.pragma("page_size", _PAGE_BYTES)  # means nothing where the database exists
                self._connection.pragma("journal_mode", "wal")
            self._connection.pragma("synchronous", "normal")
            self._connection.pragma("wal_autocheckpoint", _WAL_PAGES_MAX)
            self._connection.pragma("cache_size", -65536)
            self._connection.pragma("temp_store", "memory")
        self.path = path
        self.execute = cast(Callable[..., Iterable[Row]], self._connection.execute)
        self.changes = self._connection.changes
        self.total_changes = self._connection.total_changes
        """Run SQL with bindings; iterate over the rows. Raises `apsw.Error`: wrap in `translated`."""

    def one(self, sql: str, bindings: Row = ()) -> Row | None:
        """The first row, or None."""
        return cast("Row | None", self._connection.execute(sql, bindings).fetchone())

    def rows(self, sql: str, bindings: Row = ()) -> list[Row]:
        return cast(list[Row], self._connection.execute(sql, bindings).fetchall())

    def executemany(self, sql: str, rows: Iterable[Row]) -> None:
        self._connection.executemany(sql, rows)

    @property
    def in_transaction(self) -> bool:
        return bool(self._connection.in_transaction)

    @contextmanager
    def durable(self) -> Iterator[None]:
        """Transactions committed inside survive a power cut, with all before them."""
        self._connection.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous=NORMAL")

    def checkpoint(self) -> tuple[int, int]:
        """Move what can be moved from the WAL into the database without waiting for anybody: pages in the WAL,
        pages moved."""
        with translated(self.path):
            total, moved = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        return int(total), int(moved)

    def backup_to(self, path: str) -> None:
        """A consistent copy of the whole database at `path`."""
        target = apsw.Connection(path)
        try:
            with target.backup("main", self._connection, "main") as backup:
                while not backup.done:
                    backup.step(1000)
        finally:
            target.close()

    def close(self) -> None:
        self._connection.close()


def _check_version() -> None:
    """Raises `AgentFSError` when the SQLite that apsw was built with is one that damages databases."""
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_VERSION_MIN:
        needed = ".".join(map(str, SQLITE_VERSION_MIN))
        raise AgentFSError(
            f"SQLite {version} can corrupt the replica (WAL-reset bug); {needed} is needed: install apsw from PyPI, "
            "which brings its own"
        )


class translated:  # noqa: N801 - reads as a verb: `with translated(path)`
    """Turn SQLite's errors into ours. A class, because a generator's context costs a microsecond more."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, apsw.Error):
            raise translate(error, self._path) from error


def translate(error: apsw.Error, path: str) -> AgentFSError:
    """An error of SQLite, in our words."""
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and _disk_is_full(path)):
        return NoSpace(f"the disk that holds {path} is full: free some space")
    if isinstance(error, apsw.IOError):
        return ReplicaDamaged(f"{path} cannot be read or written: {error}")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return ReplicaDamaged(f"{path} is damaged ({error}): run agentfs fsck --repair")
    if isinstance(error, apsw.CantOpenError):
        return ReplicaDamaged(f"{path} cannot be opened: check that the directory exists and is writable")
    return AgentFSError(f"the replica's database refused an operation: {error}")


def _disk_is_full(path: str) -> bool:
    facts = os.statvfs(os.path.dirname(path))
    return facts.f_bavail * facts.f_frsize < 1 << 20


def create_or_check(connection: Connection) -> bool:
    """Create the schema in an empty database; check the version of an existing one, and bring an earlier one up to
    date. Returns whether it was new.

    Raises `NewerFormat` when a newer AgentFS made it. The whole schema and its version enter in one transaction.
    """
    with translated(connection.path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            new = connection.one("SELECT 1 FROM sqlite_schema WHERE name='state'") is None
            if new:
                for _ in connection.execute(_schema()):
                    pass
                connection.execute("INSERT INTO state VALUES ('schema_version', ?)", (SCHEMA_VERSION,))
            else:
                _bring_up(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return new


def _schema() -> str:
    import importlib.resources  # noqa: PLC0415 - only where one is made

    return importlib.resources.files("agentfs.replica").joinpath("schema.sql").read_text("utf-8")


def _bring_up(connection: Connection) -> None:
    row = connection.one("SELECT value FROM state WHERE key='schema_version'")
    version = row[0] if row else None
    if not isinstance(version, int) or version < 1:
        raise ReplicaDamaged(f"{connection.path} has no schema version: run agentfs fsck --repair")
    if version > SCHEMA_VERSION:
        raise NewerFormat(f"{connection.path} was written by a newer AgentFS (schema {version}): upgrade agentfs")
    if version < SCHEMA_VERSION:
        for statement in list(additions(connection.rows, _schema())):
            connection.execute(statement)
        connection.execute("UPDATE state SET value=? WHERE key='schema_version'", (SCHEMA_VERSION,))
