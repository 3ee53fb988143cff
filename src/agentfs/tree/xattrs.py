"""Extended attributes."""

import os

from agentfs.errors import (
    Exists,
    InvalidArgument,
    NoAttribute,
    NoSpace,
    NotFound,
    NotPermitted,
    NotSupported,
    TooBig,
    TooSmall,
)
from agentfs.format.limits import XATTRS_MAX
from agentfs.model.records import Kind
from agentfs.replica.transaction import Transaction
from agentfs.tree.ground import Ground

XATTR_CREATE = 1
XATTR_REPLACE = 2
_NAME_BYTES_MAX = 255
_VALUE_BYTES_MAX = 64 * 1024
_TOTAL_BYTES_MAX = 256 * 1024
"""Names and values of one inode together: they travel in every commit that touches it."""
_PRIVILEGED = (b"security.", b"trusted.")


class ExtendedAttributes:
    """`user.*` for everybody, on files and directories; `security.*` and `trusted.*` where this process is root. The
    rest (`system.posix_acl_*` above all) is `NotSupported`."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def get_xattr(self, ino: int, name: bytes) -> bytes:
        """The value. Raises `NoAttribute`."""
        self._check_name(name)
        row = self._ground.select(
            "SELECT (SELECT value FROM xattr WHERE ino=?1 AND name=?2) FROM inode WHERE ino=?1", (ino, name)
        )
        if row is None:
            raise NotFound(f"inode {ino} is gone")
        if row[0] is None:
            raise NoAttribute(f"there is no {name!r}")
        return bytes(row[0])

    def list_xattrs(self, ino: int) -> list[bytes]:
        """All names, sorted."""
        with self._ground.lock:
            self._ground.attributes(ino)
            rows = self._ground.replica.connection.rows("SELECT name FROM xattr WHERE ino=? ORDER BY name", (ino,))
        return [bytes(row[0]) for row in rows]

    def set_xattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Set a value. `XATTR_CREATE` wants a new name, `XATTR_REPLACE` an existing one."""
        if flags & ~(XATTR_CREATE | XATTR_REPLACE):
            raise InvalidArgument(f"xattr flags {flags:#x} are unknown")
        with self._ground.transaction() as tx:
            self.set_in(tx, ino, name, value, flags)

    def set_in(self, tx: Transaction, ino: int, name: bytes, value: bytes, flags: int = 0) -> None:
        """`set_xattr` as a part of a transaction."""
        self._check_name(name)
        if len(value) > _VALUE_BYTES_MAX:
            raise TooBig(f"the value has {len(value)} bytes; {_VALUE_BYTES_MAX} are the most")
        self._check_kind(tx, ino, name)
        known = self._exists(tx, ino, name)
        if flags & XATTR_CREATE and known:
            raise Exists(f"{name!r} is set already")
        if flags & XATTR_REPLACE and not known:
            raise NoAttribute(f"there is no {name!r}")
        total = tx.sql.one(
            "SELECT total(length(name)+length(value)), count(*) FROM xattr WHERE ino=? AND name!=?", (ino, name)
        )
        assert total is not None
        if total[1] >= XATTRS_MAX:
            raise NoSpace(f"one file has room for {XATTRS_MAX} extended attributes")
        if total[0] + len(name) + len(value) > _TOTAL_BYTES_MAX:
            raise NoSpace(f"one file has room for {_TOTAL_BYTES_MAX} bytes of extended attributes")
        tx.set_xattr(ino, name, value)

    def remove_xattr(self, ino: int, name: bytes) -> None:
        """Remove a value. Raises `NoAttribute`."""
        self._check_name(name)
        with self._ground.transaction() as tx:
            self._check_kind(tx, ino, name)
            if not self._exists(tx, ino, name):
                raise NoAttribute(f"there is no {name!r}")
            tx.set_xattr(ino, name, None)

    def _exists(self, tx: Transaction, ino: int, name: bytes) -> bool:
        return tx.sql.one("SELECT 1 FROM xattr WHERE ino=? AND name=?", (ino, name)) is not None

    def _check_name(self, name: bytes) -> None:
        if not 0 < len(name) <= _NAME_BYTES_MAX:
            raise TooSmall(f"the name of an extended attribute has 1 to {_NAME_BYTES_MAX} bytes")
        if name.startswith(b"user.") and len(name) > len(b"user."):
            return
        if name.startswith(_PRIVILEGED):
            if os.geteuid() != 0:
                raise NotPermitted(f"{name!r} needs root")
            return
        raise NotSupported(f"{name!r}: only user.* is kept")

    def _check_kind(self, tx: Transaction, ino: int, name: bytes) -> None:
        row = tx.sql.one("SELECT kind FROM inode WHERE ino=?", (ino,))
        if row is None:
            raise NotFound(f"inode {ino} is gone")
        if name.startswith(b"user.") and row[0] not in (Kind.FILE, Kind.DIRECTORY):
            raise NotPermitted("user.* attributes are for files and directories")
