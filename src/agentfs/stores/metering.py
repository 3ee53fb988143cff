"""Every request to a store, told to a meter: below the retries, so that each try counts, as the provider counts it.

A cloud store tells its meter itself, because only it knows what one call sends (a listing of many pages, a look
behind the end of an object). Other stores are wrapped: there a call is a request.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from agentfs.stores.protocol import Entry, Store, StoredObject

RequestKind: TypeAlias = Literal["put", "list", "get", "head", "delete"]


class Meter(Protocol):
    """Called after each request that was sent, from any thread, whether it succeeded or not. Does not wait and does
    not raise."""

    def __call__(self, kind: RequestKind, name: str, *, sent_bytes: int, received_bytes: int) -> None:
        """`name` is the object's, or the prefix of a listing. The bytes are those of objects, without headers."""
        ...


def unmetered(kind: RequestKind, name: str, *, sent_bytes: int, received_bytes: int) -> None:
    """Counts nothing."""


class MeteredStore:
    """Tells `meter` of each call and passes it on."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store = store
        self._meter = meter
        self.url = store.url

    def __repr__(self) -> str:
        return f"MeteredStore({self._store!r})"

    @property
    def name_bytes_max(self) -> int:
        """See `Store.name_bytes_max`."""
        return self._store.name_bytes_max

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        received = 0
        try:
            found = self._store.get(name, start=start, length=length)
            received = len(found.data)
        finally:
            self._meter("get", name, sent_bytes=0, received_bytes=received)
        return found

    def head(self, name: str) -> StoredObject:
        """See `Store.head`."""
        try:
            return self._store.head(name)
        finally:
            self._meter("head", name, sent_bytes=0, received_bytes=0)

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
        try:
            return self._store.put(name, data, create_only=create_only, replacing=replacing, attributes=attributes)
        finally:
            self._meter("put", name, sent_bytes=len(data), received_bytes=0)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        try:
            self._store.delete(name)
        finally:
            self._meter("delete", name, sent_bytes=0, received_bytes=0)

    def delete_many(self, names: Sequence[str]) -> None:
        """See `Store.delete_many`."""
        try:
            self._store.delete_many(names)
        finally:
            for name in names:
                self._meter("delete", name, sent_bytes=0, received_bytes=0)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """See `Store.list`."""
        try:
            return self._store.list(prefix, after=after, limit=limit, foreign=foreign)
        finally:
            self._meter("list", prefix, sent_bytes=0, received_bytes=0)
