"""Merging a fork back: it is taken for a machine that was offline since the fork began.

A replica of the other volume is made beside those of this machine, at the entry where the fork began; what the fork
changed since is made pending there; and an ordinary engine puts it on top of what came meanwhile, with all the rules
of merging. The numbers of inodes up to that entry are common to both, so a renamed file is known for the same.

In this order:

1. `merge.staged`   the fork's new contents are in files of the replica
2. `merge.applied`  one transaction: the changes are pending, and the fork's entry that they are of is remembered
3. `merge.pushed`   the engine pushed them
4. `merge.noted`    a note in the fork says so (docs/format.md, F-107)
5.                  the replica is removed

A crash before 2 is begun again; after it the same command goes on with what is there.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings
from agentfs.errors import AgentFSError, Corrupt, Exists, InvalidArgument, ReplicaInUse, SyncTimedOut
from agentfs.format import layout
from agentfs.format.merge_note import MergeNote, encode_merge_note, new_merge_note
from agentfs.format.origins import origins_text
from agentfs.format.snapshot import inode_record
from agentfs.format.snapshot_rows import InodeRow, SnapshotRows
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.model.records import CHUNK_BYTES, ChunkedContent, InodeId
from agentfs.replica.backing import make_directory
from agentfs.replica.bulk import load_snapshot
from agentfs.replica.lock_file import LockFile, holder, is_locked
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Store
from agentfs.sync.engine import Engine
from agentfs.sync.fork_changes import apply_difference, difference, stage
from agentfs.sync.options import EngineOptions
from agentfs.volume.fork import Failpoint, merges_of, no_failpoint
from agentfs.volume.opening import opened_store
from agentfs.volume.places import merge_directory, replica_directory
from agentfs.volume.snapshots import check_store, log_of
from agentfs.volume.trees import newest_tree
from agentfs.volume.volume import Volume

_PARALLEL = 8
_ENTRY, _CHANGES = "merge_sequence", "merge_changes"
"""In the state of the replica that merges: the fork's entry, and how much it changed."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A fork's changes are part of another home, and in the store."""

    fork_id: str
    into: str
    """Volume name."""
    fork_sequence: int
    """The fork's entry up to which it was merged."""
    into_sequence: int
    """The entry at which the other log ended then."""
    changes: int
    """Files, directories and names that differed."""
    conflicts: int
    """What could not both keep its place (`agentfs conflicts`)."""
    before: bool = False
    """It had been merged before, and nothing has come since: nothing was done."""


def merge_fork(
    settings: Settings,
    fork_id: str,
    *,
    into: str | None = None,
    author: str = "",
    clock: Clock | None = None,
    timeout_seconds: float | None = None,
    failpoint: Failpoint = no_failpoint,
) -> Merged:
    """Merge the fork into the home that it comes from, or into `into`, which it comes from by way of other forks.
    What is pending in the fork on this machine goes first. On return all is in the store, by `author`.

    Raises `InvalidArgument` (no fork, or not of that home), `Exists` (it was merged before and went on since),
    `VolumeDeleted`, `ReplicaInUse` (another process merges it), `SyncTimedOut` (repeat it: it goes on), and what the
    store raises.
    """
    clock = clock or SystemClock()
    store = opened_store(settings, clock=clock)
    check_store(store)
    fork = log_of(store, layout.volume_name("home", fork_id))
    if not fork.origins:
        raise InvalidArgument(f"{fork_id} is not a fork: agentfs fork list shows those of a home")
    target = layout.volume_name("home", into) if into else fork.origins[0].volume
    if all(origin.volume != target for origin in fork.origins):
        raise InvalidArgument(f"{fork_id} is not a fork of {into}: it comes from {fork.origins[0].volume}")
    _push_here(settings, fork_id, clock)
    directory = merge_directory(settings.state_dir, fork.volume, target, settings.store)
    merging = Merging(store, clock, directory, fork, log_of(store, target), author, failpoint)
    with merging.locked():
        merged = merging.run(settings.timeout_seconds if timeout_seconds is None else timeout_seconds)
    _show(settings, target, clock)
    return merged


def _push_here(settings: Settings, fork_id: str, clock: Clock) -> None:
    """What this machine has of the fork goes into the store first."""
    if os.path.exists(
        os.path.join(replica_directory(settings.state_dir, "home", fork_id, settings.store), "replica.db")
    ):
        with Volume.open(settings, fork_id, session_kind="cli", clock=clock) as volume:
            volume.sync()


def _show(settings: Settings, target: str, clock: Clock) -> None:
    """A mount of the other home on this machine shows it at once, and not only with its next look."""
    kind, volume_id = layout.parse_volume_name(target)
    directory = replica_directory(settings.state_dir, kind, volume_id, settings.store)
    if is_locked(os.path.join(directory, "engine.lock")):
        with (
            contextlib.suppress(AgentFSError),
            Volume.open(settings, volume_id, session_kind="cli", kind=kind, clock=clock) as volume,
        ):
            volume.pull()


