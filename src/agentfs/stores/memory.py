"""A store in this process's memory: `memory://name` is the same store wherever it is opened in the process."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence

from agentfs.clock import Clock, SystemClock
from agentfs.errors import Corrupt, ObjectExists, ObjectNotFound
from agentfs.stores.names import check_attributes, check_object_name
from agentfs.stores.protocol import Entry, StoredObject

_stores: dict[str, "MemoryStore"] = {}
_stores_lock = threading.Lock()


class MemoryStore:
    """The store contract on a dictionary. Durable as long as the process lives."""

    def __init__(self, name: str = "", *, clock: Clock | None = None) -> None:
        self.url = f"memory://{name}"
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._objects: dict[str, StoredObject] = {}
        self._names: list[str] = []  # sorted; ASCII, so string order is byte order

    @classmethod
    def shared(cls, name: str) -> "MemoryStore":
        """The process-wide store of that name, made at the first call."""
        with _stores_lock:
            return _stores.setdefault(name, cls(name))

    def __repr__(self) -> str:
        return f"MemoryStore({self.url!r})"

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        check_object_name(name)
        with self._lock:
            found = self._objects.get(name)
        if found is None:
            raise ObjectNotFound(f"{self.url} has no object {name}")
        stop = found.size_bytes if length is None else start + length
        if not 0 <= start <= stop <= found.size_bytes:
            raise Corrupt(f"{name} has {found.size_bytes} bytes; {start} to {stop} were asked for")
        return StoredObject(found.data[start:stop], found.size_bytes, found.modified_at, found.attributes)

    def put(
        self, name: str, data: bytes, *, create_only: bool = False, attributes: Mapping[str, str] | None = None
    ) -> None:
        """See `Store.put`."""
        check_object_name(name)
        kept = check_attributes(attributes)
        written = StoredObject(bytes(data), len(data), self._clock.wall_ns() / 1e9, kept)
        with self._lock:
            exists = name in self._objects
            if exists and create_only:
                raise ObjectExists(f"{self.url} already has an object {name}")
            self._objects[name] = written
            if not exists:
                insort(self._names, name)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        check_object_name(name)
        with self._lock:
            if self._objects.pop(name, None) is not None:
                del self._names[bisect_left(self._names, name)]

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        """See `Store.list`."""
        with self._lock:
            first = max(bisect_left(self._names, prefix), bisect_right(self._names, after))
            found = []
            for name in self._names[first : first + limit]:
                if not name.startswith(prefix):
                    break
                kept = self._objects[name]
                found.append(Entry(name, kept.size_bytes, kept.modified_at))
            return found
