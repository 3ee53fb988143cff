"""Which inodes the kernel refers to, and how often: what FORGET counts down."""

import threading
from collections.abc import Callable


class Nodes:
    """Thread-safe. Each reply that carries an entry is one reference."""

    def __init__(self, forgotten: Callable[[int], None]) -> None:
        """`forgotten` is called with an inode that the kernel no longer refers to."""
        self._forgotten = forgotten
        self._references: dict[int, int] = {}
        self._lock = threading.Lock()

    def refer(self, ino: int) -> None:
        with self._lock:
            self._references[ino] = self._references.get(ino, 0) + 1

    def forget(self, ino: int, count: int) -> None:
        with self._lock:
            left = self._references.get(ino, 0) - count
            if left > 0:
                self._references[ino] = left
                return
            self._references.pop(ino, None)
        self._forgotten(ino)

    def __len__(self) -> int:
        return len(self._references)
