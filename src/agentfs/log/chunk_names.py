"""Under which names chunks may be put beside collections (docs/format.md, F-122).

A chunk's plain name that was announced to go may be deleted at any time from then on, also by somebody who slept for
weeks. Nothing may rely on it again; so the chunk is put under another name.
"""

import threading

from agentfs.format import layout
from agentfs.log.announcements import Announcements
from agentfs.stores.protocol import Store

_STORED_MAX = 100_000


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
        self._stored: dict[bytes, str] = {}
        """Digest → the name under which it was put from here."""

    def stored(self, digest: bytes, name: str) -> None:
        """The chunk was put under `name`."""
        with self._lock:
            if len(self._stored) >= _STORED_MAX:
                self._stored.clear()
            self._stored[digest] = name

    def forget_stored(self) -> None:
        with self._lock:
            self._stored.clear()

    def is_stored(self, digest: bytes, *, head: int) -> bool:
        """Whether a chunk that was put from here stands under the name that `name` gives now: then it need not be put
        again. Raises as `name`."""
        name = self.name(digest, head=head)
        with self._lock:
            return self._stored.get(digest) == name

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
        if found and found[-1] != self._seen + 1:
            self._stored.clear()  # one came and went that nobody here has read: we slept for a month
        for number in reversed(found):
            for blob in self._announcements.read(number).blobs:
                self._suffixes[blob.digest] = number
            self._seen = number
