"""One question's look at what stands in memory: the best by words and by vectors, and what is weighed of them."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from agentfs.memory.embedding import Vectors
from agentfs.memory.image import Floats, Image, Mask, Slots, best_first
from agentfs.memory.rows import Filters
from agentfs.memory.weighing import Weighed


class Asking:
    """Safe from any thread. What changes after it was made is not in it; what is gone since may be."""

    def __init__(
        self,
        image: Image,
        lock: threading.RLock,
        *,
        filters: Filters,
        mask: Mask,
        scores: Floats,
        frequencies: Sequence[int],
        many: int,
    ) -> None:
        """`mask`, `scores`: by slot, of what may be found and by words. `lock`: the image's."""
        self.image = image
        self.frequencies = frequencies
        """In how many passages each term of the question stands."""
        self.many = many
        """Passages that there are."""
        self._lock = lock
        self._filters = filters
        self._mask = mask
        self._scores = scores
        self._readable: dict[int, bool] = {}

    def by_words(self, limit: int) -> tuple[Slots, Floats]:
        """The slots with the highest BM25, by path and line, and it."""
        return self._best(self._scores, self._mask & (self._scores > 0), limit)

    def by_vector(self, vector: Vectors, limit: int) -> tuple[Slots, Floats]:
        """The slots whose vectors are nearest, by path and line, and their cosines."""
        many = len(self._mask)
        with self._lock:
            scores, mask = self.image.scores_by_vector(vector)
            scores, mask = scores[:many], mask[:many] & self._mask
        return self._best(scores, mask, limit)

    def _best(self, scores: Floats, mask: Mask, limit: int) -> tuple[Slots, Floats]:
        """The best that may be read. Who says what may be read is asked without the lock: it may wait for others."""
        readable, answers = self._filters.readable, self._readable
        wanted = limit
        while limit > 0:
            with self._lock:
                slots, values = self.image.best(scores, mask, wanted)
                if readable is None:
                    return slots, values
                order = best_first(values)
                inos = self.image.inos_of(slots[order])
            for ino in inos:
                if ino not in answers:
                    answers[ino] = readable(ino)
            kept = [at for at, ino in enumerate(inos) if answers[ino]]
            if len(kept) >= limit or len(slots) < wanted:
                shown = np.sort(order[kept[:limit]])
                return slots[shown], values[shown]
            wanted *= 8
        return np.zeros(0, np.int64), np.zeros(0, np.float32)

    def authors_of(self, slots: Slots) -> set[str]:
        """Who says what stands there; who is nobody in particular is left out."""
        with self._lock:
            return self.image.authors_of(slots)

    @property
    def some_long(self) -> bool:
        """Whether anything may have neighbours."""
        return self.image.some_long

    def around(self, slots: Slots, distance: int) -> Slots:
        """These and their neighbours in the same documents, as far as their dates may be found; each may be there
        often."""
        with self._lock:
            near = self.image.around(slots, distance)
            since_ns = self._filters.since_ns
            return near if since_ns is None else self.image.since(near, since_ns)

    def in_order(self, *some: Slots) -> Slots:
        """All of these once, by path and line."""
        with self._lock:
            return self.image.in_order(*some)

    def weighed(self, slots: Slots) -> Weighed:
        """Of slots in order."""
        with self._lock:
            return self.image.weighed(slots)

    def held(self, worths: Mapping[str, float], slots: Slots) -> Sequence[float] | None:
        """What these terms are worth together, of each slot those that it has anywhere; None where they are not all
        at hand."""
        with self._lock:
            return self.image.held(worths, slots)
