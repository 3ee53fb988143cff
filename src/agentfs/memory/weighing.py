"""What is weighed of candidates, as arrays: no text is read for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Weighed:
    """Candidates: all arrays have one place for each."""

    ids: Integers
    """Of the passages."""
    documents: Integers
    """By their places in `paths`."""
    inos: Sequence[int]
    """Of the documents."""
    paths: Sequence[bytes]
    """Of all documents."""
    ordinals: Integers
    dates: Integers
    characters: Integers
    """Of the text."""
    tokens: Integers
    authors: Integers
    """By their places in `author_names`."""
    author_names: Sequence[str]
    importances: npt.NDArray[np.float64]
    """NaN: not said."""
    pinned: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, at: int) -> tuple[bytes, int]:
        """Path and ordinal."""
        return self.paths[self.documents[at]], int(self.ordinals[at])
