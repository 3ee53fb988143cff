"""Pages of a snapshot: a msgpack map of columns (docs/format.md, F-52 f.).

Integer columns are packed little-endian, one fixed width each; digests are joined; names are joined with `/`, which
no name contains. Targets and xattrs are sparse: [row, value].
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from agentfs.errors import Corrupt
from agentfs.format.columns import numbers, packed
from agentfs.format.fields import integer, octets, required, row, rows
from agentfs.format.framing import pack, unpack_map
from agentfs.format.limits import (
    DIGEST_BYTES,
    FILE_BYTES_MAX,
    SNAPSHOT_PAGE_BYTES_MAX,
    SNAPSHOT_PAGE_ROWS_MAX,
    SNAPSHOT_PAGE_VARIABLE_BYTES,
    TARGET_BYTES_MAX,
    XATTR_NAME_BYTES_MAX,
    XATTR_VALUE_BYTES_MAX,
    XATTRS_MAX,
)
from agentfs.format.snapshot_rows import PLACE_CHUNKED, PLACE_NONE, InodeRow, LinkRow, Xattrs
from agentfs.format.validation import chunk_count

INTEGER_COLUMNS = (
    ("id", "Q", 0),
    ("kind", "B", 1),
    ("mode", "H", 2),
    ("uid", "I", 3),
    ("gid", "I", 4),
    ("mtime", "q", 5),
    ("ctime", "q", 6),
    ("birth", "q", 7),
    ("rdev", "Q", 8),
    ("place", "B", 11),
    ("size", "Q", 12),
    ("sequence", "Q", 14),
    ("offset", "Q", 15),
)
"""Name, type (B, H, I, Q: unsigned of 1, 2, 4, 8 bytes; q: signed of 8) and index in `InodeRow`."""

_NO_DIGEST = bytes(DIGEST_BYTES)


# ---- encoding -----------------------------------------------------------------------------------------------


def inode_pages(inodes: Sequence[InodeRow]) -> Iterator[Sequence[InodeRow]]:
    """Cut rows into pages by count and by the bytes of what varies."""
    start, variable_bytes = 0, 0
    for at, it in enumerate(inodes):
        if at - start == SNAPSHOT_PAGE_ROWS_MAX or variable_bytes > SNAPSHOT_PAGE_VARIABLE_BYTES:
            yield inodes[start:at]
            start, variable_bytes = at, 0
        variable_bytes += len(it[9]) + len(it[16])
        if it[10]:
            variable_bytes += sum(len(name) + len(value) for name, value in it[10])
    yield inodes[start:]


def link_pages(links: Sequence[LinkRow]) -> Iterator[Sequence[LinkRow]]:
    for start in range(0, len(links), SNAPSHOT_PAGE_ROWS_MAX):
        yield links[start : start + SNAPSHOT_PAGE_ROWS_MAX]


def encode_inode_page(page: Sequence[InodeRow]) -> bytes:
    columns: dict[str, object] = {name: _packed_column(page, code, index) for name, code, index in INTEGER_COLUMNS}
    columns["digest"] = b"".join(it[13] or _NO_DIGEST for it in page)
    columns["chunks"] = b"".join(it[16] for it in page)
    columns["target"] = [[at, it[9]] for at, it in enumerate(page) if it[9]]
    columns["xattrs"] = [[at, [list(pair) for pair in it[10]]] for at, it in enumerate(page) if it[10]]
    return pack(columns)


def encode_link_page(page: Sequence[LinkRow]) -> bytes:
    return pack(
        {
            "parent": packed("Q", [it[0] for it in page]),
            "child": packed("Q", [it[2] for it in page]),
            "name": b"/".join([it[1] for it in page]),
        }
    )


def _packed_column(page: Sequence[InodeRow], code: str, index: int) -> bytes:
    return packed(code, [it[index] for it in page])  # type: ignore[misc]  # the index of an integer column


# ---- decoding -----------------------------------------------------------------------------------------------


def decode_inode_page(data: bytes, count: int) -> list[InodeRow]:
    """The `count` rows of a page. Types and lengths are right; what the values mean is for `check_rows`."""
    columns = unpack_map(data, "a page of inodes")
    by_index: dict[int, Sequence[object]] = {
        index: numbers(columns, name, code, count) for name, code, index in INTEGER_COLUMNS
    }
    places = bytes(octets(columns["place"], "'place'", high=count))
    by_index[9] = _targets(columns, count)
    by_index[10] = _xattrs(columns, count)
    by_index[13] = _digests(columns, places)
    by_index[16] = _chunks(columns, places, by_index[12])
    return list(zip(*(by_index[index] for index in range(17)), strict=True))


def decode_link_page(data: bytes, count: int) -> list[LinkRow]:
    columns = unpack_map(data, "a page of links")
    parents = numbers(columns, "parent", "Q", count)
    children = numbers(columns, "child", "Q", count)
    names = octets(required(columns, "name"), "'name'", high=SNAPSHOT_PAGE_BYTES_MAX).split(b"/")
    if len(names) != count:
        raise Corrupt(f"there are {len(names)} names for {count} links")
    return list(zip(parents, names, children, strict=True))


def _digests(columns: dict[str, object], places: bytes) -> list[bytes]:
    count = len(places) * DIGEST_BYTES
    joined = octets(required(columns, "digest"), "'digest'", low=count, high=count)
    digests = [joined[at : at + DIGEST_BYTES] for at in range(0, count, DIGEST_BYTES)]
    at = places.find(PLACE_NONE)
    while at >= 0:
        if digests[at] != _NO_DIGEST:
            raise Corrupt("there is a digest where there is no content")
        digests[at] = b""
        at = places.find(PLACE_NONE, at + 1)
    return digests


def _chunks(columns: dict[str, object], places: bytes, sizes: Sequence[object]) -> list[bytes]:
    joined = octets(required(columns, "chunks"), "'chunks'", high=SNAPSHOT_PAGE_BYTES_MAX)
    chunks = [b""] * len(places)
    end = 0
    at = places.find(PLACE_CHUNKED)
    while at >= 0:
        size = integer(sizes[at], "a content's size", low=1, high=FILE_BYTES_MAX)
        start, end = end, end + chunk_count(size) * DIGEST_BYTES
        chunks[at] = joined[start:end]
        at = places.find(PLACE_CHUNKED, at + 1)
    if end != len(joined):
        raise Corrupt("the chunks do not match the sizes")
    return chunks


def _targets(columns: dict[str, object], count: int) -> list[bytes]:
    targets = [b""] * count
    for at, value in _sparse(columns, "target", count):
        targets[at] = octets(value, "a target", low=1, high=TARGET_BYTES_MAX)
    return targets


def _xattrs(columns: dict[str, object], count: int) -> list[Xattrs]:
    xattrs: list[Xattrs] = [()] * count
    for at, value in _sparse(columns, "xattrs", count):
        pairs = (row(it, "xattrs", width=2) for it in rows(value, "a list of xattrs", count_max=XATTRS_MAX))
        xattrs[at] = tuple(
            (
                octets(name, "an xattr's name", high=XATTR_NAME_BYTES_MAX),
                octets(content, "an xattr's value", high=XATTR_VALUE_BYTES_MAX),
            )
            for name, content in pairs
        )
    return xattrs


def _sparse(columns: dict[str, object], name: str, count: int) -> Iterator[tuple[int, object]]:
    """The [row, value] pairs of a column, by ascending row."""
    last = -1
    for pair in islice(rows(required(columns, name), f"'{name}'", count_max=count), count):
        index, value = row(pair, f"'{name}'", width=2)
        last = integer(index, f"a row of '{name}'", low=last + 1, high=count - 1)
        yield last, value
