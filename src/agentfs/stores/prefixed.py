"""A part of a store as a store of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentfs.stores.names import check_object_name, join, name_bytes
from agentfs.stores.protocol import Entry, Store, StoredObject


class PrefixedStore:
    """The objects of `store` below `prefix/`, under names relative to it. Adds no request and no copy."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = check_object_name(prefix) + "/"
        base, mark, query = store.url.partition("?")
        self.url = join(base.rstrip("/"), prefix) + mark + query

    def __repr__(self) -> str:
        return f"PrefixedStore({self.url!r})"

    @property
    def name_bytes_max(self) -> int:
        """See `Store.name_bytes_max`."""
        return self._store.name_bytes_max - name_bytes(self._prefix)

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        return self._store.get(self._prefix + check_object_name(name), start=start, length=length)

    def head(self, name: str) -> StoredObject:
        """See `Store.head`."""
        return self._store.head(self._prefix + check_object_name(name))

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
        inner = self._prefix + check_object_name(name)
        return self._store.put(inner, data, create_only=create_only, replacing=replacing, attributes=attributes)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._store.delete(self._prefix + check_object_name(name))

    def delete_many(self, names: Sequence[str]) -> None:
        """See `Store.delete_many`."""
        self._store.delete_many([self._prefix + check_object_name(name) for name in names])

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """See `Store.list`."""
        inner_after = self._prefix + after if after else ""
        entries = self._store.list(self._prefix + prefix, after=inner_after, limit=limit, foreign=foreign)
        cut = len(self._prefix)
        return [replace(entry, name=entry.name[cut:]) for entry in entries]
