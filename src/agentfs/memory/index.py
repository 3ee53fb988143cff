"""The index of search and recall: SQLite beside the replica's database, written by the engine's process only.

    <replica's directory>/memory.db

Derived from the files: what is damaged or of another version is dropped, and `position` is 0 again, which tells the
worker to start anew. Each change is one transaction, together with the journal's position up to which it is true.
A database of its own, so that no write of the replica ever waits for it.
"""

import contextlib
import importlib.resources
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from agentfs.errors import ReplicaDamaged, Unavailable
from agentfs.memory import words
from agentfs.memory.documents import Document
from agentfs.memory.embedding import Vectors
from agentfs.memory.facts import Facts
from agentfs.memory.passages import Passage
from agentfs.memory.tokens import TokenCounter
from agentfs.replica.database import Connection, Row, translated

SCHEMA_VERSION = 1
_CACHE_KIB = 32 * 1024
_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0)
"""Of the columns of `words`: author, date, place, tags, text."""


def index_path(directory: str) -> str:
    """Where the index of the replica in `directory` is."""
    return os.path.join(directory, "memory.db")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it is to be indexed."""

    ino: int
    path: bytes
    """From the volume's root, without a slash before or behind."""
    version: bytes
    """SHA-256 of the bytes."""
    mtime_ns: int
    document: Document
    looked: "Looked | None" = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What a file was when it was looked at."""

    change: int
    """Of the replica's inode."""
    stamp: str
    """What its document was made of: equal while that is the same."""
    path: bytes | None = None
    """Under which it is indexed; None: it holds no text."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What may be found."""

    path: bytes = b""
    """This file, or what is below this directory; empty: everything."""
    tags: tuple[str, ...] = ()
    """Documents that have all of these, whatever the case."""
    since_ns: int | None = None
    """Passages whose date is this or later."""
    now_ns: int = 0
    """What is expired then is not there."""
    readable: Callable[[int], bool] | None = None
    """By inode number."""


ALL = Filters()


@dataclass(frozen=True, slots=True)
class Hit:
    passage_id: int
    score: float
    """Higher is better."""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    id: int
    ino: int
    path: bytes
    version: bytes
    mtime_ns: int
    kind: str
    extracted: bool
    facts: Facts

    @property
    def date_ns(self) -> int:
        """When it was created, else when the file was last changed."""
        return self.facts.created_ns if self.facts.created_ns is not None else self.mtime_ns


@dataclass(frozen=True, slots=True)
class PassageRow:
    id: int
    document: DocumentRow
    ordinal: int
    """In its document, from 0."""
    passage: Passage
    tokens: int

    @property
    def date_ns(self) -> int:
        """When it was said, else the document's date."""
        return self.passage.said_ns if self.passage.said_ns is not None else self.document.date_ns


@dataclass(frozen=True, slots=True)
class Stats:
    documents: int
    passages: int
    vectors: int
    tokens: int
    size_bytes: int
    """On disk."""
    embedder: str
    position: int


