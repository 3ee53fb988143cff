"""Programs and settings → units: functions, classes, sections, with the comments that stand on them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentfs.memory.passages import CODE_MAX, TARGET, Span

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_DEPTH_MAX = 6
"""Blocks in blocks. What is deeper is cut by lines."""
_PATH_MAX = 120
"""Characters of a block's first line that go into the path."""
_COMMENTS = ("#", "//", "/*", "*", "--", ";", "@", '"""', "'''")
"""How a line begins that belongs to what follows it."""
_CLOSERS = "})]"


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    indent: int
    first: str
    """The line without its indent, cut short; "": blank."""


def spans(text: str, start: int = 0) -> Iterator[Span]:
    lines = []
    for found in _LINE.finditer(text, start):
        content = found[0].lstrip(" \t\ufeff")
        indent = len(found[0][: len(found[0]) - len(content)].expandtabs(4))
        lines.append(_Line(found.start(), found.end(), indent, content[:_PATH_MAX].strip()))
    yield from _together(_blocks(lines, 0, len(lines), ()))


def _blocks(lines: Sequence[_Line], first: int, stop: int, path: tuple[str, ...]) -> Iterator[Span]:
    """The lines from `first` to before `stop`: whole if they are short, else by what stands at their left edge."""
    while first < stop and not lines[first].first:
        first += 1
    if first >= stop:
        return
    size = lines[stop - 1].end - lines[first].start
    if (path and size <= CODE_MAX) or len(path) >= _DEPTH_MAX:
        yield Span(lines[first].start, lines[stop - 1].end, path, code=True)
        return
    edge = min(line.indent for line in lines[first:stop] if line.first)
    begins = _starts(lines, first, stop, edge)
    for begin, end in zip(begins, [*begins[1:], stop], strict=True):
        if lines[end - 1].end - lines[begin].start <= CODE_MAX:
            yield Span(lines[begin].start, lines[end - 1].end, path, code=True)
            continue
        head = next((at for at in range(begin, end) if _names(lines[at])), begin)
        body = next((at for at in range(head + 1, end) if lines[at].first and lines[at].indent > edge), end)
        if body < end:
            yield Span(lines[begin].start, lines[body - 1].end, path, code=True)
            yield from _blocks(lines, body, end, (*path, lines[head].first))
        else:
            yield Span(lines[begin].start, lines[end - 1].end, path, code=True)


def _starts(lines: Sequence[_Line], first: int, stop: int, edge: int) -> list[int]:
    """The lines where a block begins: at the edge, with the comments above, but not where a block only ends."""
    found = [first]
    lead = -1
    for at in range(first + 1, stop):
        line = lines[at]
        if not line.first:
            lead = -1
            continue
        if line.indent != edge or line.first[0] in _CLOSERS or line.first.startswith(("else", "elif", "except")):
            lead = -1
            continue
        if line.first.startswith(_COMMENTS):
            lead = at if lead < 0 else lead
            if not lines[at - 1].first:
                found.append(at)
            continue
        begin = at if lead < 0 else lead
        if begin > found[-1] and (
            not lines[begin - 1].first or lines[begin - 1].indent > edge or _ended(lines[begin - 1])
        ):
            found.append(begin)
        lead = -1
    return found


def _names(line: _Line) -> bool:
    return bool(line.first) and not line.first.startswith(_COMMENTS)


def _ended(line: _Line) -> bool:
    """Whether a line closes a block."""
    return line.first[:1] in _CLOSERS


def _together(blocks: Iterator[Span]) -> Iterator[Span]:
    """Small neighbours as one: imports, constants, settings."""
    last: Span | None = None
    for span in blocks:
        small = span.end - span.start <= TARGET / 2
        if last is not None and small and span.headings == last.headings and span.end - last.start <= TARGET:
            last = Span(last.start, span.end, last.headings, code=True)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
