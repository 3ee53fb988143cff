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
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentfs.memory.doubles import Doubles, Gist, gist
from agentfs.memory.headers import Heading, cost_alone, header
from agentfs.memory.results import Found, Recalled
from agentfs.memory.tokens import TokenCounter

GAP = "…"
NOTHING = "Nothing in this memory answers that."
TOO_SMALL = "The best passage needs {} tokens: ask with more."
_PINNED_SHARE = 0.1
"""Of the budget, for standing instructions that have to do with the question."""
FLOOR = 0.1
"""What has less than this part of the best score is not worth its tokens."""
_FIRST = 0.5
"""Nor is what has less than this part of it, where nothing better fits."""
_TRIED = 30
"""Pieces that did not fit, before the rest is taken to be too long as well."""
_LEAST = 12
"""Tokens: less than this holds no passage worth a further round."""
_APART = 1000


Rank = tuple[float, str, int, int]
Parts = Callable[[Sequence[int]], Iterable[Mapping[str, float]]]


@dataclass(slots=True)
class Piece:
    """A passage that may come into the answer."""

    found: Found
    """Its score and parts may be missing: `score` and `packed`'s `parts` have them."""
    score: float
    start: int
    """Bytes of the file, to tell what joins."""
    end: int
    file: Hashable
    """Equal for pieces of one file."""
    gist: Gist
    below: int | None = None
    """What its text costs behind a newline; None: only counting tells."""
    at: int = 0
    """What `Offers` and `parts` know it by."""

    @property
    def rank(self) -> Rank:
        return (-self.score, self.found.path, self.found.first_line, self.found.last_line)


Offer = tuple[float, int, Hashable, int]
"""A piece that is only read where it may fit: its score, the tokens of its text, its file, and its `at`."""


class Offers(Protocol):
    """What may be packed."""

    def listed(self) -> Iterable[Sequence[Offer]]:
        """The best first, some at a time."""

    def header(self, at: int, counter: TokenCounter) -> int:
        """What the header of its file costs where that piece stands alone below it."""

    def read(self, some: Sequence[int]) -> Sequence[Piece | None]:
        """These pieces; None: it is gone."""


class Given:
    """Offers that are there already."""

    def __init__(self, found: Iterable[Found]) -> None:
        """Each is whole: places that cannot touch keep them apart."""
        ranked = sorted(found, key=lambda it: (-it.score, it.path, it.first_line, it.last_line))
        self._pieces = [
            Piece(it, it.score, _APART * at, _APART * at, it.path, gist(it.text), at=at)
            for at, it in enumerate(ranked)
        ]

    def __len__(self) -> int:
        return len(self._pieces)

    def listed(self) -> Iterable[Sequence[Offer]]:
        return [[(it.score, it.found.tokens, it.file, it.at) for it in self._pieces]]

    def header(self, at: int, counter: TokenCounter) -> int:
        it = self._pieces[at].found
        return cost_alone(counter, _heading(it, it.last_line))

    def read(self, some: Sequence[int]) -> Sequence[Piece | None]:
        return [self._pieces[at] for at in some]


def packed(
    offers: Offers,
    *,
    max_tokens: int,
    counter: TokenCounter,
    scanned: int,
    behind: int = 0,
    pinned: Sequence[Piece] = (),
    parts: Parts | None = None,
) -> Recalled:
    """The best of `offers` (read only as far as they may fit) within the budget. `pinned`: those of them that are
    standing instructions, which have a small part of the budget for themselves. `parts`: of a piece's score, where
    they are not in what is found. Nothing relevant where there is no piece."""
    choice = _Choice(offers, max_tokens, counter)
    choice.reserve(pinned)
    choice.fill(offers.listed())
    runs, text, tokens = choice.settled() if choice.chosen else ([], "", 0)
    if not runs:
        return nothing(max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind, needs=choice.needs())
    runs = sorted(runs, key=lambda it: it.rank)
    of = (it.best.found.parts for it in runs) if parts is None else parts([it.best.at for it in runs])
    found = tuple(it.found(its_parts) for it, its_parts in zip(runs, of, strict=True))
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
    union = Given(it for part in parts if part.relevant for it in part.found)
    if not len(union):
        needs = min((it.needs for it in parts if it.needs), default=0)
        return nothing(max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind, needs=needs)
    return packed(union, max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind)


# ---- choosing ----


