"""What is weighed of candidates, as arrays: no text is read for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    archived: npt.NDArray[np.bool_]
    """In the archive, or superseded by another note."""

    def __len__(self) -> int:
        return len(self.ids)


def in_order(
    scores: npt.NDArray[Any], documents: Integers, ordinals: Integers, paths: Sequence[bytes]
) -> npt.NDArray[np.intp]:
    """The best first; equal scores by path and line. `paths`: by document."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    if not (sorted_scores[1:] == sorted_scores[:-1]).any():
        return order
    unique, of = np.unique(documents, return_inverse=True)
    by_path = sorted(range(len(unique)), key=[paths[it] for it in unique.tolist()].__getitem__)
    ranks = np.empty(len(unique), np.intp)
    ranks[by_path] = np.arange(len(unique))
    return np.lexsort((ordinals, ranks[of], -scores))
