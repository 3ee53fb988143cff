"""Under which names chunks may be put beside collections (docs/format.md, F-122).

A chunk's plain name that was announced to go may be deleted at any time from then on, also by somebody who slept for
weeks. Nothing may rely on it again; so the chunk is put under another name.
"""

import threading

from agentfs.format import layout
from agentfs.log.announcements import Announcements
from agentfs.stores.protocol import Store


class ChunkNames:
    """Of one volume. Safe from any thread."""

    def __init__(self, store: Store, volume: str) -> None:
        self._announcements = Announcements(store, volume)
        self._prefix = layout.prefix_of(volume)
        self._lock = threading.Lock()
        self._head = -1
        self._seen = 0
        self._suffixes: dict[bytes, int] = {}
        """Digest → the newest announcement that names it."""

    def name(self, digest: bytes, *, head: int) -> str:
        """Where to put the chunk with this digest, for a commit right after entry `head`, which the caller holds. One
        small list for all chunks of a commit, and one get for each announcement that was not seen before. Raises
        `Corrupt` (nothing may be put then), `NewerFormat`, `StoreError`."""
        with self._lock:
            if head != self._head:
                self._look()
                self._head = head
            return layout.blob_name(self._prefix, digest, self._suffixes.get(digest, 0))

    def _look(self) -> None:
        found = [number for number, _ in self._announcements.numbers(above=self._seen)]
        for number in reversed(found):
            for blob in self._announcements.read(number).blobs:
                self._suffixes[blob.digest] = number
            self._seen = number
