"""Named snapshots: a name for the state of a home or a space that retention never collects (docs/snapshots.md).

A name is a pin (docs/format.md, F-110) beside a snapshot at its entry. The engine of the volume pushes what is
pending and sees to the snapshot, in its turn; the pin is put by whoever was asked for it.
"""

import contextlib
import os
from dataclasses import dataclass

from agentfs.errors import (
    InvalidArgument,
    NotFound,
    ObjectNotFound,
    StoreUnavailable,
    SyncTimedOut,
    Unavailable,
    VolumeDeleted,
)
from agentfs.format import layout
from agentfs.format.limits import PIN_NOTE_BYTES_MAX
from agentfs.format.pin import Pin
from agentfs.format.store_file import decode_store_file
from agentfs.history.moments import parse_moment
from agentfs.log.log import Log
from agentfs.log.pins import Pins
from agentfs.model.names import check_id
from agentfs.stores.protocol import Store
from agentfs.volume.keeping import KEEP, State, snapshot_sequence
from agentfs.volume.volume import Volume

_SLACK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NamedSnapshot:
    """A state of a volume that has a name."""

    name: str
    volume: str
    """`home-<agent id>` or `space-<name>`."""
    sequence: int
    """The entry of the log after which it was the state."""
    created_ns: int
    """Nanoseconds since 1970, by the clock of the machine that made it."""
    author: str
    note: str
    complete: bool
    """False for what is left of a `create` that was interrupted: nothing is promised of it; repeat or delete it."""

    @classmethod
    def of_pin(cls, pin: Pin) -> "NamedSnapshot":
        return cls(pin.name, pin.volume, pin.sequence, pin.time_ns, pin.author, pin.note, pin.held)


def keep_head(volume: Volume) -> State:
    """The state that `volume` shows, as a place in its log with a snapshot on the store: what is pending is pushed
    first. A list and at most one put when nothing is. Raises `StoreUnavailable`, `SyncTimedOut` (some changes are
    still only here, so that the state cannot be named yet), `NotFound` (nothing was ever stored)."""
    seconds = volume.settings.timeout_seconds
    try:
        kept = volume.link.request(KEEP, timeout_seconds=seconds + _SLACK_SECONDS, seconds=seconds)
    except (SyncTimedOut, Unavailable) as error:
        problem = volume.problem or str(error)
        kind = StoreUnavailable if volume.problem else SyncTimedOut
        raise kind(
            f"the state of {volume.volume_id} cannot be kept while some of it is only on this machine: {problem}"
        ) from error
    return State(int(kept["sequence"]), bytes.fromhex(kept["digest"]))


def check_snapshot_name(name: str) -> str:
    """Return `name` if it can name a snapshot. Raises `AgentIdInvalid`, and `InvalidArgument` for what `--at` takes
    for something else."""
    check_id(name, what="snapshot name")
    if parse_moment(name, now_ns=0).kind != "snapshot":
        raise InvalidArgument(f"a snapshot cannot be named {name}: --at takes that for a place or a time")
    return name


def check_note(note: str) -> str:
    if len(note.encode()) > PIN_NOTE_BYTES_MAX:
        raise InvalidArgument(f"the note is longer than {PIN_NOTE_BYTES_MAX} bytes")
    return note


def create(volume: Volume, store: Store, name: str, *, author: str, note: str = "") -> NamedSnapshot:
    """Name the state that `volume` shows. On return nothing collects it until the name is deleted.

    What an interrupted call left behind under the name is finished, or made anew. Raises `Exists`, and as
    `keep_head`.
    """
    check_snapshot_name(name)
    check_note(note)
    state = keep_head(volume)
    pins = Pins(store, volume_name(volume))
    pin = Pin(
        volume=pins.volume,
        pin_id=os.urandom(16),
        kind="snapshot",
        name=name,
        sequence=state.sequence,
        digest=state.digest,
        time_ns=volume.clock.wall_ns(),
        author=author,
        note=note,
    )
    with contextlib.suppress(NotFound):
        if not pins.read("snapshot", name).held:
            pins.delete("snapshot", name)
    return NamedSnapshot.of_pin(pins.put(pin))


def listed(store: Store, volume: str) -> list[NamedSnapshot]:
    """All named snapshots of `volume`, the oldest state first. One list, and one get each."""
    found = [NamedSnapshot.of_pin(pin) for pin in Pins(store, volume).list("snapshot")]
    return sorted(found, key=lambda it: (it.sequence, it.name))


def delete(store: Store, volume: str, name: str) -> NamedSnapshot:
    """Take the name away; the state may be collected from now on, if nothing else keeps it. Raises `NotFound`."""
    pins = Pins(store, volume)
    found = NamedSnapshot.of_pin(pins.read("snapshot", name))
    pins.delete("snapshot", name)
    return found


def resolve(store: Store, volume: str, name: str) -> int:
    """The entry of the log that a snapshot's name means: for `--at`. One get. Raises `NotFound`."""
    found = snapshot_sequence(store, volume, name)
    if found is None:
        raise NotFound(f"{volume} has no snapshot {name}: agentfs snapshot list shows them")
    return found


def volume_name(volume: Volume) -> str:
    """`home-<agent id>` or `space-<name>`."""
    return layout.volume_name(volume.kind, volume.volume_id)


def log_of(store: Store, volume: str) -> Log:
    """The log of a volume by its name, with its origins: one small get, two for a fork. Raises `VolumeDeleted`."""
    log = Log(store, *layout.parse_volume_name(volume))
    stub = log.origin()
    if stub is not None and stub.ended:
        raise VolumeDeleted(f"{volume} was deleted")
    if stub is not None:
        log.origins = stub.origins
    return log


def check_store(store: Store) -> None:
    """Read what says that the store may be used. Raises `NotFound`, `NewerFormat`, `Corrupt`, `StoreError`."""
    try:
        decode_store_file(store.get(layout.STORE_FILE).data)
    except ObjectNotFound as error:
        raise NotFound(f"there is no AgentFS store at {store.url}: run agentfs init") from error
