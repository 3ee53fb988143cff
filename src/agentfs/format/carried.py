"""Carried indexes: what a machine made of a volume's texts for search and recall, put beside the snapshots so that a
new machine need not make it again (docs/format.md, F-140 ff.). Derived: whoever finds none, or none that it can use,
makes its own.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentfs.errors import Corrupt
from agentfs.format.carried_pages import CarriedFile, decode_page, encode_page
from agentfs.format.fields import integer, required, row, rows, text
from agentfs.format.framing import ObjectKind, open_frame, seal
from agentfs.format.limits import (
    CARRIED_BYTES_MAX,
    CARRIED_PAGE_BYTES_MAX,
    CARRIED_PAGE_FILES_MAX,
    CARRIED_PAGE_PASSAGES_MAX,
    CARRIED_PAGES_MAX,
    CARRIED_RULES_BYTES_MAX,
    INTEGER_MAX,
    SEQUENCE_MAX,
    SNAPSHOT_RAW_RATIO_MAX,
)
from agentfs.format.validation import need

_LEVEL = 6
"""Of deflate: texts are a quarter smaller than with level 1, and it is done once a day at most."""


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page as it stands in the body."""

    files: int
    passages: int
    raw_bytes: int
    data: bytes
    """Deflated."""


@dataclass(frozen=True, slots=True)
class CarriedHeader:
    volume: str
    sequence: int
    """The entry after which it was made. A file in it may be of a later one."""
    time_ns: int
    """When it was made, for people."""
    author: str
    rules: str
    """By which documents and terms were made. Another's are of no use."""


@dataclass(frozen=True, slots=True)
class CarriedIndex:
    """What was read. Its pages are inflated one by one."""

    header: CarriedHeader
    stored: tuple[StoredPage, ...]

    @property
    def files(self) -> int:
        return sum(page.files for page in self.stored)

    def pages(self) -> Iterator[list[CarriedFile]]:
        """The files, page by page. Raises `Corrupt`: what came before is good all the same."""
        for page in self.stored:
            try:
                raw = _inflated(page)
                yield decode_page(raw, files=page.files, passages=page.passages)
            except Corrupt as error:
                raise _unused(self.header.volume, error) from error


def stored_page(files: Sequence[CarriedFile]) -> StoredPage:
    """Raises `ValueError` for what a page cannot hold."""
    raw = encode_page(files)
    need(len(raw) <= CARRIED_PAGE_BYTES_MAX, f"a page of {len(raw)} bytes is too large")
    return StoredPage(len(files), sum(len(it.passages) for it in files), len(raw), zlib.compress(raw, _LEVEL))


def encode_carried(header: CarriedHeader, pages: Sequence[StoredPage]) -> bytes:
    """The object. Raises `ValueError` when it is beyond the format's limits."""
    need(len(pages) <= CARRIED_PAGES_MAX, f"{len(pages)} pages; {CARRIED_PAGES_MAX} are possible")
    need(len(header.rules.encode()) <= CARRIED_RULES_BYTES_MAX, "the rules are too long")
    data, _ = seal(
        ObjectKind.INDEX,
        {
            "volume": header.volume,
            "sequence": header.sequence,
            "time": header.time_ns,
            "author": header.author,
            "rules": header.rules,
            "pages": [[it.files, it.passages, len(it.data), it.raw_bytes] for it in pages],
            "requires": [],
        },
        [it.data for it in pages],
    )
    need(len(data) <= CARRIED_BYTES_MAX, f"an index of {len(data)} bytes is too large to be carried")
    return data


def decode_carried(data: bytes, *, volume: str, sequence: int) -> CarriedIndex:
    """The index in `data`, which must be that of `volume` at `sequence`. Everything but what its pages hold is
    verified. Raises `Corrupt`, `NewerFormat`."""
    try:
        need(len(data) <= CARRIED_BYTES_MAX, "it is longer than the format allows")
        frame = open_frame(data, kind=ObjectKind.INDEX)
        found = frame.header
        header = CarriedHeader(
            volume=text(required(found, "volume"), "'volume'", bytes_max=256),
            sequence=integer(required(found, "sequence"), "'sequence'", low=1, high=SEQUENCE_MAX),
            time_ns=integer(required(found, "time"), "'time'", low=0, high=INTEGER_MAX),
            author=text(required(found, "author"), "'author'", bytes_max=256),
            rules=text(required(found, "rules"), "'rules'", bytes_max=CARRIED_RULES_BYTES_MAX),
        )
        need(header.volume == volume, f"it belongs to {header.volume}")
        need(header.sequence == sequence, f"it is of sequence {header.sequence}")
        pages, start = [], frame.body_start
        for it in rows(required(found, "pages"), "'pages'", count_max=CARRIED_PAGES_MAX):
            files, passages, stored_bytes, raw_bytes = _page(it)
            end = start + stored_bytes
            pages.append(StoredPage(files, passages, raw_bytes, data[start : min(end, frame.body_end)]))
            start = end
        need(start == frame.body_end, "the pages do not fill the body")
    except (Corrupt, ValueError) as error:
        raise _unused(volume, error) from error
    return CarriedIndex(header, tuple(pages))


def _unused(volume: str, error: Exception) -> Corrupt:
    return Corrupt(f"a carried index of {volume} is damaged and was not used: {error}")


def _page(value: object) -> tuple[int, int, int, int]:
    files, passages, stored, raw = row(value, "'pages'", width=4)
    stored_bytes = integer(stored, "a page's length", low=1, high=CARRIED_BYTES_MAX)
    raw_max = min(CARRIED_PAGE_BYTES_MAX, stored_bytes * SNAPSHOT_RAW_RATIO_MAX)
    return (
        integer(files, "a page's files", low=1, high=CARRIED_PAGE_FILES_MAX),
        integer(passages, "a page's passages", low=0, high=CARRIED_PAGE_PASSAGES_MAX),
        stored_bytes,
        integer(raw, "a page's inflated length", low=1, high=raw_max),
    )


def _inflated(page: StoredPage) -> bytes:
    """Never allocates more than was declared, whatever the stream says."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(page.data, page.raw_bytes + 1)
    except zlib.error as error:
        raise Corrupt("a page cannot be inflated") from error
    if len(raw) != page.raw_bytes or not stream.eof or stream.unused_data:
        raise Corrupt("a page does not have the length that was declared")
    return raw
