"""The file of counts, `usage.db` in the state directory: opened for a moment, by any process, and closed again.

Nothing else depends on it. What cannot be read is set aside and counting starts anew; what cannot be written stays in
memory until the next try.
"""

import contextlib
import importlib.resources
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from agentfs.errors import NewerFormat, ReplicaDamaged
from agentfs.replica.database import Connection, translated
from agentfs.stores.aws import s3_endpoint
from agentfs.stores.url import parse_store_url

SCHEMA_VERSION = 1
_BUSY_MS = 2000
"""Nobody waits for longer for another process of this machine."""


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Which store was asked."""

    url: str
    """Without secrets, as `StoreURL.shown`."""
    endpoint: str = ""
    """Where requests go when the URL does not say it; empty: it does."""

    @classmethod
    def of(cls, url: str, environment: Mapping[str, str]) -> "StorePlace":
        """Raises `StoreURLInvalid`."""
        parsed = parse_store_url(url, environment)
        endpoint = ""
        if parsed.scheme == "s3" and "endpoint" not in parsed.query:
            endpoint = s3_endpoint(parsed.query, environment, url=parsed.shown)
        return cls(parsed.shown, endpoint if "@" not in endpoint else "")


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """What a count is of."""

    day: int
    volume: str
    purpose: str
    kind: str


@dataclass(frozen=True, slots=True)
class Count:
    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.requests + other.requests,
            self.sent_bytes + other.sent_bytes,
            self.received_bytes + other.received_bytes,
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """What was seen of a part (`live`, `history`, `view`) of a volume, at the end of a day that it was looked at."""

    day: int
    part: str
    size_bytes: int
    objects: int
    seen_ns: int


def usage_path(state_dir: str) -> str:
    return os.path.join(state_dir, "usage.db")


@contextmanager
def reading(state_dir: str) -> Iterator[Connection | None]:
    """The counts, all of one moment; None when nothing was ever counted. Raises `ReplicaDamaged`, `NewerFormat`."""
    path = usage_path(state_dir)
    if not os.path.exists(path):
        yield None
        return
    try:
        with translated(path):
            connection = Connection(path, read_only=True)
            try:
                connection.execute("BEGIN")
                yield connection if _is_ready(connection) else None
            finally:
                connection.close()
    except ReplicaDamaged:
        raise ReplicaDamaged(
            f"{path} is damaged: the next command that asks the store sets it aside, and counting begins anew"
        ) from None


@contextmanager
def writing(state_dir: str) -> Iterator[Connection]:
    """One transaction. A damaged file is set aside first. Raises `NoSpace`, `NewerFormat`, `AgentFSError`: nothing is
    changed then."""
    path = usage_path(state_dir)
    try:
        connection = _opened(path)
    except ReplicaDamaged:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(path + suffix, f"{path}.damaged{suffix}")
        connection = _opened(path)
    with translated(path):
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        finally:
            connection.close()


def _opened(path: str) -> Connection:
    """In a transaction, with the tables."""
    with translated(path):
        with contextlib.suppress(FileNotFoundError):  # it names stores and volumes: for its user alone
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        connection = Connection(path)
        try:
            connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            connection.execute("BEGIN IMMEDIATE")
            if not _is_ready(connection):
                schema = importlib.resources.files("agentfs.usage").joinpath("schema.sql").read_text("utf-8")
                for _ in connection.execute(schema):
                    pass
                connection.execute("INSERT INTO state VALUES('schema_version', ?)", (SCHEMA_VERSION,))
        except BaseException:
            connection.close()
            raise
    return connection


def _is_ready(connection: Connection) -> bool:
    if connection.one("SELECT 1 FROM sqlite_schema WHERE name='state'") is None:
        return False
    row = connection.one("SELECT value FROM state WHERE key='schema_version'")
    if row is None or not isinstance(row[0], int):
        raise ReplicaDamaged(f"{connection.path} has no version")
    if row[0] > SCHEMA_VERSION:
        raise NewerFormat(f"{connection.path} was written by a newer AgentFS: upgrade agentfs")
    return True


# ---- stores ----


def store_number(connection: Connection, place: StorePlace) -> int:
    """The store's number in this file, which must be open for writing."""
    connection.execute(
        "INSERT INTO store(url, endpoint) VALUES(?,?) ON CONFLICT(url) DO UPDATE SET endpoint=excluded.endpoint",
        (place.url, place.endpoint),
    )
    row = connection.one("SELECT id FROM store WHERE url=?", (place.url,))
    assert row is not None
    return int(row[0])


def stores(connection: Connection) -> list[tuple[int, StorePlace]]:
    return [(number, StorePlace(url, endpoint)) for number, url, endpoint in
            connection.rows("SELECT id, url, endpoint FROM store ORDER BY id")]  # fmt: skip


# ---- requests ----


def add_counts(connection: Connection, store: int, counts: Mapping[Counted, Count]) -> None:
    connection.executemany(
        "INSERT INTO request VALUES(?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET requests=requests+excluded.requests, "
        "sent_bytes=sent_bytes+excluded.sent_bytes, received_bytes=received_bytes+excluded.received_bytes",
        [
            (at.day, store, at.volume, at.purpose, at.kind, it.requests, it.sent_bytes, it.received_bytes)
            for at, it in counts.items()
        ],
    )


def counts_of(connection: Connection, store: int, volume: str, days: range | None = None) -> dict[Counted, Count]:
    """The counts of a volume, of some days or of all."""
    first, last = (days.start, days.stop - 1) if days is not None else (0, 1 << 60)
    rows = connection.rows(
        "SELECT day, volume, purpose, kind, requests, sent_bytes, received_bytes FROM request "
        "WHERE store=? AND volume=? AND day BETWEEN ? AND ?",
        (store, volume, first, last),
    )
    return {Counted(*row[:4]): Count(*row[4:]) for row in rows}


def volumes_of(connection: Connection, store: int) -> list[str]:
    """All volumes of which anything is known; the store itself is last."""
    rows = connection.rows(
        "SELECT volume FROM request WHERE store=? UNION SELECT volume FROM stored WHERE store=?", (store, store)
    )
    return sorted((row[0] for row in rows), key=lambda volume: (not volume, volume))


# ---- stored bytes ----


def keep_stored(connection: Connection, store: int, volume: str, seen: Iterable[Stored]) -> None:
    """Remember what was seen; what was seen earlier on the same day is replaced."""
    connection.executemany(
        "INSERT OR REPLACE INTO stored VALUES(?,?,?,?,?,?,?)",
        [(it.day, store, volume, it.part, it.size_bytes, it.objects, it.seen_ns) for it in seen],
    )


def stored_of(connection: Connection, store: int, volume: str) -> list[Stored]:
    """Everything that was ever seen of a volume, the oldest first."""
    rows = connection.rows(
        "SELECT day, part, size_bytes, objects, seen_ns FROM stored WHERE store=? AND volume=? ORDER BY day, part",
        (store, volume),
    )
    return [Stored(*row) for row in rows]


# ---- warnings ----


def first_warning(
    connection: Connection, store: int, volume: str, *, budget: str, period: str, level: str, seen_ns: int
) -> bool:
    """Whether this is the first time in the period that it is said; from now on it was."""
    before = connection.total_changes()
    connection.execute(
        "INSERT OR IGNORE INTO warned VALUES(?,?,?,?,?,?)", (store, volume, budget, period, level, seen_ns)
    )
    return bool(connection.total_changes() > before)
