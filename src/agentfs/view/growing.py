"""An object that somebody writes on and on, and that is not written again meanwhile (docs/view.md, V-52): what stood
there when it was taken in last."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from agentfs.view.restoring import restored
from agentfs.view.shown import Shown


@dataclass(frozen=True, slots=True)
class Before:
    """The beginning of an object. It counts if the log says that exactly this was taken in from the name."""

    digest: bytes
    """SHA-256 of the object then."""
    data: bytes
    """The file that it meant."""


def before(row: Shown | None, path: bytes, data: bytes, metadata: Mapping[str, str]) -> Before | None:
    """What stood where now `data` stands, if this begins with it. `row`: what is known of the name. None where a
    keeper has written the object since it was taken in, or it did not grow."""
    if row is None or row.sequence or not row.digest or not 0 < row.size_bytes < len(data):
        return None
    start = data[: row.size_bytes]
    means = restored(path, start, metadata).data
    if hashlib.sha256(means).digest() != row.digest:
        return None
    return Before(hashlib.sha256(start).digest(), means)
