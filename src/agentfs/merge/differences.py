"""Where one sequence of units (lines, sentences) differs from another: anchors first, work bounded by construction.

Units that occur once on both sides are the anchors (their longest increasing run), which is what people expect of
moved and repeated lines. Where there are none, a shortest edit script is looked for, within a budget. When it is used
up, the rest of that stretch counts as replaced: coarser, never wrong, never slow.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

STEPS_MAX = 400_000
"""Inner steps of the search for edit scripts in one merge, about a fifth of a second."""
ANCHOR_ROUNDS = 8
"""Looking for anchors may visit each unit this many times."""
_SCRIPT_MAX = 300
"""Longest edit script that is looked for between two anchors: its square bounds the steps and the memory."""


@dataclass(slots=True)
class Budget:
    """What is left for one merge. Shared by all its comparisons."""

    steps: int = STEPS_MAX


class Hunk(NamedTuple):
    """`base[start:end]` became `side[first:last]`."""

    start: int
    end: int
    first: int
    last: int


def differences(base: Sequence[Hashable], side: Sequence[Hashable], budget: Budget) -> list[Hunk]:
    """What changed from `base` to `side`, in order; two hunks never touch. A pure insertion or deletion that fits at
    several places is at the last of them, so that equal changes of two sides are at the same place."""
    low = _same_start(base, side)
    high = _same_end(base, side, low)
    inner, other = base[low : len(base) - high], side[low : len(side) - high]
    found = []
    start = first = 0
    if inner and other:
        base_at, side_at = _numbered(inner, other)
        for i, j in enumerate(_Matching(base_at, side_at, budget).matched()):
            if j is None:
                continue
            if i > start or j > first:
                found.append(Hunk(low + start, low + i, low + first, low + j))
            start, first = i + 1, j + 1
    if start < len(inner) or first < len(other):
        found.append(Hunk(low + start, low + len(inner), low + first, low + len(other)))
    return _slid(base, side, found)


def common(one: Sequence[Hashable], other: Sequence[Hashable], budget: Budget) -> list[tuple[int, int]]:
    """Pairs of equal units in the order of both."""
    one_at, other_at = _numbered(one, other)
    return [(i, j) for i, j in enumerate(_Matching(one_at, other_at, budget).matched()) if j is not None]


def _same_start(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many units are equal at the start. By slices: most of a document is the same in all its versions."""
    limit = min(len(one), len(other))
    at, step = 0, 256
    while at < limit and step:
        to = min(at + step, limit)
        if one[at:to] == other[at:to]:
            at, step = to, step * 2
        else:
            step //= 4
    return at


def _same_end(one: Sequence[Hashable], other: Sequence[Hashable], taken: int) -> int:
    """How many units are equal at the end, behind the `taken` ones at the start."""
    limit = min(len(one), len(other)) - taken
    at, step = 0, 256
    while at < limit and step:
        to = min(at + step, limit)
        if one[len(one) - to : len(one) - at] == other[len(other) - to : len(other) - at]:
            at, step = to, step * 2
        else:
            step //= 4
    return at


