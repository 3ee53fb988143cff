"""Candidates → scores. Pure.

A passage's score is a sum, and `parts` has each term of it as it entered:

- words and vectors: each list's scores stretched between its last (0) and its best (1), half and half;
- neighbours: 0.6 of the best such score within two places, between short passages (turns, items): an answer stands
  beside its question;
- document: up to 0.3 for documents whose best three passages are strong;
- author: 0.1 for what somebody says whom the question names, or the user to a question in the first person;
- date: 0.1 when it is of the time that the question names;
- importance and recency: in `balanced` at most 0.05 either way; in `importance` and `recency` the factor that the
  caller asked for, as the difference that it makes; in `relevance` nothing.

What each of them earned is in docs/search.md.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentfs.memory.question import When
from agentfs.memory.results import Strategy
from agentfs.memory.rows import PassageRow

Floats = npt.NDArray[np.float64]

VECTORS = 0.5
"""Their share beside words."""
NEIGHBOURS = 0.6
DISTANCE = 2
SHORT = 250
"""Characters: the median passage of a document whose neighbours speak for each other."""
DOCUMENT = 0.3
AUTHOR = 0.1
DATE = 0.1
GENTLE = 0.05
"""The most that importance and recency move a passage in `balanced`."""
IMPORTANCE_UNSAID = 0.5
_BEST = 3
USERS = frozenset(("user", "human", "me", "i", "you"))
"""Authors that are the one who asks."""


@dataclass(frozen=True, slots=True)
class Candidate:
    row: PassageRow
    words: float = 0.0
    """BM25; 0: none of the question's words."""
    vector: float | None = None
    """Cosine; None: not among the nearest."""


