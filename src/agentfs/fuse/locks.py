"""Locks on a mount where some hold across machines (the setting `shared_locks`); elsewhere the kernel does them all.

The kernel hands over `fcntl` and `flock` locks of all files or of none. So here are all of them: exact among the
programs on this mount by `lock_table`, and for files that match a pattern behind a lock across machines
(`volume.locks`): it is had before the first local lock is granted, and given back after the last, with the file's
changes, in one commit. Any lock of such a file, also a shared one or one of a few bytes, keeps all other machines
out.

**Threads.** The reader answers what can be answered at once. Taking and giving back a lock across machines is done by
a thread of its own for each file; whoever waits is parked (`session.Parks`), and takes no thread.
**Lock:** `_lock` guards the tables; nothing that waits is called under it.
"""

import errno
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, LockHeld, LockLost
from agentfs.fuse import wire
from agentfs.fuse.lock_table import LockTable, Range
from agentfs.fuse.session import Handler, Later, Parks, Request
from agentfs.fuse.wire import BODY, LK_IN, LK_OUT
from agentfs.volume.locks import Grant, SharedLocks

_LOG = logging.getLogger(__name__)

_READ, _WRITE, _UNLOCK = 0, 1, 2
"""`F_RDLCK`, `F_WRLCK`, `F_UNLCK`."""
_PAUSE_SECONDS = (0.05, 0.4)
"""Between looks whether a lock that another machine has is free: the first, and the longest. Each is one request."""


class _Shared(Enum):
    """How this mount stands to a file's lock across machines."""

    FREE = "free"
    TAKING = "taking"
    HELD = "held"
    GIVING = "giving"


@dataclass(eq=False, slots=True)
class _Waiter:
    wanted: Range
    is_flock: bool
    blocks: bool
    later: Later


@dataclass(eq=False, slots=True)
class _File:
    ino: int
    across: bool
    """Its locks hold across machines."""
    ranges: LockTable = field(default_factory=LockTable)
    whole: LockTable = field(default_factory=LockTable)
    waiters: list[_Waiter] = field(default_factory=list)
    shared: _Shared = _Shared.FREE
    ask: threading.Event = field(default_factory=threading.Event)
    """While taking: somebody wants to know now whether the lock is free."""
    grant: Grant | None = None
    leaving: list[Later] = field(default_factory=list)
    """Answers that are given when the lock across machines was given back."""

    def table(self, is_flock: bool) -> LockTable:
        return self.whole if is_flock else self.ranges

    @property
    def is_locked(self) -> bool:
        return bool(self.ranges.ranges or self.whole.ranges)


