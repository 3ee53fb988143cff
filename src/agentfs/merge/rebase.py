"""What becomes of a pending change when a commit of the log comes first (DESIGN, section 6).

`ours` is what this machine shows and has not committed; `theirs` is what the log says now. The log came first, so
we adapt: every function returns what to show and what to keep aside, and nothing acknowledged is dropped.
"""

import enum
from dataclasses import dataclass

from agentfs.model.records import Kind


class NameChoice(enum.Enum):
    """What to show at a name."""

    KEEP = "keep"
    """What is shown stays; if it differs from the log, that is pending."""
    TAKE = "take"
    """Show what the log has (nothing, if it has nothing)."""
    UNITE = "unite"
    """Both are directories: show the log's, and move what is in ours into it."""
    ONE = "one"
    """Both hold the same bytes: show the log's, drop ours."""
    ASIDE = "aside"
    """Show the log's, and ours beside it under the name of a conflict copy."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What two inodes are compared by."""

    kind: Kind
    digest: bytes | None = None
    """SHA-256 of a file's bytes; None while it is not known or still changing."""
    target: bytes | None = None
    rdev: int = 0


def collide(ours: Thing, theirs: Thing) -> NameChoice:
    """Two different inodes want one name; `theirs` is in the log already."""
    if ours.kind is not theirs.kind:
        return NameChoice.ASIDE
    match ours.kind:
        case Kind.DIRECTORY:
            return NameChoice.UNITE
        case Kind.FILE:
            same = ours.digest is not None and ours.digest == theirs.digest
        case Kind.SYMLINK:
            same = ours.target == theirs.target
        case _:
            same = ours.rdev == theirs.rdev
    return NameChoice.ONE if same else NameChoice.ASIDE


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What `decide_dentry` must know besides the three inodes."""

    must_live: bool = False
    """The inode that we show is unchanged *here*, gone from the log, and holds work of ours: new bytes, or
    something new inside."""
    moved_by_us: bool = False
    """The log moved `theirs` to this name, and we have moved it elsewhere: we come later and win."""
    ours: Thing | None = None
    theirs: Thing | None = None


def decide_dentry(base: int | None, ours: int | None, theirs: int | None, facts: NameFacts) -> NameChoice:
    """What one name shows: `base` is what the log had before, `theirs` what it has now, `ours` what is shown
    (inodes of this machine; None: nothing)."""
    wanted = None if facts.moved_by_us else theirs
    if ours == wanted:
        return NameChoice.KEEP
    if ours == base and not facts.must_live:
        return NameChoice.TAKE
    if wanted is None:
        return NameChoice.KEEP
    if ours is None:
        return NameChoice.TAKE
    assert facts.ours is not None and facts.theirs is not None
    return collide(facts.ours, facts.theirs)


class ContentChoice(enum.Enum):
    """What to do with new bytes from the log for a file of ours."""

    SAME = "same"
    """They are what the log had (or what we have): only remember where they are."""
    TAKE = "take"
    ADOPT = "adopt"
    """Ours are equal: they are committed by this."""
    SPLIT = "split"
    """Ours differ: the log's version takes the names, ours stays as a conflict copy."""
    DETACH = "detach"
    """Ours may be changing right now: the log's version takes the names; whoever closes ours last decides."""


def decide_content(
    *, changed_in_log: bool, pending: bool, write_open: bool, shown: bool, equal: bool | None
) -> ContentChoice:
    """`equal` tells whether our pending bytes are the log's new ones; None: not known."""
    if not changed_in_log:
        return ContentChoice.SAME
    if not shown:
        return ContentChoice.DETACH if write_open else ContentChoice.TAKE
    if pending:
        return ContentChoice.ADOPT if equal and not write_open else ContentChoice.SPLIT
    return ContentChoice.DETACH if write_open else ContentChoice.TAKE


@dataclass(frozen=True, slots=True)
class Attributes:
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class MergedAttributes:
    attributes: Attributes
    conflict: bool
    """Both changed mode or owner, to different values."""


def merge_attributes(
    ours: Attributes, theirs: Attributes, *, pending: bool, ours_changed: frozenset[str], theirs_times: bool
) -> MergedAttributes:
    """The log's record against ours. `ours_changed` holds `mode` and `owner` as far as we changed them;
    `theirs_times`: the record brings new bytes, so its times belong to them."""
    if not pending:
        return MergedAttributes(theirs, False)
    mode = ours.mode if "mode" in ours_changed else theirs.mode
    uid, gid = (ours.uid, ours.gid) if "owner" in ours_changed else (theirs.uid, theirs.gid)
    mtime = theirs.mtime_ns if theirs_times else max(ours.mtime_ns, theirs.mtime_ns)
    ctime = max(ours.ctime_ns, theirs.ctime_ns)
    conflict = (mode, uid, gid) != (theirs.mode, theirs.uid, theirs.gid)
    return MergedAttributes(Attributes(mode, uid, gid, mtime, ctime), conflict)


def mode_of_both(first: int, second: int) -> int:
    """The mode of what was made twice, and is one now: the first's, but a class (group, others) that the second did
    not let read gets no more than both gave it. Whose words were private stay so."""
    for shift in (3, 0):
        if not second >> shift & 0o4:
            first &= second | ~(0o7 << shift)
    return first
