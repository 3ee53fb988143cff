"""What is put into the index and what comes out of it, and the rows of its tables that hold it."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agentfs.memory.documents import Document
from agentfs.memory.doubles import Gist, gist
from agentfs.memory.facts import Facts
from agentfs.memory.passages import Passage
from agentfs.memory.results import Found
from agentfs.memory.tokens import TokenCounter, well_formed
from agentfs.replica.database import Connection, Row


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
    hidden: Collection[int] = frozenset()
    """Of these inodes nothing counts, either: not even how rare a word is."""


ALL = Filters()
_NO_PARTS: Mapping[str, float] = {}
_UNKNOWN = -1


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
    place: str = field(default="", compare=False)
    """Its path, as it comes back."""
    digest: str = field(default="", compare=False)
    """Its version, as it comes back."""

    @property
    def date_ns(self) -> int:
        """When it was created, else when the file was last changed."""
        return self.facts.created_ns if self.facts.created_ns is not None else self.mtime_ns


@dataclass(frozen=True, slots=True)
class PassageRow:
    """What answers need of it is made when the first does, and kept as long as the row."""

    id: int
    document: DocumentRow
    ordinal: int
    """In its document, from 0."""
    passage: Passage
    tokens: int
    _found: Found | None = field(default=None, init=False, compare=False, repr=False)
    _gist: Gist | None = field(default=None, init=False, compare=False, repr=False)
    below: int | None = field(default=_UNKNOWN, init=False, compare=False, repr=False)
    """What its text costs behind a newline (`know_below`); None: only counting tells."""

    @property
    def found(self) -> Found:
        """As it comes back, without a score."""
        if self._found is None:
            object.__setattr__(self, "_found", self.found_as(0.0, _NO_PARTS))
        assert self._found is not None
        return self._found

    @property
    def gist(self) -> Gist:
        if self._gist is None:
            object.__setattr__(self, "_gist", gist(self.passage.text))
        assert self._gist is not None
        return self._gist

    def found_as(self, score: float, parts: Mapping[str, float]) -> Found:
        """As it comes back."""
        document, passage = self.document, self.passage
        return Found(
            path=document.place,
            first_line=passage.first_line,
            last_line=passage.last_line,
            text=passage.text,
            date_ns=self.date_ns,
            score=score,
            parts=parts,
            title=document.facts.title,
            tags=document.facts.tags,
            tokens=self.tokens,
            version=document.digest,
        )

    @property
    def date_ns(self) -> int:
        """When it was said, else the document's date."""
        return self.passage.said_ns if self.passage.said_ns is not None else self.document.date_ns


def know_below(rows: Iterable[PassageRow | None], counter: TokenCounter) -> None:
    """Set `below` of these rows, which `counter` counted."""
    new = [it for it in rows if it is not None and it.below == _UNKNOWN]
    costs = counter.below([it.passage.text for it in new], [it.tokens for it in new]) if new else ()
    for it, cost in zip(new, costs, strict=True):
        object.__setattr__(it, "below", cost)


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


_LENGTHS = (1, 8, 32, 128, 512)
_AT_ONCE = _LENGTHS[-1]
"""Bindings of one statement."""
_MARKS = {it: f"({','.join('?' * it)})" for it in _LENGTHS}
LOOKED = "SELECT f.ino, f.change, f.stamp, d.path FROM file f LEFT JOIN document d ON d.ino=f.ino"
_DOCUMENT = (
    "d.id, d.ino, d.path, d.version, d.mtime_ns, d.kind, d.extracted, d.title, d.importance, d.expires_ns, d.type, "
    "d.created_ns, d.pinned, d.superseded"
)


def documents_where(sql: Connection, where: str, bindings: Row) -> list[DocumentRow]:
    return _with_facts(sql, sql.rows(f"SELECT {_DOCUMENT} FROM document d WHERE {where}", bindings))


def _with_facts(sql: Connection, rows: Sequence[Row]) -> list[DocumentRow]:
    tags, links = _lists(sql, [row[0] for row in rows])
    found = []
    for row in rows:
        facts = Facts(
            title=row[7], tags=tuple(tags.get(row[0], ())), importance=row[8], expires_ns=row[9], type=row[10],
            links=tuple(links.get(row[0], ())), created_ns=row[11], pinned=bool(row[12]), superseded=bool(row[13]),
        )  # fmt: skip
        place, digest = os.fsdecode(row[2]), row[3].hex()
        found.append(DocumentRow(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]), facts, place, digest))
    return found


def _lists(sql: Connection, documents: Sequence[int]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """The tags and the links of each document that has some, in order."""
    found: tuple[dict[int, list[str]], dict[int, list[str]]] = {}, {}
    for marks, some in one_of(documents):
        rows = sql.rows(
            f"SELECT document, 0, place, tag FROM tag WHERE document IN {marks} UNION ALL "
            f"SELECT document, 1, place, target FROM link WHERE document IN {marks} ORDER BY 2, 1, 3",
            some + some,
        )
        for document, of, _, it in rows:
            found[of].setdefault(document, []).append(it)
    return found


def one_of(ids: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What stands behind IN, and its bindings, for some of the ids at a time. Of few lengths, so that a statement is
    prepared once."""
    for start in range(0, len(ids), _AT_ONCE):
        some = tuple(ids[start : start + _AT_ONCE])
        length = next(it for it in _LENGTHS if it >= len(some))
        yield _MARKS[length], some + some[-1:] * (length - len(some))


def passages_where(sql: Connection, where: str, bindings: Row) -> list[PassageRow]:
    rows = sql.rows(
        "SELECT p.id, p.ordinal, p.first_line, p.last_line, p.start, p.end, p.text, p.headings, p.author, p.said_ns, "
        f"p.tokens, {_DOCUMENT} FROM passage p JOIN document d ON d.id=p.document WHERE {where}",
        bindings,
    )
    documents = {it.id: it for it in _with_facts(sql, list({row[11]: row[11:] for row in rows}.values()))}
    found = []
    for row in rows:
        headings = tuple(row[7].split("\n")) if row[7] else ()
        passage = Passage(row[2], row[3], row[4], row[5], row[6], headings, row[8], row[9])
        found.append(PassageRow(row[0], documents[row[11]], row[1], passage, row[10]))
    return found


# ---- filters ----


def _below(directory: bytes) -> tuple[bytes, bytes]:
    """The range of paths inside a directory."""
    return directory + b"/", directory + b"0"  # 0 follows /


def where_of(filters: Filters) -> tuple[str, Row]:
    """Of documents."""
    wanted = ["(d.expires_ns IS NULL OR d.expires_ns > ?)"]
    bindings: list[object] = [filters.now_ns]
    if filters.path:
        wanted.append("(d.path = ? OR (d.path >= ? AND d.path < ?))")
        bindings += [filters.path, *_below(filters.path)]
    for tag in filters.tags:
        wanted.append("d.id IN (SELECT document FROM tag WHERE folded=?)")
        bindings.append(well_formed(tag).removeprefix("#").casefold())
    if filters.since_ns is not None:
        wanted.append("coalesce(d.created_ns, d.mtime_ns) >= ?")
        bindings.append(filters.since_ns)
    return " AND ".join(wanted), tuple(bindings)


def documents_in(sql: Connection, filters: Filters) -> list[int] | None:
    """The ids of the documents that path and tags let through; None: all."""
    if not filters.path and not filters.tags:
        return None
    where, bindings = where_of(Filters(path=filters.path, tags=filters.tags, now_ns=filters.now_ns))
    return [row[0] for row in sql.rows(f"SELECT d.id FROM document d WHERE {where}", bindings)]
