"""Files as the index wants to see them: what a replica shows, read beside everybody else.

A connection of its own that only reads: no writer of this machine ever waits for it, and it waits for none. What is
read here marks nothing: no access time, no use, no hydration.

Which files may be documents: regular files that have a name and are not local (what is ignored never leaves this
machine, and a search must find the same on every machine), and whose path `skipped` does not match. A file with
several such names is the document of the first of them in the order of their bytes, on every machine the same.
"""

import json
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from agentfs.errors import Unavailable
from agentfs.model.ignore import IgnorePatterns
from agentfs.model.records import Kind
from agentfs.replica.database import Connection, Row, translated
from agentfs.replica.journal import ChangeKind, JournalRow
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import PENDING_CONTENT, RESIDENCY_LOCAL, RESIDENCY_REMOTE, ROOT, ContentRow

FACTS = b"user.agentfs."
"""Extended attributes that say something about a document."""
SKIPPED = (b".git/", b".hg/", b".svn/", b".jj/")
"""What is kept and synced but is no text for people: what version control writes."""

_FILE = int(Kind.FILE)
_FILES = (
    "WITH RECURSIVE below(ino, path) AS ("
    "SELECT d.ino, d.name FROM dentry d WHERE d.parent=?1 AND d.ino IS NOT NULL AND d.local=0 UNION ALL "
    "SELECT d.ino, CAST(b.path || CAST('/' AS BLOB) || d.name AS BLOB) FROM below b "
    "JOIN dentry d ON d.parent=b.ino WHERE d.ino IS NOT NULL AND d.local=0) "
    "SELECT b.ino, b.path, i.change, i.content_change, i.mtime_ns FROM below b JOIN inode i ON i.ino=b.ino "
    f"WHERE i.kind={_FILE} AND i.local=0"
)
_SOURCE = (
    "SELECT kind, local, nlink, change, content_change, size_bytes, mtime_ns, ctime_ns, residency, pending, "
    "EXISTS (SELECT 1 FROM write_open w WHERE w.ino=inode.ino) FROM inode WHERE ino=?"
)
_COMMITTED = (
    "SELECT i.ino, i.id, c.digest, i.change FROM inode i JOIN content c ON c.ino=i.ino "
    f"WHERE i.kind={_FILE} AND i.id IS NOT NULL AND i.pending & {PENDING_CONTENT} = 0"
)
_FACTS = "SELECT ino, name, value FROM xattr WHERE name > ? AND name < ?"
_BITS = (
    "CASE WHEN coalesce(?3, uid)=?1 THEN mode >> 6 "
    "WHEN coalesce(?4, gid) IN (SELECT value FROM json_each(?2)) THEN mode >> 3 ELSE mode END"
)
_BARRED = (
    f"SELECT ino, kind FROM inode WHERE (kind={_FILE} AND NOT ({_BITS}) & 4) "
    f"OR (kind={int(Kind.DIRECTORY)} AND NOT ({_BITS}) & 1)"
)
_FILES_BELOW = (
    "WITH RECURSIVE below(ino) AS (SELECT value FROM json_each(?) UNION "
    "SELECT d.ino FROM below b JOIN dentry d ON d.parent=b.ino WHERE d.ino IS NOT NULL) "
    f"SELECT i.ino, i.nlink FROM below b JOIN inode i ON i.ino=b.ino WHERE i.kind={_FILE}"
)
_NAMES = "SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL AND local=0"
_DEPTH_MAX = 4096
"""Names above each other. More is a damaged database that goes round in circles."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a listing."""

    ino: int
    path: bytes
    change: int
    """Grows with every change of the file."""
    content_change: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A file whose content is what the log has."""

    listed: Listed
    id: int
    """In the log."""
    digest: bytes
    facts: dict[bytes, bytes]
    """Extended attributes that are facts."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file, as it stood in one moment."""

    ino: int
    path: bytes
    """From the root, without a slash in front."""
    names: int
    """How many names it has."""
    change: int
    """Grows with every change of the file, of its attributes too."""
    content_change: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    """When anything of it changed here last, its names and times too."""
    here: bool
    """The backing file holds the bytes, as far as anybody knows."""
    trusted: bool
    """They need no check against `content` first."""
    written: bool
    """A program has it open for writing."""
    content: ContentRow | None
    """What the log has; only where it is this version's."""
    committed: bool
    """The log has a version of it."""
    xattrs: dict[bytes, bytes]


