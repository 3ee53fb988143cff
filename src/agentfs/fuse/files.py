"""Requests on open files: OPEN, CREATE, READ, WRITE and what else takes a handle."""

import errno
import os
import stat

from agentfs.errors import BadHandle, InvalidArgument
from agentfs.fuse import wire
from agentfs.fuse.context import Context, one_name
from agentfs.fuse.notify import Notifier
from agentfs.fuse.session import Handler, Request, Waits
from agentfs.fuse.wire import (
    BODY,
    COPY_IN,
    CREATE_IN,
    ENTRY_OUT,
    FALLOCATE_IN,
    FLUSH_IN,
    FSYNC_IN,
    LSEEK_IN,
    OPEN_IN,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    U64,
    WRITE_BYTES,
    WRITE_IN,
    WRITE_OUT,
)
from agentfs.tree.seen import ANONYMOUS
from agentfs.tree.values import AttributeChange, Caller, Handle

_SET_ID = stat.S_ISUID | stat.S_ISGID
_COPY_AT_ONCE_BYTES = 1024 * 1024
"""A longer copy goes to the pool: at 2 GB/s this much holds up the reader for half a millisecond."""
_COPY_BYTES_MAX = 1 << 30
"""More is answered short; the caller asks again. The reply holds 32 bits."""


