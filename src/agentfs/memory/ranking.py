"""Candidates → scores. Pure.

A passage's score is a sum, and `parts` has each term of it as it entered:

- words and vectors: each list's scores stretched between its last (0) and its best (1), half and half, or with 0.4
  for vectors that know no order of words, 0.1 where an English embedder knows but letters;
- neighbours: 0.6 of the best such score within two places, between short passages (turns, items): an answer stands
  beside its question;
- document: up to 0.3 for documents whose best three passages are strong;
- author: 0.1 for what somebody says whom the question names, and 0.3 for what the user says, to a question in the
  first person, or for what the assistant says, to one that asks what "you" said;
- asks: 0.1 less for the short questions that people ask each other: the answer stands beside them;
- date: 0.1 when it is of the time that the question names;
- archived: what is in the archive, or superseded by another note, keeps 0.65 of all that, unless the question is
  about the archive;
- importance and recency: in `balanced` at most 0.05 either way; in `importance` and `recency` the factor that the
  caller asked for, as the difference that it makes; in `relevance` nothing.

What each of them earned is in docs/search.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentfs.memory.question import When
from agentfs.memory.results import Strategy
from agentfs.memory.rows import PassageRow
from agentfs.memory.weighing import Weighed

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

VECTORS = 0.5
"""Their share beside words."""
BAG_VECTORS = 0.4
"""The same, of an embedder to which the order of words means nothing."""
SPELLED_VECTORS = 0.1
"""The same, where the embedder knows the question's letters, but not its words."""
NEIGHBOURS = 0.6
DISTANCE = 2
SHORT = 250
"""Characters: the median passage of a document whose neighbours speak for each other."""
DOCUMENT = 0.3
AUTHOR = 0.1
OWN = 0.3
"""The same in a conversation with a program: what the user said to a question in the first person, what the assistant
said to one that says you."""
ASKS = -0.1
DATE = 0.1
ARCHIVED = 0.65
"""What is left of the score of what was put away."""
GENTLE = 0.05
"""The most that importance and recency move a passage in `balanced`."""
IMPORTANCE_UNSAID = 0.5
_UINT16_MAX = 65_535
_SORTED_FIRST = 64
"""So many are sorted at once, if any."""
_BEST = 3
USERS = frozenset(("user", "human", "me", "i", "you"))
"""Authors that are the one who asks."""
ASSISTANTS = frozenset(("assistant", "ai", "agent", "bot", "model", "claude", "chatgpt", "gpt", "gemini", "copilot"))
"""Authors that are asked."""


@dataclass(slots=True)
class Scored:
    row: PassageRow
    score: float
    parts: Mapping[str, float]
    at: int = -1
    """Its place among the candidates."""


class Ranking:
    """Candidates and their scores. They are sorted as far as one looks."""

    __slots__ = ("_order", "parts", "scale", "scores", "weighed")

    def __init__(self, weighed: Weighed, scores: Floats, parts: Mapping[str, Floats]) -> None:
        self.weighed = weighed
        self.scores = scores
        self.parts = parts
        """What the scores are the sums of; what is missing is 0 for all."""
        self.scale = 1.0
        """What scores and parts are multiplied by."""
        self._order: Places = np.zeros(0, np.intp)

    def __len__(self) -> int:
        return len(self.scores)

    def first(self, many: int) -> Places:
        """The best so many, the best first; ties by path and line."""
        if len(self._order) < min(many, len(self.scores)):
            self._order = self._sorted(max(many, _SORTED_FIRST))
        return self._order[:many]

    def _sorted(self, many: int) -> Places:
        """At least so many."""
        if 2 * many >= len(self):
            everything: Places = (-self.scores).argsort(kind="stable")
            return everything
        last = len(self) - many
        found = self.scores.copy()
        found.partition(last)
        some = (self.scores >= found[last]).nonzero()[0]
        best: Places = some[(-self.scores[some]).argsort(kind="stable")]
        return best

    def scores_of(self, some: Places) -> list[float]:
        """Of these candidates."""
        found: list[float] = (self.scores[some] * self.scale).tolist()
        return found

    def parts_of(self, some: Iterable[int]) -> Iterator[dict[str, float]]:
        """What their scores are the sums of."""
        parts, scale = self.parts.items(), self.scale
        for at in some:
            yield {name: value for name, of in parts if (value := of.item(at) * scale)}


