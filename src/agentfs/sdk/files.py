"""`Home.open`: a file of a home as a Python file object."""

import io
import os
from typing import Any

from agentfs.errors import InvalidArgument
from agentfs.sdk.errors import translated
from agentfs.tree.tree import Tree
from agentfs.tree.values import AttributeChange, Handle

_MODES = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "w+": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "a+": os.O_RDWR | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "x+": os.O_RDWR | os.O_CREAT | os.O_EXCL,
}


def open_flags(mode: str) -> tuple[int, bool]:
    """The `O_*` flags of a Python mode, and whether it is binary. Raises `InvalidArgument`."""
    plain = mode.replace("b", "", 1).replace("t", "", 1)
    if plain not in _MODES or ("b" in mode and "t" in mode):
        raise InvalidArgument(f"mode {mode!r} is not valid: use r, w, a or x, with b, t and +")
    return _MODES[plain], "b" in mode


class HomeFile(io.RawIOBase):
    """An unbuffered file over a handle. `close` makes what was written survive `kill -9`; `sync` a power cut."""

    def __init__(self, tree: Tree, handle: Handle, *, name: str, mode: str) -> None:
        super().__init__()
        self._tree = tree
        self._handle = handle
        self._position = 0
        self._readable = handle.flags & os.O_ACCMODE != os.O_WRONLY
        self.name = name
        self.mode = mode
        if handle.flags & os.O_APPEND:
            self._position = self._size()

    def _size(self) -> int:
        return os.fstat(self._handle.fd).st_size

    def readable(self) -> bool:
        return self._readable

    def writable(self) -> bool:
        return self._handle.writable

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._check_open()
        if not self._readable:
            raise io.UnsupportedOperation("not readable")
        with memoryview(buffer).cast("B") as view, translated():
            data = self._tree.read(self._handle, self._position, len(view))
            view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        self._check_open()
        if not self._handle.writable:
            raise io.UnsupportedOperation("not writable")
        with memoryview(data).cast("B") as view, translated():
            written = self._tree.write(self._handle, self._position, view)
        self._position = self._size() if self._handle.flags & os.O_APPEND else self._position + written
        return written

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size()}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError("the position would be negative, or whence is not 0, 1 or 2")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        self._check_open()
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._check_open()
        size = self._position if size is None else size
        with translated():
            self._tree.set_attributes(self._handle.ino, AttributeChange(size_bytes=size), handle=self._handle)
        return size

    def sync(self) -> None:
        """Make what was written survive a power cut of this machine."""
        self._check_open()
        with translated():
            self._tree.fsync(self._handle, data_only=False)

    def close(self) -> None:
        if self.closed:
            return
        try:
            with translated():
                try:
                    if self._handle.writable:
                        self._tree.flush(self._handle)
                finally:
                    self._tree.release(self._handle)
        finally:
            super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
