"""Telling the kernel what changed behind its back, so that it may believe everything else for an hour.

From its own thread, never the one that answers the kernel: an invalidation waits for pages that a READ is filling,
and for directories that a request has locked. Fed by the journal rows that others wrote: the engine's pulls, and
other processes on the same replica.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from agentfs.clock import Clock
from agentfs.fuse import wire
from agentfs.fuse.operations import Operations
from agentfs.fuse.wire import PART_SHIFT
from agentfs.replica.journal import ChangeKind, JournalRow

_ROWS_MAX = 1000
_POLL_SECONDS = 0.25
"""Without a wake-up the journal is looked at this often, for other processes on the replica: a read of 3 µs."""

log = logging.getLogger(__name__)


class Notifier:
    """**Lock:** `_telling`, held while the kernel is told. Nothing that answers the kernel waits for it."""

    def __init__(
        self, fd: int, tree: Operations, *, clock: Clock, journal_end: Callable[[], int], part: int = 0
    ) -> None:
        """Rows after now are told; `journal_end` is the number of the newest."""
        self._fd = fd
        self._base = part << PART_SHIFT
        self._tree = tree
        self._clock = clock
        self._journal_end = journal_end
        self.journal_id = journal_end()
        """The last row that the kernel has been told of."""
        self.entry_flags = 0
        """EXPIRE_ONLY where the kernel knows it (Linux 6.2)."""
        self._telling = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="agentfs-notify", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be something new. Any thread, a signal handler too; never waits."""
        self._wake.set()

    def stop(self, seconds: float) -> bool:
        """Whether the thread ended in time. If not, it is stuck in the kernel and the descriptor must stay open."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def behind(self) -> bool:
        """Whether others have changed something that the kernel has not been told of. Never waits."""
        told, end = self.journal_id, self._journal_end()
        if end <= told:
            return False
        if self._tree.changes_since(told, 1):
            return True
        if self._telling.acquire(blocking=False):
            # All of these are our own: step over them, or each look would read them again (20 µs in a busy mount).
            self.journal_id = max(self.journal_id, end)
            self._telling.release()
        return False

    def catch_up(self) -> None:
        """Tell the kernel of everything up to now. May block: not on the thread that answers it."""
        with self._telling:
            while not self._stopping and self._tell():
                pass

    def _run(self) -> None:
        while not self._stopping:
            self._clock.wait(self._wake, _POLL_SECONDS)
            self._wake.clear()
            try:
                self.catch_up()
            except Exception:
                # Without this thread the kernel would show old files for an hour: say it loudly and go on.
                log.exception("telling the kernel of changes failed; trying again")

    def _tell(self) -> bool:
        """Tell the kernel of the next rows. Whether there may be more."""
        end = self._journal_end()
        if end <= self.journal_id:
            return False
        rows = self._tree.changes_since(self.journal_id, _ROWS_MAX)
        for message in messages(rows, self.entry_flags, self._base):
            if not self._send(message):
                return False
        # Up to `end` the rest of the rows are our own; stepping over them keeps the next look short.
        self.journal_id = rows[-1].id if len(rows) == _ROWS_MAX else end
        return True

    def tell_point(self, directory: int, name: bytes) -> None:
        """What `name` in `directory` leads to has changed: have the kernel ask anew, and drop all that it knows below
        that nobody uses. May block: not on the thread that answers it."""
        with self._telling:
            self._send(wire.inval_entry(self._base + directory, name, 0))
            self._send(wire.inval_inode(self._base + directory, 0, 0))

    def _send(self, message: bytes) -> bool:
        """Whether the connection still stands."""
        try:
            os.write(self._fd, message)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ECONNABORTED, errno.EBADF):
                return False
            if error.errno not in (
                errno.ENOENT,
                errno.ENOTDIR,
            ):  # the kernel does not have it: nothing to forget
                log.warning("a FUSE notification was refused: %s", error)
        return True


def messages(rows: Sequence[JournalRow], entry_flags: int, base: int = 0) -> Iterator[bytes]:
    """The notifications for `rows`, each thing once, in the order of its first mention; names before inodes.

    A directory's cached listing is dropped by INVAL_INODE: INVAL_ENTRY alone does nothing when the name is not
    in the kernel's cache, which is so for a file that was just created elsewhere.
    """
    names: dict[tuple[int, bytes], None] = {}
    inodes: dict[int, int] = {}
    for row in rows:
        if row.kind in (ChangeKind.LINK, ChangeKind.UNLINK):
            if row.parent is not None and row.name is not None:
                names[row.parent, row.name] = None
                inodes[row.parent] = 0
            inodes.setdefault(row.ino, -1)
        elif row.kind is ChangeKind.CONTENT:
            inodes[row.ino] = 0
        else:
            inodes.setdefault(row.ino, -1)
    for parent, name in names:
        yield wire.inval_entry(base + parent, name, entry_flags)
    for ino, offset in inodes.items():
        yield wire.inval_inode(base + ino, offset, 0)
