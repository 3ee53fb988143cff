"""One conversation with the kernel: read a request, have it answered, write the reply.

**Threads.** One reader thread answers everything that this machine can answer at once: four readers are three times
slower (they fight for the interpreter). What may wait, for the network or for the disk to sync, goes to a
small pool and is answered from there; so the reader never waits and one cold file holds up nobody else.

A handler gets a `Request` and returns the reply's body, or raises to refuse. `AgentFSError` carries its errno;
anything else is a fault of ours: it is logged with its traceback, the kernel gets EIO, and the conversation goes on.
"""

import contextlib
import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentfs.errors import AgentFSError, MountFailed
from agentfs.fuse import wire
from agentfs.fuse.nearness import EVERY, Nearness
from agentfs.fuse.pool import Pool
from agentfs.fuse.wire import (
    BODY,
    IN_HEADER,
    INIT_IN,
    INIT_IN_SHORT,
    INIT_OUT,
    INO_MAX,
    OPCODE_COUNT,
    OUT_HEADER,
    PART_SHIFT,
)

WRITE_BYTES_MAX = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BUFFER_BYTES = WRITE_BYTES_MAX + _PAGE_BYTES
_BACKGROUND_MAX = 64
"""Readahead and asynchronous requests that the kernel may have waiting with us."""
_JOIN_BYTES_MAX = 4096
"""Up to here copying a reply behind its header is cheaper than a second I/O vector."""

_WANTED = (
    wire.INIT_ASYNC_READ
    | wire.INIT_ATOMIC_O_TRUNC
    | wire.INIT_BIG_WRITES
    | wire.INIT_DO_READDIRPLUS
    | wire.INIT_READDIRPLUS_AUTO
    | wire.INIT_ASYNC_DIO
    | wire.INIT_PARALLEL_DIROPS
    | wire.INIT_MAX_PAGES
    | wire.INIT_CACHE_SYMLINKS
    | wire.INIT_EXPLICIT_INVAL_DATA
    | wire.INIT_HANDLE_KILLPRIV_V2
    | wire.INIT_EXT
    | wire.INIT_HAS_EXPIRE_ONLY
)

_NEVER_INTERRUPTED = frozenset((wire.FSYNC, wire.FSYNCDIR))
_SIGKILL_BIT = 1 << (signal.SIGKILL - 1)

log = logging.getLogger(__name__)


class Request:
    """One request. The reader's single one is overwritten by the next: what outlives the handler is a `copy`."""

    __slots__ = ("data", "gid", "length", "node", "opcode", "part", "pid", "uid", "unique")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        """The whole request; the body starts at `wire.BODY`."""
        self.length = self.opcode = self.unique = self.node = self.uid = self.gid = self.pid = 0
        self.part = 0
        """Whose `node` this is; `node` is the part's own number of the inode."""

    def copy(self) -> "Request":
        twin = Request(memoryview(bytes(self.data[: self.length])))
        twin.length, twin.opcode, twin.unique = self.length, self.opcode, self.unique
        twin.node, twin.part, twin.uid, twin.gid, twin.pid = self.node, self.part, self.uid, self.gid, self.pid
        return twin


Handler = Callable[[Request], bytes | int | None]
"""Answers with the reply's body; with an errno, where refusing is so usual that raising (1.5 µs) is too dear; or
with None, when there is nothing to reply."""


class Waits(Exception):
    """Raised by a handler that would have to wait: the request is handled again, by `again`, on the pool."""

    def __init__(self, again: Handler) -> None:
        self.again = again


class Later:
    """The answer of a request that was parked. Safe from any thread."""

    def __init__(self, session: "Session", request: Request) -> None:
        self._session = session
        self.request = request
        self.interrupted: Callable[[], None] = lambda: None
        """Called, on the reader's thread, when the caller got a signal before the answer: nobody waits any more."""

    def give(self, body: bytes | int) -> bool:
        """Answer with the reply's body, or with an errno. Whether the caller got it; else it counts for nothing."""
        return self._session.answer(self.request, body)


