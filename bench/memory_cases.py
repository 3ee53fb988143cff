"""What remembering and asking cost at 1,000, 10,000 and 100,000 passages, beside SQLite's FTS5 and numpy as they are.

The texts are made of words whose frequencies fall as those of a language do, with its stop words between them; the
questions are made of a passage's words. Both sides have the same texts, the same questions and the same vectors, and
both return the best twenty with their texts.
"""

import itertools
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import numpy as np

from agentfs.memory.documents import Document
from agentfs.memory.embedding import Static, Vectors, default_embedder
from agentfs.memory.facts import Facts
from agentfs.memory.index import Entry, Index
from agentfs.memory.passages import Passage
from agentfs.memory.recalling import Asked, recall, search
from agentfs.memory.tokens import default_counter
from agentfs.memory.words import query
from bench.figures import Finding, Summary, summarized

_IN_A_FILE = 10
_LIMIT = 20
_TOKENS = 2000
_STOP = re.findall(
    r"\w+", "the of and to a in is it that for was on with as he at by i this had not are but from have an they"
)
_SYLLABLES = re.findall(r"\w+", "ka lo mi re tan vel dor sun pre gal ith mor ne qua zi bel cha fin hur jo")


@dataclass(frozen=True, slots=True)
class Corpus:
    texts: Sequence[str]
    questions: Sequence[str]


def corpus(count: int, *, questions: int) -> Corpus:
    chance = random.Random(count)
    words = ["".join(it) for it in itertools.product(_SYLLABLES, repeat=3)]
    chance.shuffle(words)
    ranks = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(words))))
    texts = []
    for _ in range(count):
        length = chance.randint(8, 40)
        content = iter(chance.choices(words, cum_weights=ranks, k=length))
        texts.append(
            " ".join(chance.choice(_STOP) if chance.random() < 0.45 else next(content) for _ in range(length))
        )
    asked = []
    for text in chance.sample(texts, questions):
        content = [word for word in text.split() if word not in _STOP] or text.split()
        some = chance.sample(content, min(len(content), chance.randint(2, 6)))
        asked.append(f"what did i say about {' and the '.join(some)}?")
    return Corpus(texts, asked)


def memory(work: Path, *, quick: bool) -> list[Finding]:
    found: list[Finding] = []
    for count in (1000, 10_000) if quick else (1000, 10_000, 100_000):
        found += _at(work, count, quick=quick)
    return found


def _at(work: Path, count: int, *, quick: bool) -> list[Finding]:
    texts = corpus(count, questions=100 if quick else 300)
    embedder = default_embedder()
    embedder.embed(["loads it"])
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as directory:
        index = Index(directory, counter=default_counter())
        try:
            filling = _filled(index, embedder, texts.texts)
            plain = Plain(Path(directory) / "plain.db", texts.texts)
            matrix = matrix_of(index)
            start = time.perf_counter()
            index.warm()
            warm = time.perf_counter() - start
            while index.learn():  # as an engine does in its quiet moments
                pass
            learned = time.perf_counter() - start - warm
            note = (
                f"{filling / count * 1e6:.0f} µs each, counted and embedded; read into memory for the first question "
                f"in {warm * 1000:.0f} ms, words ahead of questions in "
                f"{learned * 1000:.0f} ms more; {index.stats().size_bytes / count:.0f} bytes each on disk"
            )
            return [
                Finding(f"index {count:,} passages", "s", filling, note=note),
                *_asking(index, embedder, plain, matrix, texts, count),
                *_remembering(index, embedder, plain, count),
            ]
        finally:
            index.close()


