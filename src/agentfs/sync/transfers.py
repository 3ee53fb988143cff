"""Large files on their way to the store. Their chunks are put a piece at a time, so that one of many gigabytes does
not keep here what is small, and are not put again for every race for a place in the log that was lost.

What is remembered of a file is good as long as nobody touched it: its stamp tells. Lost with the process; then its
chunks are put anew.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agentfs.clock import Clock
from agentfs.sync.options import EngineOptions

_FILES_MAX = 1000


class Later(Exception):
    """The time of this push for large files is used up: the next one goes on."""


@dataclass(slots=True)
class Transfer:
    """How much of one version of a file was handed over."""

    stamp: tuple[object, ...]
    at: int = 0
    whole: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    """Of the bytes before `at`."""
    digests: list[bytes] = field(default_factory=list)
    put: list[bytes] = field(default_factory=list)
    """Those of the digests whose chunks the log did not have."""


@dataclass(slots=True)
class Transfers:
    """Of one engine; used in its turn."""

    clock: Clock
    options: EngineOptions
    are_stored: Callable[[list[bytes]], bool]
    """Whether a commit after the head may refer to all these chunks, which were put before."""
    forget_stored: Callable[[], None]
    """Nothing that was put before is needed any more."""
    later: set[int] = field(default_factory=set)
    """Files that wait for the next push."""
    _running: dict[int, Transfer] = field(default_factory=dict)
    _until: float = 0.0
    _went_on: bool = False

    def begin(self) -> None:
        """A push begins: there is time again."""
        self._until = self.clock.monotonic() + self.options.large_slice_s
        self._went_on = False
        self.later.clear()

    def goes_on(self) -> bool:
        """Whether there is time for one more chunk. In every push there is for one."""
        if self._went_on and self.clock.monotonic() >= self._until:
            return False
        self._went_on = True
        return True

    def of(self, ino: int, stamp: tuple[object, ...]) -> Transfer:
        """The transfer of this version of the file, from where it was left."""
        found = self._running.get(ino)
        if found is None or found.stamp != stamp or not self.are_stored(found.put):
            found = Transfer(stamp)
        # Taken out while it runs: what fails halfway is begun anew, and finds what was put of it.
        self._running.pop(ino, None)
        return found

    def keep(self, ino: int, transfer: Transfer) -> None:
        """To go on with it, or to use it again when its commit loses the race."""
        self._running[ino] = transfer
        while len(self._running) > _FILES_MAX:
            self._running.pop(next(iter(self._running)))

    def committed(self, inos: Iterable[int]) -> None:
        """These files are in the log."""
        for ino in inos:
            self._running.pop(ino, None)
        if not self._running:
            self.forget_stored()
