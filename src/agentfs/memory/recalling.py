"""Recall and search: a question in, the passages that serve it out, verbatim."""

import calendar
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agentfs.errors import AgentFSError
from agentfs.memory import words
from agentfs.memory.asking import Asking
from agentfs.memory.embedding import BAGS, ENGLISH, Embedder, Vectors, unit
from agentfs.memory.headers import cost_alone
from agentfs.memory.image import Floats, Slots, best_first
from agentfs.memory.index import Index
from agentfs.memory.names import is_archived
from agentfs.memory.packing import FLOOR, Offer, Piece, fused, nothing, packed
from agentfs.memory.question import addressed, first_person, meaning, named, telling, when
from agentfs.memory.ranking import DISTANCE, Bearing, Hits, Places, Ranking, Scored, ranked
from agentfs.memory.results import HALF_LIFE_NS, Asked, Found, Recalled, Strategy
from agentfs.memory.rows import Filters, PassageRow, know_below
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
_QUESTION_TERMS_MAX = 24
"""A longer text is no question: its vector is one of the whole, and a date in it is not asked for."""
_SPELLED = 1.7
"""Characters a token. Where the tokens of a bag of words hold fewer, it has no such words."""
_LATIN_LAST = "\u024f"
_COMMON_FROM = 40
"""Passages; in fewer no word counts as common."""
_ENOUGH, _ENOUGH_BY_WORDS, _ENOUGH_BY_BAG = 0.35, 0.2, 0.5
"""Less evidence than this, and nothing is relevant: few questions with an answer are refused, and most that are about
what is not there (docs/decisions/0161). Less of it where there are no vectors, which find what has other words; more
where the vectors know but single words, and not one of the question's is here."""
_PLENTY = 1.5
_MANY = 50
"""Passages. In a smaller memory a word that is there is no less rare than in one of so many."""
_PINNED_LEAST = 0.4
"""A standing instruction with less than this part of the best score has nothing to do with the question."""
_LOOKED_FIRST = 64
"""So many candidates are looked at in order at first, then twice as many."""
_NONE: tuple[Slots, Floats] = np.zeros(0, np.int64), np.zeros(0, np.float32)
_MONTHS = frozenset(words.terms(" ".join(calendar.month_name)))
_JUDGED = 12
"""So many of the best are looked at to tell whether anything is relevant."""


@dataclass(slots=True)
class Looked:
    """What a question found before anything is packed or cut. Texts are read as far as one looks."""

    index: Index
    ranking: Ranking

    @property
    def strength(self) -> float:
        """How much evidence there is that anything answers; 0: too little."""
        return self.ranking.scale

    @property
    def scanned(self) -> int:
        return len(self.ranking)

    @property
    def scored(self) -> Iterator[Scored]:
        """The best first; what is gone in this moment is left out."""
        for some in self.in_order(_LOOKED_FIRST):
            yield from self.read(some)

    def listed(self, limit: int) -> Iterator[Scored]:
        """At most so many of `scored`, without what has no word of the question and next to nothing of the best
        score: in a small memory every passage is a candidate."""
        ranking, left = self.ranking, limit
        for some in self.in_order(max(limit, 1)):
            least = ranking.scores[ranking.first(1)[0]] * ranking.scale * FLOOR
            wanted = some[(ranking.scores[some] * ranking.scale >= least) | (ranking.parts["words"][some] > 0)]
            for it in self.read(wanted):
                if not left:
                    return
                yield it
                left -= 1
            if not left:
                return

    def in_order(self, first: int) -> Iterator[Places]:
        """The candidates, the best first: so many, then each time twice as many."""
        start, end = 0, first
        while start < len(self.ranking):
            yield self.ranking.first(end)[start:]
            start, end = end, 3 * end - start

    def read(self, some: Places) -> Iterator[Scored]:
        """These of the candidates."""
        places, ranking = some.tolist(), self.ranking
        of = zip(places, self.rows(some), ranking.scores_of(some), ranking.parts_of(places), strict=True)
        for at, row, score, parts in of:
            if row is not None:
                yield Scored(row, score, parts, at)

    def rows(self, some: Places) -> list[PassageRow | None]:
        """What these of the candidates say. None: it is gone."""
        weighed = self.ranking.weighed
        found = self.index.found(weighed.ids_of(some))
        # an index made anew has the same ids
        return [
            row if row is not None and row.document.ino == ino else None
            for ino, row in zip(weighed.inos_of(some), found, strict=True)
        ]


