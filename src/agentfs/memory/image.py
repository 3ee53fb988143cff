"""What of the index stands in memory, so that a question reads no row of what it only weighs.

Each passage has a slot: its place in the arrays. Slots are only added; a passage that is gone leaves a dead one, and
with many of them the image is made anew. FTS5 keeps the terms; those that were asked for are here as well, as arrays
of slots and of weighted frequencies, and scored with BM25 a term at a time: at 100,000 passages a tenth of the time
that FTS5's own ranking takes (docs/decisions/0150). All is exact: no candidate is left out by approximation, but the
most common of a query's words once its rarer ones name `_POSTINGS_MAX` places.
"""

import itertools
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agentfs.memory.embedding import Vectors
from agentfs.memory.learned import PASSAGES_MAX, Learned
from agentfs.memory.names import is_archived
from agentfs.memory.places import Places
from agentfs.memory.speakers import is_role
from agentfs.memory.tokens import TokenCounter
from agentfs.memory.weighing import Documents, Passages, Weighed, header_cost, roomier
from agentfs.replica.database import Connection, Row

COLUMNS = {"author": 1.0, "date": 1.0, "place": 1.0, "tags": 1.0, "text": 1.0}
"""Of the table `words`, with the weight of a term that stands there."""
_K1, _B = 1.2, 0.75
_POSTINGS_MAX = 400_000
"""Of one query."""
_KEPT_POSTINGS_MAX = 8_000_000
"""16 bytes each."""
_HEADERS_AT_ONCE = 100
_DEAD_SHARE_MAX = 0.3
_DEAD_MIN = 1024
_ORDINAL_BITS = 22
_NEVER = np.iinfo(np.int64).max
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
    first_line: int
    last_line: int
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
    tags: tuple[str, ...]
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
    worth: Floats | None = None
    """What it adds to the score of each slot."""
    worth_at: tuple[int, int] = (-1, 0)
    """As of which of the image's changes, and of how many passages."""


