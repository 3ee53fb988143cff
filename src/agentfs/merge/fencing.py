"""Locks as the log has them: what a commit makes of them, and whether it keeps the rules (docs/format.md, F-90 ff.).

Pure, and shared by all who apply a commit: the replica, its own commits included, and fsck.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace

from agentfs.model.records import Fence, InodeId, Lock, LockState

LockTable = Mapping[InodeId, LockState]


@dataclass(frozen=True, slots=True)
class Breach:
    """A commit that did not have the right to do what it did. Only a faulty writer makes one."""

    inode: InodeId
    reason: str
    """One line for people."""


def after_commit(
    table: LockTable,
    sequence: int,
    *,
    locks: Iterable[Lock],
    fences: Iterable[Fence],
    changed: Set[InodeId],
    gone: Set[InodeId],
) -> tuple[dict[InodeId, LockState], list[Breach]]:
    """The locks after commit `sequence`, and the rules that it broke. `changed`: locked files that it changed (F-93);
    `gone`: locked files that are no more."""
    locks, fences = tuple(locks), tuple(fences)
    found = dict(table)
    broken: dict[InodeId, str] = {}
    fenced: set[InodeId] = set()
    for fence in fences:
        held = table.get(fence.inode)
        if held is None:
            broken[fence.inode] = f"it acts under a lock with token {fence.token} that is not in force"
        elif held.token != fence.token:
            broken[fence.inode] = f"it acts under a lock with token {fence.token}; the token was {held.token}"
        else:
            fenced.add(fence.inode)
            found[fence.inode] = replace(held, token=sequence)
    for inode in sorted(changed | {lock.inode for lock in locks}):
        if inode in table and inode not in fenced:
            broken.setdefault(inode, f"it changes what is locked by {table[inode].holder}, and has no fence")
    for inode in broken:
        found.pop(inode, None)
    for lock in locks:
        if lock.seconds:
            found[lock.inode] = LockState(lock.holder, sequence, lock.seconds)
        else:
            found.pop(lock.inode, None)
    for inode in gone:
        found.pop(inode, None)
    return found, [Breach(inode, reason) for inode, reason in broken.items()]


def may_take_over(lock: LockState, seen_for_s: float) -> bool:
    """Whether a lock of another whose token did not change for `seen_for_s` of one's own seconds may be taken.
    Safety does not depend on it: whoever is wrong about time takes a lock too early, and its holder loses it."""
    return seen_for_s > lock.seconds
