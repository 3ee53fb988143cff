"""Files that stay open for writing: a log that a program keeps open for days must reach the log of the volume too.

A file counts as *quiet* when it has been open for a while and its backing file was not written for a moment. What was
written shows in the backing file only (the writer's last close is yet to come), so a quiet file whose size or time
differ from its row is marked pending here. One that is never quiet is taken as it is from time to time: else a log
that is written every second would stay on this machine alone, and nothing would say so. The same goes for a file
whose name the log took away meanwhile (`replica.detached`): once it was written it gets a name again, without its
close.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agentfs.replica.detached import file_digest, settle_detached
from agentfs.replica.journal import LOG_SESSION
from agentfs.replica.transaction import PENDING_CONTENT, InodeRow
from agentfs.sync.ground import EngineGround

_Stamp = tuple[int, int]


@dataclass(slots=True)
class _Seen:
    since: float
    stamp: _Stamp
    stamp_since: float
    behind_since: float | None = None
    """When the first write was noticed that is not committed."""
    unchanged: _Stamp | None = None
    """Of a detached file: as it was when its bytes were last found to be those it was opened with."""


@dataclass(slots=True)
class OpenFiles:
    ground: EngineGround
    _seen: dict[int, _Seen] = field(default_factory=dict)

    def look(self) -> bool:
        """Remember how the open files stand, and mark those that are quiet and changed. Returns whether any was."""
        ground = self.ground
        with ground.replica.lock:
            inos = [row[0] for row in ground.replica.connection.rows("SELECT DISTINCT ino FROM write_open")]
        now = ground.clock.monotonic()
        for gone in self._seen.keys() - set(inos):
            del self._seen[gone]
        marked = False
        for ino in inos:
            facts = ground.replica.files.stat(ino)
            if facts is None:
                continue
            stamp = (facts.st_size, facts.st_mtime_ns)
            seen = self._seen.get(ino)
            if seen is None:
                self._seen[ino] = _Seen(now, stamp, now)
                continue
            if seen.stamp != stamp:
                seen.stamp, seen.stamp_since = stamp, now
                if seen.behind_since is None:
                    seen.behind_since = now
            if self.is_quiet(ino):
                marked = self._mark(ino, stamp) or marked
        return marked

    def taken(self, inos: Iterable[int]) -> None:
        """Their bytes were committed. What is written from now on is behind anew."""
        for ino in inos:
            if ino in self._seen:
                self._seen[ino].behind_since = None

    def is_quiet(self, ino: int) -> bool:
        """Whether the file has been open for long and was not written for a moment, or has been written for so long
        that it is taken all the same."""
        seen = self._seen.get(ino)
        if seen is None:
            return False
        now = self.ground.clock.monotonic()
        options = self.ground.options
        if seen.behind_since is not None and now - seen.behind_since >= options.open_delay_max_s:
            return True
        return now - seen.since >= options.open_long_s and now - seen.stamp_since >= options.open_quiet_s

    def _mark(self, ino: int, stamp: _Stamp) -> bool:
        replica = self.ground.replica
        row = replica.inode(ino)
        if row is not None and not row.nlink:
            return self._mark_unlinked(row, stamp)
        if row is None or row.local or row.pending & PENDING_CONTENT:
            return False
        if stamp == (row.size_bytes, row.mtime_ns):
            return False
        with replica.transaction() as tx:
            current = tx.inode(ino)
            if current is None or current.change != row.change or not tx.is_write_open(ino):
                return False
            tx.content_written(ino, size_bytes=stamp[0], mtime_ns=stamp[1], ctime_ns=max(row.ctime_ns, stamp[1]))
        return True

    def _mark_unlinked(self, row: InodeRow, stamp: _Stamp) -> bool:
        seen = self._seen[row.ino]
        if seen.unchanged == stamp:
            return False
        brought = self._bring_back(row)
        seen.unchanged = None if brought else stamp
        return brought

    def bring_back(self) -> None:
        """Give every file that lost its name to the log while it was open, and was written since, a name again: what
        was flushed of it is pending then, as of any other open file."""
        replica = self.ground.replica
        with replica.lock:
            inos = [row[0] for row in replica.connection.rows("SELECT ino FROM detached")]
        for ino in inos:
            row = replica.inode(ino)
            if row is not None and not row.nlink:
                self._bring_back(row)

    def _bring_back(self, row: InodeRow) -> bool:
        """Returns whether the unlinked file was detached, has changed, and has a name now."""
        replica, ino = self.ground.replica, row.ino
        facts = replica.files.stat(ino)
        with replica.lock:
            detached = replica.connection.one("SELECT 1 FROM detached WHERE ino=?", (ino,)) is not None
        if not detached or facts is None:
            return False
        stamp = (facts.st_size, facts.st_mtime_ns)
        digest = file_digest(replica.files, ino)
        with replica.transaction(session=LOG_SESSION) as tx:
            if settle_detached(tx, ino, digest=digest, agent=self.ground.author, while_open=True):
                tx.content_written(ino, size_bytes=stamp[0], mtime_ns=stamp[1], ctime_ns=max(row.ctime_ns, stamp[1]))
                return True
        return False