def _filled(index: Index, embedder: Static, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    index.use_embedder(embedder.name)
    entries = [
        _entry(number, texts[at : at + _IN_A_FILE]) for number, at in enumerate(range(0, len(texts), _IN_A_FILE), 1)
    ]
    for at in range(0, len(entries), 50):
        index.put(entries[at : at + 50], position=at)
        while embed(index, embedder):
            pass
    return time.perf_counter() - start


def _entry(ino: int, texts: Sequence[str]) -> Entry:
    passages = tuple(Passage(at, at, 0, len(text), text) for at, text in enumerate(texts, 1))
    return Entry(ino, b"memories/2026-11/%d.md" % ino, bytes(32), ino, Document("markdown", Facts(), passages))


def embed(index: Index, embedder: Static, *, at_once: int = 500) -> int:
    """Give vectors to so many passages that have none."""
    wanted = index.vectorless(at_once)
    if wanted:
        index.put_vectors([it for it, _ in wanted], embedder.embed([text for _, text in wanted]))
    return len(wanted)


def _asking(
    index: Index, embedder: Static, plain: "Plain", matrix: tuple[Sequence[int], Vectors], texts: Corpus, count: int
) -> list[Finding]:
    ids, vectors = matrix

    def by_words(asked: str) -> None:
        index.rows([it.passage_id for it in index.by_words(query(asked), limit=_LIMIT)])

    def by_vector(asked: str) -> None:
        index.rows([it.passage_id for it in index.by_vector(embedder.embed([asked])[0], limit=_LIMIT)])

    def brute(asked: str) -> None:
        scores = vectors @ embedder.embed([asked])[0]
        plain.read([ids[it] for it in np.argpartition(-scores, _LIMIT)[:_LIMIT]])

    def everything(asked: str) -> None:
        recall(index, embedder, index.counter, Asked(asked, max_tokens=_TOKENS))

    def ranked(asked: str) -> None:
        search(index, embedder, index.counter, Asked(asked, limit=_LIMIT))

    questions = texts.questions
    first, _ = beside(by_words, plain.search, questions)
    mine, theirs = beside(by_words, plain.search, questions)
    near, numpys = beside(by_vector, brute, questions)
    whole, listed = beside(everything, ranked, questions)
    at = f"{count:,} passages"
    return [
        compared(f"search by words in {at}, the best {_LIMIT}, asked before", mine, theirs, "plain FTS5"),
        compared(
            f"search by words in {at}, the best {_LIMIT}, asked for the first time", first, theirs, "plain FTS5"
        ),
        compared(
            f"search by vectors in {at}, the best {_LIMIT}, question embedded", near, numpys, "numpy and SQLite"
        ),
        alone(f"recall in {at}, {_TOKENS} tokens", whole),
        alone(f"search in {at}, words and vectors ranked, the best {_LIMIT}", listed),
    ]


def _remembering(index: Index, embedder: Static, plain: "Plain", count: int) -> list[Finding]:
    notes = corpus(200, questions=1).texts
    inos = itertools.count(10**7)

    def put(text: str) -> None:
        index.put([_entry(next(inos), [text])], position=1)

    mine, theirs = beside(put, plain.add, notes)
    vector, _ = beside(lambda _: embed(index, embedder, at_once=1), lambda _: None, notes)
    return [
        compared(
            f"index one note beside {count:,} passages, found by its words from then on", mine, theirs, "plain FTS5"
        ),
        alone(f"give it its vector, in the background, beside {count:,} passages", vector),
    ]


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds."""

    wall: Summary
    processor: Summary
    """Of this thread: what is left of it on a machine that has other things to do."""


def beside(mine: Callable[[str], None], theirs: Callable[[str], None], of: Sequence[str]) -> tuple[Times, Times]:
    """Both do each thing in turn, after the first ten warmed them up."""
    for it in of[:10]:
        mine(it)
        theirs(it)
    samples: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for it in of[10:]:
        for side, do in enumerate((mine, theirs)):
            start, spent = time.perf_counter(), time.thread_time()
            do(it)
            samples[side].append(((time.perf_counter() - start) * 1000, (time.thread_time() - spent) * 1000))
    first, second = (Times(*(summarized(kind) for kind in zip(*side, strict=True))) for side in samples)
    return first, second


def alone(name: str, mine: Times) -> Finding:
    note = f"processor {mine.processor.median:.3f} ms"
    return Finding(name, "ms", mine.wall.median, p99=mine.wall.p99, trials=mine.wall.count, note=note)


def compared(name: str, mine: Times, theirs: Times, whose: str) -> Finding:
    ratio = mine.wall.median / theirs.wall.median
    note = (
        f"{whose} {theirs.wall.median:.3f} ms (p99 {theirs.wall.p99:.2f}): {ratio:.2f} ×; "
        f"processor {mine.processor.median:.3f} and {theirs.processor.median:.3f} ms"
    )
    return Finding(name, "ms", mine.wall.median, p99=mine.wall.p99, trials=mine.wall.count, note=note)


def matrix_of(index: Index) -> tuple[list[int], Vectors]:
    """The same vectors as one array."""
    connection = apsw.Connection(index.path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT passage, data FROM vector ORDER BY passage").fetchall()
    finally:
        connection.close()
    data = np.frombuffer(b"".join(row[1] for row in rows), "<f2").reshape(len(rows), -1)
    return [row[0] for row in rows], data.astype(np.float32)


class Plain:
    """A table of texts with FTS5 as its manual shows it: stems, an OR of the question's words, `ORDER BY rank`."""

    def __init__(self, path: Path, texts: Sequence[str]) -> None:
        self._sql = apsw.Connection(str(path))
        self._sql.pragma("journal_mode", "wal")
        self._sql.pragma("synchronous", "normal")
        self._sql.execute("CREATE VIRTUAL TABLE note USING fts5(text, tokenize='porter unicode61')")
        with self._sql:
            self._sql.executemany("INSERT INTO note(text) VALUES(?)", ((text,) for text in texts))

    def search(self, asked: str, *, limit: int = _LIMIT) -> None:
        match = " OR ".join(f'"{term}"' for term in asked.strip("?").split() if term not in _STOP)
        self._sql.execute(
            "SELECT rowid, text FROM note WHERE note MATCH ? ORDER BY rank LIMIT ?", (match, limit)
        ).fetchall()

    def read(self, ids: Sequence[int]) -> None:
        for it in ids:
            self._sql.execute("SELECT text FROM note WHERE rowid=?", (it,)).fetchall()

    def add(self, text: str) -> None:
        self._sql.execute("INSERT INTO note(text) VALUES(?)", (text,))
