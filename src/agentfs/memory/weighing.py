"""What is weighed of passages and of their documents, as arrays: no row is read for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agentfs.memory.headers import Heading, cost_alone
from agentfs.memory.tokens import TokenCounter

Integers = npt.NDArray[np.int64]
Lines = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

_ROOM = 1024


class Passages:
    """Of each slot. Written once, before the slot counts, but for `places`, `headers`, `alive` and `vectored`: the
    rest may be read without a lock."""

    def __init__(self) -> None:
        self.ids: Integers = np.zeros(_ROOM, np.int64)
        self.documents: Integers = np.zeros(_ROOM, np.int64)
        """By their places among the documents."""
        self.ordinals: Integers = np.zeros(_ROOM, np.int64)
        self.places: Integers = np.zeros(_ROOM, np.int64)
        """Grow with path and line. Of one document they differ as the passages' places in it do; those of two
        documents are farther apart than any neighbours."""
        self.dates: Integers = np.zeros(_ROOM, np.int64)
        self.lengths: npt.NDArray[np.float32] = np.zeros(_ROOM, np.float32)
        """In terms."""
        self.characters: Lines = np.zeros(_ROOM, np.int32)
        """Of the text."""
        self.tokens: Lines = np.zeros(_ROOM, np.int32)
        self.first_lines: Lines = np.zeros(_ROOM, np.int32)
        self.last_lines: Lines = np.zeros(_ROOM, np.int32)
        self.headers: Lines = np.zeros(_ROOM, np.int32)
        """What the header of the file costs where this passage stands alone below it; 0: nobody knows yet."""
        self.authors: Lines = np.zeros(_ROOM, np.int32)
        """By their places in `author_names`."""
        self.asking: Mask = np.zeros(_ROOM, np.bool_)
        """Somebody says it, and it ends in a question."""
        self.alive: Mask = np.zeros(_ROOM, np.bool_)
        self.vectored: Mask = np.zeros(_ROOM, np.bool_)
        self.author_names: list[str] = []
        self.somebody_asks = False

    def __len__(self) -> int:
        """How many there is room for."""
        return len(self.ids)

    def make_room(self, slot: int) -> None:
        if slot >= len(self):
            _double(self)


class Documents:
    """Of each document, by its place. Written once, before it counts, but for `sizes`."""

    def __init__(self) -> None:
        self.inos: Integers = np.zeros(_ROOM, np.int64)
        self.expires: Integers = np.zeros(_ROOM, np.int64)
        self.importances: npt.NDArray[np.float64] = np.zeros(_ROOM, np.float64)
        """NaN: not said."""
        self.pinned: Mask = np.zeros(_ROOM, np.bool_)
        self.archived: Mask = np.zeros(_ROOM, np.bool_)
        """In the archive, or superseded by another note."""
        self.sizes: Lines = np.zeros(_ROOM, np.int32)
        """Passages."""
        self.paths: list[str] = []
        """As they come back."""
        self.tags: list[tuple[str, ...]] = []
        self.some_important = self.some_pinned = self.some_archived = False
        """Whether that was ever said of one."""
        self.some_long = False
        """Whether one ever had several passages."""

    def make_room(self, place: int) -> None:
        if place >= len(self.inos):
            _double(self)


def _double(columns: Passages | Documents) -> None:
    for name, column in vars(columns).items():
        if isinstance(column, np.ndarray):
            setattr(columns, name, roomier(column))


def roomier(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """With twice the room."""
    return np.concatenate((array, np.zeros_like(array)))


class Weighed:
    """Candidates, by path and line: each array has one place for each. Only what is asked for is read."""

    __slots__ = ("_of", "_passages", "documents", "places", "slots")

    def __init__(self, slots: Integers, passages: Passages, documents: Documents) -> None:
        """To be made under the image's lock."""
        self.slots = slots
        self.documents: Integers = passages.documents[slots]
        """Equal for those of one document."""
        self.places: Integers = passages.places[slots]
        """See `Passages`."""
        self._passages = passages
        self._of = documents

    def __len__(self) -> int:
        return len(self.slots)

    def ids_of(self, some: npt.NDArray[np.intp]) -> list[int]:
        """Of the passages, of these candidates."""
        found: list[int] = self._passages.ids[self.slots[some]].tolist()
        return found

    def inos_of(self, some: npt.NDArray[np.intp]) -> list[int]:
        """Of the documents."""
        found: list[int] = self._of.inos[self.documents[some]].tolist()
        return found

    def tokens_of(self, some: npt.NDArray[np.intp]) -> list[int]:
        """What the texts of these cost."""
        found: list[int] = self._passages.tokens[self.slots[some]].tolist()
        return found

    @property
    def dates(self) -> Integers:
        return self._passages.dates[self.slots]

    @property
    def characters(self) -> Lines:
        """Of the text."""
        return self._passages.characters[self.slots]

    @property
    def authors(self) -> Lines:
        """By their places in `author_names`."""
        return self._passages.authors[self.slots]

    @property
    def author_names(self) -> Sequence[str]:
        return self._passages.author_names

    @property
    def said(self) -> bool:
        """Whether anything has an author."""
        return any(self._passages.author_names[:2])

    @property
    def asking(self) -> Mask | None:
        """Somebody says it, and it ends in a question. None: nothing does."""
        return self._passages.asking[self.slots] if self._passages.somebody_asks else None

    @property
    def alone(self) -> bool:
        """Whether each is known to be the only passage of its document."""
        return not self._of.some_long

    @property
    def importances(self) -> npt.NDArray[np.float64] | None:
        """NaN: not said; None: of nothing."""
        return self._of.importances[self.documents] if self._of.some_important else None

    @property
    def pinned(self) -> Mask | None:
        """None: nothing is."""
        return self._of.pinned[self.documents] if self._of.some_pinned else None

    @property
    def archived(self) -> Mask | None:
        """In the archive, or superseded by another note. None: nothing is."""
        return self._of.archived[self.documents] if self._of.some_archived else None

    def header_cost(self, at: int, counter: TokenCounter) -> int:
        """Of the header of a candidate's file, where it stands alone below it. `counter`: the index's."""
        return header_cost(self._passages, self._of, self.slots.item(at), counter)

    def heading(self, at: int) -> Heading:
        """What that header says."""
        return _heading(self._passages, self._of, int(self.slots[at]))


def header_cost(of: Passages, documents: Documents, slot: int, counter: TokenCounter) -> int:
    """Of the header of a file whose passage in this slot stands alone below it; remembered from then on."""
    if known := of.headers.item(slot):
        return known
    cost = of.headers[slot] = cost_alone(counter, _heading(of, documents, slot))
    return cost


def _heading(of: Passages, documents: Documents, slot: int) -> Heading:
    document, lines = int(of.documents[slot]), (int(of.first_lines[slot]), int(of.last_lines[slot]))
    return Heading(documents.paths[document], int(of.dates[slot]), documents.tags[document], *lines)
