"""The files that are open through this mount, and how the kernel handles each one's bytes.

The kernel has an inode open either *cached* (its page cache, our READ and WRITE) or in *passthrough* (straight to one
backing file), never both at once: a reply that mixes them fails the open. So the first open decides, later ones
follow, and the choice is free again after the last close. RELEASE reaches us after the kernel has let go, so what
is believed here is never freer than the truth.

In passthrough the kernel takes one backing file for an inode, whatever a later open brings. So that file must not be
replaced or evicted before the last close, also when only readers are left: else the next open would read old bytes,
and what it writes would go to a file without a name. A writer's handle keeps it in place (the tree's mark).
"""

import os
import threading
from dataclasses import dataclass

from agentfs.errors import BadHandle, Detached
from agentfs.fuse.operations import Operations
from agentfs.fuse.passthrough import Backings
from agentfs.fuse.wire import FOPEN_KEEP_CACHE, FOPEN_NOFLUSH, FOPEN_PASSTHROUGH, OPEN_OUT
from agentfs.tree.values import Handle


@dataclass(slots=True)
class _Mode:
    """How an inode is open."""

    backing: int | None = None
    """The kernel's id of the backing file; None: cached."""
    handles: int = 0
    parked: Handle | None = None
    """In passthrough: a writer's handle that the kernel has let go of while readers still follow its backing file."""


class OpenFiles:
    """**Lock:** its own, for its tables; the tree's lock may be taken under it, never the other way round."""

    def __init__(self, tree: Operations, backings: Backings, *, flush_readers: bool = False) -> None:
        """`flush_readers`: the kernel is to say also of descriptors that cannot write when they are closed."""
        self._reader_flags = 0 if flush_readers else FOPEN_NOFLUSH
        self._tree = tree
        self._backings = backings
        self._lock = threading.Lock()
        self._closed = False
        self.handles: dict[int, Handle] = {}
        """Open handles by the number that the kernel has. The hot path reads it directly."""
        self._modes: dict[int, _Mode] = {}
        self._kept: dict[int, int] = {}
        """Inode → the version of its content that the kernel's pages show, if it has any. An open of that version may
        keep them."""
        self._using: dict[int, int] = {}
        self._closing: dict[int, list[Handle]] = {}
        """Handles that the kernel has let go of while a pool thread works with them → what to release then."""

    # ---- open and release ----

    def wants_direct_new(self, flags: int) -> bool:
        """Whether a file that nobody has open should be in passthrough. Not for `O_SYNC` and `O_DSYNC`: there
        such a write makes bytes durable and nothing else; through us the kernel follows it with an FSYNC."""
        return self._backings.available and not flags & os.O_DSYNC

    def wants_direct(self, ino: int, flags: int) -> tuple[bool, bool]:
        """Whether an open has to be in passthrough because the inode is, and whether it would like to be."""
        mode = self._modes.get(ino)
        if mode is not None:
            return mode.backing is not None, False
        return False, flags & os.O_ACCMODE != os.O_RDONLY and self.wants_direct_new(flags)

    def opened(self, handle: Handle) -> bytes:
        """Take in a handle from the tree and return the kernel's OPEN reply for it. Raises `Detached`."""
        writable = handle.writable
        flags = 0 if writable else self._reader_flags
        with self._lock:
            if self._closed:
                self._tree.release(handle)
                raise Detached("what was shown there is gone")
            self.handles[handle.number] = handle
            mode = self._modes.get(handle.ino)
            if mode is None:
                mode = self._modes[handle.ino] = _Mode()
                if handle.direct and self._backings.available:
                    mode.backing = self._backings.register(handle.fd)
            mode.handles += 1
            if mode.backing is not None:
                handle.direct = True
                if writable:
                    self._kept.pop(handle.ino, None)
                return OPEN_OUT.pack(handle.number, flags | FOPEN_PASSTHROUGH, mode.backing)
            if self._kept.get(handle.ino) == handle.content_change:
                flags |= FOPEN_KEEP_CACHE
            else:
                self._kept[handle.ino] = handle.content_change
        return OPEN_OUT.pack(handle.number, flags, 0)

    def release(self, number: int) -> None:
        """The kernel's last word about a handle. One that a pool thread still works with is closed by that thread."""
        with self._lock:
            handle = self.handles.pop(number, None)
            if handle is None:
                return
            mode = self._modes[handle.ino]
            mode.handles -= 1
            ended = [handle]
            if mode.handles == 0:
                del self._modes[handle.ino]
                if mode.backing is not None:
                    self._backings.close(mode.backing)
                if mode.parked is not None:
                    ended.append(mode.parked)
            elif mode.backing is not None and handle.writable and mode.parked is None:
                mode.parked = handle
                ended = []
            if number in self._using:
                self.handles[number] = handle
                self._closing[number] = ended
                return
        if not ended:
            self._tree.flush(handle)
        for it in ended:
            self._tree.release(it)

    def close_if_idle(self) -> bool:
        """From now on nothing can be opened, if nothing is open. Whether that is so. A file that the kernel writes in
        passthrough must not be left open without us: nobody would take in what it writes."""
        with self._lock:
            self._closed = not self.handles
            return self._closed

    def release_all(self) -> None:
        """After the end of the conversation: nobody will ask for these again."""
        for number in list(self.handles):
            if number not in self._closing:
                self.release(number)

    # ---- work that outlives the reader's turn ----

    def use(self, number: int) -> Handle:
        """The handle, kept open until `done`, although its caller may be interrupted and close it meanwhile."""
        with self._lock:
            handle = self.handles.get(number)
            if handle is None or number in self._closing:
                raise BadHandle(f"no open file has number {number}")
            self._using[number] = self._using.get(number, 0) + 1
            return handle

    def done(self, number: int) -> None:
        with self._lock:
            self._using[number] -= 1
            if self._using[number]:
                return
            del self._using[number]
            if number not in self._closing:
                return
            ended = self._closing.pop(number)
            handle = self.handles.pop(number)
        if not ended:
            self._tree.flush(handle)
        for it in ended:
            self._tree.release(it)

    # ---- the kernel's pages ----

    def flushed(self, handle: Handle) -> None:
        """What was written through `handle` is committed. Unless it went past the kernel's pages, they show it."""
        if not handle.direct:
            with self._lock:
                if handle.ino in self._kept:
                    self._kept[handle.ino] = handle.content_change

    def is_known(self, handle: Handle) -> bool:
        """Whether the kernel's pages are known to show what `handle` shows."""
        return self._kept.get(handle.ino) == handle.content_change

    def forgotten(self, ino: int) -> None:
        """The kernel has nothing of this inode any more."""
        with self._lock:
            self._kept.pop(ino, None)
