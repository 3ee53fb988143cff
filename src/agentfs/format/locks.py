"""Locks and fences in headers (docs/format.md, F-90 ff.)."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from agentfs.format.fields import integer, row, rows, text
from agentfs.format.framing import LOCKS_FEATURE
from agentfs.format.limits import COMMIT_LOCKS_MAX, FEATURES_MAX, HOLDER_CHARACTERS_MAX, INTEGER_MAX, SEQUENCE_MAX
from agentfs.format.validation import need
from agentfs.model.records import LOCK_SECONDS_MAX, Commit, Fence, InodeId, Lock, LockState

LockRow: TypeAlias = tuple[InodeId, LockState]


def commit_lock_fields(commit: Commit) -> dict[str, object]:
    """The fields of a commit's header; none where there is nothing to say, so that old commits keep their bytes."""
    fields: dict[str, object] = {}
    if commit.locks:
        fields["locks"] = [[it.inode, it.holder, it.seconds] for it in commit.locks]
    if commit.fences:
        fields["fences"] = [[it.inode, it.token] for it in commit.fences]
    return fields


def read_commit_locks(header: Mapping[str, object], sequence: int) -> tuple[tuple[Lock, ...], tuple[Fence, ...]]:
    """Raises `Corrupt` and `ValueError`."""
    locks = rows(header.get("locks", []), "'locks'", count_max=COMMIT_LOCKS_MAX)
    fences = rows(header.get("fences", []), "'fences'", count_max=COMMIT_LOCKS_MAX)
    _need_feature(header, bool(locks or fences))
    return tuple(_lock(it) for it in locks), tuple(_fence(it, sequence) for it in fences)


def lock_fields(locks: Sequence[LockRow]) -> dict[str, object]:
    """The field of a snapshot's header."""
    return {"locks": [[inode, it.holder, it.token, it.seconds] for inode, it in locks]} if locks else {}


def read_locks(header: Mapping[str, object]) -> tuple[LockRow, ...]:
    """The locks of a snapshot. Raises `Corrupt` and `ValueError`."""
    found = rows(header.get("locks", []), "'locks'", count_max=COMMIT_LOCKS_MAX)
    _need_feature(header, bool(found))
    return tuple(_held(it) for it in found)


def _need_feature(header: Mapping[str, object], used: bool) -> None:
    named = LOCKS_FEATURE in rows(header.get("requires", []), "'requires'", count_max=FEATURES_MAX)
    need(named or not used, f"it has locks without the required feature '{LOCKS_FEATURE}'")


def _lock(value: object) -> Lock:
    inode, holder, seconds = row(value, "'locks'", width=3)
    return Lock(_inode(inode), _holder(holder), _seconds(seconds))


def _fence(value: object, sequence: int) -> Fence:
    inode, token = row(value, "'fences'", width=2)
    return Fence(_inode(inode), integer(token, "a token", low=1, high=max(1, sequence - 1)))


def _held(value: object) -> LockRow:
    inode, holder, token, seconds = row(value, "'locks'", width=4)
    return _inode(inode), LockState(
        _holder(holder), integer(token, "a token", low=1, high=SEQUENCE_MAX), _seconds(seconds)
    )


def _inode(value: object) -> InodeId:
    return integer(value, "a locked inode", low=0, high=INTEGER_MAX)


def _holder(value: object) -> str:
    return text(value, "a lock's holder", bytes_max=HOLDER_CHARACTERS_MAX)


def _seconds(value: object) -> int:
    return integer(value, "a lock's seconds", low=0, high=LOCK_SECONDS_MAX)
