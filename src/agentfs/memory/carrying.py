"""An index that travels: what one machine made of a volume's texts is put on the store, and a new machine takes in
what fits its own files (docs/decisions/0210).

What is carried of a file: its number in the log, the digest of its bytes, what else its document was made of, the
document, and the terms of its passages. Not vectors: an embedder of this machine makes them, after words as always.
Who takes it in uses what is of a file with the same number, bytes and facts; all others it indexes from their bytes.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from agentfs.format.carried import CarriedIndex, StoredPage, stored_page
from agentfs.format.carried_pages import CarriedFile, CarriedPassage
from agentfs.format.limits import CARRIED_BYTES_MAX, CARRIED_PAGE_PASSAGES_MAX, CARRIED_PAGES_MAX
from agentfs.memory.columns import columns_of
from agentfs.memory.index import Index
from agentfs.memory.rows import DocumentRow, PassageRow
from agentfs.memory.sources import Committed, Sources
from agentfs.memory.stamps import made_of
from agentfs.replica.database import Connection

_AT_ONCE = 16
"""Files between two looks at what else there is to do: about 10 ms."""
_PAGE_FILES = 256
_PAGE_PASSAGES = 4096
"""Taken in at once: a question that cannot wait waits for one page."""
_STORED_MAX = CARRIED_BYTES_MAX // 4
_BINDINGS = 500
_U32_MAX = (1 << 32) - 1


# ---- giving ----


def pages_of(index: Index, sources: Sources) -> Iterator[StoredPage | None]:
    """The pages of an index, the newest files first. None after every few files: somebody else may go first.

    A file is in it as the index knows it now, if that is what the log has of it. What does not fit is left out: the
    oldest files, and those of more passages than a page may have."""
    committed = sorted(sources.committed(), key=lambda it: (-it.listed.mtime_ns, it.listed.path))
    page: list[CarriedFile] = []
    passages = stored_bytes = pages = 0
    for start in range(0, len(committed), _AT_ONCE):
        for it in _carried(index, committed[start : start + _AT_ONCE]):
            if (page and passages + len(it.passages) > _PAGE_PASSAGES) or len(page) == _PAGE_FILES:
                made = stored_page(page)
                stored_bytes, pages = stored_bytes + len(made.data), pages + 1
                yield made
                page, passages = [], 0
                if stored_bytes > _STORED_MAX or pages == CARRIED_PAGES_MAX - 1:
                    return
            page.append(it)
            passages += len(it.passages)
        yield None
    if page:
        yield stored_page(page)


def _carried(index: Index, files: Sequence[Committed]) -> list[CarriedFile]:
    looked, rows, documents = index.of_files([it.listed.ino for it in files])
    known, by_ino = dict(looked), {it.ino: it for it in documents}
    passages: dict[int, list[PassageRow]] = defaultdict(list)
    for row in rows:
        passages[row.document.ino].append(row)
    found = []
    for it in files:
        ino = it.listed.ino
        seen, document = known.get(ino), by_ino.get(ino)
        stamp = made_of(it.listed.path, it.facts, it.listed.mtime_ns)
        if seen is None or seen.stamp != f"{it.listed.content_change}.{stamp}":
            continue  # it changed meanwhile
        if document is None:
            found.append(CarriedFile(it.id, it.digest, stamp, indexed=False))
        elif document.version == it.digest and len(passages[ino]) <= CARRIED_PAGE_PASSAGES_MAX:
            found.append(_file(it, stamp, document, passages[ino]))
    return found


def _file(it: Committed, stamp: str, document: DocumentRow, passages: Sequence[PassageRow]) -> CarriedFile:
    facts = document.facts
    return CarriedFile(
        it.id,
        it.digest,
        stamp,
        indexed=True,
        mtime_ns=document.mtime_ns,
        created_ns=facts.created_ns,
        expires_ns=facts.expires_ns,
        importance=facts.importance,
        extracted=document.extracted,
        pinned=facts.pinned,
        superseded=facts.superseded,
        path=document.path,
        kind=document.kind,
        title=facts.title,
        type=facts.type,
        tags=facts.tags,
        links=facts.links,
        passages=[_passage(document, row) for row in passages],
    )


def _passage(document: DocumentRow, row: PassageRow) -> CarriedPassage:
    it = row.passage
    columns = columns_of(document.path, document.facts, it)
    return CarriedPassage(
        it.first_line, it.last_line, it.start, it.end, row.tokens, sum(map(len, columns)), it.said_ns,
        it.text, "\n".join(it.headings), it.author, *map(" ".join, columns),
    )  # fmt: skip


# ---- taking ----


class Taking:
    """A carried index, taken in page by page. Every page is one transaction, and true by itself."""

    def __init__(self, index: Index, sources: Sources, carried: CarriedIndex) -> None:
        self._index = index
        self._files = {it.id: it for it in sources.committed()}
        self._pages = carried.pages()
        self.looked_at: set[int] = set()
        """Files that somebody looked at since: they are left alone."""
        self.documents = 0
        """How many were taken in."""

    def step(self) -> list[int] | None:
        """Take in a page. Returns the inodes of the files that need not be looked at any more; None: that was all.
        Raises `Corrupt`, and what the index raises."""
        page = next(self._pages, None)
        if page is None:
            return None
        fitting = [(it, here) for it in page if (here := self._fitting(it)) is not None]
        taken: list[tuple[CarriedFile, Committed]] = []

        def insert(sql: Connection) -> None:
            taken[:] = _unknown(sql, fitting)
            _insert(sql, taken)

        self._index.load(insert)
        self.documents += sum(it.indexed for it, _ in taken)
        return [here.listed.ino for it, here in taken if not it.indexed or it.path == here.listed.path]

    def _fitting(self, it: CarriedFile) -> Committed | None:
        here = self._files.get(it.id)
        if here is None or here.digest != it.digest or here.listed.ino in self.looked_at:
            return None
        return here if made_of(here.listed.path, here.facts, here.listed.mtime_ns) == it.stamp else None


def _unknown(
    sql: Connection, files: Sequence[tuple[CarriedFile, Committed]]
) -> Iterator[tuple[CarriedFile, Committed]]:
    """Those that the index does not know."""
    for start in range(0, len(files), _BINDINGS):
        some = files[start : start + _BINDINGS]
        inos = tuple(here.listed.ino for _, here in some)
        known = {row[0] for row in sql.rows(f"SELECT ino FROM file WHERE ino IN ({','.join('?' * len(inos))})", inos)}
        yield from (pair for pair in some if pair[1].listed.ino not in known)


def _insert(sql: Connection, files: Sequence[tuple[CarriedFile, Committed]]) -> None:
    document = _last(sql, "SELECT max(id) FROM document")
    passage = _last(sql, "SELECT seq FROM sqlite_sequence WHERE name='passage'")
    documents: list[tuple[object, ...]] = []
    passages: list[tuple[object, ...]] = []
    words: list[tuple[object, ...]] = []
    tags: list[tuple[object, ...]] = []
    links: list[tuple[object, ...]] = []
    for it, here in files:
        if not it.indexed:
            continue
        document += 1
        documents.append((
            document, here.listed.ino, it.path, it.digest, it.mtime_ns, it.kind, it.extracted, it.title,
            it.importance, it.expires_ns, it.type, it.created_ns, it.pinned, it.superseded,
        ))  # fmt: skip
        tags += [(document, place, tag, tag.casefold()) for place, tag in enumerate(it.tags)]
        links += [(document, place, target) for place, target in enumerate(it.links)]
        for ordinal, each in enumerate(it.passages):
            passage += 1
            passages.append((
                passage, document, ordinal, each.first_line, each.last_line, each.start, each.end, each.text,
                each.headings, each.author, each.said_ns, each.tokens, each.length, 0,
            ))  # fmt: skip
            words.append((passage, *each[-5:]))
    sql.executemany(
        "INSERT INTO document(id,ino,path,version,mtime_ns,kind,extracted,title,importance,expires_ns,type,"
        "created_ns,pinned,superseded) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        documents,
    )
    sql.executemany(
        "INSERT INTO passage(id,document,ordinal,first_line,last_line,start,end,text,headings,author,said_ns,tokens,"
        "length,vectored) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        passages,
    )
    sql.executemany("INSERT INTO words(rowid,author,date,place,tags,text) VALUES(?,?,?,?,?,?)", words)
    sql.executemany("INSERT INTO tag VALUES(?,?,?,?)", tags)
    sql.executemany("INSERT INTO link VALUES(?,?,?)", links)
    sql.executemany(
        "INSERT INTO file VALUES(?,?,?)",
        ((here.listed.ino, here.listed.change, f"{here.listed.content_change}.{it.stamp}") for it, here in files),
    )


def _last(sql: Connection, question: str) -> int:
    row = sql.one(question)
    return 0 if row is None or row[0] is None else int(row[0])
