"""Exact counts of what passes to a store: the request budgets of the project are tests on these."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

from agentfs.stores.protocol import BULK_NAMES, Entry, Store, StoredObject


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls since the start, those that failed included. Subtract two to count what lies between."""

    gets: int = 0
    puts: int = 0
    """All but the create-only ones, which are `creates`."""
    creates: int = 0
    heads: int = 0
    deletes: int = 0
    bulk_deletes: int = 0
    """For each 1000 names of a `delete_many` one, as S3 has them."""
    lists: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    """Bytes handed to puts, refused ones included: they crossed the network."""

    @property
    def requests(self) -> int:
        reads = self.gets + self.heads + self.lists
        return reads + self.puts + self.creates + self.deletes + self.bulk_deletes

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


class CountedStore:
    """Counts calls and passes them on. Below `RetryingStore` it counts requests, above it counts intents."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._counts = Counts()
        self.url = store.url

    def __repr__(self) -> str:
        return f"CountedStore({self._store!r})"

    @property
    def counts(self) -> Counts:
        with self._lock:
            return self._counts

    @property
    def name_bytes_max(self) -> int:
        """See `Store.name_bytes_max`."""
        return self._store.name_bytes_max

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        with self._lock:
            self._counts = replace(self._counts, gets=self._counts.gets + 1)
        found = self._store.get(name, start=start, length=length)
        with self._lock:
            self._counts = replace(self._counts, bytes_read=self._counts.bytes_read + len(found.data))
        return found

    def head(self, name: str) -> StoredObject:
        """See `Store.head`."""
        with self._lock:
            self._counts = replace(self._counts, heads=self._counts.heads + 1)
        return self._store.head(name)

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """See `Store.put`."""
        with self._lock:
            was = self._counts
            self._counts = replace(
                was,
                puts=was.puts + (not create_only),
                creates=was.creates + create_only,
                bytes_written=was.bytes_written + len(data),
            )
        return self._store.put(name, data, create_only=create_only, replacing=replacing, attributes=attributes)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        with self._lock:
            self._counts = replace(self._counts, deletes=self._counts.deletes + 1)
        self._store.delete(name)

    def delete_many(self, names: Sequence[str]) -> None:
        """See `Store.delete_many`."""
        requests = -(-len(names) // BULK_NAMES)
        with self._lock:
            self._counts = replace(self._counts, bulk_deletes=self._counts.bulk_deletes + requests)
        self._store.delete_many(names)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """See `Store.list`."""
        with self._lock:
            self._counts = replace(self._counts, lists=self._counts.lists + 1)
        return self._store.list(prefix, after=after, limit=limit, foreign=foreign)