class Image:
    """Not safe from several threads: the index has a lock for it."""

    def __init__(self, sql: Connection) -> None:
        """Read everything (about 5 µs a passage)."""
        self.count = 0
        """Of slots."""
        self._passages = Passages()
        self._author_numbers: dict[str, int] = {}
        self._matrix: Vectors = np.zeros((0, 0), np.float32)
        self._slot_of: dict[int, int] = {}
        self._places: dict[int, int] = {}
        """By the document's id: its place in what follows."""
        self._order = Places()
        self._documents = Documents()
        self._slots_of: list[list[int]] = []
        """In the document's order."""
        self._first_expiry = _NEVER
        self._deaths = 0
        self._changes = 0
        """Of what norms are made of."""
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
        of = (now.id, now.ino, now.path, now.expires_ns, now.importance, now.pinned, now.superseded)
        self._add_document(of, now.tags)
        if self._order.add(now.path):  # all have other places
            self._place_all()
        for it in now.passages:
            self._add(
                (
                    it.id, now.id, it.ordinal, it.date_ns, it.length, it.characters, it.tokens, it.first_line,
                    it.last_line, it.author, it.asks,
                )
            )  # fmt: skip
            if it.vector is not None:
                self._set_vector(self.count - 1, it.vector)
            elif it.id in kept:
                while len(self._matrix) < self.count:
                    self._matrix = roomier(self._matrix)
                self._matrix[self.count - 1] = kept[it.id]
                self._passages.vectored[self.count - 1] = True
            for term in it.terms.keys() & self._terms.keys():
                self._terms[term].more.append((self.count - 1, it.terms[term]))
            self._learned.came(
                self.count - 1, {term: it.terms[term] for term in it.terms.keys() - self._terms.keys()}
            )

    def _vectors_of(self, document: int) -> dict[int, Vectors]:
        place = self._places.get(document)
        slots = [] if place is None else self._slots_of[place]
        of = self._passages
        return {int(of.ids[it]): self._matrix[it].copy() for it in slots if of.vectored[it]}

    def document_gone(self, document: int) -> None:
        """Repeating it is harmless."""
        place = self._places.pop(document, None)
        if place is None:
            return
        of = self._passages
        for slot in self._slots_of[place]:
            of.alive[slot] = of.vectored[slot] = False
            self._slot_of.pop(int(of.ids[slot]), None)
            self._deaths += 1
        self._slots_of[place] = []
        self._norms = self._by_id = None
        self._changes += 1

    def vector(self, passage: int, data: bytes) -> None:
        """A passage has this vector now, as the database holds it."""
        slot = self._slot_of.get(passage)
        if slot is not None:
            self._set_vector(slot, data)

    def around(self, slots: Slots, distance: int) -> Slots:
        """The slots of the same documents at most so many places before and behind; each may be there often, and
        what has no neighbours is not. A document's slots follow each other, as its passages do."""
        slots = slots[self._documents.sizes[self._passages.documents[slots]] > 1]
        if not len(slots):
            return slots
        near = slots[:, None] + np.arange(-distance, distance + 1)
        np.maximum(near, 0, out=near)
        np.minimum(near, self.count - 1, out=near)
        places = self._passages.places
        found: Slots = near[np.abs(places[near] - places[slots][:, None]) <= distance]
        return found

    @property
    def some_long(self) -> bool:
        """Whether there was ever a document of several passages."""
        return self._documents.some_long

    def in_order(self, *some: Slots) -> Slots:
        """All of these once, by path and line."""
        wanted = np.zeros(self.count, np.bool_)
        for it in some:
            wanted[it] = True
        return self._by_place(wanted.nonzero()[0])

    def _by_place(self, slots: Slots) -> Slots:
        return slots[self._passages.places[slots].argsort()]

    def since(self, slots: Slots, since_ns: int) -> Slots:
        """Those of that date or later."""
        return slots[self._passages.dates[slots] >= since_ns]

    def authors_of(self, slots: Slots) -> set[str]:
        """Who says what stands there; who is nobody in particular is left out."""
        names = self._passages.author_names
        if not any(names[:2]):  # one of the first two is nobody
            return set()
        return {names[it] for it in np.bincount(self._passages.authors[slots]).nonzero()[0].tolist()} - {""}

    def inos_of(self, slots: Slots) -> list[int]:
        found: list[int] = self._documents.inos[self._passages.documents[slots]].tolist()
        return found

    def weighed(self, slots: Slots) -> Weighed:
        """Of slots as `in_order` gives them."""
        return Weighed(slots, self._passages, self._documents)

    def _load(self, sql: Connection) -> None:
        documents = sql.rows("SELECT id, ino, path, expires_ns, importance, pinned, superseded FROM document")
        tags: dict[int, list[str]] = {}
        for document, tag in sql.execute("SELECT document, tag FROM tag ORDER BY document, place"):
            tags.setdefault(document, []).append(tag)
        alike: dict[tuple[str, ...], tuple[str, ...]] = {}
        for row in documents:
            of = tuple(tags.pop(row[0], ()))
            self._add_document(row, alike.setdefault(of, of))
        self._order.start([row[2] for row in documents])
        rows = sql.execute(
            "SELECT p.id, p.document, p.ordinal, coalesce(p.said_ns, d.created_ns, d.mtime_ns), p.length, "
            "length(p.text), p.tokens, p.first_line, p.last_line, p.author, substr(p.text,-1), v.data "
            "FROM passage p JOIN document d ON d.id=p.document LEFT JOIN vector v ON v.passage=p.id ORDER BY p.id"
        )
        for *of_passage, author, end, data in rows:
            self._add((*of_passage, author, asks(author, end)))
            if data is not None:
                self._set_vector(self.count - 1, data)

    def _add_document(self, row: Row, tags: tuple[str, ...]) -> None:
        document, ino, path, expires_ns, importance, pinned, superseded = row
        place = self._places[document] = len(self._slots_of)
        self._slots_of.append([])
        of = self._documents
        of.make_room(place)
        of.inos[place] = ino
        of.importances[place] = math.nan if importance is None else importance
        of.pinned[place] = pinned
        of.archived[place] = archived = bool(superseded) or is_archived(path)
        of.expires[place] = _NEVER if expires_ns is None else expires_ns
        of.paths.append(os.fsdecode(path))
        of.tags.append(tags)
        of.some_important = of.some_important or importance is not None
        of.some_pinned = of.some_pinned or bool(pinned)
        of.some_archived = of.some_archived or archived
        self._first_expiry = min(self._first_expiry, of.expires[place])

    def _add(self, row: Row) -> None:
        (
            passage, document, ordinal, date_ns, length, characters, tokens, first_line, last_line, author, asking
        ) = row  # fmt: skip
        slot, place, of = self.count, self._places[document], self._passages
        if slot >= len(of):
            of.make_room(slot)
            self._slots = np.arange(len(of))
        self._ascending = self._ascending and (slot == 0 or passage > of.ids[slot - 1])
        of.ids[slot], of.documents[slot], of.ordinals[slot] = passage, place, ordinal
        of.places[slot] = (int(self._order.of[place]) << _ORDINAL_BITS) + ordinal
        of.dates[slot], of.lengths[slot], of.alive[slot] = date_ns, length, True
        of.characters[slot], of.tokens[slot], of.asking[slot] = characters, tokens, asking
        of.first_lines[slot], of.last_lines[slot] = first_line, last_line
        of.somebody_asks = of.somebody_asks or asking
        number = of.authors[slot] = self._author_numbers.setdefault(author, len(self._author_numbers))
        if number == len(of.author_names):
            of.author_names.append(author)
        self._slot_of[passage] = slot
        self._slots_of[place].append(slot)
        self._documents.sizes[place] += 1
        self._documents.some_long = self._documents.some_long or ordinal > 0
        self._norms = self._by_id = None
        self._changes += 1
        self.count += 1

    def _place_all(self) -> None:
        of, count = self._passages, self.count
        placed = of.places.copy()  # a question may be reading the others
        placed[:count] = (self._order.of[of.documents[:count]] << _ORDINAL_BITS) + of.ordinals[:count]
        of.places = placed

    def _set_vector(self, slot: int, data: bytes) -> None:
        vector = np.frombuffer(data, "<f2")
        if self._matrix.shape[1] != len(vector):
            self._matrix = np.zeros((len(self._passages), len(vector)), np.float32)
            self._passages.vectored[:] = False
        while len(self._matrix) <= slot:  # the newest passages have theirs first
            self._matrix = roomier(self._matrix)
        self._matrix[slot] = vector
        self._passages.vectored[slot] = True

    # ---- what may be found ----

    def allowed(self, *, now_ns: int, since_ns: int | None, documents: Sequence[int] | None) -> Mask:
        """By slot. `documents`: only these, by id; None: all."""
        of = self._passages
        mask = of.alive[: self.count].copy()
        if self._first_expiry <= now_ns:
            mask &= self._documents.expires[of.documents[: self.count]] > now_ns
        if since_ns is not None:
            mask &= of.dates[: self.count] >= since_ns
        if documents is not None:
            wanted = np.zeros(len(self._slots_of), np.bool_)
            wanted[[self._places[it] for it in documents if it in self._places]] = True
            mask &= wanted[of.documents[: self.count]]
        return mask

    # ---- words ----

    def seen(self, hidden: Collection[int]) -> Mask | None:
        """By slot: what is here and is not of these inodes; None: they are none."""
        if not hidden:
            return None
        shown = ~np.isin(self._documents.inos, np.fromiter(hidden, np.int64, len(hidden)))
        of = self._passages
        return np.asarray(of.alive[: self.count] & shown[of.documents[: self.count]], np.bool_)

    def learn(self, sql: Connection, counter: TokenCounter) -> bool:
        """Read where a few more terms stand, then what a few more headers cost, in a memory that is small. Returns
        whether there is more."""
        if self.count > PASSAGES_MAX:
            return False
        return self._learned.read(sql, self.count) or self._learn_headers(counter)

    def _learn_headers(self, counter: TokenCounter) -> bool:
        of = self._passages
        unknown = (of.alive[: self.count] & (of.headers[: self.count] == 0)).nonzero()[0]
        for slot in unknown[:_HEADERS_AT_ONCE].tolist():
            header_cost(of, self._documents, slot, counter)
        return len(unknown) > _HEADERS_AT_ONCE

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
        slots: list[Slots] = []
        worths: list[Floats] = []
        for frequency, term in sorted(zip(frequencies, terms, strict=True)):
            spent += frequency
            if spent > _POSTINGS_MAX and spent > frequency:
                break  # the most common words tell least
            found = self._term(sql, term)
            worth = found.worth if seen is None and found.worth_at == (self._changes, frequency) else None
            if worth is None:
                weight = np.float32(math.log1p((many - frequency + 0.5) / (frequency + 0.5)) * (_K1 + 1))
                worth = weight * found.frequencies / (found.frequencies + norms[found.slots])
                if seen is None:
                    found.worth, found.worth_at = worth, (self._changes, frequency)
            slots.append(found.slots)
            worths.append(worth)
        if slots:  # in one go: one after the other, as they stand
            np.add.at(scores, np.concatenate(slots), np.concatenate(worths))
        return scores

    def held(self, worths: Mapping[str, float], slots: Slots) -> list[float] | None:
        """What these terms are worth together, of each slot those that it has; None where not all of them are at
        hand. Added up one after the other in the order of `worths`, so that it is the same for any slots."""
        here = np.zeros((len(worths), self.count), np.bool_)
        for row, term in zip(here, worths, strict=True):
            if (known := self._terms.get(term)) is None:
                return None
            row[known.slots] = True
        found = [0.0] * len(slots)
        for worth, row in zip(worths.values(), here.take(slots, axis=1).tolist(), strict=True):
            for at, has in enumerate(row):
                if has:
                    found[at] += worth
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
            self._norms = self._norms_of(self._passages.alive[: self.count])
        return self._norms

    def _norms_of(self, slots: Mask) -> Floats:
        lengths = self._passages.lengths[: self.count]
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
            alive = self._passages.alive[found.slots]
            found.slots, found.frequencies, found.deaths = found.slots[alive], found.frequencies[alive], self._deaths
        if found.more:
            more = [it for it in found.more if self._passages.alive[it[0]]]
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
        known = (ids[at] == passages) & self._passages.alive[slots] & (slots < slots_then)
        slots, weights = slots[known], weights[known]
        first = np.ones(len(slots), np.bool_)
        np.not_equal(slots[1:], slots[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        summed = np.add.reduceat(weights, starts) if len(starts) else np.zeros(0, np.float32)
        return _Term(slots[starts], np.asarray(summed, np.float32), self._deaths)

    def _slots_by_id(self) -> tuple[Slots, Slots]:
        """Ids, ascending, and their slots; all that are alive are among them."""
        if self._ascending:
            return self._passages.ids[: self.count], self._slots[: self.count]
        if self._by_id is None:
            slots = self._passages.alive[: self.count].nonzero()[0]
            ids = self._passages.ids[slots]
            order = np.argsort(ids, kind="stable")
            self._by_id = ids[order], slots[order]
        return self._by_id

    # ---- vectors ----

    def scores_by_vector(self, vector: Vectors) -> tuple[Floats, Mask]:
        """The cosine of each slot with `vector`, and which slots have one that can be compared with it."""
        if self._matrix.shape[1] != len(vector):
            return np.zeros(self.count, np.float32), np.zeros(self.count, np.bool_)
        # Not by BLAS, which adds up the last rows in another way: equal texts would not be equal, and where in the
        # matrix a passage stands is the history of the index (docs/decisions/0265).
        cosines = np.einsum("ij,j->i", self._matrix[: self.count], vector)
        return cosines, self._passages.vectored[: self.count]

    # ---- the best ----

    def best(self, scores: Floats, mask: Mask, limit: int) -> tuple[Slots, Floats]:
        """By path and line, the slots of `mask` with the highest scores (where several have the last of them, the
        first by path and line); and the scores."""
        mask = mask[: len(scores)]  # the last have no vector yet
        found = scores[mask]
        least = None
        if len(found) > limit:
            found.partition(len(found) - limit)
            least = found[len(found) - limit]
            mask = mask & (scores >= least)
        slots = self._by_place(mask.nonzero()[0])
        found = scores[slots]
        if least is not None and len(slots) > limit:
            kept = found > least
            kept[(found == least).nonzero()[0][: limit - np.count_nonzero(kept)]] = True
            slots, found = slots[kept], found[kept]
        return slots, found

    def hits(self, slots: Slots, scores: Floats) -> list[Hit]:
        """Of slots as `best` gives them: the best first."""
        order = best_first(scores)
        of = self._passages.ids[slots[order]].tolist(), scores[order].tolist()
        return list(itertools.starmap(Hit, zip(*of, strict=True)))


def best_first(scores: Floats) -> Slots:
    """Their places, the highest first; equal ones as they stand."""
    order: Slots = (-scores).argsort(kind="stable")
    return order


def asks(author: str, text: str) -> bool:
    """Whether a text that somebody says ends in a question. Not of one who speaks with a program: they tell of
    themselves, and end in what they want."""
    return bool(author) and text.endswith(("?", "？", "؟")) and not is_role(author)


def _given(sql: Connection | None) -> Connection:
    assert sql is not None, "`lacks` says when it is needed"
    return sql
