"""Memories that are over: their files are deleted as anybody would, so that they leave every face at once.

The index says when; the file says whether. Right before a file is deleted its facts are read again from the bytes and
attributes that it has now, and it goes only while it still is that file: an edit that prolongs its life wins, here by
this, on another machine by the rule of edit against delete. What cannot be read, what a program is writing, and what
is no file stays. The history keeps what was deleted; what was over already when it came (moved in from elsewhere,
imported) and no commit has yet, waits for one.

A deletion of what the log has is one for every machine, so it takes more than this machine's clock: the store's must
say so, too. What no commit has yet is this machine's own.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from agentfs.errors import AgentFSError, NotFound, Replaced, StoreError, Unavailable
from agentfs.memory.index import DocumentRow, Index
from agentfs.memory.sources import Source, Sources
from agentfs.memory.worker import ENDS, Worker, made

_LOG = logging.getLogger(__name__)

Unlink = Callable[[int, bytes, int, int], None]
"""(directory, name, inode, its `change`) → the name is gone. Raises `Replaced`, and does nothing, when the name means
another file by now, or this one has changed or is being written."""


class Time(Protocol):
    """What the end of a memory is measured by."""

    def now_ns(self) -> int:
        """As well as it is known here."""
        ...

    def as_told_ns(self, wall_ns: int) -> int:
        """What `now_ns` was when this machine's clock said `wall_ns`."""
        ...

    def ask(self) -> None:
        """On return `now_ns` is not later than the store's clock. Raises `Unavailable` when that cannot be told."""
        ...


_TRIES_MAX = 1000
"""More than any file has names: one that changes faster than it is looked at waits, too."""
_RETRY_NS = 5_000_000_000
"""A file that had to stay is looked at again after so long."""


class Expiry:
    """Safe from any thread, but let one at a time call it."""

    def __init__(self, sources: Sources, index: Index, worker: Worker, *, unlink: Unlink | None, time: Time) -> None:
        """`unlink` None: this machine may not delete; what is over is not found, and nothing else."""
        self._sources = sources
        self._index = index
        self._worker = worker
        self._unlink = unlink
        self._time = time
        self._again: dict[int, int] = {}
        """Files that had to stay, and when they are looked at again."""
        self.problem = ""
        """Why a file had to stay; empty when none had to."""

    @property
    def staying(self) -> frozenset[int]:
        """Files that are over and had to stay: they are looked at again and again, but nothing of them is new."""
        return frozenset(self._again)

    def next_ns(self) -> int | None:
        """When there is something to do; None: nothing is known that ends."""
        if self._unlink is None:
            return None
        waiting = [self._again.get(it.ino, 0) for it in self._over()]
        if waiting:
            return max(min(waiting), 0)
        return self._index.next_expiry()

    def prepare(self) -> None:
        """Know the time before something ends: the store may be away by then."""
        if self._unlink is not None and self._index.next_expiry() is not None:
            with contextlib.suppress(Unavailable):
                self._time.ask()

    def run(self) -> int:
        """Delete what is over now. Returns how many files went."""
        if self._unlink is None:
            return 0
        gone = 0
        over = [it.ino for it in self._over()]
        self._again = {ino: at for ino, at in self._again.items() if ino in set(over)}
        if not self._again:
            self.problem = ""
        for ino in over:
            if self._again.get(ino, 0) > self._time.now_ns():
                continue
            try:
                ended = self._end(ino)
                self._note(ino, ended=ended)
                gone += ended
            except AgentFSError as error:
                self._note(ino, ended=False)
                self.problem = f"a memory that is over cannot be deleted yet: {error}"
                _LOG.warning("%s", self.problem)
                if isinstance(error, StoreError):  # the others would wait for it as long, and a question with them
                    self._again.update((it, max(self._again.get(it, 0), self._again[ino])) for it in over)
                    break
        if over:
            self._worker.again(over)
        return gone

    def _note(self, ino: int, *, ended: bool) -> None:
        self._again.pop(ino, None)
        if not ended:
            self._again[ino] = self._time.now_ns() + _RETRY_NS

    def _over(self) -> list[DocumentRow]:
        next_ns = self._index.next_expiry()
        now = self._time.now_ns()
        return self._index.expiring(now + 1) if next_ns is not None and next_ns <= now else []

    def _end(self, ino: int) -> bool:
        """Delete every name of a file, if its own facts say so. Returns whether it went."""
        assert self._unlink is not None
        source = self._sources.source(ino)
        arrived_ns = None if source is None or source.content is not None else source.ctime_ns
        for _ in range(_TRIES_MAX):
            if source is None or not self._is_over(source, arrived_ns):
                break
            if source.written:
                raise Replaced(f"{source.path!r} is open for writing")
            for parent, name in self._sources.names_of(ino)[:1]:  # none: it went in this moment
                with contextlib.suppress(Replaced, NotFound):  # it is looked at as it is now
                    self._unlink(parent, name, ino, source.change)
            source = self._sources.source(ino)
        return source is None

    def _is_over(self, source: Source, arrived_ns: int | None) -> bool:
        """By what the file says now. Raises `AgentFSError` when that cannot be read; when it said so already when it
        came, at `arrived_ns`, and no commit has it (None: one has); when the log knows the file, and the store has
        not told its time; and when an attribute says so, and the log was not asked since: another machine may have
        taken it away, which does not win over a deletion as edits do."""
        found = made(source, self._worker.read_now(source))
        expires_ns = None if found is None else found.facts.expires_ns
        if source.committed and expires_ns is not None and expires_ns <= self._time.now_ns():
            self._time.ask()
        now_ns = self._time.now_ns()
        if expires_ns is None or expires_ns > now_ns:
            return False
        if arrived_ns is not None and expires_ns <= arrived_ns:
            raise Unavailable(f"{source.path!r} was over when it came, and waits for its commit to the store")
        if arrived_ns is None and not ENDS.isdisjoint(source.xattrs):
            heard_ns = self._sources.state("last_contact_ns")
            if not isinstance(heard_ns, int) or self._time.as_told_ns(heard_ns) < expires_ns:
                raise Unavailable(f"{source.path!r} is over by an attribute, and waits for the store to be asked")
        return True
