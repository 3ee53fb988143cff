"""Bytes of many files out of the log, for reading alone: nothing of it is hydrated.

Files that were written together stand in one commit: it is fetched once for all of them, and kept for those of it
that are asked for next.
"""

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from agentfs.errors import Corrupt, ObjectNotFound
from agentfs.log.contents import Contents
from agentfs.replica.apply_base import content_of
from agentfs.replica.transaction import ContentRow
from agentfs.sync.ground import EngineGround

_PARALLEL = 4
"""Requests at once: the engine's own come first."""
_WHOLE_AFTER = 3
"""A commit that holds so many of the wanted files is fetched whole: their neighbours are wanted next."""
_KEPT_BYTES_MAX = 32 << 20

Row = tuple[int, ContentRow]


class Stored(Protocol):
    """A file of which the log has the bytes."""

    @property
    def ino(self) -> int: ...

    @property
    def content(self) -> ContentRow | None: ...


class LogBytes:
    """Safe from any thread. `close` ends it."""

    def __init__(self, ground: EngineGround) -> None:
        self._ground = ground
        self._contents = Contents(ground.store, ground.log)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        """Commits, by sequence."""
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_PARALLEL, "agentfs-index")

    def fetch(self, sources: Sequence[Stored]) -> Mapping[int, bytes]:
        """The verified bytes by inode; files whose bytes are damaged or gone are left out. Raises `StoreError`."""
        together: dict[int, list[Row]] = defaultdict(list)
        alone: list[Row] = []
        found: dict[int, bytes] = {}
        for source in sources:
            content = source.content
            if content is None:
                continue
            if content.size_bytes == 0:
                found[source.ino] = b""
            elif content.sequence is not None:
                together[content.sequence].append((source.ino, content))
            else:
                alone.append((source.ino, content))
        groups = [[row] for row in alone] + list(together.values())
        for bytes_of in self._pool.map(self._group, groups):
            found.update(bytes_of)
        return found

    def _group(self, rows: list[Row]) -> dict[int, bytes]:
        """Of one commit, or of one file in chunks."""
        sequence = rows[0][1].sequence
        known: bytes | None = None
        if sequence is not None:
            with self._lock:
                known = self._kept.get(sequence)
            if known is None and len(rows) >= _WHOLE_AFTER:
                known = self._commit(sequence)
        found: dict[int, bytes] = {}
        for ino, row in rows:
            data = None if known is None else _cut(known, row)
            if data is None:
                try:
                    data = self._contents.read(content_of(row))
                except (ObjectNotFound, Corrupt):
                    continue
            found[ino] = data
        return found

    def _commit(self, sequence: int) -> bytes | None:
        """A whole commit. Not verified: each file is."""
        try:
            data = self._ground.store.get(self._ground.log.name(sequence)).data
        except (ObjectNotFound, Corrupt):
            return None
        with self._lock:
            self._kept[sequence] = data
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _KEPT_BYTES_MAX:
                self._kept.popitem(last=False)
        return data

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _cut(commit: bytes, row: ContentRow) -> bytes | None:
    """A file's bytes out of its commit; None when they are not there (it was collected)."""
    found = commit[row.offset or 0 : (row.offset or 0) + row.size_bytes]
    return found if len(found) == row.size_bytes and hashlib.sha256(found).digest() == row.digest else None
