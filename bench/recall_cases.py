"""Retrieval quality: how much of the known evidence comes back within a budget, beside grep, FTS5 and vectors.

The project's own notes and chats are always asked. With LOCOMO=<a file in the form of LoCoMo> so are its
conversations. Tokens are counted by the product's counter for every side. The sides that are not AgentFS return
lines, best first, under one header for each file; grep ranks a line by how many of the question's words it holds.
"""

import contextlib
import hashlib
import os
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import numpy as np

from agentfs.errors import NotInstalled
from agentfs.memory.documents import document
from agentfs.memory.embedders import embedder_named
from agentfs.memory.embedding import Embedder
from agentfs.memory.index import Index
from agentfs.memory.recalling import Asked, look, recall
from agentfs.memory.rows import Entry
from agentfs.memory.tokens import TokenCounter, default_counter
from bench.figures import Finding, percentile
from bench.recall_data import Question, World, chats, conversations, notes

BUDGETS = (500, 1000, 2000)
_NS = 1_000_000_000
_DEPTH = 400

Ask = Callable[[Question, int], Sequence[tuple[str, str]]]
"""A question and a budget → (path, text) pairs that come back."""
Rank = Callable[[Question], Sequence[tuple[str, str]]]
"""A question → (path, text) pairs, best first."""


@dataclass(slots=True)
class Tally:
    """Of one side."""

    within: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    whole: list[bool] = field(default_factory=list)
    reciprocal: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)
    refused_rightly: list[bool] = field(default_factory=list)
    kinds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def recalls(work: Path, *, quick: bool) -> list[Finding]:
    """Every side over every collection."""
    collections: dict[str, list[World]] = {"notes": [notes()], "chats": [chats()]}
    if path := os.environ.get("LOCOMO"):
        collections["conversations"] = list(conversations(path))
    findings = []
    for name, worlds in collections.items():
        tallies: dict[str, Tally] = defaultdict(Tally)
        for number, world in enumerate(worlds, 1):
            for side in _ask_all(world, work / f"{name}-{number}", tallies, every=4 if quick else 1):
                if number == len(worlds):
                    print(_line(f"{name}, {side}", tallies[side]), flush=True)
        for side, tally in tallies.items():
            findings += _findings(f"{name}, {side}", tally)
    return findings


def _ask_all(world: World, work: Path, tallies: dict[str, Tally], *, every: int) -> Iterator[str]:
    """Ask every side; the name of each when it is done."""
    counter = default_counter()
    asked = world.questions[::every]
    lines = [(path, line) for path, text in world.files.items() for line in text.split("\n") if line.strip()]
    static = embedder_named("static")
    for side, rank in (
        ("grep", _grep(lines)),
        ("plain FTS5", _fts(lines)),
        ("plain vectors", _vectors(lines, static)),
    ):
        _measure(asked, _packing(rank, counter), rank, tallies[side])
        yield side
    for embedder in _embedders(static):
        side = f"AgentFS, {'words only' if embedder is None else embedder.name}"
        with _indexed(world, work / side.replace(" ", "-"), embedder) as index:
            _measure_recall(world, asked, index, embedder, tallies[side])
        yield side


def _embedders(static: Embedder) -> Iterator[Embedder | None]:
    yield None
    yield static
    with contextlib.suppress(NotInstalled):
        yield embedder_named("minilm")


# ---- AgentFS ----


@contextmanager
def _indexed(world: World, work: Path, embedder: Embedder | None) -> Iterator[Index]:
    work.mkdir(parents=True)
    index = Index(str(work), counter=default_counter())
    entries = []
    for number, (path, text) in enumerate(sorted(world.files.items()), 1):
        data, mtime_ns = text.encode(), int(world.modified[path].timestamp()) * _NS
        made = document(path.encode(), data, {}, mtime_ns=mtime_ns)
        if made is not None:
            entries.append(Entry(number, path.encode(), hashlib.sha256(data).digest(), mtime_ns, made))
    try:
        index.put(entries)
        if embedder is not None:
            index.use_embedder(embedder.name)
            while wanted := index.vectorless(128):
                index.put_vectors([it for it, _ in wanted], embedder.embed([text for _, text in wanted]))
        yield index
    finally:
        index.close()


def _measure_recall(
    world: World, asked: Sequence[Question], index: Index, embedder: Embedder | None, tally: Tally
) -> None:
    counter, now_ns = default_counter(), int(world.now.timestamp()) * _NS

    def ask(question: Question, budget: int) -> Sequence[tuple[str, str]]:
        got = recall(index, embedder, counter, Asked(question.text, max_tokens=budget, now_ns=now_ns))
        assert got.tokens == counter.count(got.text) <= budget
        return [(it.path, it.text) for it in got.found]

    def rank(question: Question) -> Sequence[tuple[str, str]]:
        looked = look(index, embedder, Asked(question.text, now_ns=now_ns), 200)
        return [(os.fsdecode(it.row.document.path), it.row.passage.text) for it in looked.scored]

    _measure(asked, ask, rank, tally)
    for question in asked:
        (tally.refused if question.evidence else tally.refused_rightly).append(not ask(question, 2000))