class Index:
    """Safe from any thread. The file is made at the first use; `close` ends it."""

    def __init__(self, directory: str, *, counter: TokenCounter) -> None:
        self.path = index_path(directory)
        self.counter = counter
        self._write_lock = threading.RLock()
        """Taken before `_read_lock` where both are."""
        self._read_lock = threading.RLock()
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._closed = False
        self._damaged = False

    # ---- opening ----

    def _open(self) -> tuple[Connection, Connection]:
        """Both connections; an index that is damaged or of another version is dropped. Raises `NoSpace`."""
        with self._write_lock, self._read_lock:
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
                connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
                connection.execute("PRAGMA wal_autocheckpoint=4000")
                if connection.one("SELECT 1 FROM sqlite_schema WHERE name='state'") is None:
                    self._create(connection)
                known = dict(connection.rows("SELECT key, value FROM state"))
            if known.get("schema_version") != SCHEMA_VERSION or known.get("counter") != self.counter.name:
                raise ReplicaDamaged("the index of search is of another version")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: Connection) -> None:
        schema = importlib.resources.files("agentfs.memory").joinpath("schema.sql").read_text("utf-8")
        connection.execute("BEGIN IMMEDIATE")
        for _ in connection.execute(schema):
            pass
        facts = {"schema_version": SCHEMA_VERSION, "counter": self.counter.name, "position": 0, "embedder": ""}
        connection.executemany("INSERT INTO state VALUES(?,?)", facts.items())
        connection.execute("COMMIT")

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + suffix)

    def drop(self) -> None:
        """Forget everything: the next use starts from nothing, at position 0."""
        with self._write_lock, self._read_lock:
            self._leave()
            self._remove()

    def close(self) -> None:
        """Repeating it is harmless."""
        with self._write_lock, self._read_lock:
            self._closed = True
            self._leave()

    def _leave(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._reader is None or self._damaged:
            self._open()
        with self._healing(), self._read_lock, translated(self.path):
            sql = self._reader
            if sql is None:  # it was dropped in this moment
                raise Unavailable("the index of search is being made anew: try again")
            sql.execute("BEGIN")
            try:
                yield sql
            finally:
                sql.execute("ROLLBACK")

    @contextmanager
    def _writing(self, position: int | None) -> Iterator[Connection]:
        with self._healing(), self._write_lock, translated(self.path):
            sql, _ = self._open()
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                if position is not None:
                    sql.execute("UPDATE state SET value=? WHERE key='position'", (position,))
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
            raise Unavailable(f"the index of search is made anew, try again: {error}") from error

    # ---- state ----

    @property
    def position(self) -> int:
        """The journal's id up to which the index is true; 0: it is empty, or was dropped."""
        with self._reading() as sql:
            return int(_state(sql, "position"))

    @position.setter
    def position(self, position: int) -> None:
        with self._writing(position):
            pass

    def fact(self, key: str) -> int | str | None:
        """What `set_facts` stored; None in an index that was dropped since."""
        with self._reading() as sql:
            row = sql.one("SELECT value FROM state WHERE key=?", (key,))
        return None if row is None else row[0]

    def set_facts(self, facts: Mapping[str, int | str]) -> None:
        with self._writing(None) as sql:
            sql.executemany("INSERT OR REPLACE INTO state VALUES(?,?)", facts.items())

    # ---- what was looked at ----

    def looked(self, ino: int) -> Looked | None:
        with self._reading() as sql:
            row = sql.one(f"{_LOOKED} WHERE f.ino=?", (ino,))
        return None if row is None else Looked(*row[1:])

    def all_looked(self) -> dict[int, Looked]:
        """By inode number."""
        with self._reading() as sql:
            return {row[0]: Looked(*row[1:]) for row in sql.rows(_LOOKED)}

    def set_looked(self, files: Iterable[tuple[int, Looked]]) -> None:
        """Remember what these files are now, whose documents (or their lack) stay as they are."""
        with self._writing(None) as sql:
            _set_looked(sql, files)

    # ---- changing ----

    def put(self, entries: Iterable[Entry], *, position: int | None = None) -> None:
        """Index documents in place of what their inodes had, in one transaction.

        A passage whose text did not change keeps its vector. With `position` the index is true up to there."""
        with self._writing(position) as sql:
            for entry in entries:
                kept = _vectors_by_text(sql, entry.ino)
                _delete(sql, entry.ino)
                self._insert(sql, entry, kept)
                if entry.looked is not None:
                    _set_looked(sql, [(entry.ino, entry.looked)])

    def _insert(self, sql: Connection, entry: Entry, vectors: dict[str, bytes]) -> None:
        facts = entry.document.facts
        row = sql.one(
            "INSERT INTO document(ino,path,version,mtime_ns,kind,extracted,title,importance,expires_ns,type,"
            "created_ns,pinned) VALUES(?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id",
            (
                entry.ino, entry.path, entry.version, entry.mtime_ns, entry.document.kind, entry.document.extracted,
                facts.title, facts.importance, facts.expires_ns, facts.type, facts.created_ns, facts.pinned,
            ),
        )  # fmt: skip
        assert row is not None
        document = int(row[0])
        for place, tag in enumerate(facts.tags):
            sql.execute("INSERT INTO tag VALUES(?,?,?,?)", (document, place, tag, tag.casefold()))
        for place, target in enumerate(facts.links):
            sql.execute("INSERT INTO link VALUES(?,?,?)", (document, place, target))
        passages = entry.document.passages
        counts = self.counter.counts([it.text for it in passages])
        for ordinal, (it, tokens) in enumerate(zip(passages, counts, strict=True)):
            made = sql.one(
                "INSERT INTO passage(document,ordinal,first_line,last_line,start,end,text,headings,author,said_ns,"
                "tokens) VALUES(?,?,?,?,?,?,?,?,?,?,?) RETURNING id",
                (
                    document, ordinal, it.first_line, it.last_line, it.start, it.end, it.text,
                    "\n".join(it.headings), it.author, it.said_ns, tokens,
                ),
            )  # fmt: skip
            assert made is not None
            if it.text in vectors:
                sql.execute("INSERT INTO vector VALUES(?,?)", (made[0], vectors[it.text]))
            _add_words(sql, int(made[0]), entry.path, facts, it)

    def moved(self, ino: int, path: bytes, *, position: int | None = None) -> None:
        """The file of `ino` has another name. No effect when it is not indexed."""
        with self._writing(position) as sql:
            row = sql.one("SELECT id FROM document WHERE ino=?", (ino,))
            if row is not None:
                _move(sql, int(row[0]), path)

    def moved_below(self, old: bytes, new: bytes, *, position: int | None = None) -> None:
        """The directory `old` is called `new` now, with all that is in it."""
        with self._writing(position) as sql:
            inside = sql.rows("SELECT id, path FROM document WHERE path >= ? AND path < ?", _below(old))
            for document, path in inside:
                _move(sql, document, new + path[len(old) :])

    def remove(self, inos: Iterable[int], *, position: int | None = None) -> None:
        """Forget documents, and that their files were looked at; those that are not indexed are passed over."""
        with self._writing(position) as sql:
            for ino in inos:
                _delete(sql, ino)

    # ---- vectors ----

    def use_embedder(self, name: str) -> None:
        """Vectors are of this embedder from now on; those of another are forgotten."""
        with self._reading() as sql:
            known = _state(sql, "embedder")
        if known != name:
            with self._writing(None) as sql:
                sql.execute("DELETE FROM vector")
                sql.execute("UPDATE state SET value=? WHERE key='embedder'", (name,))

    def vectorless(self, limit: int) -> list[tuple[int, str]]:
        """Passages (their ids, and what is to be embedded) that have no vector yet; the newest first."""
        with self._reading() as sql:
            rows = sql.rows(
                "SELECT id, text FROM passage WHERE id NOT IN (SELECT passage FROM vector) ORDER BY id DESC LIMIT ?",
                (limit,),
            )
        return [(int(row[0]), str(row[1])) for row in rows]

    def put_vectors(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Give passages their vectors, each of length 1. Passages that are gone are passed over."""
        with self._writing(None) as sql:
            sql.executemany(
                "INSERT OR REPLACE INTO vector SELECT id, ? FROM passage WHERE id=?",
                ((row.astype("<f2").tobytes(), passage) for passage, row in zip(ids, vectors, strict=True)),
            )

    # ---- candidates ----

    def by_words(self, query: words.Query, filters: Filters = ALL, limit: int = 200) -> list[Hit]:
        """The passages that have most of the query's terms (BM25), best first; ties by path and line."""
        if not query.terms:
            return []
        where, bindings = _where(filters)
        with self._reading() as sql:
            rows = sql.execute(
                f"SELECT p.id, -bm25(words,{','.join(map(str, _WEIGHTS))}) AS score, d.ino FROM words "
                "JOIN passage p ON p.id=words.rowid JOIN document d ON d.id=p.document "
                f"WHERE words MATCH ? AND {where} ORDER BY score DESC, d.path, p.first_line, p.ordinal",
                (_match(query), *bindings),
            )
            return _hits(rows, filters, limit)

    def by_vector(self, vector: Vectors, filters: Filters = ALL, limit: int = 200) -> list[Hit]:
        """The passages whose vectors are nearest (cosine), best first; ties by path and line."""
        where, bindings = _where(filters)
        with self._reading() as sql:
            rows = sql.rows(
                "SELECT p.id, v.data, d.ino FROM vector v JOIN passage p ON p.id=v.passage "
                f"JOIN document d ON d.id=p.document WHERE {where} ORDER BY d.path, p.first_line, p.ordinal",
                bindings,
            )
        if not rows:
            return []
        matrix = np.frombuffer(b"".join(row[1] for row in rows), "<f2").reshape(len(rows), -1).astype(np.float32)
        scores = matrix @ vector
        order = np.argsort(-scores, kind="stable")
        return _hits(((rows[at][0], float(scores[at]), rows[at][2]) for at in order), filters, limit)

    # ---- reading ----

    def rows(self, ids: Sequence[int]) -> list[PassageRow]:
        """The passages with these ids, in that order; those that are gone are left out."""
        with self._reading() as sql:
            found = {row.id: row for row in _passages(sql, f"p.id IN ({','.join('?' * len(ids))})", tuple(ids))}
        return [found[it] for it in ids if it in found]

    def neighbours(self, passage_id: int, distance: int = 1) -> list[PassageRow]:
        """The passages of the same document at most so many places before and behind, without itself, in order."""
        with self._reading() as sql:
            at = sql.one("SELECT document, ordinal FROM passage WHERE id=?", (passage_id,))
            if at is None:
                return []
            found = _passages(
                sql,
                "p.document=? AND p.ordinal BETWEEN ? AND ? AND p.id<>? ORDER BY p.ordinal",
                (at[0], at[1] - distance, at[1] + distance, passage_id),
            )
        return found

    def passages(self, ino: int) -> list[PassageRow]:
        """All passages of a document, in order."""
        with self._reading() as sql:
            return _passages(sql, "d.ino=? ORDER BY p.ordinal", (ino,))

    def documents(self, filters: Filters = ALL) -> list[DocumentRow]:
        """By path."""
        where, bindings = _where(filters, passages=False)
        with self._reading() as sql:
            found = _documents(sql, f"{where} ORDER BY d.path", bindings)
        return [it for it in found if filters.readable is None or filters.readable(it.ino)]

    def document(self, ino: int) -> DocumentRow | None:
        with self._reading() as sql:
            found = _documents(sql, "d.ino=?", (ino,))
        return found[0] if found else None

    def tags(self, filters: Filters = ALL) -> list[tuple[str, int]]:
        """Each tag and how many documents have it, the most frequent first."""
        count: dict[str, int] = {}
        written: dict[str, str] = {}
        for it in self.documents(filters):
            for tag in it.facts.tags:
                written.setdefault(tag.casefold(), tag)
                count[tag.casefold()] = count.get(tag.casefold(), 0) + 1
        return sorted(((written[tag], many) for tag, many in count.items()), key=lambda it: (-it[1], it[0]))

    def expiring(self, before_ns: int) -> list[DocumentRow]:
        """Documents that expire before then, the earliest first."""
        with self._reading() as sql:
            return _documents(sql, "d.expires_ns < ? ORDER BY d.expires_ns, d.path", (before_ns,))

    def next_expiry(self) -> int | None:
        """When the first document expires (or has expired); None: none will."""
        with self._reading() as sql:
            row = sql.one("SELECT min(expires_ns) FROM document WHERE expires_ns IS NOT NULL")
        return None if row is None else row[0]

    def stats(self) -> Stats:
        with self._reading() as sql:
            row = sql.one(
                "SELECT (SELECT count(*) FROM document), (SELECT count(*) FROM passage), "
                "(SELECT count(*) FROM vector), (SELECT total(tokens) FROM passage)"
            )
            assert row is not None
            embedder, position = str(_state(sql, "embedder")), int(_state(sql, "position"))
        size = sum(os.path.getsize(self.path + it) for it in ("", "-wal") if os.path.exists(self.path + it))
        return Stats(int(row[0]), int(row[1]), int(row[2]), int(row[3]), size, embedder, position)


def _state(sql: Connection, key: str) -> int | str:
    row = sql.one("SELECT value FROM state WHERE key=?", (key,))
    if row is None:
        raise ReplicaDamaged("the index of search has no state")
    value: int | str = row[0]
    return value


def _below(directory: bytes) -> tuple[bytes, bytes]:
    """The range of paths inside a directory."""
    return directory + b"/", directory + b"0"  # 0 follows /


def _where(filters: Filters, *, passages: bool = True) -> tuple[str, Row]:
    wanted, bindings = ["(d.expires_ns IS NULL OR d.expires_ns > ?)"], [filters.now_ns]
    values: list[object] = [*bindings]
    if filters.path:
        wanted.append("(d.path = ? OR (d.path >= ? AND d.path < ?))")
        values += [filters.path, *_below(filters.path)]
    for tag in filters.tags:
        wanted.append("d.id IN (SELECT document FROM tag WHERE folded=?)")
        values.append(tag.removeprefix("#").casefold())
    if filters.since_ns is not None:
        dates = "p.said_ns, d.created_ns, d.mtime_ns" if passages else "d.created_ns, d.mtime_ns"
        wanted.append(f"coalesce({dates}) >= ?")
        values.append(filters.since_ns)
    return " AND ".join(wanted), tuple(values)


def _hits(rows: Iterable[Row], filters: Filters, limit: int) -> list[Hit]:
    found: list[Hit] = []
    for passage, score, ino in rows:
        if len(found) >= limit:
            break
        if filters.readable is None or filters.readable(ino):
            found.append(Hit(passage, score))
    return found


def _match(query: words.Query) -> str:
    return " OR ".join(f'"{term}"' for term in query.terms)


_LOOKED = "SELECT f.ino, f.change, f.stamp, d.path FROM file f LEFT JOIN document d ON d.ino=f.ino"
_DOCUMENT = (
    "d.id, d.ino, d.path, d.version, d.mtime_ns, d.kind, d.extracted, d.title, d.importance, d.expires_ns, d.type, "
    "d.created_ns, d.pinned"
)
_DOCUMENT_COLUMNS = 13


def _documents(sql: Connection, where: str, bindings: Row) -> list[DocumentRow]:
    return _with_facts(sql, sql.rows(f"SELECT {_DOCUMENT} FROM document d WHERE {where}", bindings))


def _with_facts(sql: Connection, rows: Sequence[Row]) -> list[DocumentRow]:
    found = []
    for row in rows:
        tags = sql.rows("SELECT tag FROM tag WHERE document=? ORDER BY place", (row[0],))
        links = sql.rows("SELECT target FROM link WHERE document=? ORDER BY place", (row[0],))
        facts = Facts(
            title=row[7], tags=tuple(it[0] for it in tags), importance=row[8], expires_ns=row[9], type=row[10],
            links=tuple(it[0] for it in links), created_ns=row[11], pinned=bool(row[12]),
        )  # fmt: skip
        found.append(DocumentRow(*row[:6], bool(row[6]), facts))
    return found


def _passages(sql: Connection, where: str, bindings: Row) -> list[PassageRow]:
    rows = sql.rows(
        "SELECT p.id, p.ordinal, p.first_line, p.last_line, p.start, p.end, p.text, p.headings, p.author, p.said_ns, "
        f"p.tokens, {_DOCUMENT} FROM passage p JOIN document d ON d.id=p.document WHERE {where}",
        bindings,
    )
    documents: dict[int, DocumentRow] = {}
    found = []
    for row in rows:
        of = documents.get(row[11])
        if of is None:
            of = documents[row[11]] = _with_facts(sql, [row[11:]])[0]
        headings = tuple(row[7].split("\n")) if row[7] else ()
        passage = Passage(*row[2:7], headings, row[8], row[9])
        found.append(PassageRow(row[0], of, row[1], passage, row[10]))
    return found


# ---- changing ----


def _vectors_by_text(sql: Connection, ino: int) -> dict[str, bytes]:
    rows = sql.rows(
        "SELECT p.text, v.data FROM document d JOIN passage p ON p.document=d.id JOIN vector v ON v.passage=p.id "
        "WHERE d.ino=?",
        (ino,),
    )
    return dict(rows)


def _set_looked(sql: Connection, files: Iterable[tuple[int, Looked]]) -> None:
    sql.executemany(
        "INSERT OR REPLACE INTO file VALUES(?,?,?)", ((ino, looked.change, looked.stamp) for ino, looked in files)
    )


def _delete(sql: Connection, ino: int) -> None:
    sql.execute("DELETE FROM file WHERE ino=?", (ino,))
    row = sql.one("SELECT id FROM document WHERE ino=?", (ino,))
    if row is None:
        return
    for table in ("words", "vector"):
        key = "rowid" if table == "words" else "passage"
        sql.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT id FROM passage WHERE document=?)", row)
    for table in ("passage", "tag", "link"):
        sql.execute(f"DELETE FROM {table} WHERE document=?", row)
    sql.execute("DELETE FROM document WHERE id=?", row)


def _move(sql: Connection, document: int, path: bytes) -> None:
    sql.execute("UPDATE document SET path=? WHERE id=?", (path, document))
    for it in _passages(sql, "p.document=?", (document,)):
        sql.execute("DELETE FROM words WHERE rowid=?", (it.id,))
        _add_words(sql, it.id, path, it.document.facts, it.passage)


def _add_words(sql: Connection, passage: int, path: bytes, facts: Facts, it: Passage) -> None:
    date = it.said_ns if it.said_ns is not None else facts.created_ns
    place = " ".join((facts.title, path.decode("utf-8", "replace"), *it.headings))
    columns = (it.author, _written(date), place, " ".join(facts.tags), it.text)
    sql.execute(
        "INSERT INTO words(rowid,author,date,place,tags,text) VALUES(?,?,?,?,?,?)",
        (passage, *(" ".join(words.terms(text)) for text in columns)),
    )


def _written(date_ns: int | None) -> str:
    """A date as people write it: `8 May 2023`; "" for what no calendar has."""
    if date_ns is None:
        return ""
    with contextlib.suppress(OverflowError, ValueError, OSError):
        date = datetime.fromtimestamp(date_ns // 1_000_000_000, UTC)
        return f"{date.day} {date:%B} {date.year}"
    return ""
