"""Recall and search: a question in, the passages that serve it out, verbatim."""

import itertools
import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agentfs.errors import AgentFSError
from agentfs.memory import words
from agentfs.memory.embedding import Embedder
from agentfs.memory.index import Hit, Index
from agentfs.memory.packing import Piece, fused, nothing, packed
from agentfs.memory.question import first_person, meaning, named, when
from agentfs.memory.ranking import DISTANCE, Bearing, Candidate, Ranking, Scored, ranked
from agentfs.memory.results import HALF_LIFE_NS, Asked, Found, Recalled, Strategy
from agentfs.memory.rows import Filters, PassageRow
from agentfs.memory.snippets import snippet
from agentfs.memory.tokens import TokenCounter

__all__ = ["HALF_LIFE_NS", "Asked", "Found", "Recalled", "Strategy", "filters_of", "fused", "recall", "search"]

_LOG = logging.getLogger(__name__)

_AROUND = 60
"""So many of the best candidates bring their neighbours."""
_TOKENS_A_CANDIDATE = 8
"""A larger budget wants more candidates."""
_CANDIDATES_MAX = 4000
_COMMON = 0.25
"""A word of more than this part of all passages does not tell one from another."""
_COMMON_FROM = 40
"""Passages; in fewer no word counts as common."""
_BAGS = frozenset(("static",))
"""Embedders for which the order of words means nothing."""
_ENOUGH = 0.4
"""Less evidence than this, and nothing is relevant: few questions with an answer are refused, and most that are about
what is not there (docs/decisions/0161). Half of it where there are no vectors, which find what has other words."""
_PLENTY = 1.5
_MANY = 50
"""Passages. In a smaller memory a word that is there is no less rare than in one of so many."""
_PINNED_LEAST = 0.4
"""A standing instruction with less than this part of the best score has nothing to do with the question."""
_JUDGED = 12
"""So many of the best are looked at to tell whether anything is relevant."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a question found before anything is packed or cut."""

    scored: Ranking
    scanned: int
    strength: float