# ---- the others ----


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\w+", text.lower())))


def _grep(lines: Sequence[tuple[str, str]]) -> Rank:
    lowered = [line.lower() for _, line in lines]

    def rank(question: Question) -> Sequence[tuple[str, str]]:
        asked = _words(question.text)
        found = [(sum(word in line for word in asked), at) for at, line in enumerate(lowered)]
        return [lines[at] for many, at in sorted(found, key=lambda it: -it[0])[:_DEPTH] if many]

    return rank


def _fts(lines: Sequence[tuple[str, str]]) -> Rank:
    sql = apsw.Connection(":memory:")
    sql.execute("CREATE VIRTUAL TABLE line USING fts5(text)")
    sql.executemany("INSERT INTO line(rowid, text) VALUES(?,?)", enumerate((line for _, line in lines), 1))

    def rank(question: Question) -> Sequence[tuple[str, str]]:
        match = " OR ".join(f'"{word}"' for word in _words(question.text))
        rows = sql.execute("SELECT rowid FROM line WHERE line MATCH ? ORDER BY rank LIMIT ?", (match, _DEPTH))
        return [lines[int(row[0]) - 1] for row in rows]

    return rank


def _vectors(lines: Sequence[tuple[str, str]], embedder: Embedder) -> Rank:
    matrix = embedder.embed([line for _, line in lines])

    def rank(question: Question) -> Sequence[tuple[str, str]]:
        scores = matrix @ embedder.embed([question.text])[0]
        return [lines[at] for at in np.argsort(-scores, kind="stable")[:_DEPTH]]

    return rank


def _packing(rank: Rank, counter: TokenCounter) -> Ask:
    costs: dict[str, int] = {}

    def cost(text: str) -> int:
        if text not in costs:
            costs[text] = counter.count(text) + 1
        return costs[text]

    def ask(question: Question, budget: int) -> Sequence[tuple[str, str]]:
        found, paths, spent = [], set(), 0
        for path, line in rank(question):
            more = cost(line) + (0 if path in paths else cost(f"## {path}"))
            if spent + more <= budget:
                found.append((path, line))
                paths.add(path)
                spent += more
        return found

    return ask


# ---- counting ----


def _measure(asked: Sequence[Question], ask: Ask, rank: Rank, tally: Tally) -> None:
    for question in asked:
        if not question.evidence:
            continue
        for budget in BUDGETS:
            start = time.perf_counter()
            got = ask(question, budget)
            if budget == BUDGETS[-1]:
                tally.ms.append((time.perf_counter() - start) * 1000)
            share = _share(question, got)
            tally.within[budget].append(share)
        tally.kinds[question.kind].append(share)
        tally.whole.append(share == 1)
        tally.reciprocal.append(_reciprocal(question, rank(question)))


def _share(question: Question, got: Sequence[tuple[str, str]]) -> float:
    """The part of the evidence that came back; of lines that say the same, one is enough."""
    if question.kind == "near duplicate":
        return float(any(_holds(got, *it) for it in question.evidence))
    return statistics.fmean(_holds(got, *it) for it in question.evidence)


def _holds(got: Sequence[tuple[str, str]], path: str, line: str) -> bool:
    return any(where == path and line in text for where, text in got)


def _reciprocal(question: Question, ranked: Sequence[tuple[str, str]]) -> float:
    for place, (where, text) in enumerate(ranked, 1):
        if any(where == path and (line in text or text in line) for path, line in question.evidence):
            return 1 / place
    return 0.0


def _percent(values: Sequence[float]) -> float:
    return 100 * statistics.fmean(values) if values else 0.0


def _line(name: str, tally: Tally) -> str:
    shares = "  ".join(f"{_percent(tally.within[budget]):5.1f} %" for budget in BUDGETS)
    text = (
        f"{name:<36} within {'/'.join(map(str, BUDGETS))}: {shares}   all: {_percent(tally.whole):5.1f} %   "
        f"MRR {statistics.fmean(tally.reciprocal):.3f}   {statistics.median(tally.ms):6.2f} ms"
    )
    if tally.refused:
        text += f"   refused though answered: {_percent(tally.refused):.1f} %"
    if tally.refused_rightly:
        text += f", rightly: {_percent(tally.refused_rightly):.0f} %"
    kinds = ", ".join(f"{kind} {_percent(of):.0f}" for kind, of in sorted(tally.kinds.items()))
    return f"{text}\n    within {BUDGETS[-1]} by kind: {kinds}"


def _findings(name: str, tally: Tally) -> list[Finding]:
    found = [
        Finding(f"recall, {name}: evidence within {budget} tokens", "%", _percent(tally.within[budget]))
        for budget in BUDGETS
    ]
    found.append(Finding(f"recall, {name}: all evidence within {BUDGETS[-1]}", "%", _percent(tally.whole)))
    found.append(Finding(f"recall, {name}: MRR", "of 1", statistics.fmean(tally.reciprocal)))
    ordered = sorted(tally.ms)
    found.append(
        Finding(
            f"recall, {name}: a question", "ms", statistics.median(ordered), percentile(ordered, 0.99), len(ordered)
        )
    )
    return found
