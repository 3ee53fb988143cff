"""Several trees in one mount. Part 0 is the home; each of the others shows as a directory somewhere in it.

One connection to the kernel serves them all: its number of a node is `part << 48 | ino`, so that a request finds its
part with a shift, and part 0 is numbered as if it were alone. Each part has everything else for itself: handles,
counts of references, a reader of its journal. Renames and hard links from part to part are refused (`OtherVolume`),
as between file systems.

To show a tree at a name:

    number = parts.add(tree, journal_end=replica.journal_end)
    parts.show(directory, name, number)         # the name leads to the tree's root
    …
    parts.hide(directory, name)                 # nobody can enter any more; who is inside may go on
    while not parts.remove(number): …           # files are open; then: who still stands inside gets ESTALE
    tree.close()

All of these may be called from any thread but the one that answers the kernel, except `entry` (for handlers that
answer a name which no tree has).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from agentfs.clock import Clock
from agentfs.errors import AgentFSError, Detached
from agentfs.fuse import wire
from agentfs.fuse.conversations import Conversations
from agentfs.fuse.face import Face
from agentfs.fuse.locks import Locks
from agentfs.fuse.notify import Notifier
from agentfs.fuse.operations import Operations
from agentfs.fuse.options import FuseOptions
from agentfs.fuse.passthrough import Backings
from agentfs.fuse.points import HoldBack, Point
from agentfs.fuse.session import Handler, Request, opcode_table
from agentfs.fuse.virtual import VirtualNames
from agentfs.fuse.wire import BATCH_FORGET_IN, BODY, FORGET_ONE, INO_MAX, PART_SHIFT, ROOT_NODE, U64
from agentfs.volume.locks import SharedLocks
from agentfs.volume.virtual import VirtualNodes

PARTS_MAX = 0x7FFF
"""So that numbers of nodes stay positive as signed 64 bits, which some programs take them for."""

_ON_ITS_WAY_SECONDS = 0.1
"""A request that found its part before that went is through with it after this: handlers never wait."""


class TooManyParts(AgentFSError):
    """So many trees were shown and taken away again while in use that there is no number left."""


@dataclass(frozen=True, slots=True)
class _Part:
    face: Face
    notifier: Notifier
    has_news: bool
    table: list[Handler]
    conversations: Conversations | None = None
    """Of a part that serves virtual nodes."""


class Parts:
    """**Lock:** `_lock`, for the tables; never held while the kernel is told something."""

    def __init__(self, fd: int, options: FuseOptions, *, clock: Clock, backings: Backings) -> None:
        self._fd = fd
        self._options = options
        self._clock = clock
        self._backings = backings
        self._lock = threading.Lock()
        self._parts: dict[int, _Part] = {}
        self._behind: dict[int, int] = {}
        """Part → the one that serves its virtual nodes."""
        self._fresh = 0
        self._free: list[int] = []
        """Numbers of removed parts that the kernel knows nothing of any more."""
        self._entry_flags: int | None = None
        """None until the kernel and we have agreed."""
        self._gone = opcode_table({**dict.fromkeys(range(wire.OPCODE_COUNT), _gone), **_LAST_WORDS})

    # ---- for whoever shows trees ----

    def add(
        self,
        tree: Operations,
        *,
        read_only: bool = False,
        journal_end: Callable[[], int] | None = None,
        hold_back: HoldBack | None = None,
        shared_locks: SharedLocks | None = None,
        virtual: VirtualNodes | None = None,
        conversations: Conversations | None = None,
    ) -> int:
        """Serve `tree` from now on; the first one is the home. Returns its part's number.

        `journal_end`: the number of the newest row of its journal (`Replica.journal_end`): what others write after
        now is told to the kernel. None for a tree that never changes.
        `read_only`: whatever would change it is refused with `ReadOnly`.
        `hold_back`: which symbolic links are points that nobody has shown yet: asking for one waits a while for that.
        `shared_locks`: where files that ask for it get locks across machines (with the option `locks`).
        `virtual`: what names that the tree does not have may mean; what they lead to is served by a part of its own,
        which goes with this one.
        `conversations`: what is said to nodes of this part; of such a part.
        Raises `TooManyParts`.
        """
        names = None if virtual is None else VirtualNames(virtual, tree, clock=self._clock)
        with self._lock:
            number = self._number()
            notifier = Notifier(self._fd, tree, clock=self._clock, journal_end=journal_end or _never, part=number)
            face = Face(
                tree,
                self._options,
                clock=self._clock,
                backings=self._backings,
                notifier=notifier,
                part=number,
                read_only=read_only,
                hold_back=hold_back,
                locks=self._locks(shared_locks, notifier),
                virtual=names,
            )
            table = face.table()
            if number == 0:
                table[wire.BATCH_FORGET] = self._batch_forget  # of all parts in one request, and without a node
            if conversations is not None:
                table = conversations.around(table)
            part = _Part(face, notifier, journal_end is not None, opcode_table(table), conversations)
            self._parts[number] = part
            agreed = self._entry_flags
        if agreed is not None:
            self._begin(part, agreed)
        if names is not None:
            behind = self.add(names.still, read_only=True, conversations=names.conversations)
            self._behind[number] = behind
            names.serve(self._parts[behind].face.passing_entry, tell=notifier.catch_up)
        return number

    def _locks(self, shared_locks: SharedLocks | None, notifier: Notifier) -> Locks | None:
        if not self._options.locks:
            return None
        return Locks(shared_locks, clock=self._clock, catch_up=notifier.catch_up)

    def show(self, directory: int, name: bytes, number: int | None, *, problem: str = "", within: int = 0) -> None:
        """From now on `name` in `directory` of the part `within` leads to the root of part `number`. None: it cannot
        be opened, and whoever tries gets `Unavailable` with `problem`. Replaces what it led to before."""
        with self._lock:
            outer = self._parts[within]
            if number is None:
                point = Point((within << PART_SHIFT) | outer.face.ino_of(directory, name), None, problem)
            else:
                point = Point(number << PART_SHIFT | ROOT_NODE, self._parts[number].face.root_entry)
            outer.face.points.put(directory, name, point)
        self._tell(outer, directory, name)

    def hide(self, directory: int, name: bytes, *, within: int = 0) -> None:
        """`name` leads nowhere any more: the tree of `within` says what it is. Who is inside may go on."""
        with self._lock:
            outer = self._parts[within]
            outer.face.points.take(directory, name)
        self._tell(outer, directory, name)

    def entry(self, number: int) -> bytes:
        """The kernel's entry of the part's root, counted as a reference: an answer to LOOKUP. Raises `Detached`."""
        part = self._parts.get(number)
        if part is None:
            raise Detached("what was shown there is gone")
        return part.face.root_entry()

    def open_files(self, number: int) -> int:
        """How many files of a part are open. (What else the kernel refers to cannot tell a working directory from its
        cache, which it keeps below a file that was open while its directory was hidden.)"""
        part = self._parts.get(number)
        return 0 if part is None else len(part.face.files.handles)

    def remove(self, number: int, *, seconds: float = 5.0) -> bool:
        """Serve it no more, unless files are open there: requests that still come get `Detached`. Whether it is gone,
        and its tree may be closed; False: try again later. No point may lead to it. Repeating it is harmless."""
        with self._lock:
            behind = self._behind.get(number)
        if behind is not None:
            if not self.remove(behind, seconds=seconds):
                return False
            with self._lock:
                self._behind.pop(number, None)
        with self._lock:
            part = self._parts.get(number)
            if part is None:
                return True
            if part.conversations is not None and not part.conversations.close_if_idle():
                return False
            if not part.face.files.close_if_idle():
                return False
            del self._parts[number]
        part.notifier.stop(seconds)
        self._clock.wait(threading.Event(), _ON_ITS_WAY_SECONDS)
        if not len(part.face.nodes):
            with self._lock:
                self._free.append(number)
        return True

    def wake(self, number: int = 0) -> None:
        """The journal of a part may have rows of others. Never waits."""
        part = self._parts.get(number)
        if part is not None:
            part.notifier.wake()

    def _number(self) -> int:
        if self._fresh <= PARTS_MAX:
            self._fresh += 1
            return self._fresh - 1
        if not self._free:
            raise TooManyParts("this mount has shown too many trees: unmount it and mount it again")
        return self._free.pop(0)

    def _tell(self, outer: _Part, directory: int, name: bytes) -> None:
        outer.face.directories.forgotten(directory)
        if self._entry_flags is not None:
            outer.notifier.tell_point(directory, name)

    # ---- for the mount ----

    def begin(self, *, entry_flags: int) -> None:
        """The kernel and we agree: start telling it what changes."""
        with self._lock:
            self._entry_flags = entry_flags
            parts = list(self._parts.values())
        for part in parts:
            self._begin(part, entry_flags)

    def _begin(self, part: _Part, entry_flags: int) -> None:
        part.notifier.entry_flags = entry_flags
        if part.has_news:
            part.notifier.start()

    def end(self, seconds: float) -> bool:
        """The conversation is over: release what is open. Whether nothing is stuck in the kernel; else the descriptor
        must stay open."""
        with self._lock:
            parts = list(self._parts.values())
            self._entry_flags = None
        stopped = True
        for part in parts:
            stopped = part.notifier.stop(seconds) and stopped
            part.face.end()
        return stopped

    # ---- for the session ----

    def table(self, number: int) -> list[Handler]:
        """What answers requests to a part, by opcode."""
        part = self._parts.get(number)
        return self._gone if part is None else part.table

    def retry(self, request: Request, error: Exception, handler: Handler) -> Handler | None:
        """See `Handlers.retry`."""
        part = self._parts.get(request.part)
        return None if part is None else part.face.retry(error, handler)

    def unanswered(self, request: Request, body: bytes) -> None:
        """See `Handlers.unanswered`."""
        if request.opcode == wire.LOOKUP:
            (node,) = U64.unpack_from(body)
            self._forget(node, 1)
            return
        part = self._parts.get(request.part)
        if part is None or (part.conversations is not None and part.conversations.unanswered(request.opcode, body)):
            return
        part.face.unanswered(request.opcode, body)

    def _batch_forget(self, request: Request) -> None:
        count, _ = BATCH_FORGET_IN.unpack_from(request.data, BODY)
        start = BODY + BATCH_FORGET_IN.size
        for node, times in FORGET_ONE.iter_unpack(request.data[start : start + count * FORGET_ONE.size]):
            self._forget(node, times)

    def _forget(self, node: int, times: int) -> None:
        part = self._parts.get(node >> PART_SHIFT)
        if part is not None and node:
            part.face.nodes.forget(node & INO_MAX, times)


def _never() -> int:
    return 0


def _gone(_request: Request) -> None:
    raise Detached("what was shown there is gone: leave the directory and enter it anew")


def _nothing(_request: Request) -> None:
    return None


def _done(_request: Request) -> bytes:
    return b""


_LAST_WORDS: dict[int, Handler] = {wire.FORGET: _nothing, wire.RELEASE: _done, wire.RELEASEDIR: _done}
"""What is still to be answered for a part that is gone: all was given back when it went."""