@dataclass(slots=True)
class Bearing:
    """What a question says besides its words, and what it wants."""

    authors: frozenset[str] = frozenset()
    """Who is meant."""
    users: bool = False
    """It is in the first person."""
    assistants: bool = False
    """It asks what the one who is asked has said."""
    when: When | None = None
    bag: bool = False
    """Vectors are of an embedder to which the order of words means nothing."""
    spelled: bool = False
    """They are of the question's letters."""
    archived: bool = False
    """It is about the archive: what is there counts in full."""
    strategy: Strategy = "balanced"
    now_ns: int = 0
    half_life_ns: int = 1


@dataclass(slots=True)
class Hits:
    """What words or vectors found."""

    at: Places | slice
    """Among the candidates."""
    scores: npt.NDArray[np.float32]


def ranked(weighed: Weighed, words: Hits, vectors: Hits, bearing: Bearing, *, full: int) -> Ranking:
    """The best first; ties by path and line.

    `words`: by BM25. `vectors`: by cosine. `full`: a list of so many hits was cut off there, and its last is worth
    nothing."""
    many = len(weighed)
    if not many:
        return Ranking(weighed, np.zeros(0), {})
    parts: dict[str, Floats] = {}
    if len(vectors.scores):
        share = SPELLED_VECTORS if bearing.spelled else BAG_VECTORS if bearing.bag else VECTORS
        parts["words"] = (1 - share) * _spread(words, many, full)
        parts["vectors"] = share * _spread(vectors, many, full)
        base = parts["words"] + parts["vectors"]
    else:
        base = parts["words"] = _spread(words, many, full)
    base = _together(base, weighed, parts)
    there = base > 0
    relevance = base + parts["document"]
    asking = weighed.asking
    if asking is not None:
        parts["asks"] = np.where(there & asking & (weighed.characters <= SHORT), ASKS, 0.0)
        relevance = relevance + parts["asks"]
    meant = _meant(weighed, bearing)
    if meant is not None:
        parts["author"] = there * meant
        relevance = relevance + parts["author"]
    if bearing.when is not None:
        parts["date"] = np.where(there & bearing.when.which(weighed.dates), DATE, 0.0)
        relevance = relevance + parts["date"]
    archived = None if bearing.archived else weighed.archived
    if archived is not None:
        parts["archived"] = np.where(archived, relevance * (ARCHIVED - 1), 0.0)
        relevance = relevance + parts["archived"]
    strategic = _by_strategy(weighed, relevance, bearing)
    scores = relevance
    for part in strategic.values():
        scores = scores + part
    return Ranking(weighed, scores, parts | strategic)


def _together(base: Floats, weighed: Weighed, parts: dict[str, Floats]) -> Floats:
    """What stands beside a passage, and in its document: sets these parts, and returns `base` with that of the
    neighbours."""
    if weighed.alone:
        parts["document"] = DOCUMENT * _of_best(base)
        return base
    new = np.empty(len(base), np.bool_)
    new[0] = True
    np.not_equal(weighed.documents[1:], weighed.documents[:-1], out=new[1:])
    if new.all():  # each is the only one of its document, as short notes are
        parts["document"] = DOCUMENT * _of_best(base)
        return base
    of, starts = new.cumsum() - 1, new.nonzero()[0]
    near = parts["neighbours"] = NEIGHBOURS * _best_near(base, weighed, of, starts)
    base = base + near
    parts["document"] = (base > 0) * DOCUMENT * _of_documents(base, of, starts)
    return base