class _Run:
    """Passages of one file that touch."""

    def __init__(self, piece: Piece) -> None:
        self.path = piece.found.path
        self.first = self.last = self.best = piece
        self.text = piece.found.text
        self.below = piece.below
        """What it costs behind a newline; None: only counting tells."""
        self.tokens = piece.found.tokens

    @property
    def rank(self) -> Rank:
        return (-self.best.score, self.path, self.first.found.first_line, self.last.found.last_line)

    def takes(self, other: Piece) -> bool:
        """Whether `other` touches its end, and belongs to it now: what is between them is known without reading it,
        line ends only."""
        last, found = self.last, other.found
        if found.path != self.path or found.version != last.found.version:
            return False
        lines = found.first_line - last.found.last_line
        if not 0 <= lines <= 2 or other.start - last.end != lines:
            return False
        between = "\n" * lines
        if self.below is not None:
            self.below = None if not between or other.below is None else self.below + lines + other.below
        self.text += between + found.text
        self.tokens += found.tokens + (1 if between else 0)
        self.last = other
        if other.score > self.best.score:
            self.best = other
        return True

    def found(self, parts: Mapping[str, float]) -> Found:
        """As it comes back: the score, the parts and the facts of its best."""
        best = self.best
        return Found(
            path=self.path,
            first_line=self.first.found.first_line,
            last_line=self.last.found.last_line,
            text=self.text,
            date_ns=self.first.found.date_ns,
            score=best.score,
            parts=parts,
            title=best.found.title,
            tags=best.found.tags,
            tokens=self.tokens,
            version=best.found.version,
        )


class _Choice:
    """Greedily the best, by what each costs alone; then the count of the whole decides."""

    def __init__(self, offers: Offers, max_tokens: int, counter: TokenCounter) -> None:
        self.chosen: list[Piece] = []
        self._offers = offers
        self._max = max_tokens
        self._counter = counter
        self._spent = 0
        self._texts = Doubles()
        self._first: dict[Hashable, int] = {}
        """By file: the first of its pieces, whose header counts for all."""
        self._headers: dict[Hashable, int] = {}
        """What they cost, by file."""
        self._paid: set[Hashable] = set()
        self._pieces: dict[int, Piece | None] = {}
        """Those that were read."""
        self._best: Offer | None = None
        self._left: list[Offer] = []
        """Did not fit, by what they were thought to cost."""

    def reserve(self, pinned: Sequence[Piece]) -> None:
        most = self._max * _PINNED_SHARE
        for it in pinned:
            if it.score <= 0 or self._spent + self._cost(it.found.tokens, it.file, it.at) > most:
                continue
            if not self._has(it):
                self._take(it)

    def fill(self, some: Iterable[Sequence[Offer]]) -> None:
        """Stops where so many did not fit that no other will."""
        best: float | None = None
        least, room, left = 0.0, self._room(), self._left
        for offers in some:
            self._first = {file: at for _, _, file, at in reversed(offers)} | self._first
            for place, offer in enumerate(offers):
                score, tokens, file, at = offer
                if best is None:
                    best = score
                    self._best = self._best or (offer if best > 0 else None)
                    least = best * (FLOOR if self.chosen else _FIRST)
                if score <= 0 or score < least or len(left) >= _TRIED:
                    return
                if tokens >= room:  # most of what is looked at: no header is looked up for it
                    left.append(offer)
                    continue
                fits = self._cost(tokens, file, at) <= room
                if not fits and self.chosen:
                    left.append(offer)
                elif (piece := self._read(at, offers, place, best * FLOOR)) is None:
                    continue
                elif not fits and self._alone(piece) > room:
                    left.append(offer)
                elif not self._has(piece):
                    self._take(piece)
                    least, room = best * FLOOR, self._room()

    def _room(self) -> int:
        """Tokens that a further piece may cost; 0: too few to hold one."""
        room = self._max - self._spent
        return room if room >= _LEAST else 0

    def _read(self, at: int, offers: Sequence[Offer] = (), place: int = 0, least: float = 0.0) -> Piece | None:
        """A piece, and with it those that will be wanted after it."""
        if at not in self._pieces:
            wanted = [at, *self._ahead(at, offers, place, least)]
            self._pieces.update(zip(wanted, self._offers.read(wanted), strict=True))
        return self._pieces[at]

    def _ahead(self, first: int, offers: Sequence[Offer], place: int, least: float) -> list[int]:
        """What else will be wanted from there on, if none of it says the same as another."""
        room, tried, paid, found = self._max - self._spent, len(self._left), set(), []
        for score, tokens, file, at in offers[place:]:
            if room < _LEAST or score <= 0 or score < least or tried >= _TRIED:
                break
            if tokens >= room or (cost := tokens + 1 if file in paid else self._cost(tokens, file, at)) > room:
                tried += 1
                continue
            room -= cost
            paid.add(file)
            if at != first and at not in self._pieces:
                found.append(at)
        return found

    def settled(self) -> tuple[list[_Run], str, int]:
        """The runs, their text and its tokens, never above the budget. What the parts were thought to cost more than
        the whole does is spent as well."""
        runs, text, tokens = self._made()
        while tokens > self._max:
            over = tokens - self._max
            while self.chosen and over > 0:
                worst = max(range(len(self.chosen)), key=lambda at: self.chosen[at].rank)
                over -= max(self.chosen.pop(worst).found.tokens, 1)
            self._left = []
            runs, text, tokens = self._made()
        if self._left and self._max - tokens >= _LEAST:
            before = list(self.chosen)
            self._spent, left, self._left = tokens, self._left, []
            self._paid = {it.file for it in self.chosen}
            self.fill([left])
            if len(self.chosen) > len(before):
                more = self._made()
                if more[2] <= self._max:
                    return more
                self.chosen = before
        return runs, text, tokens

    def needs(self) -> int:
        """What an answer with the best alone costs, with an end of its last line; 0: there is none."""
        piece = None if self._best is None else self._read(self._best[3])
        return 0 if piece is None else self._alone(piece) + 1

    def _alone(self, it: Piece) -> int:
        return _written([_Run(it)], self._counter)[1]

    def _made(self) -> tuple[list[_Run], str, int]:
        runs = _runs(self.chosen)
        text, tokens = _written(runs, self._counter)
        return runs, text, tokens

    def _has(self, it: Piece) -> bool:
        """Whether what it says was chosen; else it counts as chosen now."""
        return self._texts.have(it.found.text, it.gist)

    def _take(self, it: Piece) -> None:
        self._spent += self._cost(it.found.tokens, it.file, it.at)
        self._paid.add(it.file)
        self.chosen.append(it)

    def _cost(self, tokens: int, file: Hashable, at: int) -> int:
        """With the header of its file where that is not paid for, and a line end, and half a gap."""
        if file in self._paid:
            return tokens + 1
        known = self._headers.get(file)
        if known is None:
            first = self._first.setdefault(file, at)
            known = self._headers[file] = self._offers.header(first, self._counter) + 4
        return tokens + 1 + known


