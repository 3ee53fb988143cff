"""Where documents stand by their paths, as numbers: sorting numbers is quicker than sorting paths."""

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_APART = 1 << 20
_BESIDE = 1 << 10
"""Names that grow (a date, a number) leave room for those that come between."""


class Places:
    """Numbers that grow with the path; of equal paths the later one has the greater. They are other ones when there
    was no room between two."""

    def __init__(self) -> None:
        self._sorted: list[tuple[bytes, int]] = []
        """Paths with the numbers of their documents."""
        self.of = np.zeros(1024, np.int64)
        """By document."""

    def start(self, paths: Sequence[bytes]) -> None:
        """Documents 0, 1, … have these paths."""
        self._sorted = sorted(zip(paths, range(len(paths)), strict=True))
        self._spread()

    def add(self, path: bytes) -> bool:
        """The next document has this path. Returns whether the numbers of all are other ones now."""
        document = len(self._sorted)
        at = bisect.bisect_left(self._sorted, (path, document))
        before = int(self.of[self._sorted[at - 1][1]]) if at else 0
        room = int(self.of[self._sorted[at][1]]) - before if at < len(self._sorted) else 2 * _APART
        self._sorted.insert(at, (path, document))
        if room < 2:
            self._spread()
            return True
        if document >= len(self.of):
            self.of = np.concatenate((self.of, np.zeros_like(self.of)))
        self.of[document] = before + min(max(room // 2, 1), _APART if at == document else _BESIDE)
        return False

    def _spread(self) -> None:
        while len(self.of) < len(self._sorted):
            self.of = np.concatenate((self.of, np.zeros_like(self.of)))
        order: npt.NDArray[np.int64] = np.fromiter((it for _, it in self._sorted), np.int64, len(self._sorted))
        self.of[order] = _APART * np.arange(1, len(order) + 1)
