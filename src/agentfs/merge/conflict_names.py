"""The name of a conflict copy: `stem.conflict-<agent>-<time>[-n].ext`, beside the file that kept its name."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from agentfs.model.records import NAME_BYTES_MAX

_EXTENSION_BYTES_MAX = 32
_EARLIER = re.compile(rb"\.conflict-[A-Za-z0-9._-]+-\d{8}T\d{6}Z(-\d+)?")


def conflict_name(name: bytes, *, agent: str, at_ns: int, taken: Callable[[bytes], bool]) -> bytes:
    """A name for the other version of `name` that is not `taken`: at most 255 bytes, same extension.

    `at_ns` is wall time (nanoseconds since 1970) and only a label. A copy of a copy does not grow: the earlier
    mark is replaced.
    """
    stem, extension = _split(_EARLIER.sub(b"", name) or name)
    time = datetime.fromtimestamp(max(at_ns, 0) // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        mark = f".conflict-{agent}-{time}{suffix}".encode() + extension
        found = _cut(stem, NAME_BYTES_MAX - len(mark)) + mark
        if not taken(found):
            return found
        number += 1


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Stem and extension (with its dot). A leading dot starts a hidden name, not an extension."""
    at = name.rfind(b".")
    if at <= 0 or len(name) - at > _EXTENSION_BYTES_MAX:
        return name, b""
    return name[:at], name[at:]


def _cut(stem: bytes, length: int) -> bytes:
    """At most `length` bytes of `stem`, not ending inside a UTF-8 character."""
    if len(stem) <= length:
        return stem
    end = length
    while end > 0 and stem[end] & 0xC0 == 0x80:
        end -= 1
    return stem[: end or length]
