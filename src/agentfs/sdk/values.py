"""What the SDK returns."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

EntryKind: TypeAlias = Literal["file", "directory", "symlink", "fifo", "socket", "device"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory of a home."""

    path: str
    """From the root of the home, without a leading slash. Bytes that are not UTF-8 are surrogates (`os.fsencode`
    turns them back)."""
    name: str
    kind: EntryKind
    size_bytes: int
    mode: int
    """Permission bits."""
    uid: int
    gid: int
    links: int
    modified_ns: int
    """Nanoseconds since 1970."""
    created_ns: int
    ino: int

    @property
    def modified(self) -> datetime:
        return datetime.fromtimestamp(self.modified_ns / 1e9, UTC)

    @property
    def is_file(self) -> bool:
        return self.kind == "file"

    @property
    def is_directory(self) -> bool:
        return self.kind == "directory"


@dataclass(frozen=True, slots=True)
class Change:
    """Something changed in a home."""

    path: str
    kind: Literal["created", "deleted", "content", "attributes"]
    """`created`: the name now means another file than before, or one at all."""
    origin: Literal["local", "remote"]
    """Made on this machine (through whatever process), or pulled from the store."""
    at_ns: int
    sequence: int
    """Its place in this machine's journal: give the last one seen to `watch(after=…)` to miss nothing."""
