"""Forks: a new home that begins as another one was, in a constant number of requests (docs/snapshots.md).

Nothing is copied. In this order (docs/format.md, F-103):

1. a snapshot of the parent is on the store (its engine sees to it, or it is there)
2. `fork.pinned`   the parent keeps that state for the fork: a pin with the fork's name
3. `fork.checked`  the snapshot was read back whole, and the parent still lives
4.                 one create-only put makes the fork

A crash before 4 leaves at most a pin; the same command finishes it, at the state that the first one had pinned.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from agentfs.clock import Clock, SystemClock
from agentfs.config.settings import Settings
from agentfs.errors import Corrupt, Exists, InvalidArgument, NotFound, ObjectNotFound, VolumeDeleted
from agentfs.format import layout
from agentfs.format.limits import ORIGINS_MAX
from agentfs.format.merge_note import MergeNote, decode_merge_note
from agentfs.format.origins import Origin, Origins
from agentfs.format.pin import Pin
from agentfs.format.snapshot import encode_snapshot_rows
from agentfs.format.stub import encode_stub, origin_entry
from agentfs.log.announcements import Announcements, put_once
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.model.names import check_id
from agentfs.stores.protocol import Store
from agentfs.volume.keeping import State
from agentfs.volume.opening import opened_store
from agentfs.volume.places import replica_directory
from agentfs.volume.snapshots import check_note, check_store, keep_head, log_of
from agentfs.volume.trees import tree_at
from agentfs.volume.volume import Volume

Failpoint = Callable[[str], None]
"""Called with a name between any two steps whose order matters; tests crash there."""
READY, UNFINISHED, ENDING = "ready", "unfinished", "being deleted"


def no_failpoint(_name: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Fork:
    """A home that began as another one was."""

    agent_id: str
    parent: str
    """Volume name: `home-<agent id>`."""
    sequence: int
    """The entry of the parent's log after which it begins."""
    created_ns: int
    author: str
    note: str
    state: str
    """`ready`; `unfinished`: the command was interrupted, repeat it; `being deleted`: likewise."""
    merges: tuple[MergeNote, ...] = ()
    """The oldest first."""

    @classmethod
    def of_pin(cls, pin: Pin, state: str, merges: tuple[MergeNote, ...] = ()) -> "Fork":
        _, agent_id = layout.parse_volume_name(pin.name)
        return cls(agent_id, pin.volume, pin.sequence, pin.time_ns, pin.author, pin.note, state, merges)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to fork."""

    new_id: str
    snapshot: str | None = None
    at: int | None = None
    author: str = ""
    note: str = ""


def fork_home(
    settings: Settings, parent_id: str, wish: Wish, *, clock: Clock | None = None, volume: Volume | None = None
) -> Fork:
    """Fork the home `parent_id` as it is (what is pending on this machine is pushed first), or as `wish.snapshot` or
    `wish.at` say. On return the fork is on the store. `volume`: the parent, if it is open.

    Raises `Exists` (the name is taken), `NotFound` (no such home, snapshot or entry), `VersionGone` (that state was
    collected), `VolumeDeleted`, and as `snapshots.keep_head`.
    """
    clock = clock or SystemClock()
    check_wish(wish)
    store = opened_store(settings, clock=clock)
    check_store(store)
    parent = layout.volume_name("home", parent_id)
    forking = Forking(store, clock, log_of(store, parent), wish)
    return forking.resume_or_start(lambda: _head_state(settings, store, parent_id, clock, volume))


def check_wish(wish: Wish) -> None:
    """Raises `AgentIdInvalid`, `InvalidArgument`."""
    check_id(wish.new_id)
    check_id(layout.volume_name("home", wish.new_id), what="agent id")  # it names the pin, too
    check_note(wish.note)
    if wish.snapshot is not None and wish.at is not None:
        raise InvalidArgument("a fork begins at a snapshot or at an entry, not at both")
    if wish.at is not None and wish.at < 1:
        raise InvalidArgument(f"the log has no entry {wish.at}: entries count from 1")


def refuse_taken(store: Store, new_id: str) -> None:
    """Raise `Exists` when there is, or was, a home with this id. One small get."""
    name = layout.log_name(layout.volume_prefix("home", new_id), 1)
    with contextlib.suppress(ObjectNotFound):
        store.get(name, start=0, length=1)
        raise Exists(f"there is, or was, a home {new_id} in this store: choose another name")


def _head_state(settings: Settings, store: Store, parent_id: str, clock: Clock, volume: Volume | None) -> State:
    if volume is not None:
        return keep_head(volume)
    here = os.path.exists(
        os.path.join(replica_directory(settings.state_dir, "home", parent_id, settings.store), "replica.db")
    )
    if not here:
        try:
            store.get(layout.log_name(layout.volume_prefix("home", parent_id), 1), start=0, length=1)
        except ObjectNotFound:
            raise NotFound(f"there is no home {parent_id} in this store") from None
    with Volume.open(settings, parent_id, session_kind="cli", clock=clock) as opened:
        return keep_head(opened)


class _NothingBegun(Exception):
    """No earlier command left a pin for this fork."""


class Forking:
    """One attempt, over the store alone."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        log: Log,
        wish: Wish,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        """`log`: the parent's, with its origins."""
        self._store = store
        self._clock = clock
        self._log = log
        self._wish = wish
        self._entropy = entropy
        self._failpoint = failpoint
        self._name = layout.volume_name("home", wish.new_id)

    def resume_or_start(self, head: Callable[[], State]) -> Fork:
        """Make the fork; `head` is called when the parent's newest state is wanted, and sees to its snapshot."""
        wish = self._wish
        if wish.at is not None and wish.at < self._log.first_own - 1:
            # That state is one of the volume that the parent comes from.
            self._log = log_of(self._store, self._log.volume_at(wish.at))
        with contextlib.suppress(_NothingBegun):
            return self._resume()
        refuse_taken(self._store, wish.new_id)
        if wish.snapshot is not None:
            named = self._pins.read("snapshot", wish.snapshot)
            return self._start(State(named.sequence, named.digest))
        if wish.at is not None:
            return self._start(self._keep(wish.at))
        return self._start(head())

    @property
    def _pins(self) -> Pins:
        return Pins(self._store, self._log.volume, failpoint=self._failpoint)

    def _start(self, state: State) -> Fork:
        log = self._log
        pin = Pin(
            volume=log.volume,
            pin_id=self._entropy(16),
            kind="fork",
            name=self._name,
            sequence=state.sequence,
            digest=state.digest,
            time_ns=self._clock.wall_ns(),
            author=self._wish.author or layout.parse_volume_name(log.volume)[1],
            note=self._wish.note,
        )
        return self._make(self._pins.put(pin))

    def _keep(self, sequence: int) -> State:
        """See to it that there is a snapshot at `sequence`."""
        rows = tree_at(self._log, self._store, sequence)
        if not self._store.list(layout.snapshot_name(self._log.prefix, sequence), limit=1):
            announced = Announcements(self._store, self._log.volume).newest_number() > 0
            self._log.put_snapshot(encode_snapshot_rows(replace(rows, collected=announced)))
        return State(sequence, rows.commit_digest)

    def _resume(self) -> Fork:
        """Finish what an interrupted command began. Raises `_NothingBegun`."""
        pins = self._pins
        try:
            pin = pins.read("fork", self._name)
        except NotFound as error:
            raise _NothingBegun from error
        made = Log(self._store, "home", self._wish.new_id).origin()
        if made is not None:
            if made.commit_id != pin.pin_id and not made.ended:
                pins.delete("fork", self._name)  # another parent's fork was faster
            raise Exists(f"there is, or was, a fork {self._wish.new_id} already: choose another name")
        at = self._wish.at
        if self._wish.snapshot is not None:
            at = pins.read("snapshot", self._wish.snapshot).sequence
        if at is not None and at != pin.sequence:
            raise Exists(
                f"a fork {self._wish.new_id} was begun at entry {pin.sequence} and not finished: finish it with --at "
                f"{pin.sequence}, or choose another name"
            )
        return self._make(pin if pin.held else pins.finish(pin))

    def _make(self, pin: Pin) -> Fork:
        """The pin holds: make the fork."""
        self._failpoint("fork.pinned")
        pins = Pins(self._store, self._log.volume)
        rows = self._log.snapshot_at(pin.sequence)
        if rows is None or rows.commit_digest != pin.digest:
            raise Corrupt(
                f"the snapshot of {self._log.volume} at {pin.sequence} is not the right one: run agentfs fsck"
            )
        if rows.origins:
            stub = self._log.origin()
            if stub is None or stub.ended:
                pins.delete("fork", pin.name)
                raise VolumeDeleted(f"{self._log.volume} was deleted: it cannot be forked any more")
        origins: Origins = (Origin(self._log.volume, pin.sequence), *rows.origins)
        if len(origins) > ORIGINS_MAX:
            pins.delete("fork", pin.name)
            raise InvalidArgument(f"{self._log.volume} is a fork of a fork, {ORIGINS_MAX} deep: that is the most")
        self._failpoint("fork.checked")
        entry = origin_entry(pin.name, origins, fork_id=pin.pin_id, digest=pin.digest, time_ns=rows.time_ns)
        if not put_once(self._store, layout.log_name(layout.prefix_of(pin.name), 1), encode_stub(entry)):
            pins.delete("fork", pin.name)
            raise Exists(f"there is a home {self._wish.new_id} already: choose another name")
        self._failpoint("fork.made")
        return Fork.of_pin(pin, READY)


# ---- looking ----


def forks_of(store: Store, parent: str) -> list[Fork]:
    """The forks of volume `parent` that are there or were begun, the oldest state first. One list, and some small
    requests for each."""
    found = [look(store, pin) for pin in Pins(store, parent).list("fork")]
    return sorted(found, key=lambda it: (it.sequence, it.agent_id))


def look(store: Store, pin: Pin) -> Fork:
    """What became of the fork that `pin` was put for."""
    log = Log(store, *layout.parse_volume_name(pin.name))
    stub = log.origin()
    if stub is None or stub.origins[0] != Origin(pin.volume, pin.sequence):
        return Fork.of_pin(pin, UNFINISHED)
    if stub.ended:
        return Fork.of_pin(pin, ENDING)
    return Fork.of_pin(pin, READY, tuple(merges_of(store, log)))


def merges_of(store: Store, log: Log) -> list[MergeNote]:
    """The notes of merges of a fork, the oldest first. One list, and one get each."""
    found = []
    for entry in store.list(layout.merge_prefix(log.prefix)):
        sequence = layout.parse_merge_name(log.prefix, entry.name)
        found.append(decode_merge_note(store.get(entry.name).data, sequence=sequence))
    return found
