"""Passages: the spans of a document that are indexed and returned, with exact lines and bytes."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

TARGET = 400
"""Characters. A longer unit is cut at the borders of sentences and lines into pieces of at most this."""
WHOLE_MAX = 500
"""Characters. So long a unit stays whole: the last piece of a cut is never a crumb."""
CODE_MAX = 1000
"""Characters of a piece of code that stays whole."""


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
    """A unit of the text before it is cut and located."""

    start: int
    """Character of the whole text."""
    end: int
    headings: tuple[str, ...] = ()
    author: str = ""
    said_ns: int | None = None
    code: bool = False
    """Not prose: longer pieces stay whole, and `#` and `[[` mean nothing."""


_TEXT = re.compile("[^\udc80-\udcff\0]+")
"""What is not text (bytes that are not UTF-8, and NUL) is in no passage: it is a border."""
_NO_WORDS = re.compile("[\ud800-\udfff\0]")
_AFTER_SENTENCE = re.compile(r"[.!?…][\"'”’)\]*_]*\s+(?![a-z])|[。！？]+[”』」]?\s*|\n[ \t\r]*\n\s*")
_AFTER_LINE = re.compile(r"\n")
_AFTER_CLAUSE = re.compile(r"[,;:—]\s+|[，、；：]")
_AFTER_WORD = re.compile(r"\s+")
_PROSE_BORDERS = (_AFTER_SENTENCE, _AFTER_LINE, _AFTER_CLAUSE, _AFTER_WORD)
_CODE_BORDERS = (re.compile(r"\n[ \t\r]*\n(?=\S)"), re.compile(r"\n[ \t\r]*\n"), _AFTER_LINE, _AFTER_WORD)
_TRIMMED_LEFT = re.compile(r"(?:[ \t\r\f\v]*\n|\ufeff)*")


def clean(words: str) -> str:
    """Words that every database and every encoding takes: what is no text in them becomes U+FFFD."""
    return _NO_WORDS.sub("\ufffd", words) if _NO_WORDS.search(words) else words


def located(text: str, spans: Iterable[Span]) -> tuple[Passage, ...]:
    """The passages of units that stand in ascending order and do not overlap. Blank ones are left out."""
    found = []
    at, byte, line = 0, 0, 1
    ascii_ = text.isascii()
    path: tuple[str, ...] = ()
    cleaned: tuple[str, ...] = ()
    for span in spans:
        if span.headings is not path:
            path, cleaned = span.headings, tuple(map(clean, span.headings))
        for start, end in _pieces(text, span):
            piece = text[start:end]
            byte += start - at if ascii_ else len(text[at:start].encode("utf-8", "surrogateescape"))
            line += text.count("\n", at, start)
            until = byte + (end - start if ascii_ else len(piece.encode()))
            last = line + piece.count("\n")
            found.append(Passage(line, last, byte, until, piece, cleaned, clean(span.author), span.said_ns))
            at, byte, line = end, until, last
    return tuple(found)


def joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbours of one kind as one, up to a piece's size: for texts with too many units."""
    last: Span | None = None
    for span in spans:
        if last is not None and span.end - last.start <= TARGET and _alike(last, span):
            last = replace(last, end=span.end)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def _alike(one: Span, other: Span) -> bool:
    return (one.headings, one.author, one.code) == (other.headings, other.author, other.code)


def _pieces(text: str, span: Span) -> Iterator[tuple[int, int]]:
    for start, end in _cuts(text, span):
        for found in _TEXT.finditer(text, start, end):
            run = found[0]
            kept = len(run.rstrip())
            begin = _TRIMMED_LEFT.match(run) if found.start() == start else None
            lead = len(run) - len(run.lstrip()) if begin is None else begin.end()
            if lead < kept:
                yield found.start() + lead, found.start() + kept


def _cuts(text: str, span: Span) -> Iterator[tuple[int, int]]:
    start, end = span.start, span.end
    whole, target = (CODE_MAX, CODE_MAX) if span.code else (WHOLE_MAX, TARGET)
    borders = _CODE_BORDERS if span.code else _PROSE_BORDERS
    while end - start > whole:
        stop = _border(text, start, start + target, borders)
        yield start, stop
        start = stop
    yield start, end


def _border(text: str, start: int, limit: int, borders: Iterable[re.Pattern[str]]) -> int:
    """The last of the best borders in the second half, else the limit itself."""
    middle = (start + limit) // 2
    for border in borders:
        stop = 0
        for found in border.finditer(text, middle, limit):
            stop = found.end()
        if stop > middle:
            return stop
    return limit
