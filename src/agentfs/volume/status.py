"""Facts about a volume on this machine: for `status`, `Home.status()` and messages."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentfs.errors import AgentFSError
from agentfs.model.names import shown
from agentfs.replica.database import Connection, translated
from agentfs.replica.lock_file import holder
from agentfs.replica.sessions import is_alive, lock_path
from agentfs.volume.messages import Gone, Message, connect

_ASK_SECONDS_MAX = 2.0
_PATHS_MAX = 20


@dataclass(frozen=True, slots=True)
class Pending:
    """What is on this machine and not yet in the store. It is safe here: it goes with the next push."""

    changes: int
    """Files and directories that differ, and names that do."""
    size_bytes: int
    """Content that is to be uploaded."""
    oldest_at_ns: int | None
    """When the oldest of these changes was made."""
    paths: tuple[str, ...] = ()
    """Some of what is pending, for people."""

    def as_message(self) -> Message:
        return {
            "changes": self.changes,
            "size_bytes": self.size_bytes,
            "oldest_at_ns": self.oldest_at_ns,
            "paths": list(self.paths),
        }

    @classmethod
    def of_message(cls, message: Message) -> "Pending":
        return cls(
            int(message.get("changes", 0)),
            int(message.get("size_bytes", 0)),
            message.get("oldest_at_ns"),
            tuple(message.get("paths", ())),
        )


@dataclass(frozen=True, slots=True)
class SyncResult:
    """Everything that was pending is in the store."""

    head_sequence: int
    """The log's entry that this machine stands at."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine says about itself."""

    pid: int
    online: bool
    """Whether the last request to the store worked."""
    problem: str
    """The last error, in one line; empty when there is none."""
    more: Message = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """One volume on this machine."""

    volume: str
    """`home-<agent id>` or `space-<name>`."""
    directory: str
    """The replica's."""
    head_sequence: int
    pending: Pending
    conflicts: int
    """Versions that were kept aside and are still there to be looked at."""
    lock_breaches: int
    """Commits of faulty writers that changed what another had locked."""
    cached_bytes: int
    """Disk space of contents on this machine."""
    sessions: tuple[str, ...]
    """What has it open: `mount 1234`, `sdk 99`."""
    copied_at_ns: int | None
    """When the replica was found to be restored from a backup, or cloned; None: never."""
    engine: EngineFacts | None
    """None: no engine runs at the moment."""
    author: str = ""
    """Of a space's copy: the agent who works on it."""
    head_time_ns: int = 0
    """When the entry of the log was made that this machine stands at, by its author's clock; 0: there is none."""

    @property
    def online(self) -> bool | None:
        """Whether the store answers; None when nobody has asked lately."""
        return None if self.engine is None else self.engine.online


def peek(directory: str) -> Status:
    """Look at a replica without joining it. Raises `ReplicaDamaged`, and `AgentFSError` when it cannot be read."""
    path = os.path.join(directory, "replica.db")
    with reading(path) as connection:
        state: dict[str, Any] = dict(connection.rows("SELECT key, value FROM state"))
        cached = connection.one("SELECT sum(size_bytes) FROM inode WHERE kind=1 AND residency=1")
        conflicts = connection.one("SELECT count(*) FROM conflict")
        breaches = connection.one("SELECT count(*) FROM lock_breach")
        sessions = connection.rows("SELECT kind, pid, started, id FROM session ORDER BY id")
        pending = _pending(connection)
    return Status(
        volume=f"{state.get('volume_kind')}-{state.get('volume_id')}",
        directory=directory,
        head_sequence=int(state.get("head_sequence") or 0),
        pending=pending,
        conflicts=int(conflicts[0]) if conflicts else 0,
        lock_breaches=int(breaches[0]) if breaches else 0,
        cached_bytes=int(cached[0] or 0) if cached else 0,
        sessions=tuple(
            f"{kind} {pid}"
            for kind, pid, started, number in sessions
            if is_alive(pid, started, lock=lock_path(directory, number))
        ),
        copied_at_ns=state.get("copied_ns"),
        engine=ask_engine(directory),
        author=str(state.get("author") or ""),
        head_time_ns=int(state.get("head_time_ns") or 0),
    )


