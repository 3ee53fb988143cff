"""`Home.edit`: reading a file, changing it and writing it, as one step.

Between a program's read and its write another one may have written. Here the write takes place only while the file
still has the bytes that were read; else it is read again. What other machines do at the same time is merged as
always: the base of what is written is what was read.
"""

import os
import threading
from collections.abc import Callable

from agentfs.errors import InvalidArgument, IsADirectory
from agentfs.model.names import shown
from agentfs.model.records import Kind
from agentfs.sdk.paths import Path, existing
from agentfs.sdk.volumes import Volumes
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Handle
from agentfs.volume.reading import open_resident
from agentfs.volume.replacing import replace_version

_TRIES_MAX = 20
_PAUSE_SECONDS = 0.025
"""Together half a second: a program that saves a file has it open for writing for milliseconds."""
_READ_BYTES = 1 << 20

_AMONG_WRITERS = threading.Lock()
"""One edit in place at a time, of this process: each reads what the one before wrote."""

Change = Callable[[bytes], bytes]


def edit(volumes: Volumes, path: Path, change: Change) -> bytes:
    """See `Home.edit`."""
    for attempt in range(_TRIES_MAX):
        place, attributes = existing(volumes, path)
        if attributes.kind is Kind.DIRECTORY:
            raise IsADirectory(f"{shown(os.fsencode(path)) or '/'} is a directory")
        if attributes.kind is not Kind.FILE:
            raise InvalidArgument(f"{shown(os.fsencode(path))} is not a regular file")
        before, version = _read(place.tree, attributes.ino)
        after = change(before)
        if after == before or replace_version(
            place.volume.replica,
            parent=place.parent,
            name=place.name,
            ino=attributes.ino,
            version=version,
            data=after,
        ):
            return after
        if attempt:  # once at once: it was only changed
            place.volume.clock.wait(threading.Event(), _PAUSE_SECONDS)
    with _AMONG_WRITERS:
        return _among_writers(place.tree, attributes.ino, change)


def _read(tree: Tree, ino: int) -> tuple[bytes, int]:
    """The content, and the number of the change that made it."""
    handle = open_resident(tree, ino, os.O_RDONLY, direct=True)
    try:
        with open(handle.fd, "rb", buffering=0, closefd=False) as file:
            return file.readall(), handle.content_change
    finally:
        tree.release(handle)


def _among_writers(tree: Tree, ino: int, change: Change) -> bytes:
    """Somebody has the file open for writing all the time (a log): write into it as it is. Replacing it would lose
    what they write afterwards. Only bytes behind the first difference are written. The one edit that `kill -9` may
    leave half done (docs/decisions/0182)."""
    handle = open_resident(tree, ino, os.O_RDWR)
    try:
        before = _all(tree, handle)
        after = change(before)
        start = _equal(before, after)
        rest, offset = memoryview(after)[start:], start
        while rest:
            written = tree.write(handle, offset, rest)
            rest, offset = rest[written:], offset + written
        if len(after) < len(before):
            tree.set_attributes(ino, AttributeChange(size_bytes=len(after)), handle=handle)
        tree.flush(handle)
    finally:
        tree.release(handle)
    return after


def _equal(one: bytes, other: bytes) -> int:
    """How many bytes at the beginning of both are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _all(tree: Tree, handle: Handle) -> bytes:
    found = bytearray()
    while piece := tree.read(handle, len(found), _READ_BYTES):
        found += piece
    return bytes(found)
