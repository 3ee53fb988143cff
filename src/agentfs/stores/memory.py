"""A store in this process's memory: `memory://name` is the same store wherever it is opened in the process."""

import itertools
import threading
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentfs.clock import Clock, SystemClock
from agentfs.errors import Corrupt, ObjectChanged, ObjectExists, ObjectNotFound
from agentfs.stores.names import NAME_BYTES_MAX, check_attributes, check_object_name, encoded, is_object_name
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
        self._names: list[str] = []  # in byte order
        self._tags = itertools.count(1)

    @classmethod
    def shared(cls, name: str) -> "MemoryStore":
        """The process-wide store of that name, made at the first call."""
        with _stores_lock:
            return _stores.setdefault(name, cls(name))

    def __repr__(self) -> str:
        return f"MemoryStore({self.url!r})"

    @property
    def name_bytes_max(self) -> int:
        return NAME_BYTES_MAX

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> StoredObject:
        """See `Store.get`."""
        found = self._found(name)
        stop = found.size_bytes if length is None else start + length
        if not 0 <= start <= stop <= found.size_bytes:
            raise Corrupt(f"{name} has {found.size_bytes} bytes; {start} to {stop} were asked for")
        return replace(found, data=found.data[start:stop])

    def head(self, name: str) -> StoredObject:
        """See `Store.head`."""
        return replace(self._found(name), data=b"")

    def _found(self, name: str) -> StoredObject:
        check_object_name(name)
        with self._lock:
            found = self._objects.get(name)
        if found is None:
            raise ObjectNotFound(f"{self.url} has no object {name}")
        return found

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
        check_object_name(name)
        kept = check_attributes(attributes)
        with self._lock:
            found = self._objects.get(name)
            if found is not None and create_only:
                raise ObjectExists(f"{self.url} already has an object {name}")
            if replacing is not None and (found is None or found.tag != replacing):
                raise ObjectChanged(f"{name} at {self.url} is not the version that was to be replaced")
            return self._write(name, data, kept)

    def plant(self, name: str, data: bytes) -> None:
        """Put an object as another program may have: with any name at all, and without attributes."""
        with self._lock:
            self._write(name, data, {})

    def _write(self, name: str, data: bytes, attributes: Mapping[str, str]) -> str:
        if name not in self._objects:
            insort(self._names, name, key=encoded)
        tag = f"{next(self._tags):x}"
        self._objects[name] = StoredObject(bytes(data), len(data), self._clock.wall_ns() / 1e9, attributes, tag)
        return tag

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self.delete_many([name])

    def delete_many(self, names: Sequence[str]) -> None:
        """See `Store.delete_many`."""
        for name in names:
            check_object_name(name)
        with self._lock:
            for name in names:
                if self._objects.pop(name, None) is not None:
                    del self._names[self._place(name)]

    def list(self, prefix: str, *, after: str = "", limit: int = 1000, foreign: bool = False) -> Sequence[Entry]:
        """See `Store.list`."""
        found: list[Entry] = []
        with self._lock:
            first = max(self._place(prefix), self._place(after))
            for number in range(first, len(self._names)):
                name = self._names[number]
                if not name.startswith(prefix) or len(found) >= limit:
                    break
                if name != after and (foreign or is_object_name(name)):
                    kept = self._objects[name]
                    found.append(Entry(name, kept.size_bytes, kept.modified_at, kept.tag))
        return found

    def _place(self, name: str) -> int:
        return bisect_left(self._names, encoded(name), key=encoded)