@dataclass(slots=True)
class Merging:
    """One merge, over the store and a directory of its own."""

    store: Store
    clock: Clock
    directory: str
    """Of the replica that merges; removed at the end."""
    fork: Log
    target: Log
    """Both with their origins; the target is one of the fork's."""
    author: str = ""
    failpoint: Failpoint = no_failpoint

    @property
    def begins(self) -> int:
        """The entry of the target's log after which the fork begins."""
        return next(origin.sequence for origin in self.fork.origins if origin.volume == self.target.volume)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        make_directory(self.directory)
        path = os.path.join(self.directory, "engine.lock")
        lock = LockFile.acquire(path)
        if lock is None:
            raise ReplicaInUse(f"process {holder(path)} is merging {self.fork.volume} already")
        try:
            yield
        finally:
            lock.release()

    def run(self, seconds: float) -> Merged:
        replica = self._begun()
        try:
            if replica is None:
                tree = newest_tree(self.fork)
                note = self._noted(tree.sequence)
                if note is not None:
                    return self._merged(note, 0, 0, before=True)
                replica = self._opened()
                self._begin(replica, tree)
            merged = self._finish(replica, seconds)
        finally:
            if replica is not None:
                replica.close()
        self._clear()
        return merged

    def _begun(self) -> Replica | None:
        """The replica of an earlier command that got as far as to have the changes in it; any other is removed."""
        if os.path.exists(os.path.join(self.directory, "replica.db")):
            replica = self._opened()
            if replica.state(_ENTRY) is not None:
                return replica
            replica.close()
        self._clear()
        return None

    def _noted(self, sequence: int) -> MergeNote | None:
        """The note of an earlier merge, if nothing came since."""
        notes = [note for note in merges_of(self.store, self.fork) if note.into == self.target.volume]
        if notes and notes[-1].sequence < sequence:
            raise Exists(
                f"{self.fork.volume} was merged into {self.target.volume} already, as it was after entry "
                f"{notes[-1].sequence}, and went on since: a fork is merged once; fork {self.target.volume} anew to "
                "go on"
            )
        return notes[-1] if notes else None

    def _opened(self) -> Replica:
        kind, volume_id = layout.parse_volume_name(self.target.volume)
        return Replica.open(
            self.directory, volume_kind=kind, volume_id=volume_id, session_kind="merge", clock=self.clock
        )

    def _clear(self) -> None:
        """Remove all but the lock, which is ours."""
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif name != "engine.lock":
                os.unlink(path)

    # ---- the fork's changes ----

    def _begin(self, replica: Replica, tree: SnapshotRows) -> None:
        base = self.target.snapshot_at(self.begins)
        if base is None:
            raise Corrupt(f"the snapshot of {self.target.volume} at {self.begins} is missing: run agentfs fsck")
        if base.origins:
            replica.set_state("origins", origins_text(base.origins))
        load_snapshot(replica, base)
        changes = difference(base, tree)
        staged = self._staged(replica, changes.contents())
        self.failpoint("merge.staged")
        apply_difference(replica, changes, staged, facts={_ENTRY: tree.sequence, _CHANGES: len(changes)})
        self.failpoint("merge.applied")

    def _staged(self, replica: Replica, rows: list[InodeRow]) -> dict[InodeId, str]:
        contents = Contents(self.store, self.fork)
        with ThreadPoolExecutor(_PARALLEL, "agentfs-merge") as pool:
            paths = pool.map(lambda row: stage(replica, _writer(contents, row)), rows)
            return {row[0]: path for row, path in zip(rows, paths, strict=True)}

    # ---- pushing ----

    def _finish(self, replica: Replica, seconds: float) -> Merged:
        kind, volume_id = layout.parse_volume_name(self.target.volume)
        engine = Engine(
            replica,
            self.store,
            volume_kind=kind,
            volume_id=volume_id,
            author=self.author or volume_id,
            clock=self.clock,
            options=EngineOptions(prefetch=False),
            failpoint=self.failpoint,
        )
        try:
            engine.bootstrap()
            engine.push_until_clean(self.clock.monotonic() + seconds)
            status = engine.status()
        except SyncTimedOut as error:
            raise SyncTimedOut(f"{error}; repeat the command: the merge goes on where it is") from error
        finally:
            engine.close()
        self.failpoint("merge.pushed")
        note = new_merge_note(
            sequence=int(replica.state(_ENTRY)),
            into=self.target.volume,
            into_sequence=status.head_sequence,
            author=self.author or volume_id,
            time_ns=self.clock.wall_ns(),
        )
        self.store.put(layout.merge_name(self.fork.prefix, note.sequence), encode_merge_note(note))
        self.failpoint("merge.noted")
        return self._merged(note, int(replica.state(_CHANGES)), status.conflicts)

    def _merged(self, note: MergeNote, changes: int, conflicts: int, *, before: bool = False) -> Merged:
        _, fork_id = layout.parse_volume_name(self.fork.volume)
        return Merged(fork_id, note.into, note.sequence, note.into_sequence, changes, conflicts, before)


def _writer(contents: Contents, row: InodeRow) -> Callable[[int], None]:
    content = inode_record(row).content
    assert content is not None

    def write(fd: int) -> None:
        if isinstance(content, ChunkedContent):
            for at in range(len(content.chunks)):
                _write(fd, contents.chunk(content, at), at * CHUNK_BYTES)
        else:
            _write(fd, contents.read(content), 0)

    return write


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]
