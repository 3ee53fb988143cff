"""The index of search and recall: SQLite beside the replica's database, written by the engine's process only.

    <replica's directory>/memory.db

Derived from the files: what is damaged or of another version is dropped, and `position` is 0 again, which tells the
worker to start anew. Each change is one transaction, together with the journal's position up to which it is true.
A database of its own, so that no write of the replica ever waits for it. What questions weigh stands in memory as
well (`memory.image`), from the first question on.
"""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from agentfs.errors import ReplicaDamaged
from agentfs.memory import words
from agentfs.memory.asking import Asking
from agentfs.memory.columns import columns_of
from agentfs.memory.embedding import Vectors
from agentfs.memory.image import COLUMNS, DocumentNow, Hit, Image, PassageNow, asks
from agentfs.memory.index_file import index_file, index_path
from agentfs.memory.rows import (
    LOOKED,
    DocumentRow,
    Entry,
    Filters,
    Looked,
    PassageRow,
    Stats,
    documents_in,
    documents_where,
    one_of,
    passages_where,
    where_of,
)
from agentfs.memory.tokens import TokenCounter, well_formed
from agentfs.replica.database import Connection

__all__ = ["ALL", "DocumentRow", "Entry", "Filters", "Hit", "Index", "Looked", "PassageRow", "Stats", "index_path"]

_Answer = TypeVar("_Answer")

ALL = Filters()
_STEADY_TRIES = 3
_STEADY_SECONDS = 0.5
_ROWS_KEPT = 30_000
"""Passages that were read, kept to be read again."""


class _Changes:
    """What one transaction does, for what stands in memory."""

    def __init__(self, sql: Connection) -> None:
        self.sql = sql
        self.documents: dict[int, DocumentNow | None] = {}
        """By id; None: it is gone."""
        self.passages: list[int] = []
        """Those that were deleted, or are to be read again."""
        self.vectors: dict[int, bytes] = {}
        self.everything = False