class Parks(Exception):
    """Raised by a handler whose answer comes from elsewhere, some time: `parked` gets the means to give it, on the
    reader's thread and before any other request is read. It must not wait."""

    def __init__(self, parked: Callable[[Later], None]) -> None:
        self.parked = parked


class Handlers(Protocol):
    """What answers the requests."""

    def table(self, number: int) -> list[Handler]:
        """What answers requests to the nodes of a part, by opcode (`opcode_table`)."""
        ...

    def retry(self, request: Request, error: Exception, handler: Handler) -> Handler | None:
        """When `handler` raised `error` because something must be waited for: what to call, on the pool, to wait
        and then to handle the request. None: the error is the answer."""
        ...

    def unanswered(self, request: Request, body: bytes) -> None:
        """A reply could not be delivered (the caller was gone): give back what it handed out."""
        ...


@dataclass(frozen=True, slots=True)
class Negotiated:
    minor: int
    flags: int
    passthrough: bool


class Session:
    def __init__(
        self, fd: int, handlers: Handlers, *, passthrough_depth: int, workers: int, locks: bool = False
    ) -> None:
        """`fd` is a connected /dev/fuse; it stays the caller's to close. `passthrough_depth` 0 leaves kernel
        passthrough off. `locks`: the handlers do all locks, not the kernel."""
        self._locks = locks
        self.fd = fd
        self._handlers = handlers
        self._passthrough_depth = passthrough_depth
        self._pool = Pool(workers, name="agentfs-fuse")
        self._waiting: dict[int, Request] = {}
        self._parked: dict[int, Later] = {}
        self._waiting_lock = threading.Lock()
        self.negotiated: Negotiated | None = None
        self.on_ready: list[Callable[[Negotiated], None]] = []
        """Called on the reader thread when the kernel and we agree, before any other request."""
        self.requests = [0] * OPCODE_COUNT
        """How many requests of each opcode came. Tests hold the face to these."""

    # ---- the loop ----

    def serve(self) -> None:
        """Answer until the file system is unmounted. One call per session, on the thread that is the reader."""
        table, tables = self._table(), self._handlers.table
        buffer = bytearray(_BUFFER_BYTES)
        request = Request(memoryview(buffer))
        buffers, fd, counts = [buffer], self.fd, self.requests
        readv, write, writev = os.readv, os.write, os.writev
        unpack, pack_header = IN_HEADER.unpack_from, OUT_HEADER.pack
        nearness, until_look = Nearness(), 1
        try:
            while True:
                try:
                    request.length = readv(fd, buffers)
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        return  # unmounted
                    if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                        continue  # the request was taken back before we had it
                    raise
                (
                    _,
                    opcode,
                    unique,
                    request.node,
                    request.uid,
                    request.gid,
                    request.pid,
                    _,
                ) = unpack(buffer)
                request.opcode, request.unique = opcode, unique
                if opcode >= OPCODE_COUNT:
                    opcode = 0
                counts[opcode] += 1
                until_look -= 1
                if not until_look:
                    until_look = EVERY
                    nearness.approach(request.pid)
                request.part = part = request.node >> PART_SHIFT
                if part:
                    request.node &= INO_MAX
                    handler = tables(part)[opcode]
                else:
                    handler = table[opcode]
                try:
                    body = handler(request)
                except Exception as error:  # noqa: BLE001 - one place turns every fault into a reply
                    self._refused(request, error, handler)
                    continue
                if body is None:
                    continue
                try:
                    if type(body) is int:
                        write(fd, pack_header(16, -body, unique))
                    elif len(body) <= _JOIN_BYTES_MAX:
                        write(fd, pack_header(16 + len(body), 0, unique) + body)
                    else:
                        writev(fd, (pack_header(16 + len(body), 0, unique), body))
                except OSError as error:
                    self._undeliverable(request, body, error)
        finally:
            self._pool.close()
            with self._waiting_lock:
                self._parked.clear()
                self._waiting.clear()  # from here on nothing may write: the descriptor's number may be reused

    def _table(self) -> list[Handler]:
        table = list(self._handlers.table(0))
        table[wire.INIT] = self._init
        table[wire.INTERRUPT] = self._interrupt
        table[wire.DESTROY] = _destroy
        return table

    def _refused(self, request: Request, error: Exception, handler: Handler) -> None:
        """Answer a request whose handler raised."""
        if isinstance(error, Parks):
            self._park(request.copy(), error)
            return
        again = error.again if isinstance(error, Waits) else self._handlers.retry(request, error, handler)
        if again is not None:
            self._defer(request.copy(), again)
            return
        self._write((OUT_HEADER.pack(16, -_errno_of(request, error), request.unique),))
        if request.opcode == wire.INIT:
            raise error

    def _undeliverable(self, request: Request, body: bytes | int, error: OSError) -> None:
        """The kernel did not take a reply; it refuses one whose request it has given up (ENOENT)."""
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            log.error("the kernel refused the reply to FUSE request %d: %s", request.opcode, error)
            self._write((OUT_HEADER.pack(16, -errno.EIO, request.unique),))
        if isinstance(body, bytes):
            self._handlers.unanswered(request, body)

    def _write(self, parts: Sequence[bytes]) -> None:
        with contextlib.suppress(OSError):
            os.writev(self.fd, parts)

    # ---- requests that wait ----

    def _defer(self, request: Request, again: Handler) -> None:
        with self._waiting_lock:
            self._waiting[request.unique] = request
        self._pool.submit(lambda: self._answer_later(request, again))

    def _answered(self, request: Request, handler: Handler) -> bytes | int:
        """What a handler answers where waiting is allowed. One wait may lead to another: an open whose bytes had to
        be fetched then waits until the kernel has been told of what others changed meanwhile."""
        while True:
            try:
                return handler(request) or b""
            except Waits as waits:
                handler = waits.again
            except Exception as error:  # noqa: BLE001 - one place turns every fault into a reply
                again = self._handlers.retry(request, error, handler)
                if again is None:
                    return _errno_of(request, error)
                handler = again

    def _answer_later(self, request: Request, again: Handler) -> None:
        body = self._answered(request, again)
        payload, refusal = (b"", body) if isinstance(body, int) else (body, 0)
        header = OUT_HEADER.pack(16 + len(payload), -refusal, request.unique)
        try:
            with self._waiting_lock:
                # Whoever takes the request out of `_waiting` answers it: this, or an interrupt.
                taken = self._waiting.pop(request.unique, None) is not None
                if taken:
                    os.writev(self.fd, (header, payload))
        except OSError as error:
            self._undeliverable(request, body, error)
        else:
            if isinstance(body, bytes) and not taken:
                self._handlers.unanswered(request, body)

    def _park(self, request: Request, parks: Parks) -> None:
        later = Later(self, request)
        with self._waiting_lock:
            self._waiting[request.unique] = request
            self._parked[request.unique] = later
        parks.parked(later)

    def answer(self, request: Request, body: bytes | int) -> bool:
        """Answer a parked request. Whether the kernel took it: not when it was interrupted meanwhile."""
        payload, refusal = (b"", body) if isinstance(body, int) else (body, 0)
        with self._waiting_lock:
            self._parked.pop(request.unique, None)
            if self._waiting.pop(request.unique, None) is None:
                return False
            try:
                os.writev(self.fd, (OUT_HEADER.pack(16 + len(payload), -refusal, request.unique), payload))
            except OSError:
                return False
        return True

    def _interrupt(self, request: Request) -> None:
        """The caller of a request got a signal. What the reader handles is answered before this is even read, so it
        can only be waiting in the pool, or be parked: answer it now, and let the thread find out when it is done.

        An fsync ends so only for who is being killed: a local file system never says EINTR to fsync or msync, and
        SQLite, for one, takes it for a broken disk."""
        (unique,) = wire.U64.unpack_from(request.data, BODY)
        with self._waiting_lock:
            found = self._waiting.get(unique)
            if found is None or (found.opcode in _NEVER_INTERRUPTED and not _being_killed(found.pid)):
                return
            del self._waiting[unique]
            later = self._parked.pop(unique, None)
            self._write((OUT_HEADER.pack(16, -errno.EINTR, unique),))
        if later is not None:
            later.interrupted()

    # ---- the beginning ----

    def _init(self, request: Request) -> bytes:
        if request.length >= BODY + INIT_IN.size:
            major, minor, readahead, flags, flags2 = INIT_IN.unpack_from(request.data, BODY)
        else:
            major, minor, readahead, flags = INIT_IN_SHORT.unpack_from(request.data, BODY)
            flags2 = 0
        if major != wire.MAJOR or minor < wire.MINOR_MIN:
            raise MountFailed(f"this kernel's FUSE is {major}.{minor}; needed is 7.{wire.MINOR_MIN} (Linux 5.4)")
        offered = flags | (flags2 << 32 if flags & wire.INIT_EXT else 0)
        wanted = _WANTED | (wire.INIT_PASSTHROUGH if self._passthrough_depth else 0)
        wanted |= wire.INIT_POSIX_LOCKS | wire.INIT_FLOCK_LOCKS if self._locks else 0
        agreed = offered & wanted
        negotiated = Negotiated(
            minor=min(minor, wire.MINOR), flags=agreed, passthrough=bool(agreed & wire.INIT_PASSTHROUGH)
        )
        self.negotiated = negotiated
        for callback in self.on_ready:
            callback(negotiated)
        return INIT_OUT.pack(
            wire.MAJOR,
            negotiated.minor,
            max(readahead, WRITE_BYTES_MAX),
            agreed & 0xFFFFFFFF,
            _BACKGROUND_MAX,
            _BACKGROUND_MAX * 3 // 4,
            WRITE_BYTES_MAX,
            1,
            WRITE_BYTES_MAX // _PAGE_BYTES,
            0,
            agreed >> 32,
            self._passthrough_depth if negotiated.passthrough else 0,
        )


