"""A replica, checked: the database whole, in agreement with itself, and with the log at its head."""

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

from agentfs.errors import AgentFSError, NewerFormat, ReplicaDamaged
from agentfs.fsck.findings import Findings
from agentfs.fsck.store_check import StoreState
from agentfs.model.names import shown
from agentfs.model.records import LockState
from agentfs.replica.backing import BackingFiles
from agentfs.replica.check import check_rows
from agentfs.replica.database import SCHEMA_VERSION, Connection, translated
from agentfs.replica.locks import lock_table

_READ_BYTES = 1 << 20
_CLEAN = (
    "SELECT i.ino, c.digest, c.size_bytes FROM inode i JOIN content c USING(ino) WHERE i.kind=1 AND i.residency=1 "
    "AND i.pending & 2 = 0 AND NOT EXISTS (SELECT 1 FROM write_open w WHERE w.ino=i.ino)"
)


@dataclass(slots=True)
class ReplicaState:
    """What the replica says about the log, read at one moment."""

    head_sequence: int = 0
    head_digest: bytes = b""
    names: dict[tuple[int | None, bytes], int | None] = field(default_factory=dict)
    """(directory, name) → inode, in the log's numbers; None where the replica does not know one."""
    contents: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    """Inode → digest and size."""
    locks: dict[int, LockState] = field(default_factory=dict)


def read_replica(directory: str, findings: Findings, *, deep: bool) -> ReplicaState | None:
    """Check what can be checked without the store. None when the database cannot be read.

    Raises `NewerFormat`. Changes nothing; the replica may be in use meanwhile. `deep` reads every backing file.
    """
    path = os.path.join(directory, "replica.db")
    if not os.path.exists(path):
        findings.add("replica-damaged", path, "it is missing")
        return None
    try:
        connection = Connection(path, read_only=True)
    except (ReplicaDamaged, AgentFSError) as error:
        findings.add("replica-damaged", path, str(error))
        return None
    try:
        with translated(path):
            return _read(connection, directory, findings, deep)
    except NewerFormat:
        raise
    except AgentFSError as error:
        findings.add("replica-damaged", path, str(error))
        return None
    finally:
        connection.close()


def _read(connection: Connection, directory: str, findings: Findings, deep: bool) -> ReplicaState | None:
    for _ in connection.execute("BEGIN"):
        pass
    wrong = [row[0] for row in connection.rows(f"PRAGMA {'integrity_check' if deep else 'quick_check'}(20)")]
    if wrong != ["ok"]:
        for line in wrong:
            findings.add("replica-damaged", connection.path, str(line))
        return None
    state: dict[str, Any] = dict(connection.rows("SELECT key, value FROM state"))
    if int(state.get("schema_version") or 0) > SCHEMA_VERSION:
        raise NewerFormat(f"{connection.path} was written by a newer AgentFS: upgrade agentfs")
    for found_here in check_rows(connection):
        findings.add("replica-check", found_here.place, found_here.rule)
    if deep:
        _backing(connection, directory, findings)
    found = ReplicaState(int(state.get("head_sequence") or 0), bytes(state.get("head_digest") or b""))
    for parent, name, child in connection.rows(
        "SELECT p.id, d.name, b.id FROM dentry d LEFT JOIN inode p ON p.ino=d.parent "
        "LEFT JOIN inode b ON b.ino=d.base "
        "WHERE d.base IS NOT NULL"
    ):
        found.names[parent, name] = child
    for inode, digest, size_bytes in connection.rows(
        "SELECT i.id, c.digest, c.size_bytes FROM content c JOIN inode i USING(ino) WHERE i.id IS NOT NULL"
    ):
        found.contents[inode] = digest, size_bytes
    found.locks = lock_table(connection)
    return found


def _backing(connection: Connection, directory: str, findings: Findings) -> None:
    files = BackingFiles(os.path.join(directory, "files"))
    for ino, digest, size_bytes in connection.rows(_CLEAN):
        if not is_intact(files.path(ino), digest, size_bytes):
            findings.add("backing-damaged", files.path(ino), f"it is not the {size_bytes} bytes that the log has")


def is_intact(path: str, digest: bytes, size_bytes: int) -> bool:
    """Whether the file at `path` holds exactly the bytes with this digest."""
    seen = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != size_bytes:
                return False
            while piece := file.read(_READ_BYTES):
                seen.update(piece)
    except OSError:
        return False
    return seen.digest() == digest


def compare(replica: ReplicaState, store: StoreState, directory: str) -> None:
    """Hold the replica against the log; findings go to the store's list."""
    findings = store.findings
    head = replica.head_sequence
    if head == 0:
        return
    if head not in store.digests:
        if head > store.last_sequence:
            findings.add(
                "replica-head", directory, f"it stands at entry {head}; the log ends at {store.last_sequence}"
            )
        return
    if store.digests[head] != replica.head_digest:
        findings.add("replica-head", directory, f"its entry {head} is not the one in the log")
        return
    if store.kept is None:
        return
    tree = store.kept
    names = {(parent, name): child for parent, inside in tree.names.items() for name, child in inside.items()}
    for place in names.keys() | replica.names.keys():
        if replica.names.get(place) != names.get(place):  # type: ignore[arg-type]
            findings.add("replica-tree", directory, f"{shown(place[1])} in {place[0]} is not what the log has")
    for inode, record in tree.inodes.items():
        content = record.content
        if content is not None and replica.contents.get(inode) != (content.digest, content.size_bytes):
            findings.add("replica-content", directory, f"inode {inode}: another content than the log has")
    for inode in tree.locks.keys() | replica.locks.keys():
        if tree.locks.get(inode) != replica.locks.get(inode):
            findings.add("replica-tree", directory, f"the lock of inode {inode} is not what the log has")
