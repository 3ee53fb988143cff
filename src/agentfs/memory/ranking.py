"""Candidates → scores. Pure.

A passage's score is a sum, and `parts` has each term of it as it entered:

- words and vectors: each list's scores stretched between its last (0) and its best (1), half and half;
- neighbours: 0.6 of the best such score within two places, between short passages (turns, items): an answer stands
  beside its question;
- document: up to 0.3 for documents whose best three passages are strong;
- author: 0.1 for what somebody says whom the question names, or the user to a question in the first person;
- date: 0.1 when it is of the time that the question names;
- archived: what is in the archive, or superseded by another note, keeps 0.65 of all that, unless the question is
  about the archive;
- importance and recency: in `balanced` at most 0.05 either way; in `importance` and `recency` the factor that the
  caller asked for, as the difference that it makes; in `relevance` nothing.

What each of them earned is in docs/search.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentfs.memory.question import When
from agentfs.memory.results import Strategy
from agentfs.memory.rows import PassageRow
from agentfs.memory.weighing import Integers, Weighed, in_order

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
ARCHIVED = 0.65
"""What is left of the score of what was put away."""
GENTLE = 0.05
"""The most that importance and recency move a passage in `balanced`."""
IMPORTANCE_UNSAID = 0.5
_BEST = 3
USERS = frozenset(("user", "human", "me", "i", "you"))
"""Authors that are the one who asks."""


@dataclass(frozen=True, slots=True)
class Scored:
    row: PassageRow
    score: float
    parts: Mapping[str, float]
    at: int = -1
    """Its place among the candidates."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in order, the best first."""

    weighed: Weighed
    order: Sequence[int]
    scores: Floats
    parts: Mapping[str, Floats]
    scale: float = 1.0
    """What scores and parts are multiplied by."""

    def __len__(self) -> int:
        return len(self.order)

    def scores_of(self, some: Sequence[int]) -> list[float]:
        """Of these candidates."""
        found: list[float] = (self.scores[some] * self.scale).tolist()
        return found

    def parts_of(self, some: Sequence[int]) -> Iterator[dict[str, float]]:
        """What their scores are the sums of."""
        parts = [(it[some] * self.scale).tolist() for it in self.parts.values()]
        for values in zip(*parts, strict=True):
            yield {name: value for name, value in zip(self.parts, values, strict=True) if value}


@dataclass(frozen=True, slots=True)
class Bearing:
    """What a question says besides its words, and what it wants."""

    authors: frozenset[str] = frozenset()
    """Who is meant."""
    users: bool = False
    """It is in the first person."""
    when: When | None = None
    archived: bool = False
    """It is about the archive: what is there counts in full."""
    strategy: Strategy = "balanced"
    now_ns: int = 0
    half_life_ns: int = 1


def ranked(weighed: Weighed, words: Floats, vectors: Floats, bearing: Bearing, *, full: int) -> Ranking:
    """The best first; ties by path and line.

    `words`: BM25; 0: none of the question's words. `vectors`: cosines; NaN: not among the nearest. `full`: a list of
    so many words' or vectors' hits was cut off there, and its last is worth nothing."""
    if not len(weighed):
        return Ranking(weighed, (), np.zeros(0), {})
    has_vector = ~np.isnan(vectors)
    share = VECTORS if has_vector.any() else 0.0
    parts: dict[str, Floats] = {
        "words": (1 - share) * stretched(words, words > 0, full),
        "vectors": share * stretched(np.where(has_vector, vectors, 0.0), has_vector, full),
    }
    base: Floats = parts["words"] + parts["vectors"]
    documents, of = np.unique(weighed.documents, return_inverse=True)
    parts["neighbours"] = NEIGHBOURS * _best_near(base, weighed, of, len(documents))
    base = base + parts["neighbours"]
    there = base > 0
    parts["document"] = there * DOCUMENT * _of_documents(base, of, len(documents))
    meant = np.array([_is_meant(name, bearing) for name in weighed.author_names])
    parts["author"] = np.where(there & meant[weighed.authors], AUTHOR, 0.0)
    if bearing.when is not None:
        parts["date"] = np.where(there & bearing.when.which(weighed.dates), DATE, 0.0)
    relevance = sum(parts.values(), np.zeros(len(weighed)))
    if not bearing.archived and weighed.archived.any():
        parts["archived"] = np.where(weighed.archived, relevance * (ARCHIVED - 1), 0.0)
        relevance = relevance + parts["archived"]
    parts |= _by_strategy(weighed, relevance, bearing)
    scores = sum(parts.values(), np.zeros(len(weighed)))
    return Ranking(
        weighed, in_order(scores, weighed.documents, weighed.ordinals, weighed.paths).tolist(), scores, parts
    )


def stretched(scores: Floats, among: npt.NDArray[np.bool_], full: int) -> Floats:
    """Between 0 and 1: the best is 1; the last is 0 where the list was cut off, else nothing is."""
    if not among.any():
        return np.zeros(len(scores))
    high = float(scores[among].max())
    low = max(float(scores[among].min()), 0.0) if among.sum() >= full else 0.0
    if high <= low:
        return among.astype(np.float64) * (high > 0)
    return np.asarray(np.clip((scores - low) / (high - low), 0, 1) * among, np.float64)


def _best_near(base: Floats, weighed: Weighed, of: npt.NDArray[np.intp], documents: int) -> Floats:
    """The best score within two places in the same document, where its passages are short."""
    short = _short(weighed.characters, of, documents)
    ordinals = weighed.ordinals
    key = of * (int(ordinals.max()) + 2 * DISTANCE + 1) + ordinals
    order = np.argsort(key, kind="stable")
    keys, values = key[order], base[order]
    best = np.zeros(len(weighed))
    for step in (*range(-DISTANCE, 0), *range(1, DISTANCE + 1)):
        at = np.minimum(np.searchsorted(keys, key + step), len(keys) - 1)
        np.maximum(best, np.where(keys[at] == key + step, values[at], 0.0), out=best)
    return np.asarray(best * short[of], np.float64)


def _short(characters: Integers, of: npt.NDArray[np.intp], documents: int) -> npt.NDArray[np.bool_]:
    """By document: whether the median passage that is at hand is short."""
    few = np.bincount(of, weights=characters <= SHORT, minlength=documents)
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


def _by_strategy(weighed: Weighed, relevance: Floats, bearing: Bearing) -> dict[str, Floats]:
    """What importance and age add or take away."""
    said = weighed.importances
    importance = np.where(np.isnan(said), IMPORTANCE_UNSAID, np.clip(said, 0.0, 1.0))
    ages = np.maximum(bearing.now_ns - weighed.dates.astype(np.float64), 0.0)
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