class Sources:
    """Safe from any thread. Opened at the first use; `close` ends it."""

    def __init__(self, replica: Replica, *, skipped: tuple[str, ...] = ()) -> None:
        """`skipped`: patterns (`model.ignore`) of what is no document, besides `SKIPPED`."""
        self.files = replica.files
        self._path = replica.connection.path
        self._skipped = IgnorePatterns((*SKIPPED, *(os.fsencode(it) for it in skipped)))
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

    # ---- the journal ----

    def journal_span(self) -> tuple[int, int]:
        """The oldest journal row that is there (the number after the newest, if none is), and the newest ever
        written."""
        with self._reading() as sql:
            end = sql.one("SELECT seq FROM sqlite_sequence WHERE name='journal'")
            first = sql.one("SELECT min(id) FROM journal")
        newest = int(end[0]) if end else 0
        oldest = first[0] if first is not None and first[0] is not None else newest + 1
        return int(oldest), newest

    def changes(self, after: int, limit: int) -> list[JournalRow]:
        """Journal rows after `after`, oldest first."""
        with self._reading() as sql:
            rows = sql.rows("SELECT * FROM journal WHERE id>? ORDER BY id LIMIT ?", (after, limit))
        return [JournalRow(row[0], row[1], ChangeKind(row[2]), *row[3:]) for row in rows]

    def state(self, key: str) -> Any:
        """A single fact of the replica."""
        with self._reading() as sql:
            row = sql.one("SELECT value FROM state WHERE key=?", (key,))
        return None if row is None else row[0]

    # ---- files ----

    def listing(self, directory: int = ROOT) -> list[Listed]:
        """Every file below a directory that may be a document. Empty when it is not (or no longer) in the tree."""
        with self._reading() as sql:
            above = self._first_path(sql, directory)
            if above is None:
                return []
            rows = sql.rows(_FILES, (directory,))
        prefix = above + b"/" if above else b""
        found: dict[int, Listed] = {}
        for ino, path, *of in rows:
            known = found.get(ino)
            whole = prefix + bytes(path)
            if (known is None or whole < known.path) and not self._skipped.matches_path(whole, directory=False):
                found[ino] = Listed(ino, whole, *of)
        return list(found.values())

    def files_below(self, directory: int) -> list[int]:
        """Every file below a directory, whether it may be a document or not."""
        with self._reading() as sql:
            return [row[0] for row in sql.rows(_FILES_BELOW, (json.dumps([directory]),))]

    def committed(self) -> list[Committed]:
        """Every file that may be a document and whose content here is what the log has."""
        listed = {it.ino: it for it in self.listing()}
        with self._reading() as sql:
            rows = sql.rows(_COMMITTED)
            facts: dict[int, dict[bytes, bytes]] = {}
            for ino, name, value in sql.rows(_FACTS, (FACTS, FACTS + b"\xff")):
                facts.setdefault(ino, {})[bytes(name)] = bytes(value)
        return [
            Committed(it, number, bytes(digest), facts.get(ino, {}))
            for ino, number, digest, change in rows
            if (it := listed.get(ino)) is not None and it.change == change
        ]

    def source(self, ino: int) -> Source | None:
        """A file that may be a document; None: it may not, or it is gone."""
        with self._reading() as sql:
            row = sql.one(_SOURCE, (ino,))
            if row is None or row[0] != _FILE or row[1] or row[2] <= 0:
                return None
            path = self._first_path(sql, ino)
            if path is None or self._skipped.matches_path(path, directory=False):
                return None
            content = sql.one("SELECT * FROM content WHERE ino=?", (ino,))
            xattrs = {bytes(name): bytes(value) for name, value in sql.rows(
                "SELECT name, value FROM xattr WHERE ino=?", (ino,)
            )}  # fmt: skip
        _, _, nlink, change, content_change, size_bytes, mtime_ns, ctime_ns, residency, pending, written = row
        changed = bool(pending & PENDING_CONTENT)
        return Source(
            ino=ino,
            path=path,
            names=nlink,
            change=change,
            content_change=content_change,
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            ctime_ns=ctime_ns,
            here=residency != RESIDENCY_REMOTE or changed,
            trusted=residency == RESIDENCY_LOCAL or changed,
            written=bool(written),
            content=ContentRow._make(content) if content is not None and not changed else None,
            committed=content is not None,
            xattrs=xattrs,
        )

    def directories_among(self, inos: Iterable[int]) -> set[int]:
        """Those that are directories."""
        with self._reading() as sql:
            return {ino for ino in inos if sql.one("SELECT 1 FROM inode WHERE ino=? AND kind=2", (ino,)) is not None}

    def read(self, source: Source, bytes_max: int) -> bytes | None:
        """The bytes of the backing file, at most so many; None when there is none."""
        try:
            fd = self.files.open(source.ino, write=False)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            return file.read(bytes_max)

    def names_of(self, ino: int) -> list[tuple[int, bytes]]:
        """The names of a file: directory and name."""
        with self._reading() as sql:
            rows = sql.rows(_NAMES, (ino,))
        return [(row[0], bytes(row[1])) for row in rows]

    # ---- who may read ----

    def permissions(self, ino: int) -> tuple[int, int, int] | None:
        """Mode, owner and group; None when it is gone."""
        with self._reading() as sql:
            row = sql.one("SELECT mode, uid, gid FROM inode WHERE ino=? AND nlink>0", (ino,))
        return cast("tuple[int, int, int] | None", row)

    def barred(
        self, *, uid: int, gids: Collection[int], owner: tuple[int, int] | None = None
    ) -> tuple[list[int], list[int]]:
        """By the modes along their paths (`memory.access`), for this user: files that may not be read, and files with
        several names, of which the one or the other path leads through a directory that may not be entered."""
        with self._reading() as sql:
            rows = sql.rows(_BARRED, (uid, json.dumps(list(gids)), *(owner or (None, None))))
            files = [ino for ino, kind in rows if kind == _FILE]
            directories = [ino for ino, kind in rows if kind != _FILE]
            below = sql.rows(_FILES_BELOW, (json.dumps(directories),)) if directories else []
        return files + [ino for ino, nlink in below if nlink == 1], [ino for ino, nlink in below if nlink != 1]

    def first_parents(self, ino: int) -> list[int] | None:
        """The directories above the first name of a file, the nearest first and the root last; None when it is not
        in the tree."""
        with self._reading() as sql:
            found = self._first_name(sql, ino)
            if found is None:
                return None
            return found[1]

    # ---- inside ----

    def _first_path(self, sql: Connection, ino: int) -> bytes | None:
        found = self._first_name(sql, ino)
        return None if found is None else found[0]

    def _first_name(self, sql: Connection, ino: int) -> tuple[bytes, list[int]] | None:
        """The first of the paths of an inode in the order of bytes, and the directories above it, nearest first. One
        that is skipped comes after all others."""
        if ino == ROOT:
            return b"", []
        found = []
        for parent, name in sql.rows(_NAMES, (ino,)):
            above = self._above(sql, parent)
            if above is not None:
                found.append((b"/".join((*above[0], bytes(name))), above[1]))
        if len(found) < 2:
            return found[0] if found else None
        return min(found, key=lambda it: (self._skipped.matches_path(it[0], directory=False), it[0]))

    @staticmethod
    def _above(sql: Connection, directory: int) -> tuple[list[bytes], list[int]] | None:
        """The names that lead to a directory, and the directories from it to the root; None when it is not in the
        tree. A directory has one name."""
        names: list[bytes] = []
        inos = [directory]
        while directory != ROOT:
            row: Row | None = sql.one(
                "SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (directory,)
            )
            if row is None or len(inos) > _DEPTH_MAX:
                return None
            directory = row[0]
            names.append(bytes(row[1]))
            inos.append(directory)
        return names[::-1], inos

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
