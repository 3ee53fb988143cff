"""The line above the passages of a file in an answer: what it says, and what it costs.

## notes/caroline.md:12-31 · 2023-05-08 · #family #plans
"""

import functools
from datetime import UTC, datetime
from typing import NamedTuple

from agentfs.memory.moments import DAY_NS
from agentfs.memory.tokens import TokenCounter

_TAGS_SHOWN = 4
_NS = 1_000_000_000


class Heading(NamedTuple):
    """What a header tells."""

    path: str
    date_ns: int
    """Of the first passage."""
    tags: tuple[str, ...]
    first_line: int
    last_line: int


_Shape = tuple[str, int, tuple[str, ...], tuple[int, int]]
"""What its cost depends on: path, day, tags shown, and how many digits the numbers of its lines have, as all digits
cost the same."""


def header(counter: TokenCounter, it: Heading, *, below: bool) -> tuple[str, int | None]:
    """The line, and its tokens: at the beginning of a text, or `below` a text and a newline, which are not counted;
    None: only counting the whole tells."""
    lines = f"{it.first_line}-{it.last_line}" if it.last_line > it.first_line else str(it.first_line)
    before, behind, cost = _line(counter, _shape(it), below)
    return f"{before}{lines}{behind}", cost


def cost_alone(counter: TokenCounter, it: Heading) -> int:
    """A header's tokens at the beginning of a text."""
    return _alone(counter, _shape(it))


def _shape(it: Heading) -> _Shape:
    digits = len(str(it.first_line)), len(str(it.last_line)) if it.last_line > it.first_line else 0
    return it.path, it.date_ns // DAY_NS, it.tags[:_TAGS_SHOWN], digits


@functools.lru_cache(8192)
def _alone(counter: TokenCounter, shape: _Shape) -> int:
    return counter.count(_template(*shape))


@functools.lru_cache(8192)
def _line(counter: TokenCounter, shape: _Shape, below: bool) -> tuple[str, str, int | None]:
    """What it has before and behind its lines, and what it costs."""
    path, day, tags, _ = shape
    alone = _alone(counter, shape)
    cost = counter.below([_template(*shape)], [alone])[0] if below else alone
    return *_around_lines(path, day, tags), cost


def _template(path: str, day: int, tags: tuple[str, ...], digits: tuple[int, int]) -> str:
    """A header with other numbers."""
    first, last = digits
    before, behind = _around_lines(path, day, tags)
    return before + "0" * first + (f"-{'0' * last}" if last else "") + behind


@functools.lru_cache(4096)
def _around_lines(path: str, day: int, tags: tuple[str, ...]) -> tuple[str, str]:
    """What a header has before and behind its lines."""
    path = " ".join(path.split("\n")).encode("utf-8", "replace").decode()
    date = _day(day)
    shown = f" · {date}" if date and date not in path else ""
    return f"## {path}:", f"{shown}{' ·' if tags else ''}{''.join(f' #{tag}' for tag in tags)}"


@functools.lru_cache(1024)
def _day(day: int) -> str:
    """As `2023-05-08`; "" for what no calendar has."""
    try:
        return f"{datetime.fromtimestamp(day * DAY_NS // _NS, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return ""
