"""Which names and attributes an object may have, on every backend alike."""

import re
from collections.abc import Mapping

from agentfs.errors import InvalidArgument

NAME_BYTES_MAX = 1024
"""S3, GCS and Azure all allow 1024."""

_PART = r"(?!\.{1,2}(?:/|\Z))[^\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff/]+"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_ATTRIBUTE_KEY = re.compile(r"[a-z][a-z0-9-]*\Z")
_ATTRIBUTE_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")


def is_object_name(name: str) -> bool:
    """Whether `name` is `/`-separated parts of Unicode without control characters, none of them empty, `.` or `..`,
    at most 1024 bytes in UTF-8."""
    return _NAME.match(name) is not None and name_bytes(name) <= NAME_BYTES_MAX


def check_object_name(name: str) -> str:
    """Return `name` if an object can have it; raise `InvalidArgument` if not."""
    if not is_object_name(name):
        raise InvalidArgument(
            f"{name[:200]!a} cannot name an object: use parts without control characters, separated by '/', "
            f"none of them '', '.' or '..', {NAME_BYTES_MAX} bytes in all"
        )
    return name


def name_bytes(name: str) -> int:
    """The length of a name as stores count it: UTF-8. Names of others may hold any bytes (as surrogates)."""
    return len(name) if name.isascii() else len(encoded(name))


def encoded(name: str) -> bytes:
    """The bytes of a name of any kind: their order is the order of listings."""
    return name.encode("utf-8", "surrogateescape")


def check_attributes(attributes: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy; raise `InvalidArgument` for keys or values that HTTP headers would not carry exactly."""
    for key, value in (attributes or {}).items():
        if not _ATTRIBUTE_KEY.match(key) or not _ATTRIBUTE_VALUE.match(value):
            raise InvalidArgument(
                f"the attribute {key!a} is not a lower-case ASCII word with a printable ASCII value"
            )
    return dict(attributes or {})


def join(root: str, name: str) -> str:
    """`name` below `root`; either may be empty."""
    return f"{root}/{name}" if root and name else root or name
