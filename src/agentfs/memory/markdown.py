"""Passages of Markdown and plain text."""

import re
from collections.abc import Iterator

from agentfs.memory.passages import Span

_HEADING = re.compile(r"\ufeff?(#{1,6})[ \t]+(.*?)[ \t#]*$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_SPEAKER = re.compile(r"(?:\*\*)?([A-Z][\w .'-]{0,38}?)(?:\*\*)?:(?:\*\*)?[ \t]+\S")
_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")


def spans(text: str, start: int = 0, *, headed: bool = True) -> Iterator[Span]:
    """Paragraphs, items, turns. `headed`: `#` lines are headings."""
    headings: list[tuple[int, str]] = []
    begin, end, author = start, start, ""
    for found in _LINE.finditer(text, start):
        line = found[0].rstrip()
        heading = _HEADING.match(line) if headed else None
        speaker = _SPEAKER.match(line)
        if not line or heading or speaker or _ITEM.match(line):
            yield Span(begin, end, tuple(title for _, title in headings), author)
            begin = found.end() if heading else found.start()
            author = speaker[1] if speaker else ""
        if heading:
            headings = [*(one for one in headings if one[0] < len(heading[1])), (len(heading[1]), heading[2])]
        end = found.end()
    yield Span(begin, end, tuple(title for _, title in headings), author)
