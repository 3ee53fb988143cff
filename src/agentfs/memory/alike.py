"""Which of many texts are nearly the same: sketches of their words in threes, and pairs of texts whose sketches meet.

MinHash with bands (Broder 1997; Leskovec, Rajaraman and Ullman, chapter 3): the work grows with the number of texts,
not with its square. Deterministic: the hashes are fixed.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WORDS = 3
"""In a shingle."""
_BANDS = 16
_ROWS = 4
"""Of a band: two texts that share 0.8 of their shingles meet in some band with a probability of 0.9998."""
_CHUNK = 512
"""Texts that are sketched at once; bounds memory."""

Shingles = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Alike:
    """Two texts, by their place in what was given, the first one first."""

    one: int
    other: int
    share: float
    """Of all the shingles of both, how many both have: 0 to 1."""


def alike(texts: Sequence[Sequence[str]], *, least: float) -> list[Alike]:
    """The pairs of texts, given as sentences, that share at least `least` of their shingles, the most alike first.

    Of many texts that are all alike not every pair is there: each one's with the first of them, and with the one
    before it.
    """
    shingles = [shingled(text) for text in texts]
    pairs = _meeting(shingles)
    found = (Alike(one, other, _share(shingles[one], shingles[other])) for one, other in sorted(pairs))
    return sorted((pair for pair in found if pair.share >= least), key=lambda it: (-it.share, it.one, it.other))


def shingled(sentences: Sequence[str]) -> Shingles:
    """The distinct shingles of a text as numbers, sorted; of a text that is shorter than one, none."""
    words = np.array([zlib.crc32(word.encode()) for line in sentences for word in line.split()], dtype=np.uint64)
    if len(words) < _WORDS:
        return np.empty(0, np.uint64)
    mixed = np.zeros(len(words) - _WORDS + 1, np.uint64)
    for at in range(_WORDS):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + words[at : at + len(mixed)]
    return np.unique(mixed ^ (mixed >> np.uint64(29)))


def _share(one: Shingles, other: Shingles) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / max(1, len(one) + len(other) - both)


def _meeting(shingles: Sequence[Shingles]) -> set[tuple[int, int]]:
    """Pairs that are in one bucket of a band."""
    places = [at for at, found in enumerate(shingles) if len(found)]
    if len(places) < 2:
        return set()
    chunks = (places[start : start + _CHUNK] for start in range(0, len(places), _CHUNK))
    sketches = np.concatenate([_sketches([shingles[at] for at in chunk]) for chunk in chunks])
    pairs: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        rows = np.ascontiguousarray(sketches[:, band * _ROWS : (band + 1) * _ROWS])
        keys = rows.view([("", rows.dtype)] * _ROWS).ravel()
        order = np.argsort(keys, kind="stable")
        same = keys[order[1:]] == keys[order[:-1]]
        first = 0
        for at in np.flatnonzero(same).tolist():
            if at == 0 or not same[at - 1]:
                first = int(order[at])
            before, here = int(order[at]), int(order[at + 1])
            pairs.update({(places[before], places[here]), (places[first], places[here])})
    return pairs


def _sketches(group: Sequence[Shingles]) -> NDArray[np.uint64]:
    """For each text the least of its shingles under each of the hashes."""
    drawn = b"".join(hashlib.sha256(b"agentfs %d" % row).digest()[:16] for row in range(_BANDS * _ROWS))
    factors, offsets = np.frombuffer(drawn, ">u8").astype(np.uint64).reshape(-1, 2).T
    everything = np.concatenate(list(group))
    starts = np.concatenate([[0], np.cumsum([len(found) for found in group])[:-1]]).astype(np.intp)
    sketches = np.empty((len(group), _BANDS * _ROWS), np.uint64)
    for row, (factor, offset) in enumerate(zip(factors | np.uint64(1), offsets, strict=True)):
        hashed = (everything * factor + offset) >> np.uint64(17)
        sketches[:, row] = np.minimum.reduceat(hashed, starts)
    return sketches
