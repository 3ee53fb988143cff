"""Mode, owner, size and times; and the file system's own numbers."""

import os
import stat
from dataclasses import replace

from agentfs.errors import BadHandle, InvalidArgument, IsADirectory, NotFound
from agentfs.model.records import NAME_BYTES_MAX, Kind
from agentfs.replica.transaction import near_time
from agentfs.tree.bytes_io import BytesIO
from agentfs.tree.ground import Ground, stamp
from agentfs.tree.open_files import rebase
from agentfs.tree.values import AttributeChange, Attributes, Handle, Statistics

_COUNT_SECONDS = 30.0


class AttributeOperations:
    def __init__(self, ground: Ground, bytes_io: BytesIO) -> None:
        self._ground = ground
        self._bytes = bytes_io
        self._counted_at = float("-inf")
        self._inodes = 0

    def attributes(self, ino: int, handle: Handle | None = None) -> Attributes:
        """What `stat` shows, also of a file that is gone but open here (as `fstat` does). Raises `NotFound`."""
        if handle is not None and handle.ino != ino:
            raise BadHandle(f"handle {handle.number} is not of inode {ino}")
        return self._ground.attributes(ino)

    def set_attributes(self, ino: int, change: AttributeChange, *, handle: Handle | None = None) -> Attributes:
        """Change what is not `None`, and return the result. A size other than 0 needs the bytes (`NotResident`).

        A new owner takes the set-id bits from what is not a directory, as Linux does for everybody. A time that 64
        bits of nanoseconds do not hold (before 1677, after 2262) becomes the nearest that they do.
        """
        ground = self._ground
        change = _with_times_that_can_be(change)
        if change.size_bytes is not None:
            self._resize(ino, change.size_bytes, handle)
        columns: dict[str, int | bytes | None] = {}
        with ground.lock:
            found = ground.attributes(ino)
            mode = change.mode
            if (change.uid is not None or change.gid is not None) and mode is None and found.kind != Kind.DIRECTORY:
                kept = without_set_id(found.mode)
                mode = kept if kept != found.mode else None
            for column, value in (("mode", mode), ("uid", change.uid), ("gid", change.gid)):
                if value is not None:
                    columns[column] = value & 0o7777 if column == "mode" else value
            if change.mtime_ns is not None:
                columns["mtime_ns"] = change.mtime_ns
                self._time_set(ino, change.mtime_ns)
            if columns or change.ctime_ns is not None:
                if change.atime_ns is not None:
                    columns["atime_ns"] = change.atime_ns
                with ground.transaction() as tx:
                    columns["ctime_ns"] = tx.now_ns if change.ctime_ns is None else change.ctime_ns
                    tx.set_attributes(ino, **columns)
            elif change.atime_ns is not None:
                with ground.transaction() as tx:
                    tx.set_access_time(ino, change.atime_ns, used_at_ns=tx.now_ns)
            else:
                return found
            return ground.attributes(ino)

    def _resize(self, ino: int, size_bytes: int, handle: Handle | None) -> None:
        if size_bytes < 0:
            raise InvalidArgument("a size is not negative")
        if handle is not None and handle.writable:
            self._bytes.truncate_open(handle, size_bytes)
            return
        row = self._ground.select("SELECT kind FROM inode WHERE ino=?", (ino,))
        if row is None:
            raise NotFound(f"inode {ino} is gone")
        if row[0] == Kind.DIRECTORY:
            raise IsADirectory("a directory has no size to set")
        if row[0] != Kind.FILE:
            raise InvalidArgument("only files have a size to set")
        self._bytes.truncate(ino, size_bytes)

    def _time_set(self, ino: int, mtime_ns: int) -> None:
        """A file that is being written shall keep the time it was given, until the next write."""
        opened = self._ground.opened.get(ino)
        if opened is None or not opened.pinned:
            return
        fd = next(iter(opened.pinned.values())).fd
        info = os.fstat(fd)
        direct = any(handle.direct for handle in opened.pinned.values())
        written = opened.dirty or (direct and (opened.baseline_racy or stamp(info) != opened.baseline))
        # The backing file gets it too: after a crash its times are taken for those of a file that was being written,
        # and where the baseline is too fresh to tell, the release asks it again.
        os.utime(fd, ns=(info.st_atime_ns, mtime_ns))
        if written:
            opened.dirty = True
            opened.mtime_ns = mtime_ns
        rebase(self._ground, opened, os.fstat(fd))

    def statistics(self) -> Statistics:
        """The disk under the replica, and how many inodes the volume has (counted every half minute)."""
        ground = self._ground
        facts = os.statvfs(ground.replica.directory)
        now = ground.clock.monotonic()
        if now - self._counted_at > _COUNT_SECONDS:
            row = ground.select("SELECT count(*) FROM inode", ())
            self._inodes, self._counted_at = (row[0] if row else 0), now
        return Statistics(
            block_bytes=facts.f_frsize,
            blocks=facts.f_blocks,
            blocks_free=facts.f_bfree,
            blocks_available=facts.f_bavail,
            inodes=self._inodes + facts.f_favail,
            inodes_free=facts.f_favail,
            name_bytes_max=NAME_BYTES_MAX,
        )


def without_set_id(mode: int) -> int:
    """`mode` without set-user-id, and without set-group-id where that means a program's group."""
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode


def _with_times_that_can_be(change: AttributeChange) -> AttributeChange:
    times = {"atime_ns": change.atime_ns, "mtime_ns": change.mtime_ns, "ctime_ns": change.ctime_ns}
    near = {name: near_time(at) for name, at in times.items() if at is not None}
    return replace(change, **near) if any(times[name] != at for name, at in near.items()) else change