class Files:
    def __init__(self, context: Context, notifier: Notifier) -> None:
        self._context = context
        self._notifier = notifier
        self._locks = context.locks
        self._tree = context.tree
        self._files = context.files
        self._handles = context.files.handles
        self._read = context.tree.read
        self._write = context.tree.write

    def table(self) -> dict[int, Handler]:
        return {
            wire.OPEN: self.open,
            wire.CREATE: self.create,
            wire.READ: self.read,
            wire.WRITE: self.write,
            wire.FLUSH: self.flush,
            wire.RELEASE: self.release,
            wire.FSYNC: self.fsync,
            wire.FALLOCATE: self.fallocate,
            wire.LSEEK: self.seek,
            wire.COPY_FILE_RANGE: self.copy_range,
        }

    # ---- opening ----

    def open(self, request: Request) -> bytes:
        flags, extra = OPEN_IN.unpack_from(request.data, BODY)
        ino = request.node
        if extra & wire.OPEN_KILL_SUIDGID:
            self.drop_set_id(ino)
        if self._locks is not None and self._locks.across(ino) and not self._files.wants_direct(ino, flags)[0]:
            # Between its opening and its lock other machines may change it: it is to be locked, not kept as it is.
            handle = self._tree.open(ino, flags, reader=request.pid or ANONYMOUS, following=True)
        else:
            handle = self._tree.open(
                ino, flags, direct=self._direct(ino, flags, request.uid), reader=request.pid or ANONYMOUS
            )
        if handle.writable and flags & os.O_DSYNC and handle.direct:
            raise Waits(lambda _request: self._open_synced(handle))
        if not self._files.is_known(handle) and self._notifier.behind():
            # The kernel may still believe in the size of an older version and cut the new one at it.
            raise Waits(lambda _request: self._open_told(handle))
        return self._files.opened(handle)

    def _open_synced(self, handle: Handle) -> bytes:
        """Someone else has the file open in passthrough, so this one's writes are not seen either: they are durable,
        and so must be the mark that has them found after a power cut."""
        try:
            self._tree.fsync(handle, data_only=True)
        except BaseException:
            self._tree.release(handle)
            raise
        return self._open_told(handle)

    def _open_told(self, handle: Handle) -> bytes:
        self._notifier.catch_up()
        return self._files.opened(handle)

    def _direct(self, ino: int, flags: int, uid: int) -> bool:
        """Whether to let the kernel write the backing file itself. Not where a write has to take set-user-id away:
        the kernel then leaves that to us, and we would not see the write."""
        joining, writing = self._files.wants_direct(ino, flags)
        if joining or not writing or uid == 0:
            return joining or writing
        return not self._tree.attributes(ino).mode & _SET_ID

    def create(self, request: Request) -> bytes:
        flags, mode, umask, _ = CREATE_IN.unpack_from(request.data, BODY)
        name = one_name(request, CREATE_IN.size)
        caller = Caller(request.uid, request.gid, umask)
        context = self._context
        direct = self._files.wants_direct_new(flags) and not (
            self._locks is not None and self._locks.across_new(request.node, name)
        )
        attributes, handle = self._tree.create(
            request.node, name, mode & 0o7777, caller, flags, direct=direct, reader=request.pid or ANONYMOUS
        )
        entry = context.replies.entry(attributes)
        context.nodes.refer(attributes.ino)
        return entry + self._files.opened(handle)

    def release(self, request: Request) -> bytes:
        number = RELEASE_IN.unpack_from(request.data, BODY)[0]
        self._files.release(number)
        if self._locks is not None:
            self._locks.released(request.node, number)
        return b""

    def unanswered(self, opcode: int, body: bytes) -> None:
        """An OPEN or CREATE that nobody received."""
        if opcode == wire.OPEN:
            self._files.release(OPEN_OUT.unpack_from(body)[0])
        elif opcode == wire.CREATE:
            self._files.release(OPEN_OUT.unpack_from(body, ENTRY_OUT.size)[0])

    def drop_set_id(self, ino: int) -> None:
        """What a write by someone unprivileged does to a set-user-id program (FUSE_HANDLE_KILLPRIV_V2)."""
        mode = self._tree.attributes(ino).mode
        kept = without_set_id(mode)
        if kept != mode:
            self._tree.set_attributes(ino, AttributeChange(mode=kept))

    # ---- bytes ----

    def read(self, request: Request) -> bytes:
        number, offset, size, _ = READ_IN.unpack_from(request.data, BODY)
        return self._read(self._handle(number), offset, size)

    def write(self, request: Request) -> bytes:
        number, offset, size, flags, _, _, _ = WRITE_IN.unpack_from(request.data, BODY)
        if flags & wire.WRITE_KILL_SUIDGID:
            self.drop_set_id(request.node)
        data = request.data[WRITE_BYTES : WRITE_BYTES + size]
        return WRITE_OUT.pack(self._write(self._handle(number), offset, data), 0)

    def _handle(self, number: int) -> Handle:
        handle = self._handles.get(number)
        if handle is None:
            raise BadHandle(f"no open file has number {number}")
        return handle

    def flush(self, request: Request) -> bytes | int:
        number, _, _, owner = FLUSH_IN.unpack_from(request.data, BODY)
        handle = self._handle(number)
        self._tree.flush(handle)
        self._files.flushed(handle)
        return b"" if self._locks is None else self._locks.flushed(request.node, owner) or b""

    def fsync(self, _request: Request) -> bytes:
        raise Waits(self._fsync)

    def _fsync(self, request: Request) -> bytes | int:
        number, flags, _ = FSYNC_IN.unpack_from(request.data, BODY)
        handle = self._files.use(number)
        try:
            self._tree.fsync(handle, data_only=bool(flags & wire.FSYNC_DATA_ONLY))
        finally:
            self._files.done(number)
        if self._locks is not None and self._locks.is_lost(request.node):
            return errno.EIO
        return b""

    def fallocate(self, request: Request) -> bytes:
        number, offset, length, mode, _ = FALLOCATE_IN.unpack_from(request.data, BODY)
        self._tree.fallocate(self._handle(number), mode, offset, length)
        if request.uid != 0:
            self.drop_set_id(request.node)
        return b""

    def seek(self, request: Request) -> bytes:
        number, offset, whence, _ = LSEEK_IN.unpack_from(request.data, BODY)
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise InvalidArgument(f"seek from {whence} is the kernel's own business")
        return U64.pack(self._tree.seek(self._handle(number), offset, whence))

    def copy_range(self, request: Request) -> bytes:
        length = COPY_IN.unpack_from(request.data, BODY)[5]
        if length > _COPY_AT_ONCE_BYTES:
            raise Waits(self._copy_range)
        return self._copy_range(request)

    def _copy_range(self, request: Request) -> bytes:
        source, source_offset, node, target, offset, length, _ = COPY_IN.unpack_from(request.data, BODY)
        node = self._context.own(node)
        reader = self._files.use(source)
        try:
            writer = self._files.use(target)
            try:
                copied = self._tree.copy_range(reader, source_offset, writer, offset, min(length, _COPY_BYTES_MAX))
            finally:
                self._files.done(target)
        finally:
            self._files.done(source)
        if request.uid != 0:
            self.drop_set_id(node)
        return WRITE_OUT.pack(copied, 0)


def without_set_id(mode: int) -> int:
    """`mode` after a write or a change of owner: set-user-id goes; set-group-id only where it means a program."""
    mode &= ~0o4000
    return mode & ~0o2000 if mode & 0o010 else mode