def opcode_table(handlers: Mapping[int, Handler]) -> list[Handler]:
    """Opcode → handler. What is not in it is answered ENOSYS, which most often stops the kernel asking."""
    return [handlers.get(opcode, _not_implemented) for opcode in range(OPCODE_COUNT)]


class OpcodeUnknown(AgentFSError):
    errno, code = errno.ENOSYS, "not-implemented"


def _not_implemented(_request: Request) -> None:
    raise OpcodeUnknown("the kernel asked for something that this file system leaves to it")


def _errno_of(request: Request, error: Exception) -> int:
    """The number that tells the kernel; what should not have happened is logged."""
    if isinstance(error, AgentFSError):
        return error.errno
    if isinstance(error, OSError):
        log.warning("FUSE request %d on inode %d: %s", request.opcode, request.node, error)
        return error.errno or errno.EIO
    log.error("FUSE request %d on inode %d failed", request.opcode, request.node, exc_info=error)
    return errno.EIO


def _destroy(_request: Request) -> bytes:
    return b""


def _being_killed(thread: int) -> bool:
    """Whether a fatal signal is pending: the kernel makes it SIGKILL for every thread of the process. A thread that
    cannot be seen from here (0: another pid namespace) counts as living."""
    try:
        with open(f"/proc/{thread}/status", "rb") as file:
            pending = next(line for line in file if line.startswith(b"SigPnd:"))
    except (OSError, StopIteration):
        return False
    return bool(int(pending.split()[1], 16) & _SIGKILL_BIT)