class Locks:
    """The lock requests of one part."""

    def __init__(self, shared: SharedLocks | None, *, clock: Clock, catch_up: Callable[[], None]) -> None:
        """`shared`: where locks across machines are had; None: nowhere, all are local. `catch_up` tells the kernel of
        every change so far; it may block."""
        self._shared = shared
        self._clock = clock
        self._catch_up = catch_up
        self._lock = threading.Lock()
        self._files: dict[int, _File] = {}
        self._ended = threading.Event()

    def table(self) -> dict[int, Handler]:
        return {wire.GETLK: self.get, wire.SETLK: self.set, wire.SETLKW: self.set}

    def across(self, ino: int) -> bool:
        """Whether locks of a file hold across machines."""
        return self._shared is not None and self._shared.matches(ino)

    def across_new(self, parent: int, name: bytes) -> bool:
        """As `across`, of a file that is about to be made."""
        return self._shared is not None and self._shared.matches_new(parent, name)

    # ---- requests ----

    def get(self, request: Request) -> bytes:
        """`F_GETLK`: what would be in the way."""
        wanted, kind, is_flock = _wanted(request)
        with self._lock:
            file = self._files.get(request.node)
            found = None if file is None or kind == _UNLOCK else file.table(is_flock).conflict(wanted)
        if found is None:
            return LK_OUT.pack(wanted.start, wanted.end, _UNLOCK, 0)
        return LK_OUT.pack(found.start, found.end, _WRITE if found.exclusive else _READ, found.pid)

    def set(self, request: Request) -> bytes | int:
        wanted, kind, is_flock = _wanted(request)
        if kind == _UNLOCK:
            return self._unlock(request.node, lambda file: file.table(is_flock).take(*_where(wanted)))
        blocks = request.opcode == wire.SETLKW
        with self._lock:
            file = self._files.get(request.node)
            if file is None:
                file = self._files[request.node] = _File(request.node, self.across(request.node))
            table = file.table(is_flock)
            blocked = table.conflict(wanted) is not None
            if is_flock and blocked and table.take(*_where(wanted)):  # changing a flock gives up the old one first
                self._pump(file)
            if not blocked and self._may_grant(file):
                table.put(wanted)
                return b""
            refusal = self._refusal(file, wanted, is_flock, blocked=blocked, blocks=blocks)
            if refusal:
                self._tidy(file)
                return refusal
        raise Parks(lambda later: self._park(file, _Waiter(wanted, is_flock, blocks, later)))

    def flushed(self, ino: int, owner: int) -> int:
        """A process closed a descriptor: its `fcntl` locks of the file are free. Returns an errno, 0 for success.
        Raises `Parks`."""
        file = self._files.get(ino)
        if file is None:
            return 0
        if self.is_lost(ino):
            self._leave(ino, lambda it: it.ranges.drop_owner(owner), None)
            return errno.EIO
        self._unlock(ino, lambda it: it.ranges.drop_owner(owner))
        return 0

    def released(self, ino: int, handle: int) -> None:
        """The last descriptor of an open file is closed. A lock across machines is given back after that."""
        if ino in self._files:
            self._leave(ino, lambda it: any([it.ranges.drop_handle(handle), it.whole.drop_handle(handle)]), None)

    def is_lost(self, ino: int) -> bool:
        """Whether a program here believes to have a lock that another machine has taken over."""
        with self._lock:
            file = self._files.get(ino)
            grant = None if file is None else file.grant
        return grant is not None and self._shared is not None and self._shared.is_lost(grant)

    def end(self) -> None:
        """Nobody asks any more."""
        self._ended.set()

    # ---- local rules ----

    def _may_grant(self, file: _File) -> bool:
        if not file.across:
            return True
        if file.shared is not _Shared.HELD or file.grant is None:
            return False
        assert self._shared is not None
        return not self._shared.is_lost(file.grant)

    def _refusal(self, file: _File, wanted: Range, is_flock: bool, *, blocked: bool, blocks: bool) -> int:
        """Why a lock cannot be waited for; 0: it can."""
        if not blocks:
            known = blocked or (file.shared is _Shared.HELD and not self._may_grant(file))
            return errno.EAGAIN if known else 0
        if not is_flock and blocked and self._is_deadlock(file, wanted):
            return errno.EDEADLK
        return 0

    def _is_deadlock(self, file: _File, wanted: Range) -> bool:
        """Whether one of those that `wanted` would wait for waits, perhaps through others, for its owner."""
        waiting = {
            it.wanted.owner: (one, it.wanted)
            for one in self._files.values()
            for it in one.waiters
            if it.blocks and not it.is_flock
        }
        work, seen = [it.owner for it in file.ranges.conflicts(wanted)], set()
        while work:
            owner = work.pop()
            if owner == wanted.owner:
                return True
            if owner in seen or owner not in waiting:
                continue
            seen.add(owner)
            where, what = waiting[owner]
            work += [it.owner for it in where.ranges.conflicts(what)]
        return False

    # ---- waiting ----

    def _park(self, file: _File, waiter: _Waiter) -> None:
        """On the reader's thread, right after `set`: nothing was answered in between."""
        with self._lock:
            self._files.setdefault(file.ino, file)
            waiter.later.interrupted = lambda: self._interrupted(file, waiter)
            file.waiters.append(waiter)
            if not waiter.blocks:
                file.ask.set()
            self._pump(file)

    def _interrupted(self, file: _File, waiter: _Waiter) -> None:
        with self._lock:
            if waiter in file.waiters:
                file.waiters.remove(waiter)
            self._pump(file)

    def _pump(self, file: _File) -> None:
        """Grant what can be granted, in the order in which it was asked for; start what must be done first."""
        for waiter in list(file.waiters):
            table = file.table(waiter.is_flock)
            if table.conflict(waiter.wanted) is not None:
                if not waiter.blocks:
                    self._answer(file, waiter, errno.EAGAIN)
                continue
            if self._may_grant(file):
                before = list(table.ranges)
                table.put(waiter.wanted)
                if not self._answer(file, waiter, b""):
                    table.ranges = before  # interrupted at this moment
            elif file.shared is _Shared.FREE:
                file.shared = _Shared.TAKING
                self._begin("take", file, self._take)
            elif file.shared is _Shared.HELD and not file.is_locked:
                self._begin_giving(file)
        self._tidy(file)

    def _answer(self, file: _File, waiter: _Waiter, body: bytes | int) -> bool:
        file.waiters.remove(waiter)
        return waiter.later.give(body)

    def _tidy(self, file: _File) -> None:
        if file.shared is _Shared.HELD and not file.is_locked:
            self._begin_giving(file)
        if file.shared is _Shared.FREE and not file.is_locked and not file.waiters:
            self._files.pop(file.ino, None)

    def _begin(self, what: str, file: _File, work: Callable[[_File], None]) -> None:
        threading.Thread(target=work, args=(file,), name=f"lock-{what}-{file.ino}", daemon=True).start()

    # ---- across machines: taking ----

    def _take(self, file: _File) -> None:
        assert self._shared is not None
        pause, longest = _PAUSE_SECONDS
        while not self._ended.is_set():
            file.ask.clear()
            try:
                grant = self._shared.acquire(file.ino, wait_seconds=0.0, number=0)
            except LockHeld:
                if not self._wait_on(file):
                    return
            except Exception as error:  # noqa: BLE001 - whoever waits gets an answer, whatever happened
                self._refuse_all(file, error)
                return
            else:
                self._taken(file, grant)
                return
            self._clock.wait(file.ask, pause)
            pause = min(longest, pause * 1.5)

    def _wait_on(self, file: _File) -> bool:
        """Somebody else has the lock: who does not want to wait is told. Whether anybody does."""
        with self._lock:
            for waiter in [it for it in file.waiters if not it.blocks]:
                self._answer(file, waiter, errno.EAGAIN)
            if file.waiters:
                return True
            file.shared = _Shared.FREE
            self._tidy(file)
            return False

    def _refuse_all(self, file: _File, error: Exception) -> None:
        number = error.errno if isinstance(error, AgentFSError) else errno.ENOLCK
        _LOG.warning("no lock across machines for inode %d: %s", file.ino, error, exc_info=number == errno.ENOLCK)
        with self._lock:
            file.shared = _Shared.FREE
            for waiter in list(file.waiters):
                self._answer(file, waiter, number)
            self._tidy(file)

    def _taken(self, file: _File, grant: Grant) -> None:
        try:
            self._catch_up()  # what the kernel shows of the file is what is here now
        except Exception:  # noqa: BLE001 - the lock is had, and the notifier's own thread tries again
            _LOG.exception("telling the kernel of changes failed")
        with self._lock:
            file.shared, file.grant = _Shared.HELD, grant
            self._pump(file)

    # ---- across machines: giving back ----

    def _unlock(self, ino: int, change: Callable[[_File], bool]) -> bytes:
        """Unlock what `change` does; the answer comes when the lock across machines, if this was the last of the
        file, was given back."""
        file = self._files.get(ino)
        if file is None:
            return b""
        with self._lock:
            waits = file.across and file.shared is _Shared.HELD
        if not waits:
            self._leave(ino, change, None)
            return b""
        raise Parks(lambda later: self._leave(ino, change, later))

    def _leave(self, ino: int, change: Callable[[_File], bool], later: Later | None) -> None:
        with self._lock:
            file = self._files.get(ino)
            if file is not None:
                changed = change(file)
                if changed and file.shared is _Shared.HELD and not file.is_locked:
                    if later is not None:
                        file.leaving.append(later)
                        later = None
                    self._begin_giving(file)
                self._pump(file)
        if later is not None:
            later.give(b"")

    def _begin_giving(self, file: _File) -> None:
        file.shared = _Shared.GIVING
        self._begin("give", file, self._give)

    def _give(self, file: _File) -> None:
        assert self._shared is not None and file.grant is not None
        number = 0
        try:
            self._shared.release(file.grant)
        except LockLost as error:
            number = error.errno
            _LOG.warning("the lock of inode %d was lost: %s", file.ino, error)
        except Exception as error:  # noqa: BLE001 - whoever waits gets an answer, whatever happened
            number = error.errno if isinstance(error, AgentFSError) else errno.EIO
            _LOG.warning("the lock of inode %d could not be given back yet: %s", file.ino, error)
        with self._lock:
            file.shared, file.grant = _Shared.FREE, None
            leaving, file.leaving = file.leaving, []
            for later in leaving:
                later.give(number if number else b"")
            self._pump(file)


def _wanted(request: Request) -> tuple[Range, int, bool]:
    handle, owner, start, end, kind, pid, flags, _ = LK_IN.unpack_from(request.data, BODY)
    return Range(owner, start, end, kind == _WRITE, pid, handle), kind, bool(flags & wire.LK_FLOCK)


def _where(wanted: Range) -> tuple[int, int, int]:
    return wanted.owner, wanted.start, wanted.end
