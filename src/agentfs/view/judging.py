"""What stands at a name of the view where the keeper expected something else: ours, or somebody's change. Pure
(docs/view.md, V-64)."""

import enum
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from agentfs.model.records import InodeId
from agentfs.stores.protocol import StoredObject
from agentfs.view.facts import ViewFacts
from agentfs.view.restoring import Restored, restored
from agentfs.view.shown import Begun, Shown

Has = Callable[[ViewFacts], bool]
"""Whether the log has exactly that version."""


class Verdict(enum.Enum):
    RIGHT = "right"
    """It is as it should be, or newer than what is known here: it stays."""
    OLD = "old"
    """An earlier version that AgentFS wrote: it may be replaced."""
    AHEAD = "ahead"
    """Of a later commit than is known here, as it says: it stays, and is looked at again."""
    CHANGED = "changed"
    """Another tool's doing: it stays until that has been taken in."""


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: Verdict
    row: Shown
    """What stands there, as far as it says."""
    reason: str = ""
    """Of `CHANGED`."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The version that is to stand at the name."""

    facts: ViewFacts
    object: bytes
    """SHA-256 of the object that would be put."""


def judged(
    name: str,
    path: bytes,
    found: StoredObject,
    expected: Expected,
    *,
    known: Shown | None,
    begun: Iterable[Begun],
    others: Iterable[InodeId],
    head: int,
    has: Has,
) -> Judged:
    """`known`: what stood there last. `begun`: puts of ours that may have arrived. `others`: files that the log has
    now under other names. What an object says of itself counts only if the log has it: an object of another store
    says the same."""
    object_digest = hashlib.sha256(found.data).digest()
    facts = expected.facts
    means = restored(path, found.data, found.attributes)
    digest = hashlib.sha256(means.data).digest()
    row = _row(name, found, means, digest)
    was = means.was
    mine = next((it.row for it in begun if it.object == object_digest and may_be(was, it.row)), None)
    if mine is not None:
        row = replace(mine, etag=found.tag, modified_at=found.modified_at)
        right = object_digest == expected.object or _reaches(row, facts)
        return Judged(Verdict.RIGHT if right else Verdict.OLD, row)
    if object_digest == expected.object and was is None:
        return Judged(Verdict.RIGHT, replace(row, file=facts.file, sequence=facts.sequence))
    ours = was is not None and not means.edited and was.whole and was.volume == facts.volume
    if ours and row.file == facts.file and digest == facts.digest:
        return Judged(Verdict.RIGHT if row.sequence >= facts.sequence else Verdict.OLD, row)
    if digest == facts.digest:
        return Judged(Verdict.OLD, row)  # the same bytes, without our facts
    if known is not None and known.digest and digest == known.digest:
        return Judged(Verdict.OLD, row)  # somebody touched it and changed nothing
    if not ours or was is None:
        return Judged(Verdict.CHANGED, row, "another tool changed it")
    if was.sequence > head or not has(was):
        verdict = Verdict.AHEAD if was.sequence > head else Verdict.CHANGED
        return Judged(verdict, row, "it says to be a version that the log does not have")
    if row.file == facts.file:
        return Judged(Verdict.RIGHT if row.sequence >= facts.sequence else Verdict.OLD, row)
    if row.file in others:
        return Judged(Verdict.CHANGED, row, "another tool put a copy of another file here")
    # The file that had the name before. Which content is the newer one says nothing: an old file was renamed to it.
    return Judged(Verdict.OLD, row)


def may_go(
    name: str,
    path: bytes,
    found: StoredObject,
    *,
    volume: str,
    head: int,
    known: Shown | None,
    begun: Iterable[Begun],
    has: Has,
) -> Judged:
    """`OLD`: the object of a name that no file has any more is a version that the log has, and may be deleted."""
    object_digest = hashlib.sha256(found.data).digest()
    means = restored(path, found.data, found.attributes)
    digest = hashlib.sha256(means.data).digest()
    row = _row(name, found, means, digest)
    was = means.was
    whole = was is not None and not means.edited and was.whole and was.volume == volume and was.sequence <= head
    touched = known is not None and bool(known.digest) and digest == known.digest
    begun_here = any(it.object == object_digest for it in begun)
    if touched or begun_here or (whole and was is not None and has(was)):
        return Judged(Verdict.OLD, row)
    return Judged(Verdict.CHANGED, row, "another tool changed it, and its file has gone")


def may_be(was: ViewFacts | None, row: Shown) -> bool:
    """Whether an object with the right bytes does not say to be of another version: two files may have the same."""
    return was is None or (was.file, was.sequence) == (row.file, row.sequence)


def _reaches(row: Shown, facts: ViewFacts) -> bool:
    return row.file == facts.file and row.digest == facts.digest and row.sequence >= facts.sequence


def _row(name: str, found: StoredObject, means: Restored, digest: bytes) -> Shown:
    was = means.was
    exact = was is not None and not means.edited
    return Shown(
        name=name,
        file=was.file if exact and was is not None else 0,
        sequence=was.sequence if exact and was is not None else 0,
        digest=digest,
        etag=found.tag,
        size_bytes=found.size_bytes,
        version=was.version if was is not None else None,
        modified_at=found.modified_at,
    )
