"""A part of a store as a store of its own."""

from collections.abc import Mapping, Sequence

from agentfs.stores.names import check_object_name, join
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

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        return self._store.get(self._prefix + check_object_name(name), start=start, length=length)

    def put(
        self, name: str, data: bytes, *, create_only: bool = False, attributes: Mapping[str, str] | None = None
    ) -> None:
        """See `Store.put`."""
        inner = self._prefix + check_object_name(name)
        self._store.put(inner, data, create_only=create_only, attributes=attributes)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._store.delete(self._prefix + check_object_name(name))

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        """See `Store.list`."""
        inner_after = self._prefix + after if after else ""
        entries = self._store.list(self._prefix + prefix, after=inner_after, limit=limit)
        cut = len(self._prefix)
        return [Entry(entry.name[cut:], entry.size_bytes, entry.modified_at) for entry in entries]
