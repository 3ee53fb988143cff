"""The journal: how every part of a machine hears what changed, and who changed it."""

import enum
from dataclasses import dataclass

LOG_SESSION = 0
"""The session of changes that were pulled from the log."""


class ChangeKind(enum.IntEnum):
    """What a journal row says. The values are stored."""

    LINK = 1
    """`name` in `parent` now means `ino` (new, or in place of another)."""
    UNLINK = 2
    """`name` in `parent`, which meant `ino`, means nothing now."""
    CONTENT = 3
    """The bytes of `ino` changed (and its size and times)."""
    ATTRIBUTES = 4
    """Mode, owner, times, size without bytes, or extended attributes of `ino` changed."""


@dataclass(frozen=True, slots=True)
class JournalRow:
    id: int
    session: int
    kind: ChangeKind
    ino: int
    parent: int | None
    name: bytes | None
    at_ns: int
