"""What is known of the objects of a volume's view: SQLite beside the replica's database.

    <replica's directory>/view.db

Derived: what is damaged or of another version is dropped, and the objects are seen again on the store
(docs/view.md, V-65).
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agentfs.model.records import InodeId
from agentfs.replica.database import Row
from agentfs.replica.derived_file import DerivedFile

SCHEMA_VERSION = 1
_CACHE_KIB = 4 * 1024
_COLUMNS = "name, file, sequence, digest, etag, size_bytes, version, modified_at"


@dataclass(frozen=True, slots=True)
class Shown:
    """An object of the view as it was last put or seen."""

    name: str
    """Below the view's prefix (`agents/<id>/`, `spaces/<name>/`)."""
    file: InodeId
    """Whose version it shows; 0: none that is known."""
    sequence: int
    """The commit that brought that version; 0: not known. Without a digest: it is that of the file after that commit,
    or a later one."""
    digest: bytes
    """SHA-256 of the file's bytes, without the block; b"": not known."""
    etag: str
    """ "" where the store has none."""
    size_bytes: int
    """Of the object."""
    version: int | None
    """The number that the object says."""
    modified_at: float
    """When it was written, by the store's clock, in seconds since 1970; 0: not known."""


@dataclass(frozen=True, slots=True)
class ContentFact:
    """The content that a file of the log has, as the commit that brought it says."""

    file: InodeId
    digest: bytes
    sequence: int
    author: str = ""
    modified_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A put that may have reached the store."""

    row: Shown
    """What it makes; without a tag and a time."""
    object: bytes
    """SHA-256 of the object's bytes."""


