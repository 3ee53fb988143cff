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


def header(it: Heading) -> str:
    lines = f"{it.first_line}-{it.last_line}" if it.last_line > it.first_line else str(it.first_line)
    before, behind = _around_lines(it.path, it.date_ns // DAY_NS, it.tags[:_TAGS_SHOWN])
    return f"{before}{lines}{behind}"


def cost_alone(counter: TokenCounter, it: Heading) -> int:
    """A header's tokens at the beginning of a text."""
    return _alone(counter, it.path, it.date_ns // DAY_NS, it.tags[:_TAGS_SHOWN], _digits(it))


def cost_below(counter: TokenCounter, it: Heading) -> int | None:
    """The same behind a newline; None: only counting tells."""
    return _below(counter, it.path, it.date_ns // DAY_NS, it.tags[:_TAGS_SHOWN], _digits(it))


def _digits(it: Heading) -> tuple[int, int]:
    """How many the numbers of its lines have, as all digits cost the same."""
    return len(str(it.first_line)), len(str(it.last_line)) if it.last_line > it.first_line else 0


@functools.lru_cache(8192)
def _alone(counter: TokenCounter, path: str, day: int, tags: tuple[str, ...], digits: tuple[int, int]) -> int:
    return counter.count(_template(path, day, tags, digits))


@functools.lru_cache(8192)
def _below(counter: TokenCounter, path: str, day: int, tags: tuple[str, ...], digits: tuple[int, int]) -> int | None:
    return counter.below([_template(path, day, tags, digits)], [_alone(counter, path, day, tags, digits)])[0]


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
