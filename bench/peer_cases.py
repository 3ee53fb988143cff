"""The work of a peer on SQLite, at its size: a thousand short memories; one is remembered, some are found.

What the peer reports of its own machine is given as text: it is not measured here. Beside each row stands what the
same words, or the same vectors, take in plain FTS5 or numpy, in this run.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import numpy as np

from agentfs import Home
from agentfs.config.settings import load
from agentfs.memory.documents import document
from agentfs.memory.embedding import Static, default_embedder
from agentfs.memory.index import Entry, Index
from agentfs.memory.recalling import Asked, recall, search
from agentfs.memory.tokens import default_counter
from agentfs.memory.words import query
from bench.figures import Finding
from bench.memory_cases import Plain, alone, beside, compared, corpus, embed, matrix_of

_NODES = 1000
_LIMIT = 10
_TOKENS = 300
_REPORTED = {
    "remember": "the peer reports 0.6 ms",
    "search": "the peer reports 0.16 ms to search 1,000 nodes",
    "recall": "the peer reports 0.11 to 0.28 ms, without a budget",
    "semantic": "the peer reports 5.6 ms",
}


def peers_work(work: Path, *, quick: bool) -> list[Finding]:
    """Remember, search and recall among a thousand memories of a sentence or two, each a file of its own."""
    texts = corpus(_NODES, questions=110 if quick else 410)
    embedder = default_embedder()
    work.mkdir(parents=True, exist_ok=True)
    with _indexed(work, embedder, texts.texts) as index, tempfile.TemporaryDirectory(dir=work) as directory:
        plain = Plain(Path(directory) / "plain.db", texts.texts)
        ids, vectors = matrix_of(index)

        def by_words(asked: str) -> None:
            index.rows([it.passage_id for it in index.by_words(query(asked), limit=_LIMIT)])

        def by_vector(asked: str) -> None:
            index.rows([it.passage_id for it in index.by_vector(embedder.embed([asked])[0], limit=_LIMIT)])

        def numpys(asked: str) -> None:
            scores = vectors @ embedder.embed([asked])[0]
            plain.read([ids[it] for it in np.argpartition(-scores, _LIMIT)[:_LIMIT]])

        def plainly(asked: str) -> None:
            plain.search(asked, limit=_LIMIT)

        def ranked(asked: str) -> None:
            search(index, None, index.counter, Asked(asked, limit=_LIMIT))

        def recalled(asked: str) -> None:
            recall(index, None, index.counter, Asked(asked, max_tokens=_TOKENS))

        def recalled_with_vectors(asked: str) -> None:
            recall(index, embedder, index.counter, Asked(asked, max_tokens=_TOKENS))

        questions = texts.questions
        first, theirs = beside(by_words, plainly, questions)
        again, _ = beside(by_words, plainly, questions)
        near, numpy_near = beside(by_vector, numpys, questions)
        listed, whole = beside(ranked, recalled, questions)
        both, _ = beside(recalled_with_vectors, lambda _: None, questions)
        name = "the peer's work"
        found = [
            compared(f"{name}: words, the best {_LIMIT}, asked before", again, theirs, "plain FTS5"),
            compared(f"{name}: words, the best {_LIMIT}, asked for the first time", first, theirs, "plain FTS5"),
            compared(f"{name}: vectors, the best {_LIMIT}, question embedded", near, numpy_near, "numpy and SQLite"),
            alone(f"{name}: search by words, ranked as always, the best {_LIMIT}", listed),
            alone(f"{name}: recall by words, packed into {_TOKENS} tokens", whole),
            alone(f"{name}: recall by words and vectors, packed into {_TOKENS} tokens", both),
        ]
        reported = ("search", "search", "semantic", "search", "recall", "recall")
        return [
            *(_told(it, _REPORTED[kind]) for it, kind in zip(found, reported, strict=True)),
            *_remembering(work, index, plain, quick=quick),
        ]


def _remembering(work: Path, index: Index, plain: Plain, *, quick: bool) -> list[Finding]:
    """A memory as it is given, into the index, beside a row of FTS5; and as a file of a home, which survives
    `kill -9` from then on, beside the least that keeps as much: a file and a row."""
    notes = corpus(_NODES + 1, questions=1).texts[: 110 if quick else 410]
    inos = itertools.count(10**6)

    def put(text: str) -> None:
        index.put([_entry(next(inos), text)], position=1)

    mine, theirs = beside(put, plain.add, notes)
    (work / "store").mkdir(parents=True, exist_ok=True)
    given = {"store": str(work / "store"), "state_dir": str(work / "state"), "index": False}
    bare = _Bare(work / "bare")
    with Home.open("me", settings=load(given, environment={"HOME": str(work)})) as home:

        def remember(text: str) -> None:
            home.remember(text)

        written, least = beside(remember, bare.add, notes)
    name = "the peer's work: remember"
    return [
        _told(
            compared(
                f"{name}, a file of a home, durable on return", written, least, "a new file and a row of SQLite"
            ),
            _REPORTED["remember"],
        ),
        compared(f"{name}, the same text into the index, found by its words", mine, theirs, "a row of FTS5"),
    ]


class _Bare:
    """What a memory costs at least, if its bytes are a file and what is known of it is in SQLite: both survive
    `kill -9`, and neither is synced."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._sql = apsw.Connection(str(directory / "bare.db"))
        self._sql.pragma("journal_mode", "wal")
        self._sql.pragma("synchronous", "normal")
        self._sql.execute("CREATE TABLE file(id INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER, at INTEGER)")

    def add(self, text: str) -> None:
        data = f"---\ncreated: 2026-11-21T10:00:00Z\n---\n{text}\n".encode()
        self._sql.execute("INSERT INTO file(name,size,at) VALUES(?,?,?)", (text[:60], len(data), time.time_ns()))
        path = self._directory / f"{self._sql.last_insert_rowid():x}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)


@contextmanager
def _indexed(work: Path, embedder: Static, texts: Sequence[str]) -> Iterator[Index]:
    with tempfile.TemporaryDirectory(dir=work) as directory:
        index = Index(directory, counter=default_counter())
        try:
            index.use_embedder(embedder.name)
            for at in range(0, len(texts), 100):
                index.put([_entry(at + number, text) for number, text in enumerate(texts[at : at + 100], 1)])
            while embed(index, embedder):
                pass
            while index.learn():  # as an engine does in its quiet moments
                pass
            yield index
        finally:
            index.close()


def _entry(ino: int, text: str) -> Entry:
    path, data = b"memories/2026-11/%d.md" % ino, f"---\ntags: [work]\n---\n{text}\n".encode()
    made = document(path, data, {}, mtime_ns=ino)
    assert made is not None
    return Entry(ino, path, bytes(32), ino, made)


def _told(finding: Finding, reported: str) -> Finding:
    return replace(finding, note=f"{finding.note}; {reported}")
