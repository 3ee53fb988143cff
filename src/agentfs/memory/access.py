"""Who may read what: as the kernel decides it on a mount, by the modes along the path (`default_permissions`)."""

import threading
from collections import OrderedDict

from agentfs.memory.sources import Sources

_READ, _SEARCH = 4, 1


_KEPT = 16
"""Users."""


class Hidden:
    """Which files somebody may not read, by inode number. Remembers it while nothing changes: finding it looks at
    every file. Safe from any thread."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[object, ...], tuple[int, frozenset[int]]] = OrderedDict()
        """By user, with the end of the journal up to which it holds."""

    def of(self, uid: int, gids: frozenset[int], owner: tuple[int, int] | None = None) -> frozenset[int]:
        """As `Reader` would say of each."""
        if uid == 0:
            return frozenset()
        key, end = (uid, gids, owner), self._sources.journal_span()[1]
        with self._lock:
            known = self._found.get(key)
        if known is not None and known[0] == end:
            return known[1]
        reader = Reader(self._sources, uid=uid, gids=gids, owner=owner)
        hidden, doubtful = self._sources.barred(uid=uid, gids=gids, owner=owner)
        found = frozenset((*hidden, *(ino for ino in doubtful if not reader(ino))))
        with self._lock:
            self._found[key] = end, found
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found


class Reader:
    """One user's right to read documents, by inode number. Remembers what it found: for one question only.

    `owner`: whose all files seem to be (user and group), where a mount shows them so.
    """

    def __init__(
        self, sources: Sources, *, uid: int, gids: frozenset[int], owner: tuple[int, int] | None = None
    ) -> None:
        self._sources = sources
        self._uid = uid
        self._gids = gids
        self._owner = owner
        self._walkable: dict[int, bool] = {}

    def __call__(self, ino: int) -> bool:
        """Whether the file may be read under the name that the index knows it by. Root may read everything."""
        if self._uid == 0:
            return True
        above = self._sources.first_parents(ino)
        return above is not None and self._may(ino, _READ) and all(map(self._may_walk, above))

    def lists(self, directory: int) -> bool:
        """Whether the names in a directory may be seen."""
        if self._uid == 0:
            return True
        above = self._sources.first_parents(directory)
        return above is not None and self._may(directory, _READ) and all(map(self._may_walk, (directory, *above)))

    def _may_walk(self, directory: int) -> bool:
        known = self._walkable.get(directory)
        if known is None:
            known = self._walkable[directory] = self._may(directory, _SEARCH)
        return known

    def _may(self, ino: int, right: int) -> bool:
        found = self._sources.permissions(ino)
        if found is None:
            return False
        mode, uid, gid = found
        if self._owner is not None:
            uid, gid = self._owner
        if uid == self._uid:
            return bool(mode >> 6 & right)
        if gid in self._gids:
            return bool(mode >> 3 & right)
        return bool(mode & right)
