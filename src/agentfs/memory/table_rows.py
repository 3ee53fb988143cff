"""CSV and its kin → units: a row each, the header with the first and in the path of the others."""

import re
from collections.abc import Iterator

from agentfs.memory import moments
from agentfs.memory.passages import Span

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_HEADER_MAX = 300
"""Characters of the header that go into the path."""
_LINES_MAX = 100
"""Lines of a row. A quotation mark that nothing closes is no more than that."""


def spans(text: str, start: int = 0) -> Iterator[Span]:
    header: tuple[str, ...] = ()
    first = True
    for begin, end in _rows(text, start):
        if not header:
            header, start = (text[begin:end].strip("\ufeff \t\r\n")[:_HEADER_MAX],), begin
            continue
        at = moments.moment_at(text, begin)
        said_ns = None if at is None else at.ns
        yield Span(start if first else begin, end, () if first else header, said_ns=said_ns, code=True)
        first = False
    if first and header:
        yield Span(start, len(text), code=True)


def _rows(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Where rows stand; a quoted cell may have several lines."""
    begin, quotes, lines = start, 0, 0
    for found in _LINE.finditer(text, start):
        if not lines:
            begin = found.start()
        quotes += found[0].count('"')
        lines += 1
        if (quotes % 2 and lines < _LINES_MAX) or (lines == 1 and found[0].isspace()):
            lines = lines if quotes % 2 else 0
            continue
        yield begin, found.end()
        quotes = lines = 0
    if lines:
        yield begin, len(text)
