"""Deleting a fork: what it stored goes, and the parent need not keep its beginning any more.

In this order (docs/format.md, F-106), each step repeatable:

1. `end.ended`    an end entry at the end of the log: from here nobody can write to it
2. `end.shut`     an end entry at entry 1: from here nobody forks it; if somebody did, it stops here
3. `end.marked`   end entries in the places of all others: nobody who slept can take one
4. `end.dropped`  everything else of the volume is deleted, and the objects of its view
5.                the pin in the parent is deleted

A crash leaves a fork that is being deleted: nobody can use it, and the same command goes on. The parent is never
touched but for the pin, and that goes last: nothing that the fork refers to is free before the fork is gone.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings
from agentfs.errors import NotEmpty, NotFound, ReplicaInUse
from agentfs.format import layout
from agentfs.format.framing import ObjectKind, verify
from agentfs.format.limits import SEQUENCE_FIRST
from agentfs.format.merge_note import MergeNote
from agentfs.format.origins import Origin, Origins
from agentfs.format.stub import decode_stub, encode_stub, end_entry
from agentfs.log.announcements import put_once
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.replica.lock_file import LockFile, holder
from agentfs.stores.protocol import Store
from agentfs.view.naming import place_of, view_prefix
from agentfs.volume.fork import Failpoint, merges_of, no_failpoint
from agentfs.volume.opening import opened_store
from agentfs.volume.places import replica_directory
from agentfs.volume.snapshots import check_store
from agentfs.volume.status import Pending, peek_pending

_PAGE = 1000
_PARALLEL = 8


@dataclass(frozen=True, slots=True)
class Doomed:
    """What a deletion would take, for who has to confirm it."""

    fork_id: str
    origins: Origins
    sequence: int
    """Where its log ends."""
    merges: tuple[MergeNote, ...]
    pending: Pending
    """On this machine, and nowhere else."""
    ended: bool
    """A deletion began already."""

    @property
    def unmerged(self) -> int:
        """Entries of its log that no merge has taken."""
        merged = self.merges[-1].sequence if self.merges else self.origins[0].sequence
        return max(0, self.sequence - merged)


def doomed(settings: Settings, fork_id: str, *, clock: Clock | None = None) -> Doomed:
    """Look at a fork that is to be deleted. Raises `NotFound`, and what the store raises."""
    store = opened_store(settings, clock=clock or SystemClock())
    check_store(store)
    ending = Ending(store, clock or SystemClock(), fork_id)
    log, ended = ending.begun()
    directory = replica_directory(settings.state_dir, "home", fork_id, settings.store)
    here = os.path.exists(os.path.join(directory, "replica.db"))
    pending = peek_pending(directory) if here else Pending(0, 0, None)
    merges = () if ended else tuple(merges_of(store, log))
    return Doomed(fork_id, log.origins, ending.last(log), merges, pending, ended)


def delete_fork(
    settings: Settings,
    fork_id: str,
    *,
    parent_id: str | None = None,
    clock: Clock | None = None,
    failpoint: Failpoint = no_failpoint,
) -> None:
    """Delete a fork, with what this machine has of it. On return nothing of it can be read any more; its name stays
    taken. `parent_id`: of which home, for one whose making was interrupted.

    Raises `NotFound` (there is no such fork), `NotEmpty` (it has forks itself), `ReplicaInUse` (it is in use on this
    machine), and what the store raises; repeating it goes on.
    """
    clock = clock or SystemClock()
    store = opened_store(settings, clock=clock)
    check_store(store)
    ending = Ending(store, clock, fork_id, failpoint=failpoint)
    directory = replica_directory(settings.state_dir, "home", fork_id, settings.store)
    with _unused(directory, fork_id):
        ending.run(parent_id)
        if os.path.exists(directory):
            shutil.rmtree(directory)


@contextlib.contextmanager
def _unused(directory: str, fork_id: str) -> Iterator[None]:
    """Nobody on this machine works with the replica inside."""
    if not os.path.exists(directory):
        yield
        return
    path = os.path.join(directory, "engine.lock")
    lock = LockFile.acquire(path)
    if lock is None:
        raise ReplicaInUse(f"{fork_id} is in use by process {holder(path)} of this machine: unmount it first")
    try:
        yield
    finally:
        lock.release()


class Ending:
    """One deletion, over the store alone."""

    def __init__(self, store: Store, clock: Clock, fork_id: str, *, failpoint: Failpoint = no_failpoint) -> None:
        self._store = store
        self._clock = clock
        self._fork_id = fork_id
        self._failpoint = failpoint
        self._name = layout.volume_name("home", fork_id)

    def begun(self) -> tuple[Log, bool]:
        """The fork's log, and whether a deletion began. Raises `NotFound` when there is no such fork."""
        log = Log(self._store, "home", self._fork_id)
        stub = log.origin()
        if stub is None:
            raise NotFound(f"there is no fork {self._fork_id}: only forks can be deleted")
        log.origins = stub.origins
        return log, stub.ended or self._is_ended(log, self.last(log))

    def run(self, parent_id: str | None = None) -> None:
        try:
            log, _ = self.begun()
        except NotFound:
            if parent_id is None:
                raise
            self._take_name(layout.volume_name("home", parent_id))
            log, _ = self.begun()
        self._refuse_forks()
        self._end(log)
        self._failpoint("end.ended")
        self._mark(log, SEQUENCE_FIRST)
        self._failpoint("end.shut")
        self._refuse_forks()  # one may have been made until now; its contents are in our commits
        self._each(self._sequences(log), lambda it: self._mark(log, it))
        self._failpoint("end.marked")
        head = layout.log_prefix(log.prefix)
        self._each((name for name in self._names(log.prefix) if not name.startswith(head)), self._store.delete)
        self._drop_view()
        self._failpoint("end.dropped")
        Pins(self._store, log.origins[0].volume).delete("fork", self._name)

    def _drop_view(self) -> None:
        """The objects at names of files. What else others put there is theirs."""
        prefix, after = view_prefix("home", self._fork_id), ""
        while page := self._store.list(prefix, after=after, limit=_PAGE, foreign=True):
            self._store.delete_many([entry.name for entry in page if place_of(entry.name) is not None])
            after = page[-1].name

    def _take_name(self, parent: str) -> None:
        """A fork was begun and not made: nobody may make it any more."""
        pin = Pins(self._store, parent).read("fork", self._name)
        entry = end_entry(self._name, (Origin(parent, pin.sequence),), sequence=1, time_ns=self._clock.wall_ns())
        put_once(self._store, layout.log_name(layout.prefix_of(self._name), 1), encode_stub(entry))

    def _refuse_forks(self) -> None:
        forks = [pin.name for pin in Pins(self._store, self._name).list("fork")]
        if forks:
            raise NotEmpty(
                f"{self._fork_id} has forks that begin in it ({', '.join(forks[:5])}): delete those first "
                "(agentfs fork list shows them)"
            )

    def _end(self, log: Log) -> None:
        while True:
            last = self.last(log)
            if self._is_ended(log, last):
                return
            data = self._end_bytes(log, last + 1)
            put_once(self._store, log.name(last + 1), data)

    def _end_bytes(self, log: Log, sequence: int) -> bytes:
        return encode_stub(end_entry(log.volume, log.origins, sequence=sequence, time_ns=self._clock.wall_ns()))

    def _is_ended(self, log: Log, sequence: int) -> bool:
        if sequence < log.first_own:
            return False
        data = self._store.get(log.name(sequence)).data
        return verify(data)[0] is ObjectKind.STUB and decode_stub(data, volume=log.volume, sequence=sequence).ended

    def _mark(self, log: Log, sequence: int) -> None:
        self._store.put(layout.log_name(log.prefix, sequence), self._end_bytes(log, sequence))

    def last(self, log: Log) -> int:
        """Where the log ends."""
        return max((*self._sequences(log), log.origins[0].sequence))

    def _sequences(self, log: Log) -> list[int]:
        head = layout.log_prefix(log.prefix)
        return [layout.parse_log_name(log.prefix, name) for name in self._names(head)]

    def _names(self, prefix: str) -> Iterator[str]:
        after = ""
        while page := self._store.list(prefix, after=after, limit=_PAGE):
            yield from (entry.name for entry in page)
            after = page[-1].name

    def _each(self, items: Iterable[Any], do: Callable[[Any], None]) -> None:
        with ThreadPoolExecutor(_PARALLEL, "agentfs-end") as pool:
            for _ in pool.map(do, items):
                pass
