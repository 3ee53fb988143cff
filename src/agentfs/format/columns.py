"""Columns of pages: numbers packed little-endian, one fixed width each, without padding; arrays of text."""

import sys
from array import array
from collections.abc import Iterable, Mapping

from agentfs.errors import Corrupt
from agentfs.format.fields import octets, required, rows

WIDTHS = {"B": 1, "H": 2, "I": 4, "Q": 8, "q": 8, "d": 8}
"""Of unsigned numbers (B, H, I, Q), signed ones (q), and IEEE 754 doubles (d)."""
assert all(array(code).itemsize == width for code, width in WIDTHS.items()), "this platform's C numbers differ"


def packed(code: str, values: Iterable[float]) -> bytes:
    column = array(code, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def numbers(columns: Mapping[str, object], name: str, code: str, count: int) -> list[int]:
    """The `count` numbers of a column; doubles for `d`. Raises `Corrupt`."""
    width = WIDTHS[code]
    stored = octets(required(columns, name), f"'{name}'", low=count * width, high=count * width)
    column = array(code, stored)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tolist()


def texts(columns: Mapping[str, object], name: str, count: int) -> list[str]:
    """The `count` texts of a column. Raises `Corrupt`."""
    return _all(columns, name, count, str, "text")


def strings(columns: Mapping[str, object], name: str, count: int) -> list[bytes]:
    """The `count` byte strings of a column. Raises `Corrupt`."""
    return _all(columns, name, count, bytes, "bytes")


def _all(columns: Mapping[str, object], name: str, count: int, kind: type, what: str) -> list:  # type: ignore[type-arg]
    found = rows(required(columns, name), f"'{name}'", count_max=count)
    if len(found) != count or any(type(it) is not kind for it in found):
        raise Corrupt(f"'{name}' is not {count} times {what}")
    return found
