"""The log's tree as the replica has it at its head: which files there are, and under which names.

A connection of its own that only reads: no writer of this machine ever waits for it, and it waits for none. What this
machine has changed and not committed yet is not seen here.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentfs.errors import Unavailable
from agentfs.model.records import ROOT_ID, InodeId, Kind
from agentfs.replica.database import Connection, translated
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import ROOT, ContentRow

_FILE = int(Kind.FILE)
_DIRECTORY = int(Kind.DIRECTORY)
_NAMES = "SELECT parent, name FROM dentry WHERE {}"
_DEPTH_MAX = 4096
"""Names above each other. More is a damaged database that goes round in circles."""
_BELOW = (
    "WITH RECURSIVE below(ino) AS (SELECT base FROM dentry WHERE parent=?1 AND base IS NOT NULL UNION "
    "SELECT d.base FROM below b JOIN dentry d ON d.parent=b.ino WHERE d.base IS NOT NULL) "
    f"SELECT i.id FROM below b JOIN inode i ON i.ino=b.ino JOIN content c ON c.ino=i.ino WHERE i.kind={_FILE} "
    "AND i.id IS NOT NULL ORDER BY i.id"
)


@dataclass(frozen=True, slots=True)
class LogFile:
    """A regular file as the log has it at the replica's head."""

    file: InodeId
    ino: int
    """This machine's number."""
    birth_ns: int
    content: ContentRow
    paths: tuple[bytes, ...]
    """All its names, from the volume's root, in byte order; none: it has gone."""


class LogFiles:
    """Safe from any thread. Opened at the first use; `close` ends it."""

    def __init__(self, replica: Replica) -> None:
        self._backing = replica.files
        self._path = replica.connection.path
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._closed = False

    def close(self) -> None:
        """Repeating it is harmless."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # ---- files ----

    def head(self) -> int:
        """The sequence that all this is of."""
        with self._reading() as sql:
            row = sql.one("SELECT value FROM state WHERE key='head_sequence'")
        return 0 if row is None else int(row[0])

    def files(self, numbers: Iterable[InodeId]) -> dict[InodeId, LogFile]:
        """Those of them that the log has with a name, as they stand in one moment."""
        found = {}
        with self._reading() as sql:
            for number in numbers:
                file = self._file(sql, number)
                if file is not None:
                    found[number] = file
        return found

    def digest(self, number: InodeId) -> bytes | None:
        """Of the file's bytes; None: the log has no such file any more."""
        with self._reading() as sql:
            row = sql.one("SELECT c.digest FROM inode i JOIN content c ON c.ino=i.ino WHERE i.id=?", (number,))
        return None if row is None else bytes(row[0])

    def is_directory(self, number: InodeId) -> bool:
        with self._reading() as sql:
            return sql.one(f"SELECT 1 FROM inode WHERE id=? AND kind={_DIRECTORY}", (number,)) is not None

    def below(self, directory: InodeId = ROOT_ID) -> list[InodeId]:
        """Every file below a directory of the log; none when it has none of that number."""
        with self._reading() as sql:
            row = sql.one("SELECT ino FROM inode WHERE id=?", (directory,))
            return [] if row is None else [found[0] for found in sql.rows(_BELOW, (row[0],))]

    def files_at(self, paths: Iterable[bytes]) -> dict[bytes, LogFile]:
        """The regular files that the log has at these paths."""
        found = {}
        with self._reading() as sql:
            for path in paths:
                number = self._resolved(sql, path)
                file = None if number is None else self._file(sql, number)
                if file is not None and path in file.paths:
                    found[path] = file
        return found

    def has_place(self, path: bytes) -> bool:
        """Whether the log has a regular file at the path, or could have one: nothing else is in the way."""
        *above, _ = parts = path.split(b"/")
        ino = ROOT
        with self._reading() as sql:
            for at, name in enumerate(parts):
                row = sql.one(
                    "SELECT d.base, i.kind FROM dentry d JOIN inode i ON i.ino=d.base WHERE d.parent=? AND d.name=?",
                    (ino, name),
                )
                if row is None:
                    return True
                if row[1] != (_DIRECTORY if at < len(above) else _FILE):
                    return False
                ino = row[0]
        return True

    def path_of(self, parent: InodeId, name: bytes) -> bytes | None:
        """The path of `name` in a directory of the log, whether there is something or not; None: there is no such
        directory."""
        with self._reading() as sql:
            row = sql.one(f"SELECT ino FROM inode WHERE id=? AND kind={_DIRECTORY}", (parent,))
            above = None if row is None else self._above(sql, row[0])
        return None if above is None else b"/".join((*above, name))

    # ---- bytes ----

    def read(self, file: LogFile) -> bytes | None:
        """The bytes that this machine has, if they are exactly the log's."""
        try:
            fd = self._backing.open(file.ino, write=False)
        except FileNotFoundError:
            return None
        with open(fd, "rb", buffering=0) as opened:
            data = opened.read(file.content.size_bytes + 1)
        return data if data is not None and hashlib.sha256(data).digest() == file.content.digest else None

    # ---- inside ----

    def _file(self, sql: Connection, number: InodeId) -> LogFile | None:
        row = sql.one(f"SELECT ino, birth_ns FROM inode WHERE id=? AND kind={_FILE}", (number,))
        content = None if row is None else sql.one("SELECT * FROM content WHERE ino=?", (row[0],))
        if row is None or content is None:
            return None
        paths = []
        for parent, name in self._names(sql, row[0]):
            above = self._above(sql, parent)
            if above is not None:
                paths.append(b"/".join((*above, bytes(name))))
        return LogFile(number, row[0], row[1], ContentRow._make(content), tuple(sorted(paths))) if paths else None

    @staticmethod
    def _names(sql: Connection, ino: int) -> list[tuple[int, bytes]]:
        """The names that the log has for an inode. Two statements, for two indexes."""
        same = sql.rows(_NAMES.format("ino=?1 AND ino IS NOT NULL AND base=?1"), (ino,))
        other = sql.rows(_NAMES.format("base=?1 AND base IS NOT NULL AND base IS NOT ino"), (ino,))
        return [(row[0], row[1]) for row in (*same, *other)]

    def _above(self, sql: Connection, directory: int) -> list[bytes] | None:
        """The names that lead to a directory in the log; None: nothing does."""
        names: list[bytes] = []
        while directory != ROOT:
            found = self._names(sql, directory)
            if not found or len(names) > _DEPTH_MAX:
                return None
            directory = found[0][0]
            names.append(bytes(found[0][1]))
        return names[::-1]

    @staticmethod
    def _resolved(sql: Connection, path: bytes) -> InodeId | None:
        ino = ROOT
        for name in path.split(b"/"):
            row = sql.one("SELECT base FROM dentry WHERE parent=? AND name=?", (ino, name))
            if row is None or row[0] is None:
                return None
            ino = row[0]
        row = sql.one("SELECT id FROM inode WHERE ino=?", (ino,))
        return None if row is None else row[0]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection whose statements all see one moment. Not to be nested."""
        with self._lock, translated(self._path):
            if self._closed:
                raise Unavailable("this process is closing the home")
            if self._connection is None:
                self._connection = Connection(self._path, read_only=True)
            sql = self._connection
            sql.execute("BEGIN")
            try:
                yield sql
            finally:
                sql.execute("COMMIT")
