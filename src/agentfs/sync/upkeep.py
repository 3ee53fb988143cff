"""What the engine does when there is nothing to push or pull: evicting, fetching ahead, trimming, snapshots."""

from collections import deque
from dataclasses import dataclass, field, replace

from agentfs.errors import AgentFSError, ObjectNotFound, StoreError, Unavailable
from agentfs.format import layout
from agentfs.format.snapshot import encode_snapshot_rows
from agentfs.log.announcements import Announcements
from agentfs.replica.apply import drop_stale
from agentfs.replica.bulk import snapshot_of
from agentfs.sync.ground import EngineGround
from agentfs.sync.hydration import Hydration

_EVICTABLE = (
    "FROM inode WHERE kind=1 AND residency!=0 AND pending & 2 = 0 AND local=0 AND id IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM content c WHERE c.ino=inode.ino) "
    "AND NOT EXISTS (SELECT 1 FROM write_open w WHERE w.ino=inode.ino) "
    "AND NOT EXISTS (SELECT 1 FROM live_database l WHERE l.ino=inode.ino) "
    "AND NOT EXISTS (SELECT 1 FROM fork f WHERE f.ino=inode.ino)"
)
_UNNAMED = (
    "SELECT ino FROM inode WHERE nlink=0 AND id IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM detached d WHERE d.ino=inode.ino) "
    "AND NOT EXISTS (SELECT 1 FROM write_open w WHERE w.ino=inode.ino) LIMIT 1000"
)
"""Files that were replaced here, and then left the log to those that replaced them."""
_EVICT_BATCH = 256
_JOURNAL_KEPT_S = 60.0
"""No journal row goes before it is this old, however many there are: a mount looks four times a second, and what it
misses the kernel would go on showing."""


@dataclass(slots=True)
class Upkeep:
    ground: EngineGround
    hydration: Hydration
    _ends: deque[tuple[float, int]] = field(default_factory=deque)
    """When the journal ended where."""
    _unfetchable: dict[int, int] = field(default_factory=dict)
    """Files whose bytes could not be fetched ahead, at which content_change: left to those who open them."""

    def resident_bytes(self) -> int:
        replica = self.ground.replica
        with replica.lock:
            row = replica.connection.one(
                "SELECT coalesce(sum(size_bytes), 0) FROM inode WHERE kind=1 AND residency!=0"
            )
        return int(row[0]) if row else 0

    def evict(self, *, cache_bytes: int | None = None) -> int:
        """Drop clean bytes, least recently used first, until the cache fits. Pending files and files open for writing
        are never touched. Returns the bytes dropped."""
        limit = self.ground.options.cache_bytes if cache_bytes is None else cache_bytes
        replica = self.ground.replica
        excess = self.resident_bytes() - limit
        dropped = 0
        while dropped < excess:
            with replica.transaction(session=0) as tx:
                rows = tx.sql.rows(
                    f"SELECT ino, size_bytes {_EVICTABLE} ORDER BY used_at_ns LIMIT ?", (_EVICT_BATCH,)
                )
                gone = []
                for ino, size in rows:
                    if dropped >= excess:
                        break
                    tx.sql.execute("UPDATE inode SET residency=0 WHERE ino=?", (ino,))
                    gone.append(ino)
                    dropped += size
            self.ground.failpoint("evict.marked")
            drop_stale(replica, gone, ())
            if not gone:
                break
        return dropped

    # ---- fetching ahead ----

    def fetch_ahead(self) -> bool:
        """Fetch a batch of contents that are not here, the latest first. Returns whether there is more. Raises
        `StoreError`; a file whose bytes are damaged or missing is passed over and left to those who open it."""
        options = self.ground.options
        wanted = self._wanted(options.prefetch_batch)
        if not wanted:
            return False
        failure: list[StoreError] = []

        def fetch(item: tuple[str, bytes]) -> None:
            ino = int(item[0])
            try:
                self.hydration.hydrate(ino)
            except Unavailable as error:
                if isinstance(error.__cause__, StoreError) and not isinstance(error.__cause__, ObjectNotFound):
                    failure.append(error.__cause__)  # the store, not this file: later
                else:
                    self._unfetchable[ino] = dict(wanted)[ino]
            except AgentFSError:
                self._unfetchable[ino] = dict(wanted)[ino]

        self.ground.each(fetch, ((str(ino), b"") for ino, _ in wanted))
        if failure:
            raise failure[0]
        return len(wanted) == options.prefetch_batch

    def _wanted(self, count: int) -> list[tuple[int, int]]:
        room = self.ground.options.cache_bytes - self.resident_bytes()
        replica = self.ground.replica
        with replica.lock:
            rows = replica.connection.rows(
                "SELECT ino, content_change, size_bytes FROM inode WHERE kind=1 AND residency=0 AND nlink>0 "
                "AND pending & 2 = 0 AND id IS NOT NULL ORDER BY mtime_ns DESC LIMIT ?",
                (count + len(self._unfetchable),),
            )
        found: list[tuple[int, int]] = []
        for ino, change, size in rows:
            room -= size
            if room < 0 or len(found) == count:
                break
            if self._unfetchable.get(ino) != change:
                found.append((ino, change))
        return found

    # ---- local housekeeping ----

    def trim(self) -> None:
        """Drop old journal rows and forgotten inodes, and move the WAL into the database."""
        replica, now = self.ground.replica, self.ground.clock.monotonic()
        with replica.lock:
            unnamed = replica.connection.rows(_UNNAMED)
        drop_stale(replica, (), (row[0] for row in unnamed))
        newest = replica.journal_end()
        self._ends.append((now, newest))
        while len(self._ends) > 1 and now - self._ends[1][0] >= _JOURNAL_KEPT_S:
            self._ends.popleft()
        at, seen = self._ends[0]
        end = min(newest - self.ground.options.journal_rows_max, seen if now - at >= _JOURNAL_KEPT_S else 0)
        with replica.lock:
            old = replica.connection.one("SELECT 1 FROM journal WHERE id<=? LIMIT 1", (end,)) is not None
        if old:
            with replica.transaction(session=0) as tx:
                tx.sql.execute("DELETE FROM journal WHERE id<=?", (end,))
        with replica.lock:
            replica.connection.checkpoint()

    # ---- snapshots ----

    def commits_since_snapshot(self) -> int:
        replica = self.ground.replica
        return int(replica.state("head_sequence")) - int(replica.state("snapshot_sequence") or 0)

    def snapshot(self, *, at_least: int) -> bool:
        """Put a snapshot of the head if at least `at_least` commits came since the newest one on the store (another
        machine may have made it). Not while something is pending. Returns whether one was put."""
        replica, log = self.ground.replica, self.ground.log
        found = self.ground.store.list(layout.snapshot_prefix(log.prefix), limit=1)
        if found:
            replica.set_state("snapshot_sequence", layout.parse_snapshot_name(log.prefix, found[0].name))
        if self.commits_since_snapshot() < at_least:
            return False
        rows = snapshot_of(replica, log.volume)
        if rows is None or rows.sequence == 0:
            return False
        announced = Announcements(self.ground.store, log.volume).newest_number() > 0
        log.put_snapshot(encode_snapshot_rows(replace(rows, collected=announced)))
        replica.set_state("snapshot_sequence", rows.sequence)
        return True
