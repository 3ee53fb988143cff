"""Pages of a carried index: a msgpack map of columns, of files and of their passages (docs/format.md, F-143)."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agentfs.errors import Corrupt
from agentfs.format.columns import numbers, packed, strings, texts
from agentfs.format.fields import octets, required, rows
from agentfs.format.framing import pack, unpack_map
from agentfs.format.limits import (
    CARRIED_PAGE_FILES_MAX,
    CARRIED_PAGE_PASSAGES_MAX,
    DIGEST_BYTES,
    INTEGER_MAX,
    INTEGER_MIN,
)


class CarriedPassage(NamedTuple):
    """A passage of a document: where it stands, what it says, and its terms."""

    first_line: int
    last_line: int
    start: int
    end: int
    tokens: int
    length: int
    """Of its terms, in all five columns."""
    said_ns: int | None
    text: str
    headings: str
    """Joined by newlines."""
    author: str
    author_terms: str
    """This and the next: the terms of a column, joined by spaces."""
    date_terms: str
    place_terms: str
    tags_terms: str
    text_terms: str


class CarriedFile(NamedTuple):
    """A file that was looked at."""

    id: int
    """In the log (F-32)."""
    digest: bytes
    """SHA-256 of its content."""
    stamp: str
    """What else its document was made of: equal where it would come out equal."""
    indexed: bool
    """It has a document. All that follows is empty where it has none."""
    mtime_ns: int = 0
    created_ns: int | None = None
    expires_ns: int | None = None
    importance: float | None = None
    extracted: bool = False
    pinned: bool = False
    superseded: bool = False
    path: bytes = b""
    kind: str = ""
    title: str = ""
    type: str = ""
    tags: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    passages: Sequence[CarriedPassage] = ()


_FLAGS = ("indexed", "extracted", "pinned", "superseded")
_FILE_TIMES = ("created_ns", "expires_ns")
_FILE_TEXTS = ("stamp", "kind", "title", "type")
_FILE_LISTS = ("tags", "links")
_PASSAGE_NUMBERS = ("first_line", "last_line", "start", "end", "tokens", "length")
_PASSAGE_TEXTS = (
    "text", "headings", "author", "author_terms", "date_terms", "place_terms", "tags_terms", "text_terms"
)  # fmt: skip
_NEVER = INTEGER_MIN
"""Stands for a time that is not said."""


def encode_page(files: Sequence[CarriedFile]) -> bytes:
    """The page, not yet deflated. Raises `ValueError` for what a page cannot hold."""
    passages = [passage for it in files for passage in it.passages]
    if len(files) > CARRIED_PAGE_FILES_MAX or len(passages) > CARRIED_PAGE_PASSAGES_MAX:
        raise ValueError(f"{len(files)} files with {len(passages)} passages do not fit a page")
    columns: dict[str, object] = {
        "id": packed("Q", [it.id for it in files]),
        "digest": b"".join(it.digest for it in files),
        "mtime_ns": packed("q", [it.mtime_ns for it in files]),
        "importance": packed("d", [math.nan if it.importance is None else it.importance for it in files]),
        "passages": packed("I", [len(it.passages) for it in files]),
        "path": [it.path for it in files],
        "said_ns": _times([it.said_ns for it in passages]),
    }
    columns |= {name: packed("B", [getattr(it, name) for it in files]) for name in _FLAGS}
    columns |= {name: _times([getattr(it, name) for it in files]) for name in _FILE_TIMES}
    columns |= {name: [getattr(it, name) for it in files] for name in _FILE_TEXTS}
    columns |= {name: [list(getattr(it, name)) for it in files] for name in _FILE_LISTS}
    columns |= {f"passage_{name}": packed("I", [getattr(it, name) for it in passages]) for name in _PASSAGE_NUMBERS}
    columns |= {f"passage_{name}": [getattr(it, name) for it in passages] for name in _PASSAGE_TEXTS}
    return pack(columns)


def decode_page(data: bytes, *, files: int, passages: int) -> list[CarriedFile]:
    """The files of a page, which has so many, with so many passages. Raises `Corrupt`."""
    columns = unpack_map(data, "a page of a carried index")
    inside = _passages(columns, passages)
    counts = numbers(columns, "passages", "I", files)
    if sum(counts) != passages:
        raise Corrupt("the files' passages do not add up")
    importances = [None if it != it else it for it in numbers(columns, "importance", "d", files)]  # noqa: PLR0124
    if any(it is not None and not 0 <= it <= 1 for it in importances):
        raise Corrupt("an importance is not between 0 and 1")
    by_name: dict[str, Sequence[object]] = {
        "id": numbers(columns, "id", "Q", files),
        "digest": _digests(columns, files),
        "mtime_ns": numbers(columns, "mtime_ns", "q", files),
        "importance": importances,
        "path": strings(columns, "path", files),
        "passages": list(_cut(inside, counts)),
    }
    by_name |= {name: _flags(columns, name, files) for name in _FLAGS}
    by_name |= {name: _read_times(columns, name, files) for name in _FILE_TIMES}
    by_name |= {name: texts(columns, name, files) for name in _FILE_TEXTS}
    by_name |= {name: _lists(columns, name, files) for name in _FILE_LISTS}
    found = list(map(CarriedFile._make, zip(*(by_name[name] for name in CarriedFile._fields), strict=True)))
    for it in found:
        if not 0 < it.id <= INTEGER_MAX:
            raise Corrupt(f"{it.id} is not the number of a file")
        if it != CarriedFile(it.id, it.digest, it.stamp, False) and not it.indexed:
            raise Corrupt(f"file {it.id} has no document, and something of one")
    return found


def _passages(columns: dict[str, object], count: int) -> list[CarriedPassage]:
    by_name: dict[str, Sequence[object]] = {"said_ns": _read_times(columns, "said_ns", count)}
    by_name |= {name: numbers(columns, f"passage_{name}", "I", count) for name in _PASSAGE_NUMBERS}
    by_name |= {name: texts(columns, f"passage_{name}", count) for name in _PASSAGE_TEXTS}
    return list(map(CarriedPassage._make, zip(*(by_name[name] for name in CarriedPassage._fields), strict=True)))


def _cut(passages: list[CarriedPassage], counts: list[int]) -> Iterator[tuple[CarriedPassage, ...]]:
    at = 0
    for count in counts:
        yield tuple(passages[at : at + count])
        at += count


def _times(values: Sequence[int | None]) -> bytes:
    return packed("q", [_NEVER if it is None else it for it in values])


def _read_times(columns: dict[str, object], name: str, count: int) -> list[int | None]:
    return [None if it == _NEVER else it for it in numbers(columns, name, "q", count)]


def _flags(columns: dict[str, object], name: str, count: int) -> list[bool]:
    found = numbers(columns, name, "B", count)
    if any(it > 1 for it in found):
        raise Corrupt(f"'{name}' is neither 0 nor 1")
    return [it == 1 for it in found]


def _digests(columns: dict[str, object], count: int) -> list[bytes]:
    length = count * DIGEST_BYTES
    joined = octets(required(columns, "digest"), "'digest'", low=length, high=length)
    return [joined[at : at + DIGEST_BYTES] for at in range(0, length, DIGEST_BYTES)]


def _lists(columns: dict[str, object], name: str, count: int) -> list[tuple[str, ...]]:
    found = rows(required(columns, name), f"'{name}'", count_max=count)
    for it in found:
        if type(it) is not list or any(type(each) is not str for each in it):
            raise Corrupt(f"'{name}' is not {count} arrays of text")
    return [tuple(it) for it in found]  # type: ignore[arg-type]
