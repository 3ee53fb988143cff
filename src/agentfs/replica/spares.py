"""Empty backing files made ahead: a create then costs a rename instead of an allocation.

On ext4 making a file takes 10 to 190 µs, depending on how full the inode tables near its directory are; renaming one
that is there takes 8 (docs/decisions/0021). The files wait in the staging directory, where a later start clears what
a crash left behind. Only mounts keep spares.
"""

import contextlib
import logging
import os
import secrets
import threading
from collections import deque

_LOG = logging.getLogger(__name__)
_MODE = 0o600

SPARES_MAX = 256
SPARES_LOW = 192
"""Below this new ones are made."""


class Spares:
    """Open, empty files that no inode has yet. Empty until `keep` starts the thread that makes them."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._ready: deque[tuple[int, str]] = deque()  # append and popleft are atomic
        self._needed = threading.Event()
        self._keeper: threading.Thread | None = None
        self._closed = False

    def keep(self) -> None:
        """Start making spares, in a thread that ends with `close`. Making a file waits for the kernel, not for the
        interpreter's lock, so it takes nothing from the thread that answers."""
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._run, name="spares", daemon=True)
            self._keeper.start()

    def _run(self) -> None:
        while not self._closed:
            self._refill()
            self._needed.wait()
            self._needed.clear()

    def take(self, path: str) -> int | None:
        """A descriptor, for reading and writing, of a new empty file at `path` (in place of what stood there); None
        when there is no spare or it cannot be used: make one in the ordinary way, which also tells why not."""
        try:
            fd, spare = self._ready.popleft()
        except IndexError:
            return None
        if len(self._ready) < SPARES_LOW:
            self._needed.set()
        try:
            os.rename(spare, path)
            os.utime(fd)  # it was made earlier than now
        except OSError as error:
            _LOG.debug("a spare backing file could not be used: %s", error)
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(spare)
            return None
        return fd

    def _refill(self) -> None:
        """Make spares until there are enough. A full disk ends it early: the next create reports that."""
        while len(self._ready) < SPARES_MAX and not self._closed:
            path = os.path.join(self._directory, f"spare-{secrets.token_hex(8)}")
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            except OSError as error:
                _LOG.debug("no spare backing file could be made: %s", error)
                return
            self._ready.append((fd, path))

    def close(self) -> None:
        """Remove what was not used. Repeating it is harmless."""
        self._closed = True
        self._needed.set()
        if self._keeper is not None:
            self._keeper.join()
        while self._ready:
            fd, path = self._ready.popleft()
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(path)
