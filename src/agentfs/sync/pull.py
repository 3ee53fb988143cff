"""Taking in what stands in the log: others' commits, our own whose answer was lost, and snapshots."""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentfs.errors import Corrupt, HistoryBroken, NoSpace, StoreUnavailable
from agentfs.format.commit import decode_commit, inline_bytes
from agentfs.format.origins import origins_text
from agentfs.format.snapshot import inode_record
from agentfs.format.snapshot_rows import SnapshotRows
from agentfs.log.log import WINDOW_MAX, Entry
from agentfs.merge.fencing import LockTable
from agentfs.model.records import Commit, InlineContent, InodeId, Link, Unlink
from agentfs.replica.apply import Applied, apply_commit, drop_stale, same_size_pending
from agentfs.replica.bulk import is_untouched, load_snapshot, log_links, log_records
from agentfs.replica.pending import drop_prepared, read_prepared
from agentfs.replica.settle import settle_commit
from agentfs.sync.capture import unpack_capture
from agentfs.sync.contents import file_digest
from agentfs.sync.converge import Recent
from agentfs.sync.ground import EngineGround
from agentfs.sync.hydration import Hydration

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Pull:
    ground: EngineGround
    hydration: Hydration
    recent: Recent
    conflicts: int = 0
    """Conflicts settled here since the start."""
    met: bool = False
    """The store was seen to hold the entry at our head."""
    _digests: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def head(self) -> tuple[int, bytes]:
        replica = self.ground.replica
        return int(replica.state("head_sequence")), bytes(replica.state("head_digest"))

    def meet(self) -> None:
        """Make sure, once, that the store holds the entry at our head. On an empty one (a disk that is not mounted, a
        bucket that was emptied) what we push next would stand after a hole that nobody can ever fill.

        Two small gets. Raises `StoreUnavailable` when the entry is not there (it may come back), `HistoryBroken` when
        another stands there."""
        sequence, digest = self.head()
        if self.met:
            return
        if sequence == 0:
            self.met = True  # whatever we shall have comes from this store
            return
        log = self.ground.log
        with contextlib.suppress(Corrupt):  # it is there; its damage is what fsck finds
            found = log.digest_at(sequence)
            if found is None:
                raise StoreUnavailable(
                    f"entry {sequence} of {log.volume}, which this machine has, is not in the store: it is empty, or "
                    "another one (is the disk mounted, is the address right?); nothing is sent to it"
                )
            if found != digest:
                raise HistoryBroken(f"another entry {sequence} of {log.volume} is in the store than this machine has")
        self.met = True

    def pull(self, *, entries_max: int = 1 << 60, until_our_turn: bool = False) -> int:
        """Take in what the log has beyond the head, up to `entries_max` commits; with `until_our_turn` no more than
        what tells that something of ours may be put. Returns how many; one get when there is nothing new. Raises
        `HistoryBroken`, `FormatError`, `StoreError`."""
        clock, contention = self.ground.clock, self.ground.contention
        start = clock.monotonic()
        asked = count = contention.window(start) if until_our_turn else 1
        taken = 0
        while taken < entries_max:
            if taken >= self.ground.options.catch_up_after:
                count = WINDOW_MAX
            if count > 1 and not self.unsettled():
                got = self._window(min(count, entries_max - taken))
            else:
                count, got = 1, self._one()
            taken += got
            if got == 0:
                break
            if until_our_turn:
                now = clock.monotonic()
                if got < count or contention.put_at(now) <= now:
                    break
                count = min(2 * count, WINDOW_MAX)
        now = clock.monotonic()
        contention.looked(now - start, now, asked=asked, found=taken)
        return taken

    def unsettled(self) -> bool:
        """Whether a commit of ours may or may not have reached the store."""
        return bool(read_prepared(self.ground.replica))

    def _one(self) -> int:
        sequence = self.head()[0] + 1
        entry = self.ground.log.entry(sequence)
        if entry is None:
            return 0
        return self.receive(sequence, entry)

    def _window(self, count: int) -> int:
        sequence = self.head()[0] + 1
        if self.ground.options.parallel <= 1:
            return self._one()
        found = self.ground.log.read_window(sequence, count)
        for at, data in enumerate(found):
            self.receive(sequence + at, Entry(data[-32:], data, None))
        return len(found)

    def receive(self, sequence: int, entry: Entry) -> int:
        """Take in what stands at `sequence`, right after the head. Returns how far the head moved."""
        replica = self.ground.replica
        prepared = read_prepared(replica).get(entry.digest)
        if prepared is not None and prepared[0] == sequence:
            orphans = settle_commit(replica, unpack_capture(prepared[1]), entry.digest, parent=None)
            drop_stale(replica, (), orphans)
            if entry.data is not None and self.ground.observers:
                commit, _ = self._decoded(entry.data, sequence)
                self.ground.observed(commit, entry.digest)
            return 1
        if entry.data is None:
            return self.restart()
        commit, digest = self._decoded(entry.data, sequence)
        if commit.replica == replica.state("replica_id"):
            self._take_new_identity(commit)
        self._apply(commit, digest, data=entry.data)
        drop_prepared(replica, sequence)
        return 1

    def _decoded(self, data: bytes, sequence: int) -> tuple[Commit, bytes]:
        return decode_commit(data, volume=self.ground.log.volume_at(sequence), sequence=sequence)

    def _take_new_identity(self, commit: Commit) -> None:
        """A commit bears our id and is none that we prepared: this replica was restored from a backup, or cloned. No
        rule depends on the id being unique; people who look for a commit's author do."""
        replica = self.ground.replica
        now_ns = self.ground.clock.wall_ns()
        with replica.transaction(session=0) as tx:
            tx.sql.executemany(
                "INSERT OR REPLACE INTO state VALUES(?,?)",
                [("replica_id", self.ground.entropy(16).hex()), ("copied_ns", now_ns)],
            )
        _LOG.warning(
            "log entry %d was committed under this replica's id, and not by it: it was restored from a backup or "
            "cloned, and has taken a new id",
            commit.sequence,
        )

    def _apply(
        self,
        commit: Commit,
        digest: bytes,
        *,
        data: bytes | None,
        whole: bool = False,
        table: LockTable | None = None,
    ) -> None:
        replica = self.ground.replica
        self.ground.failpoint("pull.before")
        applied = apply_commit(
            replica,
            commit,
            digest,
            agent=self.ground.author,
            digests=self._pending_digests(commit),
            whole=whole,
            table=table,
        )
        self.ground.failpoint("pull.applied")
        if not whole:
            self.ground.observed(commit, digest)
        self.conflicts += applied.conflicts
        drop_stale(replica, applied.stale, applied.orphans)
        if data is not None:
            self._adopt(commit, data, applied)

    def _adopt(self, commit: Commit, data: bytes, applied: Applied) -> None:
        """Small contents came with the commit: have them here at once."""
        files = []
        for record in commit.inodes:
            content, ino = record.content, applied.fetched.get(record.id)
            if not isinstance(content, InlineContent) or content.sequence != commit.sequence:
                continue
            self.recent.add(content.digest, inline_bytes(data, content))
            if ino is not None:
                files.append((ino, content.digest, inline_bytes(data, content)))
        if not self.ground.options.prefetch:
            return
        with contextlib.suppress(NoSpace):  # they are fetched when they are asked for, and there is room
            self.hydration.adopt_bytes(files)

    def _pending_digests(self, commit: Commit) -> Mapping[int, tuple[int, bytes]]:
        known = self._digests
        found: dict[int, tuple[int, bytes]] = {}
        for ino, change in same_size_pending(self.ground.replica, commit):
            if ino not in known or known[ino][0] != change:
                digest = file_digest(self.ground.replica.files.path(ino))
                if digest is None:
                    continue
                known[ino] = (change, digest)
            found[ino] = known[ino]
        self._digests = found  # what is asked for no more is forgotten
        return found

    # ---- from a snapshot ----

    def restart(self) -> int:
        """The log was collected beyond our head: move to the newest snapshot, with what is pending on top. Returns
        how far the head moved."""
        sequence, _ = self.head()
        snapshot = self.ground.log.newest_snapshot().snapshot
        if snapshot is None or snapshot.sequence <= sequence:
            raise HistoryBroken(f"the log was collected beyond entry {sequence}, and there is no snapshot after it")
        self.restart_from(snapshot)
        return self.head()[0] - sequence

    def restart_from(self, snapshot: SnapshotRows) -> None:
        """Move to `snapshot`, which is newer than the head."""
        self._learn_origins(snapshot)
        if is_untouched(self.ground.replica):
            load_snapshot(self.ground.replica, snapshot)
        else:
            self._settle_collected(snapshot)
            if snapshot.sequence > self.head()[0]:
                self._apply(
                    self._difference(snapshot),
                    snapshot.commit_digest,
                    data=None,
                    whole=True,
                    table=dict(snapshot.locks),
                )
        drop_prepared(self.ground.replica, snapshot.sequence)

    def _learn_origins(self, snapshot: SnapshotRows) -> None:
        """Remember what the volume is a fork of, before anything is here that lies in the other volume."""
        if snapshot.origins and snapshot.origins != self.ground.log.origins:
            self.ground.replica.set_state("origins", origins_text(snapshot.origins))
            self.ground.log.origins = snapshot.origins

    def _settle_collected(self, snapshot: SnapshotRows) -> None:
        """What we prepared for the place after our head may have been committed and collected since: the stub there
        tells."""
        replica = self.ground.replica
        places = {at for at, _ in read_prepared(replica).values() if at <= snapshot.sequence}
        sequence, _ = self.head()
        if sequence + 1 not in places:
            return
        entry = self.ground.log.entry(sequence + 1)
        if entry is None:
            raise HistoryBroken(f"log entry {sequence + 1} is missing although a snapshot follows it")
        prepared = read_prepared(replica).get(entry.digest)
        if prepared is not None and prepared[0] == sequence + 1:
            settle_commit(replica, unpack_capture(prepared[1]), entry.digest, parent=None)

    def _difference(self, snapshot: SnapshotRows) -> Commit:
        """What leads from the log as we have it to `snapshot`, as one commit."""
        known = log_records(self.ground.replica)
        records = tuple(inode_record(row) for row in snapshot.inodes if known.get(row[0]) != row)
        ours = log_links(self.ground.replica)
        theirs: dict[tuple[InodeId, bytes], InodeId] = {(row[0], row[1]): row[2] for row in snapshot.links}
        return Commit(
            volume=snapshot.volume,
            sequence=snapshot.sequence,
            commit_id=bytes(16),
            parent=bytes(32),
            time_ns=snapshot.time_ns,
            author=self.ground.author,
            replica="snapshot",
            inodes=records,
            unlinks=tuple(Unlink(*place) for place in ours if place not in theirs),
            links=tuple(Link(*place, child) for place, child in theirs.items() if ours.get(place) != child),
        )
