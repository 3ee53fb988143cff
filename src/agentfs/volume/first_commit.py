"""Before the first commit of a space: the store must be the one that has the space (docs/format.md, F-14)."""

from collections.abc import Mapping, Sequence

from agentfs.errors import NotFound, StoreUnavailable
from agentfs.stores.protocol import Entry, Store, StoredObject
from agentfs.volume.gate import check_space_file


class SpaceStore:
    """A store that puts nothing before it was seen to have the space. What is found in the place of a disk that is
    not mounted, or in a bucket that was made anew, has not. One request more, once."""

    def __init__(self, store: Store, space: str) -> None:
        self._store = store
        self._space = space
        self._seen = False
        self.url = store.url

    @property
    def name_bytes_max(self) -> int:
        return self._store.name_bytes_max

    def head(self, name: str) -> StoredObject:
        return self._store.head(name)

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        return self._store.get(name, start=start, length=length)

    def put(
        self,
        name: str,
        data: bytes,
        *,
        create_only: bool = False,
        replacing: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """See `Store.put`. Raises `StoreUnavailable` in the wrong store."""
        if not self._seen:
            try:
                check_space_file(self._store, self._space)
            except NotFound as error:
                raise StoreUnavailable(f"{error}; is the disk mounted, is the address right?") from error
            self._seen = True
        return self._store.put(name, data, create_only=create_only, replacing=replacing, attributes=attributes)

    def delete(self, name: str) -> None:
        self._store.delete(name)

    def delete_many(self, names: Sequence[str]) -> None:
        self._store.delete_many(names)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        return self._store.list(prefix, after=after, limit=limit, foreign=foreign)
