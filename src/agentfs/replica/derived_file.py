"""A database beside the replica's that is derived from something else: its connections, its version, and its loss,
which costs nothing but time. What is damaged, or of another version, is dropped and begun anew."""

import contextlib
import importlib.resources
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from agentfs.errors import ReplicaDamaged, Unavailable
from agentfs.replica.database import Connection, translated

_CHECKPOINT_PAGES = 4000

Facts = Mapping[str, int | str]
"""Of the table `state`."""


class DerivedFile:
    """Safe from any thread. The file is made at the first use; `close` ends it.

    Two connections: a question never waits for what is being written, nor what is written for a long question."""

    def __init__(self, path: str, *, what: str, schema: str, of: Facts, start: Facts, cache_kib: int) -> None:
        """`what` it is, for messages. `schema`: the package whose `schema.sql` makes it, with a table `state` of keys
        and values. A file whose state is not `of` is of another version; a new one has `start` as well."""
        self.path = path
        self.write_lock = threading.RLock()
        """Held while anything changes. Taken before every other lock."""
        self._what = what
        self._schema = schema
        self._of = of
        self._start = start
        self._cache_kib = cache_kib
        self._read_lock = threading.RLock()
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._closed = False
        self._damaged = False
        self.generation = 0
        """Grows when everything is forgotten."""

    def _open(self) -> tuple[Connection, Connection]:
        """Both connections; what is damaged or of another version is dropped. Raises `NoSpace`."""
        with self.write_lock, self._read_lock:
            if self._closed:
                raise Unavailable("this process is closing the home")
            if self._damaged:
                self.drop()
                self._damaged = False
            if self._writer is None or self._reader is None:
                try:
                    self._writer = self._opened()
                except ReplicaDamaged:
                    self._remove()
                    self._writer = self._opened()
                self._reader = Connection(self.path, read_only=True)
            return self._writer, self._reader

    def _opened(self) -> Connection:
        connection = Connection(self.path)
        try:
            with translated(self.path):
                connection.execute(f"PRAGMA cache_size=-{self._cache_kib}")
                connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                if connection.one("SELECT 1 FROM sqlite_schema WHERE name='state'") is None:
                    self._create(connection)
                known: dict[str, int | str] = dict(connection.rows("SELECT key, value FROM state"))
            if any(known.get(key) != value for key, value in self._of.items()):
                raise ReplicaDamaged(f"{self._what} is of another version")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: Connection) -> None:
        schema = importlib.resources.files(self._schema).joinpath("schema.sql").read_text("utf-8")
        connection.execute("BEGIN IMMEDIATE")
        for _ in connection.execute(schema):
            pass
        connection.executemany("INSERT INTO state VALUES(?,?)", {**self._start, **self._of}.items())
        connection.execute("COMMIT")

    def _remove(self) -> None:
        self.generation += 1
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + suffix)

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept here."""
        return self._writer is not None or os.path.exists(self.path)

    def drop(self) -> None:
        """Forget everything: the next use starts from nothing."""
        with self.write_lock, self._read_lock:
            self._leave()
            self._remove()

    def close(self) -> None:
        """Repeating it is harmless."""
        with self.write_lock, self._read_lock:
            self._closed = True
            self._leave()

    def _leave(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    @property
    def size_bytes(self) -> int:
        """On disk."""
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                size += os.path.getsize(self.path + suffix)
        return size

    @contextmanager
    def reading(self, *, opens: bool = True) -> Iterator[Connection]:
        """A connection whose statements all see one state. Not to be nested.

        Without `opens` it takes no write lock, and raises `Unavailable` where it would have to open the file."""
        if opens and (self._reader is None or self._damaged):
            self._open()
        with self._healing(), self._read_lock, translated(self.path):
            sql = self._reader
            if sql is None:  # it was dropped in this moment
                raise Unavailable(f"{self._what} is being made anew: try again")
            sql.execute("BEGIN")
            try:
                yield sql
            finally:
                sql.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction. Raises `NoSpace`; nothing is changed then."""
        with self._healing(), self.write_lock, translated(self.path):
            sql, _ = self._open()
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            except BaseException:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")
                raise

    @contextmanager
    def _healing(self) -> Iterator[None]:
        """What is damaged is made anew at the next use."""
        try:
            yield
        except ReplicaDamaged as error:
            self._damaged = True
            raise Unavailable(f"{self._what} is made anew, try again: {error}") from error