def _spread(hits: Hits, many: int, full: int) -> Floats:
    """Of so many candidates, between 0 and 1: the best is 1; the last is 0 where the list was cut off, else nothing
    is."""
    found = np.zeros(many)
    if not len(hits.scores):
        return found
    scores = hits.scores.astype(np.float64)
    high = scores.item(scores.argmax())
    low = max(scores.item(scores.argmin()), 0.0) if len(scores) >= full else 0.0
    found[hits.at] = np.maximum((scores - low) / (high - low), 0) if high > low else high > 0
    return found


def _best_near(base: Floats, weighed: Weighed, of: Places, starts: Places) -> Floats:
    """The best score within two places in the same document, where its passages are short."""
    best = np.zeros(len(base))
    for step in range(1, DISTANCE + 1):  # what is near stands near: candidates are in order
        near = weighed.places[step:] - weighed.places[:-step] <= DISTANCE
        np.maximum(best[:-step], base[step:] * near, out=best[:-step])
        np.maximum(best[step:], base[:-step] * near, out=best[step:])
    return np.asarray(best * _short(weighed, starts)[of], np.float64)


def _short(weighed: Weighed, starts: Places) -> Mask:
    """By document: whether the median passage that is at hand is short."""
    short = np.where(weighed.characters <= SHORT, 1, -1)
    return np.add.reduceat(short, starts) >= 0


def _of_documents(base: Floats, of: Places, starts: Places) -> Floats:
    """For each passage how strong its document is, 0 to 1: the sum of its best three."""
    order = (-base).argsort()
    if len(starts) <= _UINT16_MAX:
        of = of.astype(np.uint16)  # which are sorted in less time
    order = order[of[order].argsort(kind="stable")]
    sorted_of = of[order]
    best = order[np.arange(len(of)) - starts[sorted_of] < _BEST]
    sums: Floats = np.bincount(of[best], weights=base[best], minlength=len(starts)).astype(np.float64, copy=False)
    return _of_best(sums)[of]


def _of_best(strengths: Floats) -> Floats:
    """What part of the greatest each is."""
    top = strengths.item(strengths.argmax())
    return strengths / top if top > 0 else np.zeros(len(strengths))


def _meant(weighed: Weighed, bearing: Bearing) -> Floats | None:
    """What each is worth for who says it; None: nobody is meant."""
    if not (bearing.authors or bearing.users or bearing.assistants) or not weighed.said:
        return None
    authors = weighed.authors
    worth = np.bincount(authors).astype(np.float64)
    for it in worth.nonzero()[0].tolist():
        worth[it] = _worth(weighed.author_names[it], bearing)
    return worth[authors] if worth.any() else None


def _worth(author: str, bearing: Bearing) -> float:
    name = author.casefold()
    if (bearing.users and name in USERS) or (bearing.assistants and name in ASSISTANTS):
        return OWN
    return AUTHOR if author in bearing.authors else 0.0


def _by_strategy(weighed: Weighed, relevance: Floats, bearing: Bearing) -> dict[str, Floats]:
    """What importance and age add or take away."""
    if bearing.strategy == "relevance":
        return {}
    if bearing.strategy == "importance":
        return {"importance": relevance * (_importance(weighed.importances) - 1)}
    ages = weighed.dates.astype(np.float64)
    np.subtract(bearing.now_ns, ages, out=ages)
    np.maximum(ages, 0.0, out=ages)
    fresh: Floats = np.exp2(ages / -max(bearing.half_life_ns, 1))
    if bearing.strategy == "recency":
        return {"recency": relevance * (fresh - 1)}
    there = relevance > 0
    recency = {"recency": there * GENTLE * fresh}
    said = weighed.importances
    if said is None or np.isnan(said).all():
        return recency
    gentle = np.asarray(2 * GENTLE * (_importance(said) - IMPORTANCE_UNSAID), np.float64)
    return {"importance": there * gentle} | recency


def _importance(said: Floats | None) -> Floats | float:
    if said is None:
        return IMPORTANCE_UNSAID
    return np.where(np.isnan(said), IMPORTANCE_UNSAID, np.clip(said, 0.0, 1.0))
