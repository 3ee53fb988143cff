"""Listing directories from a snapshot, so that a listing in steps misses nothing and repeats nothing."""

from dataclasses import dataclass

from agentfs.errors import BadHandle, NotADirectory, NotFound
from agentfs.model.records import Kind
from agentfs.replica.database import Row, translated
from agentfs.replica.transaction import KINDS
from agentfs.tree.ground import COLUMNS, SPARSE_BYTES_MIN, Ground
from agentfs.tree.values import Attributes, DirectoryEntry

_LIST = (
    f"SELECT d.name, {COLUMNS.replace('ino,', 'i.ino,', 1)} FROM dentry d JOIN inode i ON i.ino=d.ino "
    "WHERE d.parent=? ORDER BY d.name"
)


@dataclass(slots=True)
class _OpenDirectory:
    ino: int
    rows: list[Row] | None = None
    """(name, attributes …), `.` and `..` first. None: not read yet."""
    stamp: tuple[int, int] = (-1, -1)
    """The database when the rows were read: while it stands, so do their attributes."""


class Directories:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._open: dict[int, _OpenDirectory] = {}

    def open_directory(self, ino: int) -> int:
        """A number for `read_directory`. Raises `NotADirectory`, `NotFound`."""
        ground = self._ground
        if ground.attributes(ino).kind is not Kind.DIRECTORY:
            raise NotADirectory(f"inode {ino} is not a directory")
        with ground.lock:
            number = next(ground.numbers)
            self._open[number] = _OpenDirectory(ino)
        return number

    def release_directory(self, number: int) -> None:
        with self._ground.lock:
            self._open.pop(number, None)

    def fsync_directory(self, ino: int) -> None:  # noqa: ARG002 - the whole database is synced at once
        """Every change of the replica so far survives a power cut on return."""
        self._ground.replica.sync()

    def read_directory(self, number: int, cookie: int, limit: int) -> list[DirectoryEntry]:
        """At most `limit` entries behind `cookie` (0: from the start, read anew); none at the end."""
        rows = self._rows(number, cookie)[0]
        return [
            DirectoryEntry(row[0], row[1], KINDS[row[2]], index)
            for index, row in enumerate(rows[cookie : cookie + limit], cookie + 1)
        ]

    def read_directory_plus(self, number: int, cookie: int, limit: int) -> list[tuple[DirectoryEntry, Attributes]]:
        """As `read_directory`, with attributes as they are now. Entries that are gone meanwhile are left out."""
        ground = self._ground
        with ground.lock:
            rows, fresh = self._rows(number, cookie)
            made = []
            for index, row in enumerate(rows[cookie : cookie + limit], cookie + 1):
                ino = row[1]
                if fresh:
                    attributes = Attributes(ino, KINDS[row[2]], *row[3:])
                    if ino in ground.opened or attributes.size_bytes >= SPARSE_BYTES_MIN:
                        attributes = ground.overlaid(attributes)
                else:
                    try:
                        attributes = ground.attributes(ino)
                    except NotFound:
                        continue
                made.append((DirectoryEntry(row[0], ino, attributes.kind, index), attributes))
            return made

    def _rows(self, number: int, cookie: int) -> tuple[list[Row], bool]:
        """The snapshot, and whether the database still is what it was then."""
        ground = self._ground
        with ground.lock:
            directory = self._open.get(number)
            if directory is None:
                raise BadHandle(f"directory handle {number} is not open")
            if directory.rows is None or cookie == 0:
                directory.stamp = self._stamp()
                directory.rows = self._read(directory.ino)
                return directory.rows, True
            return directory.rows, directory.stamp == self._stamp()

    def _read(self, ino: int) -> list[Row]:
        ground = self._ground
        own = ground.attributes(ino)
        above = ground.replica.parent_of(ino)
        parent = own if above is None or above == ino else ground.attributes(above)
        with translated(ground.replica.connection.path):
            rows = ground.replica.connection.rows(_LIST, (ino,))
        return [(b".", *own), (b"..", *parent), *rows]

    def _stamp(self) -> tuple[int, int]:
        connection = self._ground.replica.connection
        row = connection.one("PRAGMA data_version")
        return (row[0] if row else -1), connection.total_changes()
