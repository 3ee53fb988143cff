"""Which names and attributes an object may have, on every backend alike."""

import re
from collections.abc import Mapping

from agentfs.errors import InvalidArgument

NAME_BYTES_MAX = 1024
"""S3, GCS and Azure all allow 1024."""

_NAME = re.compile(r"(?!\.{1,2}(?:/|\Z))[ -.0-~]+(?:/(?!\.{1,2}(?:/|\Z))[ -.0-~]+)*\Z")
_ATTRIBUTE_KEY = re.compile(r"[a-z][a-z0-9-]*\Z")
_ATTRIBUTE_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")


def is_object_name(name: str) -> bool:
    """Whether `name` is `/`-separated parts of printable ASCII, none of them empty, `.` or `..`."""
    return len(name) <= NAME_BYTES_MAX and _NAME.match(name) is not None


def check_object_name(name: str) -> str:
    """Return `name` if an object can have it; raise `InvalidArgument` if not."""
    if not is_object_name(name):
        raise InvalidArgument(
            f"{name[:200]!a} cannot name an object: use parts of printable ASCII, separated by '/', "
            f"none of them '', '.' or '..', {NAME_BYTES_MAX} bytes in all"
        )
    return name


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
