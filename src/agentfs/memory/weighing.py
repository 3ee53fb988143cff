"""What is weighed of candidates, as arrays: no text is read for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Weighed:
    """Candidates, by path and line: all arrays have one place for each."""

    ids: Integers
    """Of the passages."""
    documents: Integers
    """Equal for those of one document."""
    inos: Integers
    """Of the documents."""
    places: Integers
    """Grow with path and line. Of one document they differ as the passages' places in it do; those of two documents
    are farther apart than any neighbours."""
    dates: Integers
    characters: Integers
    """Of the text."""
    tokens: Integers
    authors: Integers
    """By their places in `author_names`."""
    author_names: Sequence[str]
    asking: npt.NDArray[np.bool_]
    """Somebody says it, and it ends in a question."""
    importances: npt.NDArray[np.float64]
    """NaN: not said."""
    pinned: npt.NDArray[np.bool_]
    archived: npt.NDArray[np.bool_]
    """In the archive, or superseded by another note."""

    def __len__(self) -> int:
        return len(self.ids)
