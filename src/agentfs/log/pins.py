"""Pins of one volume: put, list, delete (docs/format.md, F-110 ff.).

A pin and a collection may come at the same moment. The pin is put first and then the newest announcement is read; a
collector puts its announcement first and then lists the pins. So one of the two always sees the other.
"""

from collections.abc import Callable
from dataclasses import replace

from agentfs.errors import Corrupt, Exists, NotFound, ObjectNotFound, VersionGone
from agentfs.format import layout
from agentfs.format.pin import Pin, PinKind, decode_pin, encode_pin
from agentfs.log.announcements import Announcements, put_once
from agentfs.stores.protocol import Store

_PAGE = 1000


def _no_failpoint(_name: str) -> None:
    pass


class Pins:
    """Safe from any thread; no state."""

    def __init__(self, store: Store, volume: str, *, failpoint: Callable[[str], None] = _no_failpoint) -> None:
        """`failpoint` is called between any two steps of `put`."""
        self._store = store
        self.volume = volume
        self.prefix = layout.prefix_of(volume)
        self._failpoint = failpoint

    def put(self, pin: Pin) -> Pin:
        """Pin the tree after entry `pin.sequence`. On return it is kept for as long as the pin stands.

        The caller has put a snapshot at that sequence, or knows that one is there (`Log.snapshot_at`); that it is
        there afterwards is checked. Five small requests, seven when a collection was ever announced; one more for
        each pin when the sequence is below its horizon. Raises `Exists` when the name is taken, `VersionGone` when
        the tree may already be going, `Corrupt` when there is no snapshot, `OutcomeUnknown`, `StoreError`; on these
        nothing was pinned. A pin without `held` may be left behind after the last two and after a crash: it keeps
        what it can, is listed, and may be deleted by anyone.
        """
        name = layout.pin_name(self.prefix, pin.kind, pin.name)
        announcements = Announcements(self._store, self.volume)
        before = announcements.newest()
        others = self._keeping(pin) if before is not None and before.horizon > pin.sequence else frozenset()
        draft = replace(pin, volume=self.volume, held=False)
        if not put_once(self._store, name, encode_pin(draft)):
            raise Exists(f"there is already a {pin.kind} {pin.name} of {self.volume}")
        self._failpoint("pin.put")
        return self._hold(draft, others)

    def finish(self, draft: Pin) -> Pin:
        """Go on with a pin that `put` left behind without `held`. Three small requests. Raises as `put`, but for
        `Exists`."""
        return self._hold(draft, frozenset())

    def _hold(self, draft: Pin, others: frozenset[bytes]) -> Pin:
        name = layout.pin_name(self.prefix, draft.kind, draft.name)
        newest = Announcements(self._store, self.volume).newest()
        if newest is not None and newest.horizon > draft.sequence and not others & self._keeping(draft):
            self._store.delete(name)
            raise VersionGone(
                f"the tree of {self.volume} after entry {draft.sequence} is being collected (up to entry "
                f"{newest.horizon}): only a later one can be pinned"
            )
        try:
            self._store.get(layout.snapshot_name(self.prefix, draft.sequence), start=0, length=1)
        except ObjectNotFound as error:
            self._store.delete(name)
            raise Corrupt(f"there is no snapshot of {self.volume} at {draft.sequence} to pin") from error
        self._failpoint("pin.checked")
        held = replace(draft, held=True)
        self._store.put(name, encode_pin(held))
        return held

    def _keeping(self, pin: Pin) -> frozenset[bytes]:
        """Ids of the pins that keep what `pin` is to keep."""
        wanted = (pin.sequence, pin.digest)
        return frozenset(it.pin_id for it in self.list() if it.held and (it.sequence, it.digest) == wanted)

    def read(self, kind: PinKind, name: str) -> Pin:
        """One get. Raises `NotFound`, `Corrupt`, `NewerFormat`, `StoreError`."""
        try:
            data = self._store.get(layout.pin_name(self.prefix, kind, name)).data
        except ObjectNotFound as error:
            raise NotFound(f"there is no {kind} {name} of {self.volume}") from error
        return decode_pin(data, volume=self.volume, kind=kind, name=name)

    def list(self, kind: PinKind | None = None) -> list[Pin]:
        """All pins, those that are not held included, by kind and name: one list, and one get each. One that goes
        meanwhile is left out. Raises `Corrupt`, `NewerFormat`, `StoreError`."""
        found = []
        head, after = layout.pin_prefix(self.prefix, kind or ""), ""
        while True:
            page = self._store.list(head, after=after, limit=_PAGE)
            for entry in page:
                try:
                    found.append(self._parsed(entry.name))
                except NotFound:
                    continue
            if len(page) < _PAGE:
                return found
            after = page[-1].name

    def _parsed(self, object_name: str) -> Pin:
        kind, name = layout.parse_pin_name(self.prefix, object_name)
        return self.read("fork" if kind == "fork" else "snapshot", name)

    def delete(self, kind: PinKind, name: str) -> None:
        """Let go of what the pin keeps: the next collection may free it. Deleting what is not there succeeds. Raises
        `AgentIdInvalid`, `StoreError`."""
        self._store.delete(layout.pin_name(self.prefix, kind, name))