@dataclass(frozen=True, slots=True)
class Scored:
    row: PassageRow
    score: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in order, the best first. What is not looked at costs nothing."""

    rows: Sequence[PassageRow]
    order: Sequence[int]
    scores: Floats
    parts: Mapping[str, Floats]
    scale: float = 1.0
    """What scores and parts are multiplied by."""

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Scored]:
        for at in self.order:
            parts = {name: float(it[at]) * self.scale for name, it in self.parts.items() if it[at]}
            yield Scored(self.rows[at], float(self.scores[at]) * self.scale, parts)


@dataclass(frozen=True, slots=True)
class Bearing:
    """What a question says besides its words, and what it wants."""

    authors: frozenset[str] = frozenset()
    """Who is meant."""
    users: bool = False
    """It is in the first person."""
    when: When | None = None
    strategy: Strategy = "balanced"
    now_ns: int = 0
    half_life_ns: int = 1


def ranked(candidates: Sequence[Candidate], bearing: Bearing, *, full: int) -> Ranking:
    """The best first; ties by path and line. `full`: a list of so many words' or vectors' hits was cut off there, and
    its last is worth nothing."""
    if not candidates:
        return Ranking((), (), np.zeros(0), {})
    rows = [it.row for it in candidates]
    words = stretched(np.array([it.words for it in candidates]), np.array([it.words > 0 for it in candidates]), full)
    has_vector = np.array([it.vector is not None for it in candidates])
    vectors = stretched(np.array([it.vector or 0.0 for it in candidates]), has_vector, full)
    share = VECTORS if has_vector.any() else 0.0
    parts = {"words": (1 - share) * words, "vectors": share * vectors}
    base = parts["words"] + parts["vectors"]
    documents, of = np.unique(np.array([row.document.id for row in rows]), return_inverse=True)
    parts["neighbours"] = NEIGHBOURS * _best_near(base, rows, of, len(documents))
    base = base + parts["neighbours"]
    there = base > 0
    parts["document"] = DOCUMENT * there * _of_documents(base, of, len(documents))
    parts["author"] = AUTHOR * there * np.array([_is_meant(row.passage.author, bearing) for row in rows])
    if bearing.when is not None:
        parts["date"] = DATE * there * np.array([bearing.when.holds(row.date_ns) for row in rows])
    relevance = sum(parts.values(), np.zeros(len(rows)))
    parts |= _by_strategy(rows, relevance, bearing)
    scores = sum(parts.values(), np.zeros(len(rows)))
    order = np.argsort(-scores, kind="stable").tolist()
    return Ranking(rows, _untied(order, scores, rows), scores, parts)


def _untied(order: list[int], scores: Floats, rows: Sequence[PassageRow]) -> list[int]:
    """Equal scores by path and line, whatever order the candidates came in."""
    found: list[int] = []
    for _, same in itertools.groupby(order, key=scores.__getitem__):
        tied = list(same)
        if len(tied) > 1:
            tied.sort(key=lambda at: (rows[at].document.path, rows[at].ordinal))
        found += tied
    return found


def stretched(scores: Floats, among: npt.NDArray[np.bool_], full: int) -> Floats:
    """Between 0 and 1: the best is 1; the last is 0 where the list was cut off, else nothing is."""
    if not among.any():
        return np.zeros(len(scores))
    high = float(scores[among].max())
    low = max(float(scores[among].min()), 0.0) if among.sum() >= full else 0.0
    if high <= low:
        return among.astype(np.float64) * (high > 0)
    return np.asarray(np.clip((scores - low) / (high - low), 0, 1) * among, np.float64)


def _best_near(base: Floats, rows: Sequence[PassageRow], of: npt.NDArray[np.intp], documents: int) -> Floats:
    """The best score within two places in the same document, where its passages are short."""
    short = _short([len(row.passage.text) for row in rows], of, documents)
    ordinals = np.array([row.ordinal for row in rows])
    key = of * (int(ordinals.max()) + 2 * DISTANCE + 1) + ordinals
    order = np.argsort(key, kind="stable")
    keys, values = key[order], base[order]
    best = np.zeros(len(rows))
    for step in (*range(-DISTANCE, 0), *range(1, DISTANCE + 1)):
        at = np.minimum(np.searchsorted(keys, key + step), len(keys) - 1)
        np.maximum(best, np.where(keys[at] == key + step, values[at], 0.0), out=best)
    return np.asarray(best * short[of], np.float64)


def _short(lengths: Sequence[int], of: npt.NDArray[np.intp], documents: int) -> npt.NDArray[np.bool_]:
    """By document: whether the median passage that is at hand is short."""
    few = np.bincount(of, weights=np.array(lengths) <= SHORT, minlength=documents)
    return np.asarray(2 * few >= np.bincount(of, minlength=documents), np.bool_)


def _of_documents(base: Floats, of: npt.NDArray[np.intp], documents: int) -> Floats:
    """For each passage how strong its document is, 0 to 1: the sum of its best three."""
    order = np.lexsort((-base, of))
    sorted_of = of[order]
    starts = np.searchsorted(sorted_of, np.arange(documents))
    place = np.arange(len(of)) - starts[sorted_of]
    sums = np.bincount(sorted_of[place < _BEST], weights=base[order][place < _BEST], minlength=documents)
    top = float(sums.max())
    return np.asarray(sums[of] / top if top > 0 else np.zeros(len(of)), np.float64)


def _is_meant(author: str, bearing: Bearing) -> bool:
    return author in bearing.authors or (bearing.users and author.casefold() in USERS)


def _by_strategy(rows: Sequence[PassageRow], relevance: Floats, bearing: Bearing) -> dict[str, Floats]:
    """What importance and age add or take away."""
    said = [row.document.facts.importance for row in rows]
    importance = np.array([IMPORTANCE_UNSAID if it is None else min(max(it, 0.0), 1.0) for it in said], np.float64)
    ages = np.array([max(bearing.now_ns - row.date_ns, 0) for row in rows], np.float64)
    fresh: Floats = np.exp2(-ages / max(bearing.half_life_ns, 1)).astype(np.float64)
    if bearing.strategy == "recency":
        return {"recency": relevance * (fresh - 1)}
    if bearing.strategy == "importance":
        return {"importance": relevance * (importance - 1)}
    if bearing.strategy == "relevance":
        return {}
    there = relevance > 0
    gentle = np.asarray(2 * GENTLE * (importance - IMPORTANCE_UNSAID), np.float64)
    return {"importance": there * gentle, "recency": there * GENTLE * fresh}
