"""Locks of one file among the programs on one mount: who has which bytes locked, as Linux has it. Pure.

One table for `fcntl` (ranges, an owner is a process or an open file) and one for `flock` (the whole file, an owner is
an open file): they know nothing of each other, as on any local file system.
"""

from dataclasses import dataclass, replace

OFFSET_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Range:
    """A lock: bytes `start` to `end`, both included."""

    owner: int
    start: int
    end: int
    exclusive: bool
    pid: int
    handle: int
    """The open file that it was taken through."""

    def overlaps(self, start: int, end: int) -> bool:
        return self.start <= end and start <= self.end


class LockTable:
    def __init__(self) -> None:
        self.ranges: list[Range] = []

    def conflict(self, wanted: Range) -> Range | None:
        """The first lock of another owner that keeps `wanted` from being granted."""
        return next((it for it in self.conflicts(wanted)), None)

    def conflicts(self, wanted: Range) -> list[Range]:
        found = [
            it
            for it in self.ranges
            if it.owner != wanted.owner
            and (it.exclusive or wanted.exclusive)
            and it.overlaps(wanted.start, wanted.end)
        ]
        return sorted(found, key=lambda it: it.start)

    def put(self, wanted: Range) -> None:
        """Grant a lock: it replaces what its owner had locked of these bytes; what touches it of the same kind is one
        with it."""
        self.take(wanted.owner, wanted.start, wanted.end)
        start, end = wanted.start, wanted.end
        rest = []
        for it in self.ranges:
            same = it.owner == wanted.owner and it.exclusive == wanted.exclusive
            if same and it.handle == wanted.handle and it.start <= end + 1 and start <= it.end + 1:
                start, end = min(start, it.start), max(end, it.end)
            else:
                rest.append(it)
        self.ranges = [*rest, replace(wanted, start=start, end=end)]

    def take(self, owner: int, start: int, end: int) -> bool:
        """Unlock these bytes of an owner: what it has locked on either side stays. Whether anything was locked."""
        found = []
        for it in self.ranges:
            if it.owner != owner or not it.overlaps(start, end):
                found.append(it)
                continue
            if it.start < start:
                found.append(replace(it, end=start - 1))
            if it.end > end:
                found.append(replace(it, start=end + 1))
        changed = found != self.ranges
        self.ranges = found
        return changed

    def drop_owner(self, owner: int) -> bool:
        """Unlock all that an owner has locked. Whether anything was."""
        return self.take(owner, 0, OFFSET_MAX)

    def drop_handle(self, handle: int) -> bool:
        """The open file is closed for good: what was locked through it is free. Whether anything was."""
        rest = [it for it in self.ranges if it.handle != handle]
        changed = len(rest) != len(self.ranges)
        self.ranges = rest
        return changed
