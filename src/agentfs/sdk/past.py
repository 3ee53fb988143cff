"""What the SDK says about the past."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

from agentfs.sdk.values import EntryKind
from agentfs.volume.messages import Message
from agentfs.volume.past_messages import xattrs_of

Moments: TypeAlias = str | int | datetime
"""A moment as text (`history.moments`), a sequence, or a time."""
Side: TypeAlias = Literal["base", "earlier", "later", "merged"]
RestoredWhat: TypeAlias = Literal["written", "created", "deleted", "mode", "attributes"]
Keep: TypeAlias = Literal["earlier", "later", "merged", "both"]
KEEPS: tuple[Keep, ...] = ("earlier", "later", "merged", "both")
_KINDS: dict[str, EntryKind] = {"character_device": "device", "block_device": "device"}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a path's history."""

    version: int | None
    """Counts contents from 1; None where nothing was there afterwards. What left the content as it was has the number
    of the content."""
    sequence: int
    """The commit."""
    time_ns: int
    author: str
    cause: str
    """What made the commit, where no agent did: a lifecycle rule, or `expired`. Empty for all others."""
    what: str
    """`created`, `changed`, `restored` (bytes that an earlier version had), `merged`, `renamed`, `deleted`,
    `attributes`."""
    path: str
    """As it was called then."""
    other: str | None
    """Renamed: the path before. Deleted: where the file lives on, if it does."""
    kind: EntryKind
    mode: int
    size_bytes: int
    digest: str
    """SHA-256 of the bytes, in hex; empty for what is no file."""
    conflict: str | None
    """The id of a conflict that was settled by it."""
    content_changed: bool
    beginning: bool
    """What came before is gone: its commits were collected."""


@dataclass(frozen=True, slots=True)
class History:
    """The history of a path."""

    events: Sequence[Event]
    """The newest first."""
    pending: bool
    """It has changed here since, and that is not in the log yet."""
    behind: int
    """Commits that are missing because the store cannot be reached."""


@dataclass(frozen=True, slots=True)
class Was:
    """A file or directory as it was."""

    path: str
    """As it was called then."""
    kind: EntryKind
    mode: int
    modified_ns: int
    size_bytes: int
    digest: str
    target: str
    """Of a symbolic link."""
    inode: int
    """Its number in the log."""
    sequence: int
    """The commit right after which it was so."""
    xattrs: Mapping[bytes, bytes] | None = None
    """Its extended attributes; None: they are not known any more, for its commit was collected."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a commit did to one file or directory."""

    what: str
    path: str
    other: str | None
    kind: EntryKind
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """One commit."""

    sequence: int
    time_ns: int
    author: str
    replica: str
    cause: str
    """As of an `Event`."""
    digest: str
    counts: dict[str, int]
    changes: Sequence[Changed]
    """Some of what it changed."""
    conflicts: int
    resolved: int
    collected: int
    """Not 0: the commits from this one on were collected."""


@dataclass(frozen=True, slots=True)
class MetConflict:
    """What met and could not both keep its place."""

    id: str
    kind: str
    path: str
    copy: str | None
    """Where the other version was kept."""
    detail: str
    sequence: int | None
    """None: not in a commit yet."""
    time_ns: int
    earlier_author: str
    later_author: str
    met: int
    resolved: int | None
    """The commit that says so; 0: resolved here, and not in a commit yet; None: open."""
    sides: Sequence[Side]


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore` changed."""

    path: str
    what: RestoredWhat
    ended_ns: int | None = None
    """When it was over, by what it says of itself, if that has passed: once it is committed it is deleted again."""


_T = TypeVar("_T", Event, Was, Changed, MetConflict, Restored)


def below(above: tuple[bytes, ...], it: _T) -> _T:
    """With its paths from the root of the home, where they were from that of a space at `above`."""
    prefix = os.fsdecode(b"/".join(above))
    names = ("path", "other", "copy")
    paths = {name: path for name in names if (path := getattr(it, name, None)) is not None}
    moved: dict[str, Any] = {name: f"{prefix}/{path}" if path else prefix for name, path in paths.items()}
    return replace(it, **moved)


# ---- out of the engine's answers ----


def event_of(it: Message) -> Event:
    return Event(**(it | {"kind": _kind(it["kind"])}))


def was_of(it: Message, sequence: int) -> Was:
    return Was(
        path=it["path"],
        kind=_kind(it["kind"]),
        mode=it["mode"],
        modified_ns=it["mtime_ns"],
        size_bytes=it["size_bytes"],
        digest=it["digest"],
        target=it["target"],
        inode=it["inode"],
        sequence=sequence,
        xattrs=None if it["xattrs"] is None else dict(xattrs_of(it["xattrs"])),
    )


def commit_of(it: Message) -> LoggedCommit:
    changes = [Changed(**(change | {"kind": _kind(change["kind"])})) for change in it["changes"]]
    return LoggedCommit(**(it | {"changes": changes}))


def _kind(name: str) -> EntryKind:
    return _KINDS.get(name, name)  # type: ignore[arg-type]  # the others are called the same