class Index:
    """Safe from any thread. The file is made at the first use; `close` ends it."""

    def __init__(self, directory: str, *, counter: TokenCounter) -> None:
        self.counter = counter
        self._file = index_file(directory, counter=counter.name)
        self._image: Image | None = None
        self._image_generation = 0
        self._image_lock = threading.RLock()
        """Taken after the file's write lock, where both are."""
        self._rows: dict[int, PassageRow] = {}
        self._rows_lock = threading.Lock()
        self._changed = 0
        """Grows with every change, so that nothing older is kept."""
        self._lost = 0
        """Grows when passages went that a question may have weighed."""
        self._losing = False
        """They go in this moment."""
        self._embedder = -1, ""
        """As of which generation of the file."""

    @property
    def path(self) -> str:
        return self._file.path

    def drop(self) -> None:
        """Forget everything: the next use starts from nothing, at position 0."""
        with self._file.write_lock:
            self._file.drop()
            self._forget()

    def close(self) -> None:
        """Repeating it is harmless."""
        self._file.close()

    def warm(self) -> None:
        """Read what questions weigh into memory now, so that the first does not wait for it (5 µs a passage)."""
        with self._imaged():
            pass

    def learn(self) -> bool:
        """Read a little more of what stands in memory ahead of questions (some milliseconds). Returns whether there
        is more."""
        with self._file.write_lock, self._imaged() as image, self._file.reading() as sql:
            return image.learn(sql, self.counter)

    # ---- what stands in memory ----

    @contextmanager
    def _imaged(self) -> Iterator[Image]:
        """What stands in memory, under its lock; read first where it is not there."""
        while True:
            with self._image_lock:
                image = self._image
                if image is not None and not image.worn and self._image_generation == self._file.generation:
                    yield image
                    return
            with self._file.write_lock, self._image_lock, self._file.reading() as sql:
                if self._image_generation != self._file.generation:  # ids begin anew
                    self._forget()
                self._image, self._image_generation = Image(sql), self._file.generation

    def _forget(self) -> None:
        with self._image_lock:
            self._image = None
        with self._rows_lock:
            self._rows.clear()
            self._changed += 1

    @contextmanager
    def _changing(self, position: int | None) -> Iterator[_Changes]:
        """One transaction, and after it what stands in memory."""
        with self._file.write_lock:
            try:
                with self._file.writing() as sql:
                    changes = _Changes(sql)
                    yield changes
                    if position is not None:
                        sql.execute("UPDATE state SET value=? WHERE key='position'", (position,))
                    self._losing = bool(changes.passages)
                try:
                    self._apply(changes)
                except BaseException:
                    self._forget()
                    raise
            finally:
                if self._losing:
                    self._lost, self._losing = self._lost + 1, False

    def steady(self, ask: Callable[[], _Answer]) -> _Answer:
        """What `ask` finds. It is asked again, twice at most, where passages that it may have weighed went before it
        had read them: a file that changes is there before and after, and would be missing."""
        for _ in range(_STEADY_TRIES - 1):
            lost = self._lost
            answer = ask()
            if lost == self._lost and not self._losing:
                return answer
            if self._file.write_lock.acquire(timeout=_STEADY_SECONDS):  # what goes has gone, and what comes is there
                self._file.write_lock.release()
        return ask()

    def _apply(self, changes: _Changes) -> None:
        if changes.everything or self._image_generation != self._file.generation:
            self._forget()
        with self._rows_lock:
            self._changed += 1
            for passage in changes.passages:
                self._rows.pop(passage, None)
        if self._image is None or not (changes.documents or changes.vectors):
            return
        with self._image_lock:
            for document, now in changes.documents.items():
                if now is None:
                    self._image.document_gone(document)
                else:
                    self._image.document_is(now)
            for passage, data in changes.vectors.items():
                self._image.vector(passage, data)

    # ---- state ----

    @property
    def position(self) -> int:
        """The journal's id up to which the index is true; 0: it is empty, or was dropped."""
        with self._file.reading() as sql:
            return int(_state(sql, "position"))

    @position.setter
    def position(self, position: int) -> None:
        with self._changing(position):
            pass

    def fact(self, key: str) -> int | str | None:
        """What `set_facts` stored; None in an index that was dropped since."""
        with self._file.reading() as sql:
            row = sql.one("SELECT value FROM state WHERE key=?", (key,))
        return None if row is None else row[0]

    def set_facts(self, facts: Mapping[str, int | str]) -> None:
        with self._file.writing() as sql:
            sql.executemany("INSERT OR REPLACE INTO state VALUES(?,?)", facts.items())

    # ---- what was looked at ----

    def looked(self, ino: int) -> Looked | None:
        with self._file.reading() as sql:
            row = sql.one(f"{LOOKED} WHERE f.ino=?", (ino,))
        return None if row is None else Looked(*row[1:])

    def all_looked(self) -> dict[int, Looked]:
        """By inode number."""
        with self._file.reading() as sql:
            return {row[0]: Looked(*row[1:]) for row in sql.rows(LOOKED)}

    def set_looked(self, files: Iterable[tuple[int, Looked]]) -> None:
        """Remember what these files are now, whose documents (or their lack) stay as they are."""
        with self._file.writing() as sql:
            _set_looked(sql, files)

    # ---- changing ----

    def put(self, entries: Iterable[Entry], *, gone: Iterable[int] = (), position: int | None = None) -> None:
        """Index documents in place of what their inodes had, and forget those of the inodes `gone` as `remove` does,
        in one transaction.

        A passage whose text did not change keeps its vector. With `position` the index is true up to there.
        Raises `NoSpace`, `Unavailable` when the index was found damaged: nothing of it is done then."""
        with self._changing(position) as changes:
            _remove(changes, gone)
            for entry in entries:
                known = changes.sql.one("SELECT id FROM document WHERE ino=?", (entry.ino,))
                kept = _vectors_by_text(changes.sql, known[0]) if known is not None else {}
                if known is not None:
                    _delete(changes, known[0])
                self._insert(changes, entry, kept)
                if entry.looked is not None:
                    _set_looked(changes.sql, [(entry.ino, entry.looked)])

    def _insert(self, changes: _Changes, entry: Entry, vectors: dict[str, bytes]) -> None:
        facts, sql = entry.document.facts, changes.sql
        row = sql.one(
            "INSERT INTO document(ino,path,version,mtime_ns,kind,extracted,title,importance,expires_ns,type,"
            "created_ns,pinned,superseded) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id",
            (
                entry.ino, entry.path, entry.version, entry.mtime_ns, entry.document.kind, entry.document.extracted,
                well_formed(facts.title), facts.importance, facts.expires_ns, well_formed(facts.type),
                facts.created_ns, facts.pinned, facts.superseded,
            ),
        )  # fmt: skip
        assert row is not None
        document = int(row[0])
        for place, tag in enumerate(map(well_formed, facts.tags)):
            sql.execute("INSERT INTO tag VALUES(?,?,?,?)", (document, place, tag, tag.casefold()))
        for place, target in enumerate(map(well_formed, facts.links)):
            sql.execute("INSERT INTO link VALUES(?,?,?)", (document, place, target))
        passages = entry.document.passages
        texts = [well_formed(it.text) for it in passages]
        now = DocumentNow(
            document, entry.ino, entry.path, facts.expires_ns, facts.importance, facts.pinned, facts.superseded,
            tuple(map(well_formed, facts.tags)), [],
        )  # fmt: skip
        for ordinal, (it, text, tokens) in enumerate(zip(passages, texts, self.counter.counts(texts), strict=True)):
            columns = columns_of(entry.path, facts, it)
            length, vector = sum(map(len, columns)), vectors.get(text)
            made = sql.one(
                "INSERT INTO passage(document,ordinal,first_line,last_line,start,end,text,headings,author,said_ns,"
                "tokens,length,vectored) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id",
                (
                    document, ordinal, it.first_line, it.last_line, it.start, it.end, text,
                    well_formed("\n".join(it.headings)), well_formed(it.author), it.said_ns, tokens,
                    length, vector is not None,
                ),
            )  # fmt: skip
            assert made is not None
            if vector is not None:
                sql.execute("INSERT INTO vector VALUES(?,?)", (made[0], vector))
            _add_words(sql, made[0], columns)
            if self._image is not None:  # it comes and goes under the write lock
                date_ns = _first(it.said_ns, facts.created_ns, entry.mtime_ns)
                now.passages.append(
                    PassageNow(
                        made[0], ordinal, date_ns, length, len(text), tokens, it.first_line, it.last_line,
                        well_formed(it.author), asks(it.author, text), _weighted(columns), vector,
                    )
                )  # fmt: skip
        changes.documents[document] = now

    def load(self, insert: Callable[[Connection], None]) -> None:
        """One transaction of somebody who knows the tables (`memory.carrying`). What is in them stays as it is."""
        with self._changing(None) as changes:
            insert(changes.sql)
            changes.everything = True

    def moved(self, files: Iterable[tuple[int, bytes]], *, position: int | None = None) -> None:
        """These inodes have other paths, in one transaction; those that are not indexed are passed over."""
        with self._changing(position) as changes:
            for ino, path in files:
                row = changes.sql.one("SELECT id FROM document WHERE ino=?", (ino,))
                if row is not None:
                    _move(changes, int(row[0]), path)

    def remove(self, inos: Iterable[int], *, position: int | None = None) -> None:
        """Forget documents, and that their files were looked at; those that are not indexed are passed over."""
        with self._changing(position) as changes:
            _remove(changes, inos)

    # ---- vectors ----

    def use_embedder(self, name: str) -> None:
        """Vectors are of this embedder from now on; those of another are forgotten, and words answer alone until
        `put_vectors` has given them anew."""
        with self._file.reading() as sql:
            known = _state(sql, "embedder")
        if known != name:
            with self._changing(None) as changes:
                if changes.sql.one("SELECT 1 FROM vector LIMIT 1") is not None:
                    changes.sql.execute("DELETE FROM vector")
                    changes.sql.execute("UPDATE passage SET vectored=0")
                    changes.everything = True
                changes.sql.execute("UPDATE state SET value=? WHERE key='embedder'", (name,))
            self._embedder = -1, ""

    @property
    def embedder(self) -> str:
        """The name of the embedder whose vectors are here; empty before the first."""
        generation, name = self._embedder
        if generation != self._file.generation:
            changed, generation = self._changed, self._file.generation
            with self._file.reading() as sql:
                name = str(_state(sql, "embedder"))
            with self._rows_lock:
                if changed == self._changed:
                    self._embedder = generation, name
        return name

    def vectorless(self, limit: int) -> list[tuple[int, str]]:
        """Passages (their ids, and what is to be embedded) that have no vector yet; the newest first."""
        with self._file.reading() as sql:
            rows = sql.rows("SELECT id, text FROM passage WHERE vectored=0 ORDER BY id DESC LIMIT ?", (limit,))
        return [(int(row[0]), str(row[1])) for row in rows]

    def put_vectors(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Give passages their vectors, each of length 1. Passages that are gone are passed over."""
        with self._changing(None) as changes:
            for passage, vector in zip(ids, vectors, strict=True):
                data = vector.astype("<f2").tobytes()
                if changes.sql.one("UPDATE passage SET vectored=1 WHERE id=? RETURNING id", (passage,)) is not None:
                    changes.sql.execute("INSERT OR REPLACE INTO vector VALUES(?,?)", (passage, data))
                    changes.vectors[passage] = data

    # ---- candidates ----

    def asked(self, query: words.Query, filters: Filters = ALL) -> Asking:
        """What stands in memory, for one question."""
        terms = query.terms
        with self._imaged() as image:
            documents, seen = None, image.seen(filters.hidden)
            if filters.path or filters.tags or image.lacks(terms):
                with self._file.reading(opens=False) as sql:
                    frequencies = image.frequencies(sql, terms, seen)
                    scores = image.scores_by_words(sql, terms, frequencies, seen)
                    documents = documents_in(sql, filters)
            else:
                frequencies = image.frequencies(None, terms, seen)
                scores = image.scores_by_words(None, terms, frequencies, seen)
            mask = image.allowed(now_ns=filters.now_ns, since_ns=filters.since_ns, documents=documents)
            return Asking(
                image,
                self._image_lock,
                filters=filters,
                mask=mask if seen is None else mask & seen,
                scores=scores,
                frequencies=frequencies,
                many=image.alive if seen is None else int(seen.sum()),
            )

    def by_words(self, query: words.Query, filters: Filters = ALL, limit: int = 200) -> list[Hit]:
        """The passages that have most of the query's terms (BM25), best first; ties by path and line."""
        asked = self.asked(query, filters)
        return asked.image.hits(*asked.by_words(limit))

    def by_vector(self, vector: Vectors, filters: Filters = ALL, limit: int = 200) -> list[Hit]:
        """The passages whose vectors are nearest (cosine), best first; ties by path and line."""
        asked = self.asked(words.Query(()), filters)
        return asked.image.hits(*asked.by_vector(vector, limit))

    # ---- reading ----

    def rows(self, ids: Sequence[int]) -> list[PassageRow]:
        """The passages with these ids, in that order; those that are gone are left out."""
        return [row for row in self.found(ids) if row is not None]

    def found(self, ids: Sequence[int]) -> list[PassageRow | None]:
        """The passages with these ids; None: it is gone."""
        with self._rows_lock:
            kept = list(map(self._rows.get, ids))
            changed = self._changed
        missing = list(dict.fromkeys(it for it, row in zip(ids, kept, strict=True) if row is None))
        if not missing:
            return kept
        found: dict[int, PassageRow] = {}
        with self._file.reading() as sql:
            for marks, some in one_of(missing):
                found.update((row.id, row) for row in passages_where(sql, f"p.id IN {marks}", some))
        with self._rows_lock:
            if changed == self._changed:
                if len(self._rows) > _ROWS_KEPT:
                    self._rows.clear()
                self._rows.update(found)
        return [found.get(it) if row is None else row for it, row in zip(ids, kept, strict=True)]

    def passages(self, ino: int) -> list[PassageRow]:
        """All passages of a document, in order."""
        with self._file.reading() as sql:
            return passages_where(sql, "d.ino=? ORDER BY p.ordinal", (ino,))

    def of_files(self, inos: Sequence[int]) -> tuple[list[tuple[int, Looked]], list[PassageRow], list[DocumentRow]]:
        """What is known of these files (500 at most), by inode; their passages, in order, and their documents."""
        marks, bindings = ",".join("?" * len(inos)), tuple(inos)
        with self._file.reading() as sql:
            looked = [(row[0], Looked(*row[1:])) for row in sql.rows(f"{LOOKED} WHERE f.ino IN ({marks})", bindings)]
            passages = passages_where(sql, f"d.ino IN ({marks}) ORDER BY p.document, p.ordinal", bindings)
            return looked, passages, documents_where(sql, f"d.ino IN ({marks})", bindings)

    def documents(self, filters: Filters = ALL) -> list[DocumentRow]:
        """By path."""
        where, bindings = where_of(filters)
        with self._file.reading() as sql:
            found = documents_where(sql, f"{where} ORDER BY d.path", bindings)
        return [it for it in found if filters.readable is None or filters.readable(it.ino)]

    def document(self, ino: int) -> DocumentRow | None:
        with self._file.reading() as sql:
            found = documents_where(sql, "d.ino=?", (ino,))
        return found[0] if found else None

    def linking(self, word: str, *, now_ns: int) -> list[tuple[int, bytes, str]]:
        """Inode, path and link of documents with a link that has `word` in it, whatever the case; by path."""
        pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        with self._file.reading() as sql:
            return sql.rows(
                "SELECT d.ino, d.path, l.target FROM link l JOIN document d ON d.id=l.document "
                "WHERE l.target LIKE ? ESCAPE '\\' AND (d.expires_ns IS NULL OR d.expires_ns > ?) "
                "ORDER BY d.path, l.place",
                (pattern, now_ns),
            )

    def named(self, *, now_ns: int) -> list[tuple[int, bytes]]:
        """Inode and path of every document, by path."""
        with self._file.reading() as sql:
            return sql.rows(
                "SELECT ino, path FROM document WHERE expires_ns IS NULL OR expires_ns > ? ORDER BY path", (now_ns,)
            )

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
        with self._file.reading() as sql:
            return documents_where(sql, "d.expires_ns < ? ORDER BY d.expires_ns, d.path", (before_ns,))

    def next_expiry(self, hidden: Collection[int] = ()) -> int | None:
        """When the first document expires (or has expired), but for those of these inodes; None: none will."""
        with self._file.reading() as sql:
            if hidden:
                rows = sql.rows("SELECT ino, expires_ns FROM document WHERE expires_ns IS NOT NULL")
                return min((expires_ns for ino, expires_ns in rows if ino not in hidden), default=None)
            row = sql.one("SELECT min(expires_ns) FROM document WHERE expires_ns IS NOT NULL")
        return None if row is None else row[0]

    def unread(self, endings: Collection[str], hidden: Collection[int] = ()) -> int:
        """How many files with these endings were looked at and gave no text, but for those of these inodes."""
        with self._file.reading() as sql:
            row = sql.one(_UNREAD, (json.dumps(list(endings)), json.dumps(list(hidden))))
        return 0 if row is None else int(row[0])

    def stats(self, hidden: Collection[int] = ()) -> Stats:
        """Of all documents but those of these inodes."""
        with self._file.reading() as sql:
            row = sql.one(_STATS, (json.dumps(list(hidden)),)) if hidden else sql.one(_STATS_OF_ALL)
            assert row is not None
            embedder, position = str(_state(sql, "embedder")), int(_state(sql, "position"))
        documents, passages, vectors, tokens = map(int, row)
        return Stats(documents, passages, vectors, tokens, self._file.size_bytes, embedder, position)


_UNREAD = (  # a stamp ends with a dot and the ending of the name
    "SELECT count(*) FROM file f WHERE EXISTS (SELECT 1 FROM json_each(?) e WHERE f.stamp LIKE '%.' || e.value) "
    "AND NOT EXISTS (SELECT 1 FROM document d WHERE d.ino=f.ino AND d.kind!='') "
    "AND f.ino NOT IN (SELECT value FROM json_each(?))"
)
_STATS_OF_ALL = (
    "SELECT (SELECT count(*) FROM document), (SELECT count(*) FROM passage), (SELECT count(*) FROM vector), "
    "(SELECT total(tokens) FROM passage)"
)
_STATS = (
    "SELECT count(DISTINCT d.id), count(p.id), total(p.vectored), total(p.tokens) FROM document d "
    "LEFT JOIN passage p ON p.document=d.id WHERE d.ino NOT IN (SELECT value FROM json_each(?))"
)


def _state(sql: Connection, key: str) -> int | str:
    row = sql.one("SELECT value FROM state WHERE key=?", (key,))
    if row is None:
        raise ReplicaDamaged("the index of search has no state")
    value: int | str = row[0]
    return value


# ---- changing ----


def _vectors_by_text(sql: Connection, document: int) -> dict[str, bytes]:
    return dict(
        sql.rows(
            "SELECT p.text, v.data FROM passage p JOIN vector v ON v.passage=p.id WHERE p.document=?", (document,)
        )
    )


def _first(*dates_ns: int | None) -> int:
    """The first that is said."""
    return next(it for it in dates_ns if it is not None)


def _set_looked(sql: Connection, files: Iterable[tuple[int, Looked]]) -> None:
    sql.executemany(
        "INSERT OR REPLACE INTO file VALUES(?,?,?)", ((ino, looked.change, looked.stamp) for ino, looked in files)
    )


def _remove(changes: _Changes, inos: Iterable[int]) -> None:
    for ino in inos:
        changes.sql.execute("DELETE FROM file WHERE ino=?", (ino,))
        row = changes.sql.one("SELECT id FROM document WHERE ino=?", (ino,))
        if row is not None:
            _delete(changes, row[0])


def _delete(changes: _Changes, document: int) -> None:
    sql = changes.sql
    passages = sql.rows("DELETE FROM passage WHERE document=? RETURNING id", (document,))
    sql.executemany("DELETE FROM words WHERE rowid=?", passages)
    sql.executemany("DELETE FROM vector WHERE passage=?", passages)
    for table in ("tag", "link"):
        sql.execute(f"DELETE FROM {table} WHERE document=?", (document,))
    sql.execute("DELETE FROM document WHERE id=?", (document,))
    changes.passages += (it[0] for it in passages)
    changes.documents[document] = None


def _move(changes: _Changes, document: int, path: bytes) -> None:
    sql = changes.sql
    row = sql.one(
        "UPDATE document SET path=? WHERE id=? RETURNING ino, expires_ns, importance, pinned, superseded",
        (path, document),
    )
    assert row is not None
    tags = tuple(it[0] for it in sql.rows("SELECT tag FROM tag WHERE document=? ORDER BY place", (document,)))
    now = DocumentNow(document, row[0], path, row[1], row[2], bool(row[3]), bool(row[4]), tags, [])
    for it in passages_where(sql, "p.document=? ORDER BY p.ordinal", (document,)):
        columns = columns_of(path, it.document.facts, it.passage)
        length = sum(map(len, columns))
        sql.execute("DELETE FROM words WHERE rowid=?", (it.id,))
        sql.execute("UPDATE passage SET length=? WHERE id=?", (length, it.id))
        _add_words(sql, it.id, columns)
        now.passages.append(
            PassageNow(
                it.id, it.ordinal, it.date_ns, length, len(it.passage.text), it.tokens, it.passage.first_line,
                it.passage.last_line, it.passage.author, asks(it.passage.author, it.passage.text), _weighted(columns),
            )
        )  # fmt: skip
        changes.passages.append(it.id)
    changes.documents[document] = now


def _add_words(sql: Connection, passage: int, columns: Iterable[list[str]]) -> None:
    sql.execute(
        f"INSERT INTO words(rowid,{','.join(COLUMNS)}) VALUES(?,?,?,?,?,?)", (passage, *map(" ".join, columns))
    )


def _weighted(columns: Iterable[list[str]]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for weight, terms in zip(COLUMNS.values(), columns, strict=True):
        for term in terms:
            found[term] = found.get(term, 0.0) + weight
    return found
