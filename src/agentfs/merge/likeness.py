"""Which unit of a replaced stretch became which: pairs of units that are versions of each other, in order."""

import re
from collections.abc import Sequence

from agentfs.merge.differences import Budget, common

_CELLS_MAX = 2500
"""A stretch of more pairs than this is compared only by its simplified units."""
_ALIKE = 0.5
_LOOKED_AT = 4000
"""Characters of a unit."""
_WORD = re.compile(r"[^\W_]+")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_STEPS_OF_A_PAIR = 8
"""What the comparison of two units costs, in steps of the budget."""


def alike_pairs(old: Sequence[str], new: Sequence[str], budget: Budget) -> list[tuple[int, int]]:
    """Places in `old` and `new` of units that changed and stayed recognizable. One for one is always a pair."""
    pairs: list[tuple[int, int]] = []
    start = first = 0
    simple_old, simple_new = [_simple(unit) for unit in old], [_simple(unit) for unit in new]
    anchors = [pair for pair in common(simple_old, simple_new, budget) if simple_old[pair[0]]]
    for i, j in [*anchors, (len(old), len(new))]:
        pairs += [(start + x, first + y) for x, y in _best(simple_old[start:i], simple_new[first:j], budget)]
        if i < len(old):
            pairs.append((i, j))
        start, first = i + 1, j + 1
    return pairs


def is_version(old: str, new: str, budget: Budget) -> bool:
    """Whether `new` looks like a changed `old`. Not once the budget is used up."""
    budget.steps -= _STEPS_OF_A_PAIR
    return budget.steps >= 0 and _likeness(_words(_simple(old)), _words(_simple(new))) >= _ALIKE


def _simple(unit: str) -> str:
    """The words alone: without case, marks and spaces."""
    return " ".join(_WORD.findall(unit[:_LOOKED_AT].casefold()))


def _best(old: Sequence[str], new: Sequence[str], budget: Budget) -> list[tuple[int, int]]:
    """The pairs in order with the greatest likeness in all."""
    if not old or not new:
        return []
    if len(old) == len(new) == 1:
        return [(0, 0)] if bool(old[0]) == bool(new[0]) else []
    budget.steps -= len(old) * len(new) * _STEPS_OF_A_PAIR
    if len(old) * len(new) > _CELLS_MAX or budget.steps < 0:
        return []
    words_old, words_new = [_words(unit) for unit in old], [_words(unit) for unit in new]
    likeness = [[_likeness(one, other) for other in words_new] for one in words_old]
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        for j in range(len(new) - 1, -1, -1):
            paired = likeness[i][j] + best[i + 1][j + 1] if likeness[i][j] >= _ALIKE else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired)
    pairs = []
    i = j = 0
    while i < len(old) and j < len(new):
        if likeness[i][j] >= _ALIKE and best[i][j] == likeness[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _words(simple: str) -> frozenset[str]:
    """Words; for writing without spaces, its characters."""
    return frozenset(simple.split()) | frozenset(_WIDE.findall(simple))


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of the smaller one's words that the other has too: what was added does not make units strangers."""
    fewer = min(len(one), len(other))
    return len(one & other) / fewer if fewer else 0.0
