"""A store as one machine sees it through a bad network. Faults are injected, none is invented by chance of timing:

- `partition`: every request fails, nothing is written;
- refused: one request fails, nothing is written;
- lost answer: the put took effect, the caller hears `OutcomeUnknown` (or `ObjectExists`, as retrying clients do);
- late: the caller hears an error, and the request takes effect at some later time (`Network.deliver`), if ever; one
  that is to put an object of the view within a quarter of an hour, as stores refuse requests that are older;
- twice: the request takes effect, and once more later.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from agentfs.errors import ObjectChanged, ObjectExists, ObjectNotFound, OutcomeUnknown, StoreUnavailable
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Entry, StoredObject
from agentfs.view.naming import view_prefix

VIEW = view_prefix("space", "sim")
"""Deletions of the view's objects are not late: no request can say which object it means (docs/view.md, V-53)."""
REFUSED_S = 900.0


@dataclass
class Network:
    """What all machines share: the store, the faults' chances, and requests that are still under way."""

    store: MemoryStore
    random: Random
    fault_chance: float = 0.1
    late: list[Callable[[], object]] = field(default_factory=list)
    written: Callable[[str, bytes], None] = lambda _name, _data: None
    """Hears of every object that was put."""
    replaced: Callable[[str], None] = lambda _name: None
    """Hears of every object that is to be put over, or deleted, right before."""
    between: Callable[[str], None] = lambda _name: None
    """Called before a request of a machine that reads, or that puts an object of the view; `_name`: of what."""
    delivering: bool = False
    """What arrives now was sent some time ago."""

    def put(self, name: str, data: bytes, **options: Any) -> str:
        if self._will_stand(name, **options):
            self.replaced(name)
        tag = self.store.put(name, data, **options)
        self.written(name, data)
        return tag

    def delete(self, name: str) -> None:
        self.replaced(name)
        self.store.delete(name)

    def _will_stand(self, name: str, *, create_only: bool = False, replacing: str | None = None, **_: Any) -> bool:
        try:
            tag = self.store.head(name).tag
        except ObjectNotFound:
            return replacing is None
        return not create_only and replacing in (None, tag)

    def put_late(self, name: str, data: bytes, **options: Any) -> None:
        """The same, at some later time."""
        sent_at = self.store._clock.monotonic()

        def arrives() -> None:
            if not name.startswith(VIEW) or self.store._clock.monotonic() - sent_at < REFUSED_S:
                self.put(name, data, **options)

        self.late.append(arrives)

    def deliver(self) -> None:
        """One request that is under way arrives."""
        if not self.late:
            return
        self.delivering = True
        try:
            with contextlib.suppress(ObjectExists, ObjectChanged):
                self.late.pop(self.random.randrange(len(self.late)))()
        finally:
            self.delivering = False


class FaultyStore:
    def __init__(self, network: Network) -> None:
        self._network = network
        self.url = "memory://faulty"
        self.partition = False
        self.name_bytes_max = network.store.name_bytes_max

    def _fault(self) -> bool:
        if self.partition:
            raise StoreUnavailable("partition")
        return self._network.random.random() < self._network.fault_chance

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        self._network.between(name)
        if self._fault():
            raise StoreUnavailable("refused")
        return self._network.store.get(name, start=start, length=length)

    def head(self, name: str) -> StoredObject:
        if self._fault():
            raise StoreUnavailable("refused")
        return self._network.store.head(name)

    def put(self, name: str, data: bytes, **options: Any) -> str:
        """See `Store.put`."""
        network = self._network
        if name.startswith(VIEW):
            network.between(name)
        conditional = bool(options.get("create_only")) or options.get("replacing") is not None
        if not self._fault():
            return network.put(name, data, **options)
        fate = network.random.randrange(5)
        if fate == 0:
            raise StoreUnavailable("refused")
        if fate in (1, 2):
            network.put_late(name, data, **options)
        if fate == 1:
            raise OutcomeUnknown("late") if conditional else StoreUnavailable("late")
        tag = network.put(name, data, **options)
        if fate == 2:
            return tag  # and once more later
        if not conditional:
            raise StoreUnavailable("answer lost")
        if fate == 3 or not options.get("create_only"):
            raise OutcomeUnknown("answer lost")
        raise ObjectExists("answer lost, and retried")

    def delete(self, name: str) -> None:
        network = self._network
        if not self._fault():
            network.delete(name)
            return
        fate = network.random.randrange(4)
        if fate in (1, 2) and not name.startswith(VIEW):
            network.late.append(lambda: network.delete(name))
        if fate in (2, 3):
            network.delete(name)
        if fate != 2:
            raise StoreUnavailable("refused, late or answer lost")

    def delete_many(self, names: Sequence[str]) -> None:
        for name in names:
            self.delete(name)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        self._network.between(prefix)
        if self._fault():
            raise StoreUnavailable("refused")
        return self._network.store.list(prefix, after=after, limit=limit, foreign=foreign)
