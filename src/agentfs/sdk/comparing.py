"""What differs between two moments of a file or a directory: pairs of bytes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from agentfs.errors import InvalidArgument, NotADirectory, NotFound
from agentfs.model.names import shown
from agentfs.sdk.past import Was
from agentfs.sdk.past_home import PastHome
from agentfs.sdk.paths import Path, parts, text

NOTHING = "nothing"
HERE = "as it is here"


@dataclass(frozen=True, slots=True)
class Pair:
    """A file on both sides; None: it was not there."""

    path: str
    old: bytes | None
    new: bytes | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Two moments, and the files that differ."""

    old: str
    """What the older side is called: a moment, or `nothing`."""
    new: str
    pairs: list[Pair]


def compared(home: PastHome, path: Path, a: str | None, b: str | None) -> Compared:
    """From `a` (None: the version before `b`'s) to `b` (None: what is here)."""
    name = text(parts(path))
    older = a if a is not None else _before(home, name)
    old = dict(_rows(home, name, older)) if older is not None else {}
    called = older if older is not None else NOTHING
    if b is None:
        return Compared(called, HERE, list(_with_here(home, name, old)))
    new = dict(_rows(home, name, b))
    return Compared(called, b, list(_pairs(home, old, new)))


def _before(home: PastHome, path: str) -> str | None:
    """The version before what is here: the newest one of the log while that was changed here, else the one before.
    None when there was nothing before."""
    found = home.history(path)
    if not path or (found.events and found.events[0].kind == "directory"):
        raise InvalidArgument(f"{shown(os.fsencode(path)) or '/'} is a directory: say since when (yesterday, @1234)")
    versions = [event.version for event in found.events if event.content_changed]
    if not (found.pending or (found.events and found.events[0].what == "deleted")):
        versions = versions[1:]
    return f"v{versions[0]}" if versions else None


def _rows(home: PastHome, path: str, moment: str) -> Iterator[tuple[str, Was]]:
    """Files by their path *now*: below `path`, whatever it was called then."""
    top, rows = home.listing(path, moment, recursive=True)
    above = len(parts(top.path))
    for row in rows:
        if row.kind == "file":
            yield text((*parts(path), *parts(row.path)[above:])), row


def _pairs(home: PastHome, old: dict[str, Was], new: dict[str, Was]) -> Iterator[Pair]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None or after is None or before.digest != after.digest:
            yield Pair(
                name,
                home.bytes_of(before) if before is not None else None,
                home.bytes_of(after) if after is not None else None,
            )


def _with_here(home: PastHome, path: str, old: dict[str, Was]) -> Iterator[Pair]:
    here = {}
    try:
        entries = home.walk(path)
        here = {entry.path: entry for entry in entries if entry.kind == "file"}
    except NotADirectory:
        here = {path: home.stat(path)}
    except NotFound:
        if not old:
            raise
    for name in sorted(old.keys() | here.keys()):
        before = old.get(name)
        if before is not None and name in here and home.is_as(name, before):
            continue
        yield Pair(
            name, home.bytes_of(before) if before is not None else None, home.read(name) if name in here else None
        )