def peek_pending(directory: str) -> Pending:
    """What is pending in a replica, without joining it."""
    with reading(os.path.join(directory, "replica.db")) as connection:
        return _pending(connection)


def together(home: Pending, spaces: Mapping[str, Pending]) -> Pending:
    """What is pending in a home and, by their places in it, in its spaces."""
    everything = [home, *spaces.values()]
    times = [each.oldest_at_ns for each in everything if each.oldest_at_ns is not None]
    return Pending(
        sum(each.changes for each in everything),
        sum(each.size_bytes for each in everything),
        min(times, default=None),
        home.paths + tuple(f"{place}/{path}" for place, each in spaces.items() for path in each.paths),
    )


@contextlib.contextmanager
def reading(path: str) -> Iterator[Connection]:
    """A replica's database, read without joining it. Raises `AgentFSError` when there is none."""
    if not os.path.exists(path):
        raise AgentFSError(f"{os.path.dirname(path)}: there is no replica here")
    connection = Connection(path, read_only=True)
    try:
        with translated(path):
            yield connection
    finally:
        connection.close()


def _pending(connection: Connection) -> Pending:
    inodes = connection.one(
        "SELECT count(*), min(pending_at_ns), sum(CASE WHEN pending & 2 THEN size_bytes ELSE 0 END) "
        "FROM inode WHERE pending != 0 AND nlink > 0"
    )
    names = connection.one("SELECT count(*), min(pending_at_ns) FROM dentry WHERE pending != 0")
    assert inodes is not None and names is not None
    times = [time for time in (inodes[1], names[1]) if time is not None]
    rows = connection.rows(
        "SELECT ino FROM inode WHERE pending != 0 AND nlink > 0 AND kind != 2 ORDER BY pending_at_ns LIMIT ?",
        (_PATHS_MAX,),
    )
    paths = [path for (ino,) in rows if (path := _path(connection, ino)) is not None]
    gone = connection.rows(
        "SELECT parent, name FROM dentry WHERE pending != 0 AND ino IS NULL ORDER BY pending_at_ns LIMIT ?",
        (_PATHS_MAX - len(paths),),
    )
    for parent, name in gone:
        above = _path(connection, parent)
        if above is not None:
            paths.append(b"/".join((above, name)) if above else name)
    return Pending(
        int(inodes[0]) + int(names[0]), int(inodes[2] or 0), min(times, default=None), tuple(map(shown, paths))
    )


def _path(connection: Connection, ino: int) -> bytes | None:
    names: list[bytes] = []
    while ino != 1:
        row: tuple[Any, ...] | None = connection.one(
            "SELECT parent, name FROM dentry WHERE ino=? AND ino IS NOT NULL LIMIT 1", (ino,)
        )
        if row is None:
            return None
        ino = row[0]
        names.append(row[1])
    return b"/".join(reversed(names))


def ask_engine(directory: str) -> EngineFacts | None:
    """What the engine of a replica says; None when there is none, or it does not answer."""
    if holder(os.path.join(directory, "engine.lock")) is None:
        return None
    try:
        with connect(os.path.join(directory, "engine.sock")) as connection:
            connection.send({"id": 1, "do": "status"})
            answer = connection.receive(timeout_seconds=_ASK_SECONDS_MAX)
    except (Gone, TimeoutError):
        return None
    facts = answer.get("result")
    return engine_facts(facts) if isinstance(facts, dict) else None


def engine_facts(message: Message) -> EngineFacts:
    more = {key: value for key, value in message.items() if key not in ("pid", "online", "problem")}
    return EngineFacts(
        int(message.get("pid", 0)), bool(message.get("online")), str(message.get("problem") or ""), more
    )