# ---- writing ----


def _runs(chosen: Sequence[Piece]) -> list[_Run]:
    """Neighbours that touch become one, verbatim; files by their best, lines in order."""
    best: dict[str, Rank] = {}
    for it in chosen:
        rank, path = it.rank, it.found.path
        if path not in best or rank < best[path]:
            best[path] = rank
    runs: list[_Run] = []
    for it in sorted(chosen, key=lambda it: (best[it.found.path], it.found.first_line, it.start)):
        if not runs or not runs[-1].takes(it):
            runs.append(_Run(it))
    return runs


def _written(runs: Sequence[_Run], counter: TokenCounter) -> tuple[str, int]:
    """The answer's text and its tokens: those of its lines where they are known, else it is counted whole."""
    lines: list[str] = []
    costs: list[int | None] = []
    for at, run in enumerate(runs):
        if at and run.path == runs[at - 1].path:
            lines.append(GAP)
            costs.append(_gap_cost(counter))
        else:
            end = at + 1
            while end < len(runs) and runs[end].path == run.path:
                end += 1
            heading = _heading(run.first.found, runs[end - 1].last.found.last_line)
            line, cost = header(counter, heading, below=at > 0)
            lines.append(line)
            costs.append(cost)
        costs.append(run.below)
        lines.append(run.text)
    text = "\n".join(lines)
    if None in costs:
        return text, counter.count(text)
    return text, sum(it for it in costs if it is not None) + len(lines) - 1


@functools.lru_cache(16)
def _gap_cost(counter: TokenCounter) -> int | None:
    return counter.below([GAP], [counter.count(GAP)])[0]


def _heading(first: Found, last_line: int) -> Heading:
    return Heading(first.path, first.date_ns, first.tags, first.first_line, last_line)