def _numbered(one: Sequence[Hashable], other: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    numbers: dict[Hashable, int] = {}
    return (
        [numbers.setdefault(unit, len(numbers)) for unit in one],
        [numbers.setdefault(unit, len(numbers)) for unit in other],
    )


class _Matching:
    """Finds for every unit of one sequence its partner in the other."""

    def __init__(self, one: list[int], other: list[int], budget: Budget) -> None:
        self._one = one
        self._other = other
        self._budget = budget
        self._visits = ANCHOR_ROUNDS * (len(one) + len(other))
        self._partner: list[int | None] = [None] * len(one)

    def matched(self) -> list[int | None]:
        stretches = [(0, len(self._one), 0, len(self._other))]
        while stretches:
            low, high, first, last = self._trimmed(*stretches.pop())
            if high - low < 2 or last - first < 2:
                self._single(low, high, first, last)
                continue
            anchors = self._anchors(low, high, first, last)
            if not anchors:
                self._script(low, high, first, last)
                continue
            for i, j in anchors:
                self._partner[i] = j
                if low < i and first < j:
                    stretches.append((low, i, first, j))
                low, first = i + 1, j + 1
            stretches.append((low, high, first, last))
        return self._partner

    def _trimmed(self, low: int, high: int, first: int, last: int) -> tuple[int, int, int, int]:
        one, other, partner = self._one, self._other, self._partner
        while low < high and first < last and one[low] == other[first]:
            partner[low] = first
            low, first = low + 1, first + 1
        while low < high and first < last and one[high - 1] == other[last - 1]:
            high, last = high - 1, last - 1
            partner[high] = last
        return low, high, first, last

    def _single(self, low: int, high: int, first: int, last: int) -> None:
        """At most one unit on one of the sides: most changes end here."""
        for i in range(low, high):
            for j in range(first, last):
                if self._one[i] == self._other[j]:
                    self._partner[i] = j
                    return

    def _anchors(self, low: int, high: int, first: int, last: int) -> list[tuple[int, int]]:
        """The longest run, in the order of both, of units that occur once in both stretches."""
        self._visits -= high - low + last - first
        if self._visits < 0:
            return []
        one, other = self._one, self._other
        counted, others = Counter(one[low:high]), Counter(other[first:last])
        place = {other[j]: j for j in range(first, last) if others[other[j]] == 1}
        pairs = [(i, place[one[i]]) for i in range(low, high) if counted[one[i]] == 1 and one[i] in place]
        return _longest_run(pairs)

    def _script(self, low: int, high: int, first: int, last: int) -> None:
        """A shortest edit script (Myers) of what both stretches have in common."""
        here, there = set(self._one[low:high]), set(self._other[first:last])
        rows = [i for i in range(low, high) if self._one[i] in there]
        columns = [j for j in range(first, last) if self._other[j] in here]
        one, other = [self._one[i] for i in rows], [self._other[j] for j in columns]
        for i, j in _shortest(one, other, self._budget):
            self._partner[rows[i]] = columns[j]


def _longest_run(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run with rising second members (the first ones rise already)."""
    ends: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        before.append(at[length - 1] if length else -1)
        if length == len(ends):
            ends.append(j)
            at.append(number)
        else:
            ends[length] = j
            at[length] = number
    run = []
    number = at[-1] if at else -1
    while number >= 0:
        run.append(pairs[number])
        number = before[number]
    return run[::-1]


def _shortest(one: list[int], other: list[int], budget: Budget) -> list[tuple[int, int]]:
    """Pairs that a shortest edit script keeps; none when there is no script within the budget."""
    reach: dict[int, int] = {1: 0}
    trail: list[dict[int, int]] = []
    rows, columns = len(one), len(other)
    for length in range(min(rows + columns, _SCRIPT_MAX) + 1):
        budget.steps -= length + 1
        if budget.steps < 0:
            return []
        trail.append(dict(reach))
        for k in range(-length, length + 1, 2):
            down = k == -length or (k != length and reach[k - 1] < reach[k + 1])
            i = reach[k + 1] if down else reach[k - 1] + 1
            j = i - k
            while i < rows and j < columns and one[i] == other[j]:
                i, j = i + 1, j + 1
            reach[k] = i
            if i >= rows and j >= columns:
                return _walked_back(trail, rows, columns)
    return []


def _walked_back(trail: list[dict[int, int]], i: int, j: int) -> list[tuple[int, int]]:
    pairs = []
    for length in range(len(trail) - 1, -1, -1):
        reach = trail[length]
        k = i - j
        down = k == -length or (k != length and reach[k - 1] < reach[k + 1])
        before = k + 1 if down else k - 1
        from_i = reach[before] if length else 0
        from_j = from_i - before if length else 0
        while i > from_i and j > from_j:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        i, j = from_i, from_j
    return pairs[::-1]


def _slid(base: Sequence[Hashable], side: Sequence[Hashable], hunks: list[Hunk]) -> list[Hunk]:
    """Pure insertions and deletions, each as far down as it goes without touching the next hunk."""
    found: list[Hunk] = []
    limit = len(base) + 1
    for hunk in reversed(hunks):
        start, end, first, last = hunk
        if start == end:
            while end < len(base) and end + 1 < limit and base[end] == side[first]:
                start, end, first, last = start + 1, end + 1, first + 1, last + 1
        elif first == last:
            while end < len(base) and end + 1 < limit and base[start] == base[end]:
                start, end, first, last = start + 1, end + 1, first + 1, last + 1
        found.append(Hunk(start, end, first, last))
        limit = start
    return found[::-1]