def recall(index: Index, embedder: Embedder | None, counter: TokenCounter, asked: Asked) -> Recalled:
    """What serves the question best within its budget. Never fails for what a question holds.

    Where the embedder does not answer, words do. Raises what the index raises (`Unavailable`, `NoSpace`)."""
    limit = max(asked.limit, min(asked.max_tokens // _TOKENS_A_CANDIDATE, _CANDIDATES_MAX))
    looked = look(index, embedder, asked, limit)
    if looked.strength <= 0:
        return nothing(max_tokens=asked.max_tokens, counter=counter, scanned=looked.scanned)
    offers = _Offers(looked, counter)
    return packed(
        offers,
        max_tokens=asked.max_tokens,
        counter=counter,
        scanned=looked.scanned,
        pinned=_pinned(looked.ranking, offers),
        parts=looked.ranking.parts_of,
    )


def search(index: Index, embedder: Embedder | None, counter: TokenCounter, asked: Asked) -> list[Found]:
    """The best passages, each as a snippet around what matched: a verbatim slice. At most `limit`."""
    looked = look(index, embedder, asked, max(asked.limit, 200))
    if looked.strength <= 0:
        return []
    wanted = frozenset(words.query(asked.query).terms)
    return [snippet(found_of(it), wanted, counter) for it in looked.listed(asked.limit)]


def look(index: Index, embedder: Embedder | None, asked: Asked, limit: int) -> Looked:
    """Candidates by words and by vectors, with their neighbours, ranked."""
    query = words.query(asked.query)
    asking = index.asked(query, filters_of(asked))
    word_slots, word_scores = asking.by_words(limit)
    spoken_of = named(asked.query, asking.authors_of(word_slots))
    rarity = _rarity(query, asking)
    knows = embedder if embedder is not None and index.embedder == embedder.name else None
    empty = _empty_words(query, spoken_of, asking) if knows is not None else ()
    vector = _vector(index, knows, asked, empty, rarity)
    near_slots, cosines = asking.by_vector(vector, limit) if vector is not None else _NONE
    slots, at_words, at_near = _candidates(asking, (word_slots, word_scores), (near_slots, cosines))
    weighed = asking.weighed(slots)
    bag = embedder is not None and embedder.name in BAGS
    yours = weighed.said and addressed(asked.query)
    bearing = Bearing(
        authors=spoken_of,
        users=weighed.said and not yours and first_person(asked.query),
        assistants=yours,
        when=when(asked.query, asked.now_ns) if len(rarity) <= _QUESTION_TERMS_MAX else None,
        bag=bag,
        spelled=_knows_letters_only(embedder, asked.query, index.counter),
        archived=is_archived(asked.path),
        strategy=asked.strategy,
        now_ns=asked.now_ns,
        half_life_ns=asked.half_life_ns,
    )
    ranking = ranked(weighed, Hits(at_words, word_scores), Hits(at_near, cosines), bearing, full=limit)
    nearest = float(cosines.max()) if len(cosines) else None
    ranking.scale = _strength(Looked(index, ranking), asking, rarity, nearest)
    return Looked(index, ranking)


def _candidates(
    asking: Asking, by_words: tuple[Slots, Floats], by_vector: tuple[Slots, Floats]
) -> tuple[Slots, Places | slice, Places | slice]:
    """What was found, with the neighbours of the best of it, by path and line; and where in that each list stands."""
    near = _NONE[0]
    if asking.some_long:
        best = [slots[best_first(scores)[:_AROUND]] for slots, scores in (by_words, by_vector)]
        near = asking.around(np.concatenate(best), DISTANCE)
    if not len(near) and not len(by_vector[0]):
        return by_words[0], slice(None), slice(0)
    slots = asking.in_order(by_words[0], by_vector[0], near)
    at = np.empty(int(slots.max()) + 1, np.intp)
    at[slots] = np.arange(len(slots))
    return slots, at[by_words[0]], at[by_vector[0]]


def filters_of(asked: Asked) -> Filters:
    return Filters(asked.path, asked.tags, asked.since_ns, asked.now_ns, asked.readable, asked.hidden)


def _vector(
    index: Index, embedder: Embedder | None, asked: Asked, without: Iterable[str], rarity: Mapping[str, float]
) -> Vectors | None:
    """Of the question; None: words answer alone."""
    if embedder is None or index.embedder != embedder.name:
        return None  # words answer while passages are embedded
    out = frozenset(without)
    bag = embedder.name in BAGS
    told = _told(asked.query, out, rarity, index.counter) if bag and len(rarity) <= _QUESTION_TERMS_MAX else {}
    texts = list(told) or [" ".join(telling(asked.query, out)) or asked.query if bag else meaning(asked.query, out)]
    try:
        vectors = embedder.embed(texts)
    except AgentFSError as error:  # an endpoint that is away: `status` says so, and words answer
        _LOG.warning("asked by words only: %s", error)
        return None
    if told:  # one by one, so that the rare words say most
        vectors = unit(np.asarray([list(told.values())], np.float32) @ vectors)
    return vectors[0] if vectors[0].any() else None


def _knows_letters_only(embedder: Embedder | None, query: str, counter: TokenCounter) -> bool:
    """Whether the question is in a language of which the embedder has no words."""
    if embedder is None or embedder.name not in ENGLISH:
        return False
    query = query[: words.QUERY_CHARACTERS_MAX]
    if embedder.name in BAGS:
        return _is_spelled(query, counter)
    letters = [it for it in query if it.isalpha()]
    return 2 * sum(it > _LATIN_LAST for it in letters) > len(letters)


def _is_spelled(text: str, counter: TokenCounter) -> bool:
    """Whether its tokens are letters (Chinese, Greek, Hindi, Thai, digits, …): a mean of letters means nothing."""
    return not (text.isascii() and text.isalpha()) and len(text) < _SPELLED * counter.count(text)


def _told(
    query: str, without: frozenset[str], rarity: Mapping[str, float], counter: TokenCounter
) -> dict[str, float]:
    """The words that say what is meant, and how rare each is."""
    found = {}
    for word in telling(query, without):
        if _is_spelled(word, counter):
            continue
        if (rare := max((rarity.get(term, 0.0) for term in words.terms(word)), default=0.0)) > 0:
            found[word] = rare
    return found


def _rarity(query: words.Query, asking: Asking) -> dict[str, float]:
    """How rare each term of the question is here."""
    many = max(asking.many, _MANY)
    return {
        term: math.log1p((many - has + 0.5) / (has + 0.5))
        for term, has in zip(query.terms, asking.frequencies, strict=True)
    }


def _empty_words(query: words.Query, names: Iterable[str], asking: Asking) -> list[str]:
    """Terms of the question that tell no passage from another: who speaks, and what stands everywhere."""
    found = [term for name in names for term in words.terms(name)]
    if asking.many >= _COMMON_FROM:
        most = _COMMON * asking.many
        found += [term for term, has in zip(query.terms, asking.frequencies, strict=True) if has > most]
    return found


def _strength(looked: Looked, asking: Asking, rarity: Mapping[str, float], nearest: float | None) -> float:
    """How much evidence there is that anything here answers, 0 to 1; 0: too little.

    The part of the question, by how rare its words are here, that one of the best passages holds, and how near the
    nearest vector is."""
    best = looked.ranking.first(_JUDGED)
    if not len(best):
        return 0.0
    whole = sum(rarity.values())
    share = max(_held(looked, best, asking, rarity)) / whole if whole > 0 else 0.0
    evidence = share + (share if nearest is None else max(nearest, 0.0))
    if nearest is None:
        enough = _ENOUGH_BY_WORDS
    else:
        enough = _ENOUGH_BY_BAG if looked.index.embedder in BAGS and not share else _ENOUGH
    return 0.0 if evidence < enough else min(evidence / _PLENTY, 1.0)


def _held(looked: Looked, best: Places, asking: Asking, rarity: Mapping[str, float]) -> Sequence[float]:
    """How rare, together, the question's terms are that each of the best passages holds, its date not counted."""
    worths = {term: rarity[term] for term in sorted(rarity)}
    held = None if any(map(_of_dates, worths)) else asking.held(worths, looked.ranking.weighed.slots[best])
    if held is None:  # a term of dates, or one that was not read: the texts tell
        texts = [() if row is None else frozenset(_terms_of(row)) for row in looked.rows(best)]
        held = [0.0] * len(texts)
        for term, rare in worths.items():
            for at, text in enumerate(texts):
                if term in text:
                    held[at] += rare
    return held


def _of_dates(term: str) -> bool:
    """Whether a date may hold it."""
    return term.isdigit() or term in _MONTHS


def _terms_of(row: PassageRow) -> list[str]:
    facts = row.document.facts
    place = row.document.path.decode("utf-8", "replace")
    return words.terms(
        " ".join((row.passage.author, row.passage.text, facts.title, place, *row.passage.headings, *facts.tags))
    )


class _Offers:
    """The candidates as they may be packed. Texts are read for those that fit."""

    def __init__(self, looked: Looked, counter: TokenCounter) -> None:
        self._looked = looked
        self._counter = counter
        self._counted = counter.name == looked.index.counter.name
        """Whether the index's tokens are this counter's."""

    def listed(self) -> Iterator[Sequence[Offer]]:
        ranking = self._looked.ranking
        weighed = ranking.weighed
        for some in self._looked.in_order(_LOOKED_FIRST):
            files = weighed.documents[some].tolist()
            yield list(zip(ranking.scores_of(some), weighed.tokens_of(some), files, some.tolist(), strict=True))

    def header(self, at: int, counter: TokenCounter) -> int:
        weighed = self._looked.ranking.weighed
        return weighed.header_cost(at, counter) if self._counted else cost_alone(counter, weighed.heading(at))

    def read(self, some: Sequence[int]) -> list[Piece | None]:
        looked, at = self._looked, np.array(some, np.intp)
        rows, scores = looked.rows(at), looked.ranking.scores_of(at)
        files = looked.ranking.weighed.documents[at].tolist()
        if self._counted:
            know_below(rows, self._counter)
        return [
            None
            if row is None
            else Piece(row.found, score, row.passage.start, row.passage.end, file, row.gist, row.below, place)
            for row, score, file, place in zip(rows, scores, files, some, strict=True)
        ]


def _pinned(ranking: Ranking, offers: _Offers) -> list[Piece]:
    """Of the better half, what stands in standing instructions."""
    pinned = ranking.weighed.pinned
    if pinned is None or not pinned.any():
        return []
    least = ranking.scores[ranking.first(1)[0]] * _PINNED_LEAST
    wanted = (pinned & (ranking.scores >= least)).nonzero()[0]
    some = wanted[(-ranking.scores[wanted]).argsort(kind="stable")]
    return [it for it in offers.read(some.tolist()) if it is not None]


def found_of(it: Scored) -> Found:
    """A passage as it comes back."""
    return it.row.found_as(it.score, it.parts)
