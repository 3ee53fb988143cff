"""An object of the view as the bytes of a file: the way back (docs/view.md, V-40 ff.)."""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from agentfs.view import block
from agentfs.view.facts import ViewFacts, facts_in_metadata
from agentfs.view.media_types import is_markdown


@dataclass(frozen=True, slots=True)
class Restored:
    data: bytes
    """The file: the object without what rendering added."""
    was: ViewFacts | None
    """The version that the object was made from, as it says itself; None: it does not. A claim of whoever wrote the
    object last: it is looked up in the log before it serves as the base of a merge."""
    edited: bool
    """Whether `data` is not exactly the version that `was` says. An object that says nothing is edited."""


class Standing(enum.Enum):
    """How the version that an object was made from stands to what its path has now."""

    UNKNOWN = "unknown"
    """The object does not say."""
    CURRENT = "current"
    STALE = "stale"
    """An earlier version of the same file."""
    AHEAD = "ahead"
    """A later one of the same file: what is known here is not the newest."""
    COPIED = "copied"
    """A version of another file of this volume, or of one that this path does not have any more."""
    FOREIGN = "foreign"
    """A version of a file of another volume."""


def restored(path: bytes, data: bytes, metadata: Mapping[str, str]) -> Restored:
    """The file that the object `data` at `path` means; `metadata`: the object's user metadata, or what is left of it.

    Of an object that `rendered` made and nobody changed, exactly the file's bytes, also without the metadata.
    """
    outer = facts_in_metadata(metadata)
    if outer is not None and outer.digest and hashlib.sha256(data).digest() == outer.digest:
        return Restored(data, outer, False)
    inner = block.found(data) if is_markdown(path) else None
    if inner is None:
        return Restored(data, outer, True)
    for rest in inner.rests:
        if inner.facts.digest and hashlib.sha256(rest).digest() == inner.facts.digest:
            return Restored(rest, inner.facts, False)
    return Restored(inner.rests[0], inner.facts, True)


def standing(was: ViewFacts | None, volume: str, now: ViewFacts | None) -> Standing:
    """`now`: what the path in `volume` has; None: no file. A fact that `was` does not say decides nothing."""
    if was is None:
        return Standing.UNKNOWN
    if was.volume and was.volume != volume:
        return Standing.FOREIGN
    if now is None or (was.file and was.file != now.file):
        return Standing.COPIED
    if was.sequence:
        if was.sequence == now.sequence:
            return Standing.CURRENT
        return Standing.STALE if was.sequence < now.sequence else Standing.AHEAD
    return Standing.CURRENT if was.digest == now.digest else Standing.STALE
