"""An object that AgentFS may not have written, and whether the log bears out what it says of itself (docs/view.md,
V-42, V-81). No store, no clock."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from agentfs.model.records import Content, InodeId
from agentfs.view.facts import ViewFacts
from agentfs.view.growing import Before
from agentfs.view.log_tree import LogTree

Version = TypeVar("Version")

LEFTOVER_NS = 20 * 60 * 1_000_000_000
"""An object that was written so long after its file had gone was put back by somebody. A request may be a quarter of
an hour late, or the store's clock ahead where a commit was collected: stores refuse what is further away."""


@dataclass(frozen=True, slots=True)
class Stood:
    """A version of a file, as an object showed it, or it may have been a later one. 0: none."""

    file: InodeId
    sequence: int


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object that AgentFS did not write, or may not have written."""

    name: str
    """Below the view's prefix."""
    path: bytes
    """In the volume (V-13)."""
    digest: bytes
    """SHA-256 of the object's bytes."""
    data: bytes
    """The file that it means (`restored`)."""
    was: ViewFacts | None
    """The version that it says it was made from."""
    edited: bool
    modified_ns: int
    """When it was written, by the store's clock; 0: it says a time that cannot be."""
    put_s: int
    """The time that it says, believed or not: it tells one put from another, the same for everybody."""
    appeared: bool = False
    """It was not at this name when the view was last looked at, by somebody who knows."""
    hidden: bool = False
    """The file of its name has no object (V-70): whoever put this one has not seen it."""
    stood: Stood | None = None
    """What the keeper put at this name last, before this object; None: not known."""
    before: Before | None = None
    """What it was when it was taken in last, if somebody has written on since."""
    bare: bool = False
    """It stands in a store that keeps no metadata: one of ours says nothing either, if it is no Markdown."""


def content_of(tree: LogTree, was: ViewFacts) -> Content | None:
    """The content that this version had; None: the log has none such, or has forgotten it."""
    content = tree.content_at(was.file, was.sequence)
    if (content is None or content.digest != was.digest) and tree.collected_ns(was.sequence) is not None:
        record = tree.record(was.file)  # the file has it still, and only the commit is gone
        content = None if record is None else record.content
    return content if content is not None and content.digest == was.digest else None


def bears_out(tree: LogTree, was: ViewFacts, *, edited: bool, modified_ns: int) -> bool:
    """Whether the log has exactly the version that an object says to be of. Where its commit was collected, an object
    that was not edited is believed if it is as old as that. Raises `StoreError`."""
    if not was.whole or was.volume != tree.volume or was.sequence > tree.sequence:
        return False
    if content_of(tree, was) is not None:
        return True
    collected_ns = None if edited else tree.collected_ns(was.sequence)
    return collected_ns is not None and 0 < modified_ns <= collected_ns + LEFTOVER_NS


def moved_from(one: FoundObject, gone: Mapping[tuple[InodeId, bytes], Version]) -> Version | None:
    """Which of the versions that are gone an object is an unchanged copy of, by file and digest of the bytes."""
    if one.was is not None:
        return None if one.edited else gone.get((one.was.file, one.was.digest))
    digest = hashlib.sha256(one.data).digest()
    same = [key for key in gone if key[1] == digest]
    return gone[same[0]] if len(same) == 1 and one.data else None


def was_shown(tree: LogTree, one: FoundObject) -> InodeId | None:
    """The file that its path meant last, and whose bytes, of now or earlier, are exactly those of an object that says
    nothing where ours say nothing either. None: there is none."""
    if one.was is not None or not one.bare:
        return None
    file = tree.last_file(one.path)
    shown = file is not None and hashlib.sha256(one.data).digest() in tree.digests_since(file, 0)
    return file if shown else None


def is_leftover(tree: LogTree, path: bytes, modified_ns: int) -> bool:
    """Whether AgentFS itself may have left an object that it wrote: nobody put it long after the name was gone."""
    removed = tree.removed_at_ns(path)
    return removed is None or modified_ns <= removed + LEFTOVER_NS
