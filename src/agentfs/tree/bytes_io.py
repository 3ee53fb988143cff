"""Bytes: reading, writing, holes, truncation. Each write finds its handle marked (`OpenFiles.pin`)."""

import functools
import os
from collections.abc import Callable

from agentfs.errors import BadHandle, FileTooBig, InvalidArgument, NotSupported
from agentfs.format.limits import FILE_BYTES_MAX
from agentfs.tree.ground import Ground
from agentfs.tree.open_files import OpenFiles, written_now
from agentfs.tree.translation import os_error
from agentfs.tree.values import Handle

_COPY_BYTES_MAX = 64 << 20
"""A longer copy answers with less, and the caller asks again: nobody waits for one copy without end."""


class BytesIO:
    def __init__(self, ground: Ground, files: OpenFiles) -> None:
        self._ground = ground
        self._files = files
        self._opened = ground.opened

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file. Raises `NotResident` when newer bytes must be
        fetched first."""
        if handle.flags & os.O_ACCMODE == os.O_WRONLY:
            raise BadHandle(f"handle {handle.number} is not open for reading")
        opened = self._opened.get(handle.ino)
        if opened is None or handle.number not in opened.pinned:
            # Also while another handle writes: this one's descriptor may show a version that was replaced, and the
            # kernel keeps one set of pages for both.
            self._files.current(handle)
        try:
            return os.pread(handle.fd, size, offset)
        except OSError as error:
            raise os_error(error, "read") from error

    def write(self, handle: Handle, offset: int, data: bytes | memoryview) -> int:
        """Write `data` at `offset` (with `O_APPEND` at the end). Returns how many bytes were written: all, or as many
        as the disk had room for."""
        opened = self._opened.get(handle.ino)
        if opened is None or not handle.writable:
            raise BadHandle(f"handle {handle.number} is not open for writing")
        if offset + len(data) > FILE_BYTES_MAX:
            raise _too_big(offset + len(data))
        with opened.lock:
            if handle.number not in opened.pinned:
                self._files.pin(handle)
            opened.dirty = True
            try:
                return os.pwrite(handle.fd, data, offset)
            except OSError as error:
                raise os_error(error, "write") from error
            finally:
                opened.mtime_ns = opened.ctime_ns = self._ground.clock.wall_ns()

    def truncate_open(self, handle: Handle, size_bytes: int) -> None:
        """Cut or extend (by a hole) through an open handle."""
        opened = self._opened.get(handle.ino)
        if opened is None or not handle.writable:
            raise BadHandle(f"handle {handle.number} is not open for writing")
        if size_bytes > FILE_BYTES_MAX:
            raise _too_big(size_bytes)
        with opened.lock:
            self._files.pin(handle)
            try:
                os.ftruncate(handle.fd, size_bytes)
            except OSError as error:
                raise os_error(error, "truncate") from error
            finally:
                written_now(self._ground, opened)

    def truncate(self, ino: int, size_bytes: int) -> None:
        """Cut or extend without a handle. To 0 no bytes are needed; else raises `NotResident` when they are
        missing."""
        handle = self._files.open(ino, os.O_WRONLY | (os.O_TRUNC if size_bytes == 0 else 0))
        try:
            if size_bytes:
                self.truncate_open(handle, size_bytes)
        finally:
            self._files.release(handle)

    def fallocate(self, handle: Handle, mode: int, offset: int, length: int) -> None:
        """`fallocate(2)` on the backing file. Raises `NotSupported` for what its file system cannot do."""
        if offset < 0 or length <= 0:
            raise InvalidArgument("fallocate needs an offset of at least 0 and a length above 0")
        opened = self._opened.get(handle.ino)
        if opened is None or not handle.writable:
            raise BadHandle(f"handle {handle.number} is not open for writing")
        if offset + length > FILE_BYTES_MAX:
            raise _too_big(offset + length)
        allocate = _fallocate()
        with opened.lock:
            self._files.pin(handle)
            try:
                allocate(handle.fd, mode, offset, length)
            finally:
                written_now(self._ground, opened)

    def seek(self, handle: Handle, offset: int, whence: int) -> int:
        """The next data or hole at or after `offset` (`SEEK_DATA`, `SEEK_HOLE`), or the end (`SEEK_END`). Raises
        `BeyondEnd` when there is none."""
        self._files.current(handle)
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE, os.SEEK_END):
            raise InvalidArgument(f"whence {whence} is not for the file to answer")
        try:
            return os.lseek(handle.fd, offset, whence)
        except OSError as error:
            raise os_error(error, "seek") from error

    def copy_range(self, source: Handle, source_offset: int, target: Handle, target_offset: int, length: int) -> int:
        """Copy between two open files (or within one, not overlapping) without the bytes passing through us. Returns
        how many were copied: 0 at the end of the source."""
        if source.flags & os.O_ACCMODE == os.O_WRONLY or target.flags & os.O_APPEND:
            raise BadHandle("copy_range reads from its source, and does not append")
        self._files.current(source)
        opened = self._opened.get(target.ino)
        if opened is None or not target.writable:
            raise BadHandle(f"handle {target.number} is not open for writing")
        with opened.lock:
            self._files.pin(target)
            try:
                return os.copy_file_range(
                    source.fd, target.fd, min(length, _COPY_BYTES_MAX), source_offset, target_offset
                )
            except OSError as error:
                raise os_error(error, "copy_file_range") from error
            finally:
                written_now(self._ground, opened)


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], None]:
    """libc's `fallocate`, loaded at its first use: most processes never need it. Raises `NotSupported`."""
    import ctypes  # noqa: PLC0415

    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if function is None:
        raise NotSupported("this system has no fallocate")

    def allocate(fd: int, mode: int, offset: int, length: int) -> None:
        numbers = ctypes.c_int(fd), ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(length)
        if function(*numbers) != 0:
            number = ctypes.get_errno()
            raise os_error(OSError(number, os.strerror(number)), "fallocate")

    return allocate


def _too_big(size_bytes: int) -> FileTooBig:
    return FileTooBig(f"{size_bytes} bytes: a volume holds files of up to {FILE_BYTES_MAX} bytes (1 TiB)")