def recall(index: Index, embedder: Embedder | None, counter: TokenCounter, asked: Asked) -> Recalled:
    """What serves the question best within its budget. Never fails for what a question holds.

    Where the embedder does not answer, words do. Raises what the index raises (`Unavailable`, `NoSpace`)."""
    limit = max(asked.limit, min(asked.max_tokens // _TOKENS_A_CANDIDATE, _CANDIDATES_MAX))
    looked = look(index, embedder, asked, limit)
    if looked.strength <= 0:
        return nothing(max_tokens=asked.max_tokens, counter=counter, scanned=looked.scanned)
    return packed(
        map(_piece, looked.scored),
        max_tokens=asked.max_tokens,
        counter=counter,
        scanned=looked.scanned,
        pinned=_pinned(looked.scored),
    )


def search(index: Index, embedder: Embedder | None, counter: TokenCounter, asked: Asked) -> list[Found]:
    """The best passages, each as a snippet around what matched: a verbatim slice. At most `limit`."""
    looked = look(index, embedder, asked, max(asked.limit, 200))
    if looked.strength <= 0:
        return []
    wanted = frozenset(words.query(asked.query).terms)
    return [snippet(found_of(it), wanted, counter) for it in itertools.islice(looked.scored, asked.limit)]


def look(index: Index, embedder: Embedder | None, asked: Asked, limit: int) -> Looked:
    """Candidates by words and by vectors, with their neighbours, ranked."""
    filters = filters_of(asked)
    query = words.query(asked.query)
    by_words = index.by_words(query, filters, limit)
    rows = {row.id: row for row in index.rows([it.passage_id for it in by_words])}
    authors = {row.passage.author for row in rows.values()} - {""}
    spoken_of = named(asked.query, authors)
    frequencies, many = index.frequencies(query.terms)
    empty = _empty_words(query, spoken_of, frequencies, many)
    by_vector = _by_vector(index, embedder, asked, empty, limit=limit)
    rows |= {row.id: row for row in index.rows([it.passage_id for it in by_vector if it.passage_id not in rows])}
    candidates = _candidates(index, by_words, by_vector, rows, filters)
    bearing = Bearing(
        authors=spoken_of,
        users=first_person(asked.query),
        when=when(asked.query, asked.now_ns),
        strategy=asked.strategy,
        now_ns=asked.now_ns,
        half_life_ns=asked.half_life_ns,
    )
    scored = ranked(candidates, bearing, full=limit)
    strength = _strength(scored, by_vector, query.terms, frequencies, many)
    return Looked(replace(scored, scale=strength), len(candidates), strength)


def filters_of(asked: Asked) -> Filters:
    return Filters(asked.path, asked.tags, asked.since_ns, asked.now_ns, asked.readable)


def _by_vector(
    index: Index, embedder: Embedder | None, asked: Asked, without: Iterable[str], *, limit: int
) -> Sequence[Hit]:
    if embedder is None or index.embedder != embedder.name:
        return ()  # words answer while passages are embedded
    text = meaning(asked.query, frozenset(without), bag=embedder.name in _BAGS)
    try:
        vector = embedder.embed([text])[0]
    except AgentFSError as error:  # an endpoint that is away: `status` says so, and words answer
        _LOG.warning("asked by words only: %s", error)
        return ()
    return index.by_vector(vector, filters_of(asked), limit) if vector.any() else ()


def _empty_words(query: words.Query, names: Iterable[str], frequencies: Sequence[int], many: int) -> list[str]:
    """Terms of the question that tell no passage from another: who speaks, and what stands everywhere."""
    found = [term for name in names for term in words.terms(name)]
    if many >= _COMMON_FROM:
        found += [term for term, has in zip(query.terms, frequencies, strict=True) if has > _COMMON * many]
    return found


def _candidates(
    index: Index,
    by_words: Sequence[Hit],
    by_vector: Sequence[Hit],
    rows: dict[int, PassageRow],
    filters: Filters,
) -> list[Candidate]:
    bm25 = {it.passage_id: it.score for it in by_words}
    cosine = {it.passage_id: it.score for it in by_vector}
    best = [hit.passage_id for hits in (by_words, by_vector) for hit in hits[:_AROUND]]
    for row in index.around(best, DISTANCE):
        if filters.since_ns is None or row.date_ns >= filters.since_ns:
            rows.setdefault(row.id, row)
    return [Candidate(row, max(bm25.get(it, 0.0), 0.0), cosine.get(it)) for it, row in rows.items()]


def _strength(
    scored: Ranking, by_vector: Sequence[Hit], asked: Sequence[str], frequencies: Sequence[int], many: int
) -> float:
    """How much evidence there is that anything here answers, 0 to 1; 0: too little.

    The part of the question, by how rare its words are here, that one of the best passages holds, and how near the
    nearest vector is."""
    if not len(scored):
        return 0.0
    many = max(many, _MANY)
    weights = {
        term: math.log1p((many - has + 0.5) / (has + 0.5)) for term, has in zip(asked, frequencies, strict=True)
    }
    whole = sum(weights.values())
    covered = 0.0
    for it in itertools.islice(scored, _JUDGED):
        has = weights.keys() & set(_terms_of(it.row))
        covered = max(covered, sum(weights[term] for term in sorted(has)))
    share = covered / whole if whole > 0 else 0.0
    evidence = share + (max(by_vector[0].score, 0.0) if by_vector else share)
    enough = _ENOUGH if by_vector else _ENOUGH / 2
    return 0.0 if evidence < enough else min(evidence / _PLENTY, 1.0)


def _terms_of(row: PassageRow) -> list[str]:
    facts = row.document.facts
    place = row.document.path.decode("utf-8", "replace")
    return words.terms(
        " ".join((row.passage.author, row.passage.text, facts.title, place, *row.passage.headings, *facts.tags))
    )


def _piece(it: Scored) -> Piece:
    passage = it.row.passage
    return Piece(found_of(it), passage.start, passage.end)


def _pinned(scored: Ranking) -> list[Piece]:
    """Of the better half, what stands in standing instructions."""
    if not any(row.document.facts.pinned for row in scored.rows):
        return []
    found: list[Piece] = []
    least: float | None = None
    for it in scored:
        least = it.score * _PINNED_LEAST if least is None else least
        if it.score < least:
            break
        if it.row.document.facts.pinned:
            found.append(_piece(it))
    return found


def found_of(it: Scored) -> Found:
    """A passage as it comes back."""
    document, passage = it.row.document, it.row.passage
    return Found(
        path=os.fsdecode(document.path),
        first_line=passage.first_line,
        last_line=passage.last_line,
        text=passage.text,
        date_ns=it.row.date_ns,
        score=it.score,
        parts=it.parts,
        title=document.facts.title,
        tags=document.facts.tags,
        tokens=it.row.tokens,
        version=document.version.hex(),
    )
