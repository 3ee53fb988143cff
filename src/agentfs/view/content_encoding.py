"""The content encoding that another tool gave an object: whoever reads it over HTTP sees it undone, and so does an
import (docs/view.md, V-86)."""

import zlib

ENCODING = "content-encoding"
"""The attribute of an object that says it."""
_GZIP = b"\x1f\x8b"
_NAMES_OF_GZIP = (".gz", ".tgz", ".svgz")
_WITH_GZIP_HEADER = 31
_NOTHING = frozenset(("", "identity", "aws-chunked"))
"""What S3's clients say of the transfer, and servers keep with the object."""


class EncodingUnknownError(ValueError):
    """The message says why an object cannot be decoded."""


def decoded(name: str, data: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """What a reader of the object `name` sees. Bytes that are not encoded, whatever is said of them, and those of a
    name that says gzip itself are as they are. Raises `EncodingUnknownError`, also for more than `bytes_max`."""
    given = [it for part in encoding.lower().split(",") if (it := part.strip()) not in _NOTHING]
    if not given:
        return data
    if given not in (["gzip"], ["x-gzip"]):
        raise EncodingUnknownError(f"its content encoding is {encoding[:40]}: put it without")
    if not data.startswith(_GZIP) or name.lower().endswith(_NAMES_OF_GZIP):
        return data
    return _unzipped(data, bytes_max)


def _unzipped(data: bytes, bytes_max: int) -> bytes:
    """Of one member after the other, as gzip has them."""
    parts: list[bytes] = []
    left = bytes_max + 1
    while data:
        unzip = zlib.decompressobj(_WITH_GZIP_HEADER)
        try:
            parts.append(unzip.decompress(data, left))
        except zlib.error as error:
            raise EncodingUnknownError("its content encoding is gzip, and it is damaged") from error
        left -= len(parts[-1])
        if left <= 0:
            raise EncodingUnknownError(f"without its content encoding it is larger than {bytes_max >> 20} MiB")
        if not unzip.eof:
            raise EncodingUnknownError("its content encoding is gzip, and its end is missing")
        data = unzip.unused_data
    return b"".join(parts)