class ShownTable:
    """Safe from any thread. The file is made at the first use; `close` ends it, and then every method raises
    `Unavailable`. On a full disk they raise `NoSpace`. What a method wrote survives `kill -9`."""

    def __init__(self, directory: str) -> None:
        self._file = DerivedFile(
            os.path.join(directory, "view.db"),
            what="what is known of the view",
            schema="agentfs.view",
            of={"schema_version": SCHEMA_VERSION},
            start={},
            cache_kib=_CACHE_KIB,
        )

    # ---- objects ----

    def get(self, name: str) -> Shown | None:
        with self._file.reading() as sql:
            row = sql.one(f"SELECT {_COLUMNS} FROM object WHERE name=?", (name,))
        return None if row is None else Shown(*row)

    def of_file(self, file: InodeId) -> list[Shown]:
        """Every object that shows the file, by name."""
        with self._file.reading() as sql:
            return _shown(sql.rows(f"SELECT {_COLUMNS} FROM object WHERE file=? ORDER BY name", (file,)))

    def below(self, name: str) -> list[Shown]:
        """The object `name` itself, and those that stand below it as in a directory."""
        with self._file.reading() as sql:
            rows = sql.rows(
                f"SELECT {_COLUMNS} FROM object WHERE name=?1 OR (name>?1 || '/' AND name<?1 || '0') ORDER BY name",
                (name,),
            )
        return _shown(rows)

    def page(self, after: str = "", limit: int = 1000) -> list[Shown]:
        """Objects whose name is greater, in byte order of their names (as a store lists them)."""
        with self._file.reading() as sql:
            rows = sql.rows(f"SELECT {_COLUMNS} FROM object WHERE name>? ORDER BY name LIMIT ?", (after, limit))
        return _shown(rows)

    def counts(self) -> tuple[int, int]:
        """How many objects are known, and their bytes."""
        with self._file.reading() as sql:
            row = sql.one("SELECT count(*), coalesce(sum(size_bytes), 0) FROM object")
        return (0, 0) if row is None else (row[0], row[1])

    def put(self, rows: Iterable[Shown]) -> None:
        """Remember these, in one transaction; what was known of their names is replaced."""
        with self._file.writing() as sql:
            sql.executemany(f"INSERT OR REPLACE INTO object({_COLUMNS}) VALUES(?,?,?,?,?,?,?,?)", map(_values, rows))

    def begin(self, puts: Iterable[Begun]) -> None:
        """Remember what is about to be put."""
        with self._file.writing() as sql:
            sql.executemany(
                "INSERT OR REPLACE INTO begun VALUES(?,?,?,?,?,?,?)",
                (
                    (it.row.name, it.object, it.row.file, it.row.sequence, it.row.digest, it.row.size_bytes,
                     it.row.version)
                    for it in puts
                ),
            )  # fmt: skip

    def begun(self, name: str | None = None) -> list[Begun]:
        """What may have been put and is not known to be, or not to be; of one name, or of all."""
        with self._file.reading() as sql:
            rows = sql.rows(
                "SELECT name, file, sequence, digest, size_bytes, version, object FROM begun "
                "WHERE ?1 IS NULL OR name=?1 ORDER BY name",
                (name,),
            )
        return [
            Begun(Shown(name, file, sequence, digest, "", size_bytes, version, 0.0), object_)
            for name, file, sequence, digest, size_bytes, version, object_ in rows
        ]

    def ended(self, rows: Iterable[Shown], facts: Iterable[ContentFact], names: Iterable[str]) -> None:
        """Nothing that was begun at `names` is in doubt any more: `rows` stand there, and show `facts`. In one
        transaction."""
        with self._file.writing() as sql:
            sql.executemany(f"INSERT OR REPLACE INTO object({_COLUMNS}) VALUES(?,?,?,?,?,?,?,?)", map(_values, rows))
            sql.executemany(
                "INSERT OR REPLACE INTO fact VALUES(?,?,?,?,?)",
                ((it.file, it.digest, it.sequence, it.author, it.modified_ns) for it in facts),
            )
            sql.executemany("DELETE FROM begun WHERE name=?", ((name,) for name in names))

    def fact(self, file: InodeId, digest: bytes) -> ContentFact | None:
        """What is known of this content of the file."""
        with self._file.reading() as sql:
            row = sql.one(
                "SELECT file, digest, sequence, author, modified_ns FROM fact WHERE file=? AND digest=?",
                (file, digest),
            )
        return None if row is None else ContentFact(*row)

    def forget_facts(self, files: Iterable[InodeId]) -> None:
        """These files have gone."""
        with self._file.writing() as sql:
            sql.executemany("DELETE FROM fact WHERE file=?", ((file,) for file in files))

    def forget(self, names: Iterable[str]) -> None:
        """There is nothing at these names any more."""
        with self._file.writing() as sql:
            sql.executemany("DELETE FROM object WHERE name=?", ((name,) for name in names))

    def forget_all(self) -> None:
        """Nothing is known: of no object and no held name. Single facts stay."""
        with self._file.writing() as sql:
            sql.execute("DELETE FROM object")
            sql.execute("DELETE FROM held")

    # ---- what others changed ----

    def hold(self, name: str, reason: str) -> None:
        """Leave the name alone until `release`. Repeating it replaces the reason."""
        with self._file.writing() as sql:
            sql.execute("INSERT OR REPLACE INTO held VALUES(?,?)", (name, reason))

    def held(self) -> dict[str, str]:
        """Reasons by name."""
        with self._file.reading() as sql:
            return dict(sql.rows("SELECT name, reason FROM held ORDER BY name"))

    def release(self, name: str) -> None:
        """What another tool did there has been settled. Repeating it is harmless."""
        with self._file.writing() as sql:
            sql.execute("DELETE FROM held WHERE name=?", (name,))

    # ---- single facts ----

    def state(self, key: str) -> Any:
        """None: it was never set."""
        with self._file.reading() as sql:
            row = sql.one("SELECT value FROM state WHERE key=?", (key,))
        return None if row is None else row[0]

    def set_state(self, key: str, value: object) -> None:
        with self._file.writing() as sql:
            sql.execute("INSERT OR REPLACE INTO state VALUES(?,?)", (key, value))

    def close(self) -> None:
        """Repeating it is harmless."""
        self._file.close()


def _values(it: Shown) -> Row:
    return it.name, it.file, it.sequence, it.digest, it.etag, it.size_bytes, it.version, it.modified_at


def _shown(rows: list[Row]) -> list[Shown]:
    return [Shown(*row) for row in rows]
