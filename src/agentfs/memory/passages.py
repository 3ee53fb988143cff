"""Passages: the spans of a document that are indexed and returned, with exact lines and bytes."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

TARGET = 400
"""Characters. A longer paragraph is cut at the borders of lines and sentences into pieces of about this."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of a document. `data[start:end].decode() == text`, unless the document is extracted."""

    first_line: int
    """From 1."""
    last_line: int
    """Inclusive."""
    start: int
    """Byte in the file (in the text, of an extracted document)."""
    end: int
    text: str
    headings: tuple[str, ...] = ()
    """The path of headings above it."""
    author: str = ""
    """Who says it, in a conversation; else ""."""
    said_ns: int | None = None
    """A date that stands with it: of the heading above, or the timestamp of the line."""


@dataclass(frozen=True, slots=True)
class Span:
    """A passage before it is cut and located: characters of the whole text."""

    start: int
    end: int
    headings: tuple[str, ...] = ()
    author: str = ""
    said_ns: int | None = None


_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n")
_NO_TEXT = re.compile("[\udc80-\udcff\0]+")


def located(text: str, spans: Iterable[Span]) -> tuple[Passage, ...]:
    """Passages of spans in ascending order that do not overlap; blank ones are left out."""
    found = []
    at, byte, line = 0, 0, 1
    for span in spans:
        for start, end in _pieces(text, span.start, span.end):
            byte += len(text[at:start].encode("utf-8", "surrogateescape"))
            line += text.count("\n", at, start)
            piece = text[start:end]
            length = len(piece.encode())
            last = line + piece.count("\n")
            found.append(Passage(line, last, byte, byte + length, piece, span.headings, span.author, span.said_ns))
            at, byte, line = end, byte + length, last
    return tuple(found)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for begin, stop in _cuts(text, start, end):
        for found in re.finditer("[^\udc80-\udcff\0]+", text[begin:stop]):
            run = found[0]
            if run.strip():
                lead = len(run) - len(run.lstrip("\r\n\ufeff"))
                yield begin + found.start() + lead, begin + found.start() + len(run.rstrip())


def _cuts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > TARGET:
        borders = [found.end() for found in _SENTENCE.finditer(text, start, start + TARGET)]
        stop = borders[-1] if borders and borders[-1] > start else start + TARGET
        yield start, stop
        start = stop
    if end > start:
        yield start, end
