"""Where all terms stand, read ahead of the questions: a word that nobody asked for yet costs what others do.

Kept as the database says it, and made arrays when a question names the term: 5 MB for 10,000 passages, so only a
small memory is read. Not safe from several threads: the index has a lock for the image that this belongs to.
"""

from collections.abc import Mapping

from agentfs.replica.database import Connection

PASSAGES_MAX = 20_000
"""In a larger memory a term is read when it is asked for."""
_TERMS_AT_ONCE = 200
_CAME_MAX = 20_000
"""Places that came since, before all is read again."""


class Learned:
    """`term in learned`: where it stands is known here, though it may be nowhere. Each term is taken once."""

    def __init__(self, places: str) -> None:
        """`places`: what SQL says of a term's rows."""
        self._query = f"SELECT term, {places} FROM word_at WHERE term>? GROUP BY term LIMIT {_TERMS_AT_ONCE}"
        self._last = ""
        self._whole = False
        self._places: dict[str, tuple[str, int]] = {}
        """With the number of slots when it was read."""
        self._came: dict[str, list[tuple[int, float]]] = {}
        """Since then: slots and frequencies."""
        self._many_came = 0

    def __contains__(self, term: str) -> bool:
        return self._whole or term <= self._last

    def forget(self) -> None:
        self._places, self._came, self._many_came = {}, {}, 0
        self._last, self._whole = "", False

    def read(self, sql: Connection, slots: int) -> bool:
        """A few more. `slots`: how many there are. Returns whether there is more."""
        if not self._whole:
            rows = sql.rows(self._query, (self._last,))
            self._places.update((term, (places, slots)) for term, places in rows)
            self._last = rows[-1][0] if rows else self._last
            self._whole = len(rows) < _TERMS_AT_ONCE
        return not self._whole

    def came(self, slot: int, terms: Mapping[str, float]) -> None:
        """A passage has these terms that were not taken."""
        for term, frequency in terms.items():
            if term in self:
                self._came.setdefault(term, []).append((slot, frequency))
                self._many_came += 1
        if self._many_came > _CAME_MAX:
            self.forget()

    def take(self, term: str) -> tuple[str, int, list[tuple[int, float]]]:
        """The places of a term that is in here, those of the first so many slots, and what came since."""
        places, slots = self._places.pop(term, ("", 0))
        return places, slots, self._came.pop(term, [])
