"""Bytes that are not on this machine: who fetches them, and how a face hears that they are missing."""

from typing import Protocol

from agentfs.errors import NotResident

__all__ = ["Hydrator", "NotResident"]


class Hydrator(Protocol):
    """Fetches bytes on demand. The engine is one, behind its socket."""

    def hydrate(self, ino: int) -> None:
        """Block until the backing file of `ino` holds its content and the replica says so (residency 1); at once when
        it does already. Raises `Unavailable` when that cannot be done now."""
        ...
