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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agentfs.memory.doubles import Doubles, Gist, gist
from agentfs.memory.moments import DAY_NS
from agentfs.memory.results import Found, Recalled
from agentfs.memory.tokens import TokenCounter

GAP = "…"
NOTHING = "Nothing in this memory answers that."
TOO_SMALL = "The best passage needs {} tokens: ask with more."
_TAGS_SHOWN = 4
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
_NS = 1_000_000_000


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
    gist: Callable[[], Gist] | None = None
    """Of its text, where that is kept."""
    at: int = 0
    """What `parts` knows it by."""

    @property
    def rank(self) -> Rank:
        return (-self.score, self.found.path, self.found.first_line, self.found.last_line)


@dataclass(slots=True)
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
    parts: Parts | None = None,
    counted: bool = False,
) -> Recalled:
    """The best of `offers` (the best first, read only as far as they may fit) within the budget. `pinned`: those of
    them that are standing instructions, which have a small part of the budget for themselves. `parts`: of a piece's
    score, where they are not in what is found. `counted`: what pieces cost is `counter`'s count of their texts.
    Nothing relevant where there is no piece."""
    choice = _Choice(max_tokens, counter, counted=counted)
    choice.reserve(pinned)
    choice.fill(offers)
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
    union = [Piece(it, it.score, 0, 0) for part in parts if part.relevant for it in part.found]
    union.sort(key=lambda it: it.rank)
    for at, piece in enumerate(union):  # runs are whole already: places that cannot touch keep them apart
        piece.start = piece.end = _APART * at
    offers = [Offer(it.score, it.found.tokens, it.found.path, functools.partial(_same, it)) for it in union]
    if not offers:
        needs = min((it.needs for it in parts if it.needs), default=0)
        return nothing(max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind, needs=needs)
    return packed(offers, max_tokens=max_tokens, counter=counter, scanned=scanned, behind=behind)


def _same(piece: Piece) -> Piece:
    return piece


# ---- choosing ----


class _Run:
    """Passages of one file that touch."""

    def __init__(self, piece: Piece) -> None:
        self.path = piece.found.path
        self.first = self.last = self.best = piece
        self._pieces = [piece]
        self._between = [""]
        """What stands before each."""
        self.text = piece.found.text
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
        self._pieces.append(other)
        self._between.append(between)
        self.text += between + found.text
        self.tokens += found.tokens + (1 if between else 0)
        self.last = other
        if other.score > self.best.score:
            self.best = other
        return True

    def below(self, counter: TokenCounter) -> int | None:
        """What it costs behind a newline; None: only counting tells."""
        spent = 0
        for piece, between in zip(self._pieces, self._between, strict=True):
            cost = counter.below(piece.found.text, piece.found.tokens)
            if cost is None or not (between or piece is self.first):
                return None
            spent += cost + len(between)
        return spent

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

    def __init__(self, max_tokens: int, counter: TokenCounter, *, counted: bool) -> None:
        self.chosen: list[Piece] = []
        self._max = max_tokens
        self._counter = counter
        self._counted = counted
        self._spent = 0
        self._texts = Doubles()
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
            if it.score > 0 and self._spent + self._cost(it) <= most and not self._has(it):
                self._take(it)

    def fill(self, offers: Iterable[Offer]) -> None:
        """Stops where so many did not fit that no other will."""
        best: float | None = None
        for it in offers:
            if best is None:
                best = it.score
                self._best = self._best or (it if best > 0 else None)
            if it.score <= 0 or it.score < best * FLOOR or len(self._left) >= _TRIED:
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
            elif not self._has(piece):
                self._known.add(it.document)
                self._take(piece)

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
        return _written([_Run(it)], self._counter, counted=self._counted)[1]

    def _made(self) -> tuple[list[_Run], str, int]:
        runs = _runs(self.chosen)
        text, tokens = _written(runs, self._counter, counted=self._counted)
        return runs, text, tokens

    def _has(self, it: Piece) -> bool:
        """Whether what it says was chosen; else it counts as chosen now."""
        text = it.found.text
        return self._texts.have(text, gist(text) if it.gist is None else it.gist())

    def _take(self, it: Piece) -> None:
        self._spent += self._cost(it)
        self._paid.add(it.found.path)
        self.chosen.append(it)

    def _cost(self, it: Piece) -> int:
        """With the header of its file where that is not paid for, and a line end, and half a gap."""
        path = it.found.path
        if path not in self._headers:
            self._headers[path] = _header_cost(self._counter, it.found, it.found.last_line)[0] + 4
        return it.found.tokens + 1 + (0 if path in self._paid else self._headers[path])


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


def _written(runs: Sequence[_Run], counter: TokenCounter, *, counted: bool) -> tuple[str, int]:
    """The answer's text and its tokens: those of its lines where they are known, else it is counted whole."""
    lines: list[str] = []
    costs: list[int | None] = []
    gap = counter.below(GAP, counter.count(GAP))
    for at, run in enumerate(runs):
        if at and run.path == runs[at - 1].path:
            lines.append(GAP)
            costs.append(gap)
        else:
            end = at + 1
            while end < len(runs) and runs[end].path == run.path:
                end += 1
            first, last_line = run.first.found, runs[end - 1].last.found.last_line
            lines.append(_header(first, last_line))
            costs.append(_header_cost(counter, first, last_line)[1 if at else 0])
        costs.append(run.below(counter) if counted else None)
        lines.append(run.text)
    text = "\n".join(lines)
    if None in costs:
        return text, counter.count(text)
    return text, sum(it for it in costs if it is not None) + len(lines) - 1


def _header(first: Found, last_line: int) -> str:
    before, behind = _around_lines(first.path, first.date_ns // DAY_NS, first.tags[:_TAGS_SHOWN])
    return f"{before}{_lines(first.first_line, last_line)}{behind}"


def _lines(first_line: int, last_line: int) -> str:
    return f"{first_line}-{last_line}" if last_line > first_line else str(first_line)


@functools.lru_cache(4096)
def _around_lines(path: str, day: int, tags: tuple[str, ...]) -> tuple[str, str]:
    """What a header has before and behind its lines."""
    path = " ".join(path.split("\n")).encode("utf-8", "replace").decode()
    date = _day(day)
    shown = f" · {date}" if date and date not in path else ""
    return f"## {path}:", f"{shown}{' ·' if tags else ''}{''.join(f' #{tag}' for tag in tags)}"


def _header_cost(counter: TokenCounter, first: Found, last_line: int) -> tuple[int, int | None]:
    """A header's tokens at the beginning of a text, and behind a newline (None: only counting tells)."""
    line = first.first_line
    digits = len(str(last_line)) if last_line > line else 0
    return _cost_of_header(
        counter, first.path, first.date_ns // DAY_NS, first.tags[:_TAGS_SHOWN], (len(str(line)), digits)
    )


@functools.lru_cache(8192)
def _cost_of_header(
    counter: TokenCounter, path: str, day: int, tags: tuple[str, ...], lines: tuple[int, int]
) -> tuple[int, int | None]:
    """`lines`: how many digits their numbers have, as all digits cost the same."""
    first, last = lines
    before, behind = _around_lines(path, day, tags)
    header = before + "0" * first + (f"-{'0' * last}" if last else "") + behind
    alone = counter.count(header)
    return alone, counter.below(header, alone)


def _day(day: int) -> str:
    """As `2023-05-08`; "" for what no calendar has."""
    try:
        return f"{datetime.fromtimestamp(day * DAY_NS // _NS, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return ""
