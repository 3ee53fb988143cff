"""What of the index stands in memory, so that a question reads no row of what it only weighs.

Each passage has a slot: its place in the arrays. Slots are only added; a passage that is gone leaves a dead one, and
with many of them the image is made anew. FTS5 keeps the terms; those that were asked for are here as well, as arrays
of slots and of weighted frequencies, and scored with BM25 a term at a time: at 100,000 passages a tenth of the time
that FTS5's own ranking takes (docs/decisions/0150). All is exact: no candidate is left out by approximation, but the
most common of a query's words once its rarer ones name `_POSTINGS_MAX` places.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agentfs.memory.embedding import Vectors
from agentfs.memory.learned import PASSAGES_MAX, Learned
from agentfs.memory.names import is_archived
from agentfs.memory.places import Places
from agentfs.memory.speakers import is_role
from agentfs.memory.weighing import Weighed
from agentfs.replica.database import Connection, Row

COLUMNS = {"author": 1.0, "date": 1.0, "place": 1.0, "tags": 1.0, "text": 1.0}
"""Of the table `words`, with the weight of a term that stands there."""
_K1, _B = 1.2, 0.75
_POSTINGS_MAX = 400_000
"""Of one query."""
_KEPT_POSTINGS_MAX = 8_000_000
"""12 bytes each."""
_DEAD_SHARE_MAX = 0.3
_DEAD_MIN = 1024
_ORDINAL_BITS = 22
_NEVER = np.iinfo(np.int64).max
_OF_SLOTS = (
    "_ids", "_documents", "_ordinals", "_dates", "_lengths", "_characters", "_tokens", "_authors", "_asking",
    "_alive", "_vectored",
)  # fmt: skip
_COLUMN_NAMES = " ".join(COLUMNS)
_WEIGHT_AT = np.zeros(len(_COLUMN_NAMES) + 1, np.float32)
for _name, _weight in COLUMNS.items():
    _WEIGHT_AT[_COLUMN_NAMES.index(_name) + 1] = _weight
_PLACES = f"group_concat(doc*64+instr('{_COLUMN_NAMES}', col))"
"""Of the rows of a term, in SQL."""

Floats = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Hit(NamedTuple):
    passage_id: int
    score: float
    """Higher is better."""


@dataclass(frozen=True, slots=True)
class PassageNow:
    """What a question weighs of a passage."""

    id: int
    ordinal: int
    date_ns: int
    length: int
    characters: int
    tokens: int
    author: str
    asks: bool
    terms: Mapping[str, float]
    """With their weighted frequencies."""
    vector: bytes | None = None
    """As the database holds it."""


@dataclass(frozen=True, slots=True)
class DocumentNow:
    id: int
    ino: int
    path: bytes
    expires_ns: int | None
    importance: float | None
    pinned: bool
    superseded: bool
    passages: list[PassageNow]
    """In order."""


@dataclass(slots=True)
class _Term:
    """Where a term stands."""

    slots: Slots
    frequencies: Floats
    """Each occurrence with the weight of its column."""
    deaths: int
    """`Image._deaths` up to which dead slots were taken out."""
    more: list[tuple[int, float]] = field(default_factory=list)
    """Of passages that came since."""


class Image:
    """Not safe from several threads: the index has a lock for it."""

    def __init__(self, sql: Connection) -> None:
        """Read everything (about 5 µs a passage)."""
        self.count = 0
        """Of slots."""
        self._ids = np.zeros(1024, np.int64)
        self._documents = np.zeros(1024, np.int64)
        self._ordinals = np.zeros(1024, np.int64)
        self._dates = np.zeros(1024, np.int64)
        self._lengths = np.zeros(1024, np.float32)
        self._characters = np.zeros(1024, np.int64)
        self._tokens = np.zeros(1024, np.int64)
        self._authors = np.zeros(1024, np.int64)
        """By their numbers."""
        self._author_numbers: dict[str, int] = {}
        self._author_names: list[str] = []
        self._asking = np.zeros(1024, np.bool_)
        self._alive = np.zeros(1024, np.bool_)
        self._vectored = np.zeros(1024, np.bool_)
        self._matrix: Vectors = np.zeros((0, 0), np.float32)
        self._slot_of: dict[int, int] = {}
        self._places: dict[int, int] = {}
        """By the document's id: its place in what follows."""
        self._order = Places()
        self._inos = np.zeros(1024, np.int64)
        self._slots_of: list[list[int]] = []
        """In the document's order."""
        self._expires = np.zeros(1024, np.int64)
        self._importances = np.zeros(1024, np.float64)
        """NaN: not said."""
        self._pinned = np.zeros(1024, np.bool_)
        self._archived = np.zeros(1024, np.bool_)
        self._deaths = 0
        self._terms: dict[str, _Term] = {}
        """The last asked for is the last."""
        self._postings = 0
        self._learned = Learned(_PLACES)
        self._norms: Floats | None = None
        self._by_id: tuple[Slots, Slots] | None = None
        self._ascending = True
        """Whether ids grow with their slots: until one that was here is read again."""
        self._slots = np.arange(1024)
        self._load(sql)

    # ---- what is in it ----

    @property
    def alive(self) -> int:
        """Passages that are here."""
        return self.count - self._deaths

    @property
    def worn(self) -> bool:
        """So much is dead that it should be made anew."""
        return self._deaths > _DEAD_MIN and self._deaths > self.count * _DEAD_SHARE_MAX

    def document_is(self, now: DocumentNow) -> None:
        """Take a document in as it is now. Passages that were here, and bring no vector, keep theirs."""
        kept = self._vectors_of(now.id)
        self.document_gone(now.id)
        self._add_document((now.id, now.ino, now.path, now.expires_ns, now.importance, now.pinned, now.superseded))
        self._order.add(now.path)
        for it in now.passages:
            self._add(
                (it.id, now.id, it.ordinal, it.date_ns, it.length, it.characters, it.tokens, it.author, it.asks)
            )
            if it.vector is not None:
                self._set_vector(self.count - 1, it.vector)
            elif it.id in kept:
                self._matrix = _roomy(self._matrix, self.count - 1)
                self._matrix[self.count - 1] = kept[it.id]
                self._vectored[self.count - 1] = True
            for term in it.terms.keys() & self._terms.keys():
                self._terms[term].more.append((self.count - 1, it.terms[term]))
            self._learned.came(
                self.count - 1, {term: it.terms[term] for term in it.terms.keys() - self._terms.keys()}
            )

    def _vectors_of(self, document: int) -> dict[int, Vectors]:
        place = self._places.get(document)
        slots = [] if place is None else self._slots_of[place]
        return {int(self._ids[it]): self._matrix[it].copy() for it in slots if self._vectored[it]}

    def document_gone(self, document: int) -> None:
        """Repeating it is harmless."""
        place = self._places.pop(document, None)
        if place is None:
            return
        for slot in self._slots_of[place]:
            self._alive[slot] = self._vectored[slot] = False
            self._slot_of.pop(int(self._ids[slot]), None)
            self._deaths += 1
        self._slots_of[place] = []
        self._norms = self._by_id = None

    def vector(self, passage: int, data: bytes) -> None:
        """A passage has this vector now, as the database holds it."""
        slot = self._slot_of.get(passage)
        if slot is not None:
            self._set_vector(slot, data)

    def around(self, slots: Slots, distance: int) -> Slots:
        """The slots of the same documents at most so many places before and behind; each may be there often. A
        document's slots follow each other, as its passages do."""
        steps = np.arange(-distance, distance + 1)
        near = (slots[:, None] + steps).ravel()
        np.clip(near, 0, self.count - 1, out=near)
        apart = self._keys(near) - np.repeat(self._keys(slots), len(steps))
        found: Slots = near[np.abs(apart) <= distance]
        return found

    def in_order(self, *some: Slots) -> Slots:
        """All of these once, by path and line."""
        wanted = np.zeros(self.count, np.bool_)
        for it in some:
            wanted[it] = True
        slots = np.flatnonzero(wanted)
        return slots[np.argsort(self._keys(slots))]

    def _keys(self, slots: Slots) -> Slots:
        """Numbers that grow with path and line."""
        return (self._order.of[self._documents[slots]] << _ORDINAL_BITS) + self._ordinals[slots]

    def since(self, slots: Slots, since_ns: int) -> Slots:
        """Those of that date or later."""
        return slots[self._dates[slots] >= since_ns]

    def authors_of(self, slots: Slots) -> set[str]:
        """Who says what stands there; "": nobody in particular."""
        names = self._author_names
        return {names[it] for it in np.flatnonzero(np.bincount(self._authors[slots])).tolist()}

    def inos_of(self, slots: Slots) -> list[int]:
        found: list[int] = self._inos[self._documents[slots]].tolist()
        return found

    def weighed(self, slots: Slots) -> Weighed:
        """Of slots as `in_order` gives them."""
        documents = self._documents[slots]
        return Weighed(
            ids=self._ids[slots],
            documents=documents,
            inos=self._inos[documents],
            places=self._keys(slots),
            dates=self._dates[slots],
            characters=self._characters[slots],
            tokens=self._tokens[slots],
            authors=self._authors[slots],
            author_names=self._author_names,
            asking=self._asking[slots],
            importances=self._importances[documents],
            pinned=self._pinned[documents],
            archived=self._archived[documents],
        )

    def _load(self, sql: Connection) -> None:
        documents = sql.rows("SELECT id, ino, path, expires_ns, importance, pinned, superseded FROM document")
        for row in documents:
            self._add_document(row)
        self._order.start([row[2] for row in documents])
        rows = sql.execute(
            "SELECT p.id, p.document, p.ordinal, coalesce(p.said_ns, d.created_ns, d.mtime_ns), p.length, "
            "length(p.text), p.tokens, p.author, substr(p.text,-1), v.data "
            "FROM passage p JOIN document d ON d.id=p.document LEFT JOIN vector v ON v.passage=p.id ORDER BY p.id"
        )
        for *of, author, end, data in rows:
            self._add((*of, author, asks(author, end)))
            if data is not None:
                self._set_vector(self.count - 1, data)

    def _add_document(self, row: Row) -> None:
        document, ino, path, expires_ns, importance, pinned, superseded = row
        place = self._places[document] = len(self._slots_of)
        self._slots_of.append([])
        for name in ("_inos", "_expires", "_importances", "_pinned", "_archived"):
            setattr(self, name, _roomy(getattr(self, name), place))
        self._inos[place] = ino
        self._importances[place] = math.nan if importance is None else importance
        self._pinned[place] = pinned
        self._archived[place] = superseded or is_archived(path)
        self._expires[place] = _NEVER if expires_ns is None else expires_ns

    def _add(self, row: Row) -> None:
        passage, document, ordinal, date_ns, length, characters, tokens, author, asking = row
        slot, place = self.count, self._places[document]
        if slot == len(self._ids):
            for name in _OF_SLOTS:
                setattr(self, name, _roomy(getattr(self, name), slot))
            self._slots = np.arange(len(self._ids))
        self._ascending = self._ascending and (slot == 0 or passage > self._ids[slot - 1])
        self._ids[slot], self._documents[slot], self._ordinals[slot] = passage, place, ordinal
        self._dates[slot], self._lengths[slot], self._alive[slot] = date_ns, length, True
        self._characters[slot], self._tokens[slot], self._asking[slot] = characters, tokens, asking
        number = self._authors[slot] = self._author_numbers.setdefault(author, len(self._author_numbers))
        if number == len(self._author_names):
            self._author_names.append(author)
        self._slot_of[passage] = slot
        self._slots_of[place].append(slot)
        self._norms = self._by_id = None
        self.count += 1

    def _set_vector(self, slot: int, data: bytes) -> None:
        vector = np.frombuffer(data, "<f2")
        if self._matrix.shape[1] != len(vector):
            self._matrix = np.zeros((len(self._ids), len(vector)), np.float32)
            self._vectored[:] = False
        while len(self._matrix) <= slot:  # the newest passages have theirs first
            self._matrix = _roomy(self._matrix, len(self._matrix))
        self._matrix[slot] = vector
        self._vectored[slot] = True

    # ---- what may be found ----

    def allowed(self, *, now_ns: int, since_ns: int | None, documents: Sequence[int] | None) -> Mask:
        """By slot. `documents`: only these, by id; None: all."""
        mask = self._alive[: self.count].copy()
        over = self._expires[: len(self._slots_of)] <= now_ns
        if over.any():
            mask &= ~over[self._documents[: self.count]]
        if since_ns is not None:
            mask &= self._dates[: self.count] >= since_ns
        if documents is not None:
            wanted = np.zeros(len(self._slots_of), np.bool_)
            wanted[[self._places[it] for it in documents if it in self._places]] = True
            mask &= wanted[self._documents[: self.count]]
        return mask

    # ---- words ----

    def seen(self, hidden: Collection[int]) -> Mask | None:
        """By slot: what is here and is not of these inodes; None: they are none."""
        if not hidden:
            return None
        of = np.asarray(self._inos, np.int64)
        shown = ~np.isin(of, np.fromiter(hidden, np.int64, len(hidden)))
        return np.asarray(self._alive[: self.count] & shown[self._documents[: self.count]], np.bool_)

    def learn(self, sql: Connection) -> bool:
        """Read where a few more terms stand, in a memory that is small. Returns whether there is more."""
        return self.count <= PASSAGES_MAX and self._learned.read(sql, self.count)

    def lacks(self, terms: Sequence[str]) -> bool:
        """Whether the database must be read for any of the terms."""
        return not all(term in self._terms or term in self._learned for term in terms)

    def scores_by_words(
        self, sql: Connection | None, terms: Sequence[str], frequencies: Sequence[int], seen: Mask | None = None
    ) -> Floats:
        """BM25 of each slot; 0: it has none of the terms. `sql` may be None where nothing lacks. `seen`: as if
        nothing else were here; the scores of that mean nothing."""
        scores = np.zeros(self.count, np.float32)
        many = self.alive if seen is None else int(seen.sum())
        norms = self._normed() if seen is None else self._norms_of(seen)
        spent = 0
        for frequency, term in sorted(zip(frequencies, terms, strict=True)):
            spent += frequency
            if spent > _POSTINGS_MAX and spent > frequency:
                break  # the most common words tell least
            found = self._term(sql, term)
            weight = np.float32(math.log1p((many - frequency + 0.5) / (frequency + 0.5)) * (_K1 + 1))
            slots, often = found.slots, found.frequencies
            scores[slots] += weight * often / (often + norms[slots])
        return scores

    def having(self, terms: Iterable[str], slots: Slots) -> dict[str, Mask] | None:
        """Of each term, which of the slots have it; None where not all of the terms are at hand."""
        found = {}
        for term in terms:
            if (known := self._terms.get(term)) is None:
                return None
            here = np.zeros(self.count, np.bool_)
            here[known.slots] = True
            found[term] = here[slots]
        return found

    def frequencies(self, sql: Connection | None, terms: Sequence[str], seen: Mask | None = None) -> list[int]:
        """In how many passages each term stands. `seen`: of these slots."""
        if seen is not None:
            return [int(seen[self._term(sql, term).slots].sum()) for term in terms]
        few = self.count * len(terms) <= _POSTINGS_MAX  # then all of them will be read
        found = []
        for term in terms:
            if few or term in self._terms or term in self._learned:
                found.append(len(self._term(sql, term).slots))
            else:
                row = _given(sql).one("SELECT doc FROM word WHERE term=?", (term,))
                found.append(0 if row is None else int(row[0]))
        return found

    def _normed(self) -> Floats:
        """What the length of each passage makes of a frequency."""
        if self._norms is None:
            self._norms = self._norms_of(self._alive[: self.count])
        return self._norms

    def _norms_of(self, slots: Mask) -> Floats:
        lengths = self._lengths[: self.count]
        mean = float(lengths[slots].sum(dtype=np.float64)) / max(int(slots.sum()), 1)
        return np.asarray(_K1 * (1 - _B + _B * lengths / max(mean, 1.0)), np.float32)

    def _term(self, sql: Connection | None, term: str) -> _Term:
        found = self._terms.pop(term, None)
        if found is None:
            found = self._taken(term) if term in self._learned else self._read_term(_given(sql), term)
            self._postings += len(found.slots)
            while sql is not None and self._postings > _KEPT_POSTINGS_MAX and self._terms:
                oldest = self._terms.pop(next(iter(self._terms)))
                self._postings -= len(oldest.slots)
                self._learned.forget()  # it is not there any more
        self._terms[term] = found
        if found.deaths == self._deaths and not found.more:
            return found
        before = len(found.slots)
        if found.deaths != self._deaths:
            alive = self._alive[found.slots]
            found.slots, found.frequencies, found.deaths = found.slots[alive], found.frequencies[alive], self._deaths
        if found.more:
            more = [it for it in found.more if self._alive[it[0]]]
            found.slots = np.concatenate((found.slots, np.asarray([it[0] for it in more], np.int64)))
            found.frequencies = np.concatenate((found.frequencies, np.asarray([it[1] for it in more], np.float32)))
            found.more = []
        self._postings += len(found.slots) - before
        return found

    def _taken(self, term: str) -> _Term:
        places, slots, came = self._learned.take(term)
        found = self._as_term(places, slots)
        found.more = came
        return found

    def _read_term(self, sql: Connection, term: str) -> _Term:
        row = sql.one(f"SELECT {_PLACES} FROM word_at WHERE term=?", (term,))
        return self._as_term(row[0] if row is not None and row[0] else "", self.count)

    def _as_term(self, text: str, slots_then: int) -> _Term:
        """`text`: as SQL says the places, when there were so many slots. What came since is not of it."""
        places = np.fromstring(text, np.int64, sep=",") if text else np.zeros(0, np.int64)
        passages, weights = places >> 6, _WEIGHT_AT[places & 63]
        ids, slots_by_id = self._slots_by_id()
        if not len(ids) or not len(passages):
            return _Term(np.zeros(0, np.int64), np.zeros(0, np.float32), self._deaths)
        at = np.minimum(np.searchsorted(ids, passages), len(ids) - 1)
        slots = slots_by_id[at]
        known = (ids[at] == passages) & self._alive[slots] & (slots < slots_then)
        slots, weights = slots[known], weights[known]
        first = np.ones(len(slots), np.bool_)
        np.not_equal(slots[1:], slots[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        summed = np.add.reduceat(weights, starts) if len(starts) else np.zeros(0, np.float32)
        return _Term(slots[starts], np.asarray(summed, np.float32), self._deaths)

    def _slots_by_id(self) -> tuple[Slots, Slots]:
        """Ids, ascending, and their slots; all that are alive are among them."""
        if self._ascending:
            return self._ids[: self.count], self._slots[: self.count]
        if self._by_id is None:
            slots = np.flatnonzero(self._alive[: self.count])
            ids = self._ids[slots]
            order = np.argsort(ids, kind="stable")
            self._by_id = ids[order], slots[order]
        return self._by_id

    # ---- vectors ----

    def scores_by_vector(self, vector: Vectors) -> tuple[Floats, Mask]:
        """The cosine of each slot with `vector`, and which slots have one that can be compared with it."""
        if self._matrix.shape[1] != len(vector):
            return np.zeros(self.count, np.float32), np.zeros(self.count, np.bool_)
        return self._matrix[: self.count] @ vector, self._vectored[: self.count]

    # ---- the best ----

    def best(self, scores: Floats, mask: Mask, limit: int) -> tuple[Slots, Floats]:
        """The slots of `mask` with the highest scores, ties by path and line; and the scores."""
        slots = np.flatnonzero(mask)
        scores = scores[slots]
        if len(slots) > limit:
            least = np.partition(scores, len(slots) - limit)[len(slots) - limit]
            best = scores >= least
            slots, scores = slots[best], scores[best]
        at = np.argsort(-scores, kind="stable")
        ordered = scores[at]
        if (ordered[1:] == ordered[:-1]).any():
            at = np.lexsort((self._keys(slots), -scores))
        at = at[:limit]
        return slots[at], scores[at]

    def hits(self, slots: Slots, scores: Floats) -> list[Hit]:
        return list(itertools.starmap(Hit, zip(self._ids[slots].tolist(), scores.tolist(), strict=True)))


def asks(author: str, text: str) -> bool:
    """Whether a text that somebody says ends in a question. Not of one who speaks with a program: they tell of
    themselves, and end in what they want."""
    return bool(author) and text.endswith(("?", "？", "؟")) and not is_role(author)


def _given(sql: Connection | None) -> Connection:
    assert sql is not None, "`lacks` says when it is needed"
    return sql


def _roomy(array: npt.NDArray[Any], place: int) -> npt.NDArray[Any]:
    """The array, with room for `place`."""
    if place < len(array):
        return array
    return np.concatenate((array, np.zeros_like(array)))
