"""Scored passages → the answer that fits the budget. Pure.

    ## notes/caroline.md:12-31 · 2023-05-08 · #family #plans
    Caroline: I went to the support group yesterday.
    …
    Caroline: The reading is on Friday.

One header for each file (the file with the best passage first), with its first and last line; below it passages as
they stand in the file, in its order, with `…` where something between them is left out. The budget is held against
the count of the whole text.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agentfs.memory.moments import DAY_NS
from agentfs.memory.results import Found, Recalled
from agentfs.memory.tokens import TokenCounter

GAP = "…"
NOTHING = "Nothing in this memory answers that."
TOO_SMALL = "The best passage needs {} tokens: ask with more."
_TAGS_SHOWN = 4
_PINNED_SHARE = 0.1
"""Of the budget, for standing instructions that have to do with the question."""
_FLOOR = 0.1
"""What has less than this part of the best score is not worth its tokens."""
_FIRST = 0.5
"""Nor is what has less than this part of it, where nothing better fits."""
_ALIKE = 0.9
"""Passages that share so much of their terms are one."""
_ALIKE_WORDS_MIN = 5
_TRIED = 30
"""Pieces that did not fit, before the rest is taken to be too long as well."""
_LEAST = 12
"""Tokens: less than this holds no passage worth a further round."""
_APART = 1000
_NS = 1_000_000_000
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage that may come into the answer."""

    found: Found
    start: int
    """Bytes of the file, to tell what joins."""
    end: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A piece that is only read where it may fit."""

    score: float
    tokens: int
    document: object
    """Equal for pieces of one file."""
    piece: Callable[[], Piece | None]
    """None: it is gone."""


def packed(
    offers: Iterable[Offer],
    *,
    max_tokens: int,
    counter: TokenCounter,
    scanned: int,
    behind: int = 0,
    pinned: Sequence[Piece] = (),
) -> Recalled:
    """The best of `offers` (the best first, read only as far as they may fit) within the budget. `pinned`: those of
    them that are standing instructions, which have a small part of the budget for themselves. Nothing relevant where
    there is no piece."""
    choice = _Choice(max_tokens, counter)
    choice.reserve(pinned)
    choice.fill(offers)
    runs, text, tokens = choice.settled() if choice.chosen else ([], "", 0)
    if not runs:
        return nothing(max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind, needs=choice.needs())
    found = tuple(it.found for it in sorted(runs, key=lambda it: _rank(it.found)))
    return Recalled(found, tokens, counter.name, text, True, scanned, behind)


def nothing(*, max_tokens: int, counter: TokenCounter, scanned: int, behind: int = 0, needs: int = 0) -> Recalled:
    """`needs` not 0: something answers, but does not fit, for it needs so many tokens."""
    text = TOO_SMALL.format(needs) if needs else NOTHING
    tokens = counter.count(text)
    if tokens > max_tokens:
        text, tokens = "", 0
    return Recalled((), tokens, counter.name, text, needs > 0, scanned, behind, needs)


def fused(parts: Sequence[Recalled], *, max_tokens: int, counter: TokenCounter | None = None) -> Recalled:
    """The answers of several memories to one question as one answer within the budget: packed anew from the union,
    by their scores, which are comparable."""
    if counter is None:
        from agentfs.memory.tokens import default_counter  # noqa: PLC0415 - a tokenizer is loaded

        counter = default_counter()
    scanned, behind = sum(it.scanned for it in parts), sum(it.behind for it in parts)
    union = sorted((found for part in parts if part.relevant for found in part.found), key=_rank)
    # Runs are whole already: places in the file that cannot touch keep them apart.
    offers = [
        Offer(found.score, found.tokens, found.path, functools.partial(Piece, found, _APART * at, _APART * at))
        for at, found in enumerate(union)
    ]
    if not offers:
        needs = min((it.needs for it in parts if it.needs), default=0)
        return nothing(max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind, needs=needs)
    return packed(offers, max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind)


def _rank(found: Found) -> tuple[float, str, int, int]:
    return (-found.score, found.path, found.first_line, found.last_line)


# ---- choosing ----


class _Texts:
    """What was chosen, to tell what says nearly the same: the same words but for a tenth, and the same numbers."""

    def __init__(self) -> None:
        self._equal: set[str] = set()
        self._sets: dict[int, list[frozenset[str]]] = {}
        """By how many words they have."""

    def have(self, text: str) -> bool:
        """Whether something like it is there; else it is now."""
        words = text.casefold().split()
        plain = " ".join(words)
        if plain in self._equal:
            return True
        self._equal.add(plain)
        found = frozenset(words)
        if len(found) >= _ALIKE_WORDS_MIN:
            for size in range(math.ceil(_ALIKE * len(found)), math.floor(len(found) / _ALIKE) + 1):
                for known in self._sets.get(size, ()):
                    if self._alike(known, found):
                        return True
            self._sets.setdefault(len(found), []).append(found)
        return False

    @staticmethod
    def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
        same = len(one & other)
        return same >= _ALIKE * (len(one) + len(other) - same) and not any(map(_NUMBER.search, one ^ other))


class _Choice:
    """Greedily the best, by what each costs alone; then the count of the whole decides."""

    def __init__(self, max_tokens: int, counter: TokenCounter) -> None:
        self.chosen: list[Piece] = []
        self._max = max_tokens
        self._counter = counter
        self._spent = 0
        self._texts = _Texts()
        self._headers: dict[str, int] = {}
        self._known: set[object] = set()
        """Files of which it is known what their header costs: by the first of their pieces that was looked at."""
        self._paid: set[str] = set()
        self._best: Offer | None = None
        self._left: list[Offer] = []
        """Did not fit, by what they were thought to cost."""

    def reserve(self, pinned: Sequence[Piece]) -> None:
        most = self._max * _PINNED_SHARE
        for it in pinned:
            if it.found.score > 0 and self._spent + self._cost(it) <= most and not self._texts.have(it.found.text):
                self._take(it)

    def fill(self, offers: Iterable[Offer]) -> None:
        """Stops where so many did not fit that no other will."""
        best: float | None = None
        for it in offers:
            if best is None:
                best = it.score
                self._best = self._best or (it if best > 0 else None)
            if it.score <= 0 or it.score < best * _FLOOR or len(self._left) >= _TRIED:
                break
            if not self.chosen and it.score < best * _FIRST:
                break
            room = self._max - self._spent
            if room < _LEAST or (room <= it.tokens and it.document in self._known):
                self._left.append(it)
            elif (piece := it.piece()) is None:
                continue
            elif self._cost(piece) > room and (self.chosen or self._alone(piece) > room):
                self._known.add(it.document)
                self._left.append(it)
            elif not self._texts.have(piece.found.text):
                self._known.add(it.document)
                self._take(piece)

    def settled(self) -> tuple[list[Piece], str, int]:
        """The runs, their text and its tokens, never above the budget. What the parts were thought to cost more than
        the whole does is spent as well."""
        runs, text, tokens = self._made()
        while tokens > self._max:
            over = tokens - self._max
            while self.chosen and over > 0:
                worst = max(range(len(self.chosen)), key=lambda at: _rank(self.chosen[at].found))
                over -= max(self.chosen.pop(worst).found.tokens, 1)
            self._left = []
            runs, text, tokens = self._made()
        if self._left and self._max - tokens >= _LEAST:
            before = list(self.chosen)
            self._spent, left, self._left = tokens, self._left, []
            self._paid = {it.found.path for it in self.chosen}
            self.fill(left)
            if len(self.chosen) > len(before):
                more = self._made()
                if more[2] <= self._max:
                    return more
                self.chosen = before
        return runs, text, tokens

    def needs(self) -> int:
        """What an answer with the best alone costs, with an end of its last line; 0: there is none."""
        piece = None if self._best is None else self._best.piece()
        return 0 if piece is None else self._alone(piece) + 1

    def _alone(self, it: Piece) -> int:
        return self._counter.count(_written([it]))

    def _made(self) -> tuple[list[Piece], str, int]:
        runs = _runs(self.chosen)
        text = _written(runs)
        return runs, text, self._counter.count(text)

    def _take(self, it: Piece) -> None:
        self._spent += self._cost(it)
        self._paid.add(it.found.path)
        self.chosen.append(it)

    def _cost(self, it: Piece) -> int:
        """With the header of its file where that is not paid for, and a line end, and half a gap."""
        path = it.found.path
        if path not in self._headers:
            self._headers[path] = self._counter.count(_header([it])) + 4
        return it.found.tokens + 1 + (0 if path in self._paid else self._headers[path])


# ---- writing ----


def _runs(chosen: Sequence[Piece]) -> list[Piece]:
    """Neighbours that touch become one, verbatim; files by their best, lines in order."""
    best: dict[str, tuple[float, str, int, int]] = {}
    for it in chosen:
        best[it.found.path] = min(best.get(it.found.path, _rank(it.found)), _rank(it.found))
    runs: list[Piece] = []
    for it in sorted(chosen, key=lambda it: (best[it.found.path], it.found.first_line, it.start)):
        between = _between(runs[-1], it) if runs else None
        if between is None:
            runs.append(it)
        else:
            runs[-1] = _joined(runs[-1], it, between)
    return runs


def _between(one: Piece, other: Piece) -> str | None:
    """What stands between two passages of a file when that is known without reading it: line ends only."""
    if one.found.path != other.found.path or one.found.version != other.found.version:
        return None
    lines = other.found.first_line - one.found.last_line
    return "\n" * lines if 0 <= lines <= 2 and other.start - one.end == lines else None


def _joined(one: Piece, other: Piece, between: str) -> Piece:
    better = min((one.found, other.found), key=_rank)
    found = replace(
        better,
        first_line=one.found.first_line,
        last_line=other.found.last_line,
        text=one.found.text + between + other.found.text,
        date_ns=one.found.date_ns,
        tokens=one.found.tokens + other.found.tokens + (1 if between else 0),
    )
    return Piece(found, one.start, other.end)


def _written(runs: Sequence[Piece]) -> str:
    lines: list[str] = []
    at = 0
    while at < len(runs):
        end = at
        while end < len(runs) and runs[end].found.path == runs[at].found.path:
            end += 1
        lines.append(_header(runs[at:end]))
        for place in range(at, end):
            if place > at:
                lines.append(GAP)
            lines.append(runs[place].found.text)
        at = end
    return "\n".join(lines)


def _header(runs: Sequence[Piece]) -> str:
    first, last = runs[0].found, runs[-1].found
    path = " ".join(first.path.split("\n")).encode("utf-8", "replace").decode()
    where = f"{path}:{first.first_line}" + (f"-{last.last_line}" if last.last_line > first.first_line else "")
    day = day_of(first.date_ns)
    date = f" · {day}" if day and day not in path else ""
    tags = "".join(f" #{tag}" for tag in first.tags[:_TAGS_SHOWN])
    return f"## {where}{date}{' ·' if tags else ''}{tags}"


def day_of(date_ns: int) -> str:
    """As `2023-05-08`; "" for what no calendar has."""
    return _day(date_ns // DAY_NS)


@functools.lru_cache(4096)
def _day(day: int) -> str:
    try:
        return f"{datetime.fromtimestamp(day * DAY_NS // _NS, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return ""
