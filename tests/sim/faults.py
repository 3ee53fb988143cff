"""A store as one machine sees it through a bad network. Faults are injected, none is invented by chance of timing:

- `partition`: every request fails, nothing is written;
- refused: one request fails, nothing is written;
- lost answer: the put took effect, the caller hears `OutcomeUnknown` (or `ObjectExists`, as retrying clients do);
- late put: the caller hears `OutcomeUnknown`, and the put takes effect at some later time (`Network.deliver`).
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from agentfs.errors import ObjectExists, OutcomeUnknown, StoreUnavailable
from agentfs.stores.memory import MemoryStore
from agentfs.stores.protocol import Entry, StoredObject


@dataclass
class Network:
    """What all machines share: the store, the faults' chances, and puts that are still under way."""

    store: MemoryStore
    random: Random
    fault_chance: float = 0.1
    late: list[tuple[str, bytes]] = field(default_factory=list)

    def deliver(self) -> None:
        """One put that is under way arrives."""
        if self.late:
            name, data = self.late.pop(self.random.randrange(len(self.late)))
            with contextlib.suppress(ObjectExists):
                self.store.put(name, data, create_only=True)


class FaultyStore:
    def __init__(self, network: Network) -> None:
        self._network = network
        self.url = "memory://faulty"
        self.partition = False

    def _fault(self) -> bool:
        if self.partition:
            raise StoreUnavailable("partition")
        return self._network.random.random() < self._network.fault_chance

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        if self._fault():
            raise StoreUnavailable("refused")
        return self._network.store.get(name, start=start, length=length)

    def put(
        self, name: str, data: bytes, *, create_only: bool = False, attributes: Mapping[str, str] | None = None
    ) -> None:
        if not self._fault():
            self._network.store.put(name, data, create_only=create_only, attributes=attributes)
            return
        if not create_only:
            if self._network.random.random() < 0.5:
                self._network.store.put(name, data)
            raise StoreUnavailable("refused or answer lost")
        fate = self._network.random.randrange(4)
        if fate == 0:
            raise StoreUnavailable("refused")
        if fate == 1:
            self._network.late.append((name, data))
            raise OutcomeUnknown("late")
        self._network.store.put(name, data, create_only=True)
        if fate == 2:
            raise OutcomeUnknown("answer lost")
        raise ObjectExists("answer lost, and retried")

    def delete(self, name: str) -> None:
        if self._fault():
            raise StoreUnavailable("refused")
        self._network.store.delete(name)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        if self._fault():
            raise StoreUnavailable("refused")
        return self._network.store.list(prefix, after=after, limit=limit)
